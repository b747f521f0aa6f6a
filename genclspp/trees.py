"""Token trees: every distinct prefix is read by the model once.

Prompts share instructions and labels share the prompt, so what a model has to read in one step is a tree:

    Classify: a b | sit ─┬─ name ─── EOS          node     0  1  2  3  4  5
                         └─ cat  ─┬─ EOS          token    .  n  E  c  E  s
                                  └─ s ─── EOS    parent  -1  0  1  0  3  3 …
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tree:
    """Token sequences with equal prefixes merged; nodes are numbered depth first, parents before children.

    tokens:  (nodes,) token of each node
    parents: (nodes,) -1 where a sequence begins
    depths:  (nodes,) position of the token in its sequences
    stops:   (nodes,) one past the last descendant, so `j` is an ancestor of `i` iff j <= i < stops[j]
    ends:    (sequences,) last node of each sequence
    """

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    stops: list[int]
    ends: list[int]

    def __len__(self) -> int:
        return len(self.tokens)


def grow(sequences: Sequence[Sequence[int]], under: Sequence[int] | None = None) -> Tree:
    """Merge `sequences`; sequence `k` continues the earlier sequence `under[k]`, or begins anew where that is -1."""
    tokens: list[int] = []
    parents: list[int] = []
    ends: list[int] = []
    found: dict[tuple[int, int], int] = {}
    for sequence, stem in zip(sequences, under or [-1] * len(sequences), strict=True):
        node = ends[stem] if stem >= 0 else -1
        for token in sequence:
            child = found.setdefault((node, token), len(tokens))
            if child == len(tokens):
                tokens.append(token)
                parents.append(node)
            node = child
        ends.append(node)
    return _depth_first(tokens, parents, ends)


def _depth_first(tokens: list[int], parents: list[int], ends: list[int]) -> Tree:
    """Renumber nodes: each takes the next free place in the block that its parent reserved for its descendants."""
    count = len(tokens)
    sizes = [1] * count
    for node in reversed(range(count)):
        if parents[node] >= 0:
            sizes[parents[node]] += sizes[node]
    rank, free, depth = (
        [0] * count,
        [0] * (count + 1),
        [-1] * (count + 1),
    )  # the last entry stands for "no parent"
    tree = Tree([0] * count, [-1] * count, [0] * count, [0] * count, [])
    for node, parent in enumerate(parents):
        rank[node] = place = free[parent]
        free[parent] += sizes[node]
        free[node] = place + 1
        depth[node] = depth[parent] + 1
        tree.tokens[place] = tokens[node]
        tree.parents[place] = rank[parent] if parent >= 0 else -1
        tree.depths[place] = depth[node]
        tree.stops[place] = place + sizes[node]
    tree.ends.extend(rank[node] if node >= 0 else -1 for node in ends)
    return tree


def path(tree: Tree, node: int) -> list[int]:
    """Nodes from the beginning of a sequence to `node`, both included."""
    nodes = []
    while node >= 0:
        nodes.append(node)
        node = tree.parents[node]
    return nodes[::-1]


@dataclass(frozen=True)
class Reading:
    """What the model said at the wanted nodes of a tree.

    logprobs: per node, log-probability of its token after its parent, if the parent was wanted (else 0)
    best:     per node, the most likely next token, if the node was wanted (else -1)
    tokens:   tokens put through the model
    """

    logprobs: list[float]
    best: list[int]
    tokens: int


def read_plain(model, tree: Tree, wanted: Sequence[bool], budget: int = 8192) -> Reading:
    """Read a tree as separate, right-padded sequences: what every architecture can do."""
    logprobs, best, read = [0.0] * len(tree), [-1] * len(tree), 0
    children = _children(tree)
    rows = sorted((path(tree, node) for node in _outermost(tree, wanted)), key=len)
    for batch in _batches(rows, budget):
        ids, attention = _pad([[tree.tokens[node] for node in nodes] for nodes in batch], model.device)
        first = min(next(k for k, node in enumerate(nodes) if wanted[node]) for nodes in batch)
        logits = next_token_logits(model, ids.shape[1] - first, input_ids=ids, attention_mask=attention)
        for nodes, row in zip(batch, logits, strict=True):
            for node, scores in zip(nodes[first:], torch.log_softmax(row.float(), -1), strict=False):
                if wanted[node]:
                    best[node] = int(scores.argmax())
                    for child in children[node]:
                        logprobs[child] = float(scores[tree.tokens[child]])
        read += int(attention.sum())
    return Reading(logprobs, best, read)


def next_token_logits(model, keep: int | Tensor, **inputs) -> Tensor:
    """Logits at the last `keep` positions, or at the positions in `keep`, without computing the others if possible.

    returns: (batch, positions, vocabulary)
    """
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    if "logits_to_keep" in inspect.signature(plain.forward).parameters:
        return model(**inputs, logits_to_keep=keep).logits
    logits = model(**inputs).logits
    return logits[:, keep] if isinstance(keep, Tensor) else logits[:, -keep:]


def _children(tree: Tree) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in tree.tokens]
    for node, parent in enumerate(tree.parents):
        if parent >= 0:
            children[parent].append(node)
    return children


def _outermost(tree: Tree, wanted: Sequence[bool]) -> Iterator[int]:
    """Wanted nodes below which nothing is wanted."""
    below = False
    for node in reversed(range(len(tree))):
        below = below and any(wanted[node + 1 : tree.stops[node]])
        if wanted[node] and not any(wanted[node + 1 : tree.stops[node]]):
            yield node


def _batches(rows: list[list[int]], budget: int) -> Iterator[list[list[int]]]:
    """Cut rows, sorted by length, into batches of at most `budget` padded tokens."""
    batch: list[list[int]] = []
    for row in rows:
        if batch and len(row) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _pad(rows: list[list[int]], device: torch.device, left: bool = False) -> tuple[Tensor, Tensor]:
    """Rows as one tensor and its attention mask; both (rows, longest)."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for k, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(0, len(row))
        ids[k, place] = torch.tensor(row)
        attention[k, place] = 1
    return ids.to(device), attention.to(device)
