"""Records as they lie in outputs/results, and the words that tell their cells apart."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genclspp.suggest import hint

Record = Mapping[str, Any]

CHOICES = ("dataset", "model", "train", "infer", "decode", "sft", "rl", "reward", "reasoning", "seed")
STRATEGY = "strategy"  # the word for both sides, where they are equal


def read_sweeps(results: Path, sweeps: Iterable[str]) -> list[dict[str, Any]]:
    """The records of several sweeps, one after the other; ValueError names one that there is not."""
    found = []
    for sweep in dict.fromkeys(sweeps):
        if not (results / sweep).is_dir():
            known = sorted(path.name for path in results.glob("*/"))
            raise ValueError(f"no sweep {sweep!r} in {results}; {hint(sweep, known)}")
        of_sweep = read(results / sweep)
        if not of_sweep:
            raise ValueError(f"the sweep {sweep!r} has no records in {results / sweep}")
        found += of_sweep
    return found


def read(folder: Path) -> list[dict[str, Any]]:
    """The records of a sweep, `outputs/results/<name>`, by file name; ValueError names a broken one."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of records {folder}; expected outputs/results/NAME of a sweep")
    return [_read_one(path) for path in sorted(folder.glob("*.json"))]


def words(records: Sequence[Record]) -> list[str]:
    """What tells cells apart: the known choices in their order, then any other word a record carries.

    The name of the sweep is the first where there are several.
    """
    texts = {name for record in records for name, value in record.items() if isinstance(value, str)}
    others = sorted(name for name in texts - {*CHOICES, "name", "commit"} if "/" not in name)
    several = len({record.get("name") for record in records}) > 1
    known = [name for name in (*CHOICES, *others) if any(name in record for record in records)]
    return ["name", *known] if several else known


def told_apart(records: Sequence[Record]) -> tuple[list[str], dict[str, Any]]:
    """The words in which records differ, and those that all share; equal sides make one word, "strategy"."""
    names = words(records)
    if are_sides_equal(records):
        names = [STRATEGY if name == "train" else name for name in names if name != "infer"]
    first = {name: chosen(records[0], name) for name in names}
    shared = [name for name in names if all(chosen(record, name) == first[name] for record in records)]
    return [name for name in names if name not in shared], {name: first[name] for name in shared}


def are_sides_equal(records: Sequence[Record]) -> bool:
    return all(record.get("train") == record.get("infer") for record in records)


def chosen(record: Record, word: str) -> Any:
    """What a record says to a word; of "strategy", where sides are equal, the one of both."""
    return record.get("train" if word == STRATEGY else word)


def _read_one(path: Path) -> dict[str, Any]:
    again = "delete it and run its cell again, which takes it from the artifacts"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, and of UTF-8
        raise ValueError(f"{path} is no record ({error}); {again}") from None
    for name in ("accuracy", "seed"):
        if not isinstance(record, dict) or not isinstance(record.get(name), int | float):
            raise ValueError(f"{path} is no record (it has no {name}); {again}")
    return record
