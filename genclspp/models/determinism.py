"""The same bits every time, on a GPU too.

CUDA kernels may add up in the order in which their blocks happen to end: two equal commands on an H100 ended in
other weights. PyTorch has deterministic ones for nearly everything; those of attention, only for who asks strictly
(`torch.use_deterministic_algorithms`).
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


def prepare() -> None:
    """Before the first product on a GPU: give cuBLAS the work space of its own without which its sums may vary."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def repeatable(on: bool, *, strict: bool = True) -> Iterator[None]:
    """Where `on`, only deterministic kernels; afterwards everything is as it was.

    strict: whether an operation that has none raises RuntimeError, else it warns
    """
    import torch

    kernels = torch.utils.deterministic
    was_on, was_lenient = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled = kernels.fill_uninitialized_memory
    if on:
        torch.use_deterministic_algorithms(True, warn_only=not strict)
        kernels.fill_uninitialized_memory = False  # which would find uses of such memory, and takes time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_on, warn_only=was_lenient)
        kernels.fill_uninitialized_memory = filled


def leniently() -> AbstractContextManager[None]:
    """Where only deterministic kernels may run, operations that have none warn, such as the sums of `top_p`."""
    import torch

    return repeatable(torch.are_deterministic_algorithms_enabled(), strict=False)
