"""How a long stage reports progress, and resumes after an interruption.

Rows are written chunk by chunk, and an interrupted stage resumes after the last complete chunk. Chunks always have
the same borders, so the result equals that of an uninterrupted run to the last digit.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Log = Callable[[Mapping[str, float]], None]


class Watch(Protocol):
    """Receives the progress of a stage: a progress bar, a tracker, a test."""

    def advance(self, done: int, total: int) -> None:
        """`done` of `total` steps are finished."""

    def log(self, row: Mapping[str, float]) -> None:
        """One row of training curves; it has an entry "step"."""


class Silent:
    """A watch that ignores everything."""

    def advance(self, done: int, total: int) -> None:
        pass

    def log(self, row: Mapping[str, float]) -> None:
        pass


def write(
    path: Path, items: Sequence[T], size: int, rows: Callable[[list[T]], Iterable[Mapping[str, Any]]], watch: Watch
) -> None:
    """Append the rows of every chunk of `size` items that `path` does not hold yet, one JSON line per row.

    rows: chunk of items -> one row per item
    """
    done = _whole_rows(path, size, len(items))
    with path.open("a", encoding="utf-8") as file:
        for start in range(done, len(items), size):
            chunk = list(items[start : start + size])
            for row in rows(chunk):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a crash loses this chunk at most
            watch.advance(start + len(chunk), len(items))


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows in `path`."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)


def _whole_rows(path: Path, size: int, total: int) -> int:
    """How many rows an earlier attempt left in complete chunks; truncates the file after them."""
    if not path.exists():
        return 0
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end is half a row
    whole = list(takewhile(_is_row, lines))  # after a power failure, the end of a file may be zeros
    kept = total if len(whole) == total else len(whole) // size * size  # the last chunk may be shorter
    path.write_bytes(b"".join(line + b"\n" for line in whole[:kept]))
    return kept


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
