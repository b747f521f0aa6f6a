"""What tokens of a tree attend to, in the form that a model takes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def inputs(model, tokens: list[int], seen: Tensor, depths: list[int], key_depths: list[int]) -> dict:
    """What the model is called with to read tokens after, or with, those that they see.

    seen:       (tokens, keys) booleans, over the cached tokens and these
    depths:     position of each token in its sequence
    key_depths: the same of the keys
    """
    return {
        "input_ids": torch.tensor([tokens], device=model.device),
        "position_ids": torch.tensor([depths], device=model.device),
        "attention_mask": masks(model, seen, depths, key_depths),
    }


def masks(model, seen: Tensor, depths: list[int], key_depths: list[int]) -> Any:
    """Masks (1, 1, queries, keys), or block masks; a dict where layers differ in how far they look back."""
    config = model.config.get_text_config()
    slide = getattr(config, "sliding_window", None) or math.inf
    types = set(getattr(config, "layer_types", None) or ())
    if unknown := types - {"full_attention", "sliding_attention"}:
        raise NotImplementedError(f"layers of type {sorted(unknown)}")
    if getattr(config, "window_size", None):  # GPT-Neo cuts its local layers by itself, in order of storage
        raise NotImplementedError("local attention")

    def mask(reach: float) -> Any:
        near = seen
        if not math.isinf(reach):
            near = seen & (torch.tensor(depths)[:, None] - torch.tensor(key_depths) < reach)
        if config._attn_implementation == "flex_attention":
            return block_mask(near.to(model.device))
        near = near.to(model.device)[None, None]
        if config._attn_implementation == "sdpa":
            return near
        lowest = torch.finfo(model.dtype).min
        return torch.zeros(near.shape, device=model.device).masked_fill_(~near, lowest).to(model.dtype)

    if not types:
        return mask(slide)
    if types == {"full_attention"}:
        return mask(math.inf)
    return {"full_attention": mask(math.inf), "sliding_attention": mask(slide)}


def block_mask(seen: Tensor) -> Any:
    """For flex attention, which leaves out the blocks of strangers that a dense mask computes and discards."""
    from torch.nn.attention.flex_attention import create_block_mask

    return create_block_mask(lambda b, h, q, k: seen[q, k], None, None, *seen.shape, device=str(seen.device))
