"""What a stage takes of the machine: its device and its peak memory."""

import sys
from pathlib import Path

PROCESS = Path("/proc/self")


def restart() -> bool:
    """Forget earlier peaks of memory; returns whether this system can."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    try:
        (PROCESS / "clear_refs").write_text("5")  # Linux: VmHWM starts anew
    except OSError:
        return False
    return True


def peak() -> int | None:
    """The most bytes since `restart`: of the GPU's memory where one was used, else of the process.

    None where the system does not tell.
    """
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(found[0]) if found else None


def device() -> str:
    """The name of the GPU, or "cpu"."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_initialized() else "cpu"
