"""Can a model read token trees? Tried out once per model, on a small tree, before anything relies on it."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
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
        with evaluating(model):
            reason = _mismatch(model)
        _supported[model] = reason is None
        if reason is not None:
            warnings.warn(
                f"{type(model).__name__} cannot read token trees ({reason}); "
                "falling back to plain sequences: same results, slower",
                stacklevel=2,
            )
    return _supported[model]


def _mismatch(model: Any) -> str | None:
    """Why reading a small random tree differs from reading plain sequences; None if it does not."""
    rng = random.Random(0)
    vocabulary = model.config.get_text_config().vocab_size
    # A stem with two branches, of which one forks twice and the other continues.
    stem, *tails = ([rng.randrange(vocabulary) for _ in range(count)] for count in (6, 4, 3, 4, 2, 3))
    tree = grow([stem, *tails], [-1, 0, 0, 1, 1, 2])
    wanted = [True] * len(tree.tokens)
    try:
        ours = read_tree(model, tree, wanted, window=8).logprobs  # several windows, so that the cache is tried too
    except Exception as error:  # whatever the architecture raises, it cannot read trees
        return f"{type(error).__name__}: {error}"
    plain = read_plain(model, tree, wanted).logprobs
    # What a model would give that ignores the mask: all nodes as one sequence. In low precision no fixed tolerance
    # works, so the tree has to be much closer to the plain sequences than to that.
    flat = read_plain(model, grow([tree.tokens]), wanted).logprobs
    off, ignored = (max(abs(a - b) for a, b in zip(plain, other, strict=True)) for other in (ours, flat))
    tolerance = min(ignored / 4, 1e-4 if _computes_in_float32(model) else math.inf)
    return None if off <= tolerance else f"a log-probability differs by {off:.1e}"


def _computes_in_float32(model: Any) -> bool:
    # accelerate keeps the forward pass that it wraps for mixed precision as `_original_forward`.
    mixed = torch.is_autocast_enabled(model.device.type) or hasattr(model, "_original_forward")
    return model.dtype == torch.float32 and not mixed
