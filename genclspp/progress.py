"""How a long stage tells what it is doing, and goes on after an interruption.

Rows are written chunk by chunk, so that a stage that was interrupted goes on behind the last whole chunk. What it
leaves is to the last digit what an uninterrupted run leaves: chunks always have the same borders.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Log = Callable[[Mapping[str, float]], None]


class Watch(Protocol):
    """Listens to a stage: a progress bar, a tracker, a test."""

    def advance(self, done: int, total: int) -> None:
        """`done` of `total` steps are behind us."""

    def log(self, row: Mapping[str, float]) -> None:
        """One row of curves; it carries "step"."""


class Silent:
    """Nobody listens."""

    def advance(self, done: int, total: int) -> None:
        pass

    def log(self, row: Mapping[str, float]) -> None:
        pass


def write(
    path: Path, items: Sequence[T], size: int, rows: Callable[[list[T]], Iterable[Mapping[str, Any]]], watch: Watch
) -> None:
    """Append the rows of every chunk of `size` items that is not there yet; one JSON line each."""
    done = _whole_rows(path, size, len(items))
    with path.open("a", encoding="utf-8") as file:
        for start in range(done, len(items), size):
            chunk = list(items[start : start + size])
            for row in rows(chunk):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            watch.advance(start + len(chunk), len(items))


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows in `path`."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def _whole_rows(path: Path, size: int, total: int) -> int:
    """How many rows of whole chunks an earlier attempt left; what follows them is cut off."""
    if not path.exists():
        return 0
    whole = path.read_bytes().split(b"\n")[:-1]
    kept = total if len(whole) == total else len(whole) // size * size
    path.write_bytes(b"".join(line + b"\n" for line in whole[:kept]))
    return kept
