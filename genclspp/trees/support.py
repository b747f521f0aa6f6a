"""Can a model read token trees? Tried once per model, before it is relied on."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch

from genclspp.trees.forward import NodeLogprobs, evaluating, read_plain, read_tree
from genclspp.trees.tree import Tree, grow


def read(model, tree: Tree, wanted: Sequence[bool]) -> NodeLogprobs:
    """Next-token predictions at the `wanted` nodes of `tree`; without gradient."""
    return (read_tree if supports(model) else read_plain)(model, tree, wanted)


_supported: WeakKeyDictionary = WeakKeyDictionary()


def supports(model) -> bool:
    """Whether `model` reads trees: tried once per model on a small tree, said aloud if not."""
    if model not in _supported:
        with evaluating(model):
            reason = _mismatch(model)
        _supported[model] = reason is None
        if reason is not None:
            warnings.warn(
                f"{type(model).__name__} cannot read token trees ({reason}); "
                "taking plain sequences instead: same results, slower",
                stacklevel=2,
            )
    return _supported[model]


def _mismatch(model) -> str | None:
    """Why a small random tree comes out differently from plain sequences, None if it does not."""
    rng = random.Random(0)
    vocabulary = model.config.get_text_config().vocab_size
    stem, *tails = ([rng.randrange(vocabulary) for _ in range(count)] for count in (6, 4, 3, 4, 2, 3))
    tree = grow([stem, *tails], [-1, 0, 0, 1, 1, 2])
    wanted = [True] * len(tree.tokens)
    try:
        ours = read_tree(model, tree, wanted, window=8).logprobs
    except Exception as error:  # whatever the architecture raises, the answer is the same: no
        return f"{type(error).__name__}: {error}"
    plain = read_plain(model, tree, wanted).logprobs
    flat = read_plain(model, grow([tree.tokens]), wanted).logprobs  # as if the mask were ignored
    off, ignored = (max(abs(a - b) for a, b in zip(plain, other, strict=True)) for other in (ours, flat))
    tolerance = min(ignored / 4, 1e-4 if _computes_in_float32(model) else math.inf)
    return None if off <= tolerance else f"a log-probability differs by {off:.1e}"


def _computes_in_float32(model) -> bool:
    mixed = torch.is_autocast_enabled(model.device.type) or hasattr(model, "_original_forward")  # accelerate's
    return model.dtype == torch.float32 and not mixed
