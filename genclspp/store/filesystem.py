"""What the store needs of a file system, tried before a process computes its first artifact; see docs/store.md."""

import errno
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from genclspp.store.files import sync
from genclspp.suggest import UserError

if TYPE_CHECKING:
    from filelock import BaseFileLock


TEMPORARY = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO}  # which are no lack of ability


@cache
def check(root: Path) -> None:
    """Try everything once in a process; warns where processes cannot lock each other out.

    raises: UserError that names what is missing; OSError for a folder that is full or read-only
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".trial-", dir=root))
    try:
        for what, trial in TRIALS.items():
            _require(what, trial, folder)
        if not has_locks(root):
            warnings.warn(
                f"the file system of {root} has no working locks, so they are files there: start one command at a "
                "time, or choose hydra/launcher=ray; after a crash, an old *.lock may have to be removed by hand",
                stacklevel=2,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lock(path: Path) -> "BaseFileLock":
    """A lock that one process holds at a time: of the operating system, or a file where it has none.

    The operating system releases that of a process that dies; the lock file itself is left behind.
    """
    from filelock import FileLock, SoftFileLock

    return FileLock(path) if has_locks(path.parent) else SoftFileLock(path)


def _require(what: str, trial: Callable[[Path], bool], folder: Path) -> None:
    try:
        is_there, why = trial(folder), ""
    except OSError as error:
        if error.errno in TEMPORARY:
            raise
        is_there, why = False, f" ({error.strerror})"
    if not is_there:
        raise UserError(
            f"the file system of {folder.parent} cannot {what}{why}; expected one that can, see docs/store.md"
        )


def _write(folder: Path) -> bool:
    path = folder / "file"
    path.write_text("written")
    sync(path)
    return path.read_text() == "written"


def _sync_folder(folder: Path) -> bool:
    sync(folder)
    return True


def _replace_file(folder: Path) -> bool:
    (folder / "new").write_text("new")
    (folder / "new").replace(folder / "file")
    return (folder / "file").read_text() == "new" and not (folder / "new").exists()


def _publish(folder: Path) -> bool:
    (folder / "key.partial" / "inner").mkdir(parents=True)
    (folder / "key.partial" / "inner" / "file").write_text("whole")
    (folder / "key.partial").rename(folder / "key")
    return (folder / "key" / "inner" / "file").read_text() == "whole" and not (folder / "key.partial").exists()


def _create_once(folder: Path) -> bool:
    def create() -> bool:
        try:
            os.close(os.open(folder / "once", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    return create() and not create()


TRIALS = {
    "write a file and sync it": _write,
    "sync a folder": _sync_folder,
    "replace a file by another in one step": _replace_file,
    "rename a folder in one step": _publish,
    "create a file exactly once": _create_once,
}


_EXCLUDES: dict[int, bool] = {}  # by file system


def has_locks(folder: Path) -> bool:
    """Whether a lock of the operating system keeps others out, on the file system of a folder."""
    device = folder.stat().st_dev
    if device not in _EXCLUDES:
        trial = Path(tempfile.mkdtemp(prefix=".trial-", dir=folder))
        try:
            _EXCLUDES[device] = _keeps_out(trial / "lock")
        finally:
            shutil.rmtree(trial, ignore_errors=True)
    return _EXCLUDES[device]


def _keeps_out(path: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(path).acquire(timeout=0), FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
