"""Can a model read token trees? Tried out once per model, on a small tree, before anything relies on it."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch

from genclspp.trees.forward import NodeLogprobs, evaluating, read_plain, read_tree
from genclspp.trees.tree import Tree, grow


def read(model: Any, tree: Tree, wanted: Sequence[bool]) -> NodeLogprobs:
    """Next-token predictions after the `wanted` nodes, over the tree if the model can read it; no gradient."""
    return (read_tree if supports(model) else read_plain)(model, tree, wanted)


_supported: WeakKeyDictionary = WeakKeyDictionary()


def supports(model: Any) -> bool:
    """Whether `model` reads token trees correctly; warns once per model if it does not."""
    if model not in _supported:
        with evaluating(model), in_float64(model) as is_exact:
            reason = _mismatch(model, 1e-4 if is_exact else math.inf)
        _supported[model] = reason is None
        if reason is not None:
            warnings.warn(
                f"{type(model).__name__} cannot read token trees ({reason}); "
                "falling back to plain sequences: same results, slower",
                stacklevel=2,
            )
    return _supported[model]


LARGEST = 2**30  # parameters to hold in float64 for a moment


@contextmanager
def in_float64(model: Any) -> Iterator[bool]:
    """Hold the weights in float64; gives whether that was done. Going there and back changes no bit.

    A fine-tuned model may amplify rounding to 1e-3 in float32, where a tree and plain sequences add up in another
    order. In float64 that shrinks to nothing, while a wrong mask, position or window stays what it is.
    """
    tensors = [tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.is_floating_point()]
    kinds = [tensor.dtype for tensor in tensors]
    is_exact = sum(tensor.numel() for tensor in tensors) <= LARGEST and set(kinds) <= EXACT
    # The kernels of flex attention know float32 at most.
    is_exact &= model.config.get_text_config()._attn_implementation != "flex_attention"
    try:
        for tensor in tensors if is_exact else ():
            tensor.data = tensor.data.double()
        with torch.autocast(model.device.type, enabled=False) if is_exact else nullcontext():
            yield is_exact
    finally:
        for tensor, kind in zip(tensors, kinds, strict=True):
            tensor.data = tensor.data.to(kind)


EXACT = {torch.float32, torch.bfloat16, torch.float16, torch.float64}  # quantised weights have other types


def _mismatch(model: Any, tolerance: float) -> str | None:
    """Why reading small random trees differs from reading plain sequences; None if it does not.

    tolerance: of a log-probability
    """
    for seed in range(3):
        try:
            off, ignored = _try_out(model, seed)
        except Exception as error:  # whatever the architecture raises, it cannot read trees
            return f"{type(error).__name__}: {error}"
        # In low precision no fixed tolerance works, so the tree has to be much closer to the plain sequences than
        # to what a model gives that ignores the mask.
        if not off <= min(ignored / 4, tolerance):  # NaN is a difference too
            return f"a log-probability differs by {off:.1e}"
    return None


def _try_out(model: Any, seed: int) -> tuple[float, float]:
    """How far a log-probability of a random tree is off, and how far it would be if the mask were ignored."""
    rng = random.Random(seed)
    vocabulary = model.config.get_text_config().vocab_size
    # A stem with two branches, of which one forks twice and the other continues.
    stem, *tails = ([rng.randrange(vocabulary) for _ in range(count)] for count in (6, 4, 3, 4, 2, 3))
    tree = grow([stem, *tails], [-1, 0, 0, 1, 1, 2])
    wanted = [True] * len(tree.tokens)
    ours = read_tree(model, tree, wanted, window=8).logprobs  # several windows, so that the cache is tried too
    plain = read_plain(model, tree, wanted).logprobs
    flat = read_plain(model, grow([tree.tokens]), wanted).logprobs  # all nodes as one sequence
    expected, found, unmasked = (torch.tensor(values, dtype=torch.float64) for values in (plain, ours, flat))
    return (found - expected).abs().max().item(), (unmasked - expected).abs().max().item()  # NaN if any is
