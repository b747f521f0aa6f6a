"""Files that are complete or absent, even after a crash."""

import json
import os
import shutil
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, see `write_text`.

    Raises ValueError for NaN and infinity, which are not valid JSON.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically: to a temporary file beside `path`, which is synced and then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)  # on a full disk, it would take the last room
        raise


def drop_partial(folder: Path) -> None:
    """Remove the temporary files of `write_text` that a process has left in a folder when it was killed."""
    for path in folder.rglob(".*.partial"):
        path.unlink()


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link(path: str, to: str) -> None:
    """A hard link, or a copy where the file system has no hard links."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copy2(path, to)
