"""Token trees: every distinct prefix is read by the model once.

Prompts of a task share their beginning and labels share the prompt, so what the model has to read is a tree.
With nodes numbered depth first, `j` is `i` or its ancestor exactly if j <= i < stops[j]: the attention mask.

    sequences        tree                         node  token  parent  depth  stop  sees
    "A: no"          A ── : ─┬─ no ─┬─ EOS           0  A          -1      0     8  █
    "A: no match"            │      └─ match ─ EOS   1  :           0      1     8  ██
    "A: yes"                 └─ yes ── EOS           2  no          1      2     6  ███
                                                     3  EOS         2      3     4  ████
                                                     4  match       2      3     6  ███·█
                                                     5  EOS         4      4     6  ███·██
                                                     6  yes         1      2     8  ██····█
                                                     7  EOS         6      3     8  ██····██
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tree:
    """Token sequences with equal prefixes merged; nodes are numbered depth first.

    tokens:  (nodes,) token of each node
    parents: (nodes,) -1 where a sequence begins
    depths:  (nodes,) position of the token in its sequences
    stops:   (nodes,) one past the last descendant
    ends:    (sequences,) last node of each sequence, -1 for an empty one
    """

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    stops: list[int]
    ends: list[int]


def grow(sequences: Sequence[Sequence[int]], under: Sequence[int] | None = None) -> Tree:
    """Merge `sequences`; number `k` continues the earlier one `under[k]`, or begins anew where that is -1."""
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
    """Renumber: each node takes the next free place in the block that its parent keeps for its descendants."""
    count = len(tokens)
    sizes = [1] * count
    for node in reversed(range(count)):
        if parents[node] >= 0:
            sizes[parents[node]] += sizes[node]
    place, free, depth = [-1] * (count + 1), [0] * (count + 1), [-1] * (count + 1)  # the last stands for "none"
    tree = Tree([0] * count, [-1] * count, [0] * count, [0] * count, [])
    for node, parent in enumerate(parents):
        place[node] = here = free[parent]
        free[parent] += sizes[node]
        free[node] = here + 1
        depth[node] = depth[parent] + 1
        tree.tokens[here] = tokens[node]
        tree.parents[here] = place[parent]
        tree.depths[here] = depth[node]
        tree.stops[here] = here + sizes[node]
    return replace(tree, ends=[place[node] for node in ends])


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the prefix that two sequences share."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def path(tree: Tree, node: int, below: int = -1) -> list[int]:
    """Nodes that lead to `node`, itself included, from the beginning of its sequences or `below` an ancestor."""
    nodes = []
    while node != below:
        nodes.append(node)
        node = tree.parents[node]
    return nodes[::-1]


def children(tree: Tree, node: int) -> Iterator[int]:
    """The nodes that follow `node`."""
    child = node + 1
    while child < tree.stops[node]:
        yield child
        child = tree.stops[child]


def count_below(tree: Tree, wanted: Sequence[bool]) -> list[int]:
    """For each node, how many wanted nodes are among it and its descendants."""
    before = [0, *accumulate(map(int, wanted))]
    return [before[stop] - before[node] for node, stop in enumerate(tree.stops)]


def visible(tree: Tree, queries: Sequence[int], keys: Sequence[int]) -> Tensor:
    """Which nodes a node attends to, its ancestors and itself: (queries, keys) booleans."""
    query, key = torch.tensor(queries)[:, None], torch.tensor(keys)
    return (key <= query) & (query < torch.tensor([tree.stops[node] for node in keys]))
