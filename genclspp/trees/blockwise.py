"""Attention over a token tree in blocks of nodes, on a CPU.

Neighbours in depth-first order share most of their ancestors, so a block of them attends to few keys: the path to
its first node, and its own nodes. Only these are multiplied, in pieces that fit the processor's cache. In the
drawing of `tree`, with blocks of two nodes:

    block   runs of keys:    A :    no    EOS    match EOS    yes EOS
    A :                      █
    no EOS                   █      █      █
    match EOS                █      █               █
    yes EOS                  █                                 █

PyTorch's kernel multiplies all nodes by all keys and masks most of it out. With AVX-512 it is also no faster in
bfloat16 than in float32, while plain matrix products are four times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout, scaled_dot_product_attention

BLOCK = 64  # nodes; 128 take about as long, 32 a tenth longer


class BlockwiseMask(Tensor):
    """A boolean mask, (1, 1, nodes, keys), under which `scaled_dot_product_attention` works in blocks of nodes.

    PyTorch offers every call to the class of its arguments first (`__torch_function__`), so no model has to know.
    All else that is done with the mask gives plain tensors, under which PyTorch's own kernel works.

    runs:   lengths of the runs that the keys are cut into, such that a block attends to all keys of a run, each
            with one of its nodes at least, or to none
    blocks: per block, the indexes of the runs that it attends to, and the mask to add to its scores: (nodes, keys
            of these runs), 0 or minus infinity
    """

    runs: list[int]
    blocks: list[tuple[list[int], Tensor]]

    @classmethod
    def of(cls, mask: Tensor) -> BlockwiseMask:
        made = mask.as_subclass(cls)
        rows = mask[0, 0].split(BLOCK)
        seen = torch.stack([row.any(0) for row in rows])  # (blocks, keys)
        # A run begins wherever the next key is seen by other blocks.
        cuts = (seen[:, 1:] != seen[:, :-1]).any(0).nonzero()[:, 0] + 1
        starts = [0, *cuts.tolist()]
        made.runs = [b - a for a, b in zip(starts, [*starts[1:], mask.shape[-1]], strict=True)]
        made.blocks = []
        for row, keys in zip(rows, seen, strict=True):
            bias = torch.zeros(len(row), int(keys.sum())).masked_fill_(~row[:, keys], -math.inf)
            made.blocks.append(([k for k, start in enumerate(starts) if keys[start]], bias))
        return made

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is scaled_dot_product_attention:
            return attend(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: BlockwiseMask,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """`scaled_dot_product_attention` under a `BlockwiseMask`: (1, heads, nodes, head size)."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    # Under autocast, rotary embeddings leave queries and keys in float32.
    queries, key, value = (states[0].to(value.dtype) for states in (query, key, value))
    keys, values = key.split(attn_mask.runs, 1), value.split(attn_mask.runs, 1)
    found = []
    for rows, (runs, bias) in zip(queries.split(BLOCK, 1), attn_mask.blocks, strict=True):
        here, there = (torch.cat([states[k] for k in runs], 1) for states in (keys, values))
        scores = torch.baddbmm(bias.to(here.dtype), rows, here.transpose(1, 2), alpha=scale)
        found.append(dropout(scores.softmax(-1), dropout_p) @ there)
    return torch.cat(found, 1)[None]
