"""How many threads a run computes with, and whether other runs want the same cores."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

BRIEFLY = 1.0  # seconds to wait for our own lock, which another process may be looking at


def wait_passively() -> None:
    """Let threads sleep while they wait for work. Call it before torch is imported, when OpenMP reads this.

    By default such a thread spins for milliseconds, on a core that another process could use. Two runs that each
    had a thread for every core took more than ten times as long as one. What the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def count(asked: int | None) -> int:
    """How many threads to compute with: as asked, else as OMP_NUM_THREADS says, else one per physical core."""
    if asked is not None:
        return asked
    given = (
        os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    )  # in "4,2", the 2 is for nested regions
    return int(given) if given.isdecimal() and int(given) else cores()


def cores() -> int:
    """The number of physical cores that this process may use."""
    from joblib import cpu_count

    return cpu_count(only_physical_cores=True)


@contextmanager
def computing(threads: int) -> Iterator[str | None]:
    """Let torch compute with so many threads, and tell other runs; yields a warning if the cores do not suffice.

    Runs of the same user on the same machine see each other: each holds a lock on a file named by its process id
    and its threads, which the operating system releases even after a crash. None of this can stop a run.
    """
    import torch

    torch.set_num_threads(threads)
    own = _announce(threads)
    try:
        yield _warning(threads, _others(Path(own.lock_file))) if own else None
    finally:
        if own:
            with suppress(OSError):
                own.release()
                Path(own.lock_file).unlink(missing_ok=True)


def _announce(threads: int) -> "BaseFileLock | None":
    """Our own lock, held; None where there is no temporary folder to write to."""
    from filelock import FileLock

    with suppress(OSError, KeyError):  # KeyError: in some containers the user has no name
        folder = Path(tempfile.gettempdir()) / f"genclspp-{getuser()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        own = FileLock(folder / f"{os.getpid()}-{threads}.lock")
        own.acquire(timeout=BRIEFLY)
        return own
    return None


def _others(own: Path) -> dict[int, int]:
    """Process -> its threads, of every other run that is computing now."""
    from filelock import FileLock, Timeout

    found = {}
    for path in own.parent.glob("*-*.lock"):
        process, _, threads = path.stem.partition("-")
        if path == own or not (process.isdecimal() and threads.isdecimal()):
            continue
        try:
            FileLock(path).acquire(timeout=0).lock.release()
            # The run of this file has crashed. The file stays: it might be a new one, about to be locked.
        except Timeout:
            found[int(process)] = int(threads)
        except OSError:
            continue
    return found


def _warning(threads: int, others: dict[int, int]) -> str | None:
    total = threads + sum(others.values())
    if not others or total <= cores():
        return None
    runs = "another run is" if len(others) == 1 else f"{len(others)} other runs are"
    who = ", ".join(map(str, sorted(others)))
    return (
        f"{runs} computing on this machine (process {who}): {total} threads share {cores()} cores, so each run "
        "takes longer; threads=… sets how many a run has"
    )
