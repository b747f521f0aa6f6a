"""Let a model read a token tree.

A window slides over the nodes in depth-first order. What it needs from before it is only the path that leads to
its first node, so the key/value cache always holds exactly that path, and every node is read once:

    window 1 [A : no EOS]   cache [A : no]   window 2 [match EOS yes]   …

How wide? Wide windows pay for attention between strangers that the mask then discards (about
4 x hidden x layers x width operations per node), narrow ones pay the fixed cost of a call more often. `width`
balances the two; one infinite window would be the one big tree, one window per prompt the usual prefix cache.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from genclspp.trees.attention import inputs
from genclspp.trees.tree import Tree, children, count_below, path, visible


@dataclass(frozen=True)
class NodeLogprobs:
    """What the model says along a tree.

    logprobs: per node, log-probability of its token after its parent where the parent is wanted, else 0
    peaks:    per node, log-probability of the most likely next token where the node is wanted, else infinity
    tokens:   tokens put through the model
    """

    logprobs: list[float]
    peaks: list[float]
    tokens: int


def read_tree(model, tree: Tree, wanted: Sequence[bool], window: int = 0) -> NodeLogprobs:
    """Read a tree in windows of `window` nodes (0: by the cost model)."""
    said = NodeLogprobs(
        [0.0] * len(tree.tokens), [math.inf] * len(tree.tokens), sum(map(bool, count_below(tree, wanted)))
    )
    for nodes, logits in walk(model, tree, wanted, window or width(model), most_logits(model)):
        _note(said, tree, nodes, logits)
    return said


@dataclass
class Memory:
    """Keys and values of what was read: those of `nodes`, in this order."""

    cache: DynamicCache = field(default_factory=DynamicCache)
    nodes: list[int] = field(default_factory=list)

    def rewind(self, kept: list[int]) -> None:
        """Forget all nodes but `kept`."""
        place = {node: k for k, node in enumerate(self.nodes)}
        layers: list[Any] = self.cache.layers
        for layer in layers:
            index = torch.tensor([place[node] for node in kept], dtype=torch.long, device=layer.keys.device)
            layer.keys, layer.values = layer.keys[:, :, index], layer.values[:, :, index]
        self.nodes = kept


def walk(
    model,
    tree: Tree,
    wanted: Sequence[bool],
    window: int,
    most: int,
    call: Callable | None = None,
    memory: Memory | None = None,
) -> Iterator[tuple[list[int], Tensor]]:
    """Read each node that a wanted one depends on once; yield wanted nodes, with logits (nodes, vocabulary).

    window: nodes per call; most: wanted nodes per call; call: stands for `model` where a trainer has wrapped it
    memory: holds, at each yield, the window and the path to it; what the caller adds to it is forgotten afterwards
    """
    nodes = [node for node, count in enumerate(count_below(tree, wanted)) if count]
    chunks = list(_windows(nodes, wanted, window, most))
    if memory is None and len(chunks) > 1:
        memory = Memory()
    for chunk in chunks:
        keys = chunk
        if memory is not None:
            memory.rewind(path(tree, tree.parents[chunk[0]]))
            memory.nodes = keys = memory.nodes + chunk
        asked = [k for k, node in enumerate(chunk) if wanted[node]]
        depths = [[tree.depths[node] for node in nodes] for nodes in (chunk, keys)]
        logits = next_token_logits(
            model,
            torch.tensor(asked, dtype=torch.long, device=model.device),
            call,
            **inputs(model, [tree.tokens[node] for node in chunk], visible(tree, chunk, keys), *depths),
            past_key_values=memory and memory.cache,
            use_cache=memory is not None,
        )
        if asked:
            yield [chunk[k] for k in asked], logits[0]


def _windows(nodes: list[int], wanted: Sequence[bool], width: int, asked: int) -> Iterator[list[int]]:
    """Cut `nodes` into runs of at most `width` nodes with at most `asked` wanted ones."""
    chunk: list[int] = []
    count = 0
    for node in nodes:
        if len(chunk) == width or count + wanted[node] > asked:
            yield chunk
            chunk, count = [], 0
        chunk.append(node)
        count += wanted[node]
    if chunk:
        yield chunk


def _note(said: NodeLogprobs, tree: Tree, nodes: list[int], logits: Tensor) -> None:
    """Enter what is predicted at `nodes` into `said`; logits: (nodes, vocabulary)."""
    logs = log_softmax(logits)
    for node, peak in zip(nodes, logs.amax(-1).tolist(), strict=True):
        said.peaks[node] = peak
    _, below, found = child_logprobs(tree, nodes, logs)
    for child, value in zip(below, found.tolist(), strict=True):
        said.logprobs[child] = value


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities, in float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def child_logprobs(
    tree: Tree, nodes: Sequence[int], logs: Tensor, chosen: Callable[[int], object] | None = None
) -> tuple[list[int], list[int], Tensor]:
    """Log-probabilities of the tokens that follow `nodes` in the tree.

    logs:    (nodes, vocabulary) log-probabilities after each node
    chosen:  whether a child counts; by default all do
    returns: the row of each child's parent, the children, and (children,) their log-probabilities
    """
    pairs = [
        (row, child)
        for row, node in enumerate(nodes)
        for child in children(tree, node)
        if chosen is None or chosen(child)
    ]
    rows, below = [row for row, _ in pairs], [child for _, child in pairs]
    return rows, below, logs[rows, [tree.tokens[child] for child in below]]


# Fixed cost of a forward pass, in the operations it could have done meanwhile: measured on two CPU cores; for
# accelerators an estimate, a few thousand kernel launches
CALL_COST = {"cpu": 3e8}
ACCELERATED = 1e12
LOGITS = 2**25  # logits in memory at once


def call_cost(model) -> float:
    """What a forward pass costs beside its tokens, in operations."""
    return CALL_COST.get(model.device.type, ACCELERATED)


def width(model, calls: int = 1) -> int:
    """Nodes per window at which discarded attention costs as much as the calls, `calls` per window."""
    config = model.config.get_text_config()
    discarded = 4 * config.hidden_size * config.num_hidden_layers
    return min(max(math.isqrt(int(calls * call_cost(model) / discarded)), 256), 4096)


def most_logits(model) -> int:
    """Positions per window whose logits fit in memory."""
    return max(LOGITS // model.config.get_text_config().vocab_size, 1)


def next_token_logits(model, keep: int | Tensor, call: Callable | None = None, **inputs) -> Tensor:
    """Logits at the last `keep` positions, or those in `keep`, computing only these where the model can.

    keep:    a number; positions (kept,); or booleans (batch, positions)
    returns: (batch, kept, vocabulary), for booleans (kept, vocabulary)
    """
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    call = call or model
    if "logits_to_keep" in inspect.signature(plain.forward).parameters:
        return call(**inputs, logits_to_keep=keep).logits
    logits = call(**inputs).logits
    if isinstance(keep, int):
        return logits[:, -keep:]
    return logits[keep] if keep.dtype == torch.bool else logits[:, keep]


def read_plain(model, tree: Tree, wanted: Sequence[bool], budget: int = 8192) -> NodeLogprobs:
    """Read a tree as separate, right-padded sequences: what every architecture can do."""
    said = NodeLogprobs([0.0] * len(tree.tokens), [math.inf] * len(tree.tokens), 0)
    below, total = count_below(tree, wanted), 0
    rows = [path(tree, node) for node, count in enumerate(below) if count == 1 and wanted[node]]
    for batch in batches(sorted(rows, key=len), budget):
        ids, attention = pad([[tree.tokens[node] for node in nodes] for nodes in batch], model.device)
        first = min(next(k for k, node in enumerate(nodes) if wanted[node]) for nodes in batch)
        logits = next_token_logits(model, ids.shape[1] - first, input_ids=ids, attention_mask=attention)
        for nodes, row in zip(batch, logits, strict=True):
            asked = [k for k in range(first, len(nodes)) if wanted[nodes[k]]]
            _note(said, tree, [nodes[k] for k in asked], row[[k - first for k in asked]])
        total += int(attention.sum())
    return replace(said, tokens=total)


def batches(rows: Sequence[list[int]], budget: int) -> Iterator[list[list[int]]]:
    """Cut rows, sorted by length, into batches of at most `budget` tokens, padding included."""
    batch: list[list[int]] = []
    for row in rows:
        if batch and len(row) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pad(rows: list[list[int]], device: torch.device, *, left: bool = False) -> tuple[Tensor, Tensor]:
    """Rows as one tensor, and its attention mask; both (rows, longest)."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for k, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(0, len(row))
        ids[k, place] = torch.tensor(row)
        attention[k, place] = 1
    return ids.to(device), attention.to(device)


@contextmanager
def evaluating(model) -> Iterator[None]:
    """Without dropout and gradients; afterwards each module is in the mode in which it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
