"""Which training examples stand as demonstrations before which query."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from genclspp.selection import demonstrations
from genclspp.store import write_json
from genclspp.task import Example

ROWS = "neighbours.json"


def find(
    train: Sequence[Example], queries: Sequence[Example], shots: int, embedder: str, language: str, out: Path
) -> None:
    """Leave the ids of the `shots` nearest training examples of each query, nearest first."""
    found = demonstrations.neighbours(train, queries, shots, embedder, language)
    write_json(out / ROWS, {query: [example.id for example in near] for query, near in found.items()})


def read(folder: Path, train: Sequence[Example]) -> Mapping[str, tuple[Example, ...]]:
    """query id -> demonstrations, as `find` left them."""
    by_id = {example.id: example for example in train}
    rows = json.loads((folder / ROWS).read_text(encoding="utf-8"))
    return {query: tuple(by_id[id] for id in ids) for query, ids in rows.items()}
