"""Run a model over a token tree.

A window slides over the nodes in depth-first order. All that its nodes attend to outside the window is the path to
its first node: an ancestor with a smaller number than the first node is an ancestor of the first node too. So the
key/value cache holds exactly that path, and every node is read once:

    window 1 [A : no EOS]   cache [A : no]   window 2 [match EOS yes]   …

How wide should it be? Attention between unrelated nodes of a window is computed and then masked out, about 4 x
hidden x layers x width operations per node, which favours narrow windows; every window costs the overhead of a
call, which favours wide ones. `width` balances the two. One infinite window would read the whole tree in one call;
one window per prompt would be the usual prefix cache. Where attention works in blocks (`blockwise`), little is
masked out; wider windows than these were tried there, and gain next to nothing.
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

from genclspp.trees.attention import build_inputs
from genclspp.trees.tree import Tree, ancestor_mask, children, count_below, path


@dataclass(frozen=True)
class NodeLogprobs:
    """Next-token predictions along a tree.

    logprobs: (nodes,) log-probability of each node's token given its prefix; 0 if its parent was not wanted
    peaks:    (nodes,) log-probability of the most likely token after each node; infinity if it was not wanted
    tokens:   number of tokens that the model read
    """

    logprobs: list[float]
    peaks: list[float]
    tokens: int


def read_tree(model: Any, tree: Tree, wanted: Sequence[bool], window: int = 0) -> NodeLogprobs:
    """Predictions after the `wanted` nodes, read in windows of `window` nodes (0: `width` of the model)."""
    # A node is read if anything in its subtree is wanted.
    result = NodeLogprobs(
        [0.0] * len(tree.tokens), [math.inf] * len(tree.tokens), sum(map(bool, count_below(tree, wanted)))
    )
    for nodes, logits in walk(model, tree, wanted, window or width(model), most_logits(model)):
        _store(result, tree, nodes, logits)
    return result


@dataclass
class TreeCache:
    """Keys and values of tree nodes.

    kv:    per layer, keys and values (1, heads, nodes, head size)
    nodes: the tree node behind each cached position
    """

    kv: DynamicCache = field(default_factory=DynamicCache)
    nodes: list[int] = field(default_factory=list)

    def rewind(self, kept: list[int]) -> None:
        """Drop all nodes but `kept`. Indexing is differentiable, so gradients reach the windows read before."""
        place = {node: k for k, node in enumerate(self.nodes)}
        layers: list[Any] = self.kv.layers
        for layer in layers:
            index = torch.tensor([place[node] for node in kept], dtype=torch.long, device=layer.keys.device)
            layer.keys, layer.values = layer.keys[:, :, index], layer.values[:, :, index]
        self.nodes = kept


def walk(
    model: Any,
    tree: Tree,
    wanted: Sequence[bool],
    window: int,
    most: int,
    call: Callable | None = None,
    cache: TreeCache | None = None,
) -> Iterator[tuple[list[int], Tensor]]:
    """Read every node that a wanted one depends on, once; yield the wanted nodes of each window, and their logits.

    wanted: (nodes,) whether the prediction after a node is needed
    window: nodes per window at most
    most:   wanted nodes per window at most
    call:   called in place of `model`, if a trainer has wrapped it
    cache:  at each yield, holds the window and the path to it; what the caller appends is dropped afterwards
    yields: wanted nodes, and (wanted nodes, vocabulary) logits
    """
    # Nodes with nothing wanted in their subtree need not be read.
    nodes = [node for node, count in enumerate(count_below(tree, wanted)) if count]
    chunks = list(_windows(nodes, wanted, window, most))
    # Without a cache, a single window also works under gradient checkpointing, which drops caches.
    if cache is None and len(chunks) > 1:
        cache = TreeCache()
    for chunk in chunks:
        keys = chunk
        # Forget what does not lead to this window, and read the window on top of what is left.
        if cache is not None:
            cache.rewind(path(tree, tree.parents[chunk[0]]))
            cache.nodes = keys = cache.nodes + chunk  # as the call below appends them
        asked = [k for k, node in enumerate(chunk) if wanted[node]]  # the head computes logits at these alone
        depths = [[tree.depths[node] for node in nodes] for nodes in (chunk, keys)]
        logits = next_token_logits(
            model,
            torch.tensor(asked, dtype=torch.long, device=model.device),
            call,
            **build_inputs(
                model, [tree.tokens[node] for node in chunk], ancestor_mask(tree, chunk, keys), *depths
            ),
            past_key_values=cache and cache.kv,
            use_cache=cache is not None,
        )
        if asked:
            yield [chunk[k] for k in asked], logits[0]  # the batch is one row, which holds the tree


def _windows(nodes: list[int], wanted: Sequence[bool], width: int, most: int) -> Iterator[list[int]]:
    """Cut `nodes` into runs of at most `width` nodes with at most `most` wanted ones."""
    chunk: list[int] = []
    count = 0
    for node in nodes:
        if len(chunk) == width or count + wanted[node] > most:
            yield chunk
            chunk, count = [], 0
        chunk.append(node)
        count += wanted[node]
    if chunk:
        yield chunk


CACHED = 2**20  # logits whose log-probabilities stay in a processor's cache


def _store(result: NodeLogprobs, tree: Tree, nodes: list[int], logits: Tensor) -> None:
    """Enter the predictions after `nodes` into `result`; logits: (nodes, vocabulary)."""
    # Block by block on a CPU: through memory, log-probabilities of a large vocabulary take ten times as long.
    rows = max(CACHED // logits.shape[-1], 1) if logits.device.type == "cpu" else len(nodes)
    for k in range(0, len(nodes), rows):
        block, logs = nodes[k : k + rows], log_softmax(logits[k : k + rows])
        # Plain numbers from here on: one transfer for all peaks and one for all children, not one per node.
        for node, peak in zip(block, logs.amax(-1).tolist(), strict=True):
            result.peaks[node] = peak
        _, below, found = child_logprobs(tree, block, logs)
        for child, value in zip(below, found.tolist(), strict=True):
            result.logprobs[child] = value


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities, in float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def child_logprobs(
    tree: Tree, nodes: Sequence[int], logs: Tensor, chosen: Callable[[int], object] | None = None
) -> tuple[list[int], list[int], Tensor]:
    """Gather the log-probabilities of the tokens that follow `nodes` in the tree.

    logs:    (nodes, vocabulary) log-probabilities after each node
    chosen:  whether a child counts; by default all do
    returns: the row of `logs` that predicts each child, the children, and (children,) their log-probabilities

    In the drawing of `tree`, nodes 1 and 2 have the children 2, 6 and 3, 4: rows [0, 0, 1, 1], children [2, 6, 3,
    4].
    """
    pairs = [
        (row, child)
        for row, node in enumerate(nodes)
        for child in children(tree, node)
        if chosen is None or chosen(child)
    ]
    rows, below = [row for row, _ in pairs], [child for _, child in pairs]
    return rows, below, logs[rows, [tree.tokens[child] for child in below]]


# Fixed cost of a call, in the floating-point operations that fit into the same time. On a CPU (measured on two
# cores) most of it is reading the weights; for accelerators, an estimate of a few thousand kernel launches.
CALL_COST, READ_COST = 3e8, 130  # the latter per weight
ACCELERATED = 1e12
LOGITS = 2**25  # logits in memory at once


def call_cost(model: Any) -> float:
    """Fixed cost of a forward pass on the model's device, in floating-point operations."""
    if model.device.type != "cpu":
        return ACCELERATED
    return CALL_COST + READ_COST * sum(weight.numel() for weight in model.parameters())


