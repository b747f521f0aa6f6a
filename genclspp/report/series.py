"""Series: the records of cells that are equal in everything but the seed, with their mean and spread."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from genclspp.report.records import Record, words


@dataclass(frozen=True)
class Series:
    """Records of cells that differ only in seed, ordered by seed. `words`: word -> the choice of all of them."""

    words: Mapping[str, Any]
    records: tuple[Record, ...]


def gather(records: Sequence[Record]) -> list[Series]:
    """The series of `records`, in the order in which they first occur.

    Of records in which nothing is random and that have the same predictions, or equal words and none, it keeps the
    first seed's: another seed repeats it and tells nothing new.
    """
    names = ["name", *(name for name in words(records) if name not in ("name", "seed"))]
    found: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        found.setdefault(tuple(record.get(name) for name in names), []).append(record)
    return [
        Series(dict(zip(names, values, strict=True)), _different(sorted(same, key=lambda record: record["seed"])))
        for values, same in found.items()
    ]


def _different(records: Iterable[Record]) -> tuple[Record, ...]:
    """The records of a series without repetitions of what is not random."""
    found: dict[Any, Record] = {}
    for place, record in enumerate(records):
        found.setdefault(place if record.get("is_random", True) else (record.get("artifact/predict"),), record)
    return tuple(found.values())


def find_duplicates(series: Iterable[Series]) -> list[tuple[Record, Record]]:
    """Pairs of records with equal words and seeds, whose settings must have changed in between."""
    return [
        (one, other)
        for each in series
        for one, other in zip(each.records, each.records[1:], strict=False)
        if one["seed"] == other["seed"]
    ]


def values(series: Series, metric: str) -> dict[int, float]:
    """Seed -> value of a metric, for the records that have one."""
    return {record["seed"]: float(record[metric]) for record in series.records if record.get(metric) is not None}


def examples_of(series: Series) -> frozenset[str]:
    """Digests of the test examples; older records do not say."""
    return frozenset(digest for record in series.records if (digest := record.get("digest/test")))


def spread(values: Iterable[float]) -> float | None:
    """The sample standard deviation; None for a single value."""
    found = list(values)
    return stdev(found) if len(found) > 1 else None
