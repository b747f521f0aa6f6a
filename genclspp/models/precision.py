"""Precision of matrix products: bfloat16 where the machine is fast at it, else float32.

In bfloat16, weights that are trained stay in float32 and are cast for each product (autocast), so that small
updates are not rounded away. All others are held in bfloat16: those of inference, and those below an adapter.
"""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Literal

Precision = Literal["float32", "bfloat16"]


@cache
def fastest() -> Precision:
    """bfloat16 on a GPU that has it and on a CPU with instructions for its products, else float32.

    Without AMX, AVX-512's instructions alone made products four times as fast as float32 (two cores, measured).
    """
    import torch

    if torch.cuda.is_available():
        is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu.get_capabilities()
        is_fast = bool(has.get("amx_bf16") or has.get("avx512_bf16"))
    return "bfloat16" if is_fast else "float32"


def autocast(model: Any, precision: str | None) -> AbstractContextManager[Any]:
    """Inside, products of float32 weights are computed in `precision`; each weight is cast once per context.

    For reading a model that is being trained: within one step only, as the casts do not see later updates.
    """
    import torch

    return torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16")
