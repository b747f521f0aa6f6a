"""The inputs of a forward pass over a token tree: token ids, positions, and the mask in the model's own form."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genclspp.trees.blockwise import BlockwiseMask


def build_inputs(model: Any, tokens: list[int], mask: Tensor, depths: list[int], key_depths: list[int]) -> dict:
    """Keyword arguments for reading `tokens` after the tokens that are in the cache.

    tokens:     token ids to read
    mask:       (tokens, keys) booleans, True where a token attends to a key; keys are the cached tokens, then
                `tokens`
    depths:     position of each token in its own sequence
    key_depths: position of each key in its own sequence
    """
    return {
        "input_ids": torch.tensor([tokens], device=model.device),
        "position_ids": torch.tensor([depths], device=model.device),
        "attention_mask": build_masks(model, mask, depths, key_depths),
    }


def build_masks(model: Any, mask: Tensor, depths: list[int], key_depths: list[int]) -> Any:
    """`mask` in the form that the model's attention takes; arguments as for `build_inputs`.

    returns: a tensor (1, 1, tokens, keys), boolean for sdpa and additive for eager attention, or a block mask for
             flex attention; if the layers of a model differ, a dict from layer type to mask
    raises:  NotImplementedError for layers that would not obey a mask: linear attention, GPT-Neo's local layers
    """
    config = model.config.get_text_config()  # of a multimodal model, that of its language model
    slide = getattr(config, "sliding_window", None) or math.inf
    types = set(getattr(config, "layer_types", None) or ())
    if unknown := types - {"full_attention", "sliding_attention"}:
        raise NotImplementedError(f"no tree mask for layers of type {sorted(unknown)}")
    if getattr(config, "window_size", None):  # GPT-Neo masks its local layers itself, by index instead of position
        raise NotImplementedError("no tree mask for local attention")

    def build(reach: float) -> Any:
        """The mask of layers that attend to the last `reach` positions."""
        near = mask
        if not math.isinf(reach):
            # Distance counts positions in the text. Indexes will not do: a node and its parent may lie far apart.
            near = mask & (torch.tensor(depths)[:, None] - torch.tensor(key_depths) < reach)
        if config._attn_implementation == "flex_attention":
            return build_block_mask(near.to(model.device))
        near = near.to(model.device)[None, None]  # one batch row, shared by all heads
        if config._attn_implementation == "sdpa":
            # A single node needs no blocks, and transformers packs its heads into nodes.
            return BlockwiseMask.of(near) if near.device.type == "cpu" and len(mask) > 1 else near
        # Eager attention adds the mask to its scores.
        lowest = torch.finfo(model.dtype).min
        return torch.zeros(near.shape, dtype=model.dtype, device=model.device).masked_fill_(~near, lowest)

    # Without layer types (Mistral), a sliding window holds for all layers.
    if not types:
        return build(slide)
    if types == {"full_attention"}:
        return build(math.inf)
    return {"full_attention": build(math.inf), "sliding_attention": build(slide)}


def build_block_mask(mask: Tensor) -> Any:
    """The mask for flex attention, which skips blocks that are masked out as a whole."""
    from torch.nn.attention.flex_attention import create_block_mask

    return create_block_mask(lambda b, h, q, k: mask[q, k], None, None, *mask.shape, device=str(mask.device))