def width(model: Any, calls: int = 1) -> int:
    """Nodes per window at which masked-out attention costs as much as the `calls` forward passes of a window."""
    config = model.config.get_text_config()
    # A window of w nodes wastes up to w^2 x this many operations; solve for w.
    discarded = 4 * config.hidden_size * config.num_hidden_layers
    return min(max(math.isqrt(int(calls * call_cost(model) / discarded)), 256), 4096)


def most_logits(model: Any) -> int:
    """Positions per window whose logits fit in memory."""
    return max(LOGITS // model.config.get_text_config().vocab_size, 1)


def next_token_logits(model: Any, keep: int | Tensor, call: Callable | None = None, **inputs: Any) -> Tensor:
    """Logits at the positions to keep; the others are not computed if the model's head can skip them.

    keep:    the number of last positions; or positions (kept,); or booleans (batch, positions)
    returns: (batch, kept, vocabulary), for booleans (kept, vocabulary)
    """
    # PEFT's forward takes **kwargs, so only the signature of the model inside says what it supports.
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    call = call or model
    if "logits_to_keep" in inspect.signature(plain.forward).parameters:
        return call(**inputs, logits_to_keep=keep).logits
    logits = call(**inputs).logits
    if isinstance(keep, int):
        return logits[:, -keep:]
    return logits[keep] if keep.dtype == torch.bool else logits[:, keep]


def read_plain(model: Any, tree: Tree, wanted: Sequence[bool], budget: int = 8192) -> NodeLogprobs:
    """Like `read_tree`, from separate, right-padded sequences, which every architecture can read.

    budget: tokens per batch at most, padding included
    """
    result = NodeLogprobs([0.0] * len(tree.tokens), [math.inf] * len(tree.tokens), 0)
    below, total = count_below(tree, wanted), 0
    # One sequence per wanted node with no other wanted node below it; together they pass through all wanted nodes.
    rows = [path(tree, node) for node, count in enumerate(below) if count == 1 and wanted[node]]
    for batch in batches(sorted(rows, key=len), budget):
        ids, attention = pad([[tree.tokens[node] for node in nodes] for nodes in batch], model.device)
        # Logits only from the first position on at which any row has a wanted node: (rows, positions - first, …)
        first = min(next(k for k, node in enumerate(nodes) if wanted[node]) for nodes in batch)
        logits = next_token_logits(model, ids.shape[1] - first, input_ids=ids, attention_mask=attention)
        for nodes, row in zip(batch, logits, strict=True):
            asked = [k for k in range(first, len(nodes)) if wanted[nodes[k]]]
            _store(result, tree, [nodes[k] for k in asked], row[[k - first for k in asked]])
        total += int(attention.sum())
    return replace(result, tokens=total)


def batches(rows: Sequence[list[int]], budget: int) -> Iterator[list[list[int]]]:
    """Cut rows, sorted by length, into batches of at most `budget` tokens, padding included."""
    batch: list[list[int]] = []
    for row in rows:
        # Rows get longer, so this one sets the padded length of the batch that it joins.
        if batch and len(row) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pad(rows: list[list[int]], device: torch.device, *, left: bool = False) -> tuple[Tensor, Tensor]:
    """Pad rows to one tensor; returns token ids and the attention mask, both (rows, longest)."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for k, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(0, len(row))
        ids[k, place] = torch.tensor(row)
        attention[k, place] = 1
    return ids.to(device), attention.to(device)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is back in the mode that it was in."""
    # `model.train()` would put all modules into one mode, also those that were frozen in evaluation mode.
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
