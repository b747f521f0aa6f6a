"""A grid: the series of one or more sweeps, placed by their words in rows and columns, beside a baseline."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genclspp.report.paired import Difference, ExampleScores, baseline_of, compare
from genclspp.report.records import STRATEGY, Record, are_sides_equal, chosen, told_apart, words
from genclspp.report.series import Series, doubled, gather, values
from genclspp.suggest import hint

Place = tuple[str, ...]  # what a row, or a column, says to each of its words


@dataclass(frozen=True)
class Entry:
    """What stands at a place. `values`: seed -> value; `difference`: None without a baseline."""

    values: Mapping[int, float]
    difference: Difference | None
    is_baseline: bool


@dataclass(frozen=True)
class Grid:
    """Rows and columns in their order, and what is found where they meet.

    row_words, column_words: what is chosen in rows and columns; no column word makes one column
    baseline: the wanted choices, empty where nothing is compared
    shared:   what is equal in all records
    """

    metric: str
    row_words: Sequence[str]
    column_words: Sequence[str]
    rows: Sequence[Place]
    columns: Sequence[Place]
    entries: Mapping[tuple[Place, Place], Entry]
    baseline: Mapping[str, str]
    seeds: Sequence[int]
    shared: Mapping[str, Any]


def build(
    records: Sequence[Record],
    scores: Callable[[Record], ExampleScores | None],
    rows: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    baseline: Sequence[str] = (),
    metric: str = "accuracy",
) -> Grid:
    """The grid of `records`; raises ValueError for a word that no record knows.

    rows:     words; None takes those in which series differ and which are no columns
    baseline: "word=choice" of what each series is compared with, the other words equal
    """
    series = gather(records)
    _check_single(series)
    differing, shared = told_apart(records)
    _check_metric(metric, records)
    _check_words("rows", rows or (), records)
    _check_words("columns", columns, records)
    wanted = _wanted(baseline, records)
    rows = _default_rows(series, differing, columns) if rows is None else rows
    places = [(_place(each, rows), _place(each, columns)) for each in series]
    _check_apart(series, places, differing, (*rows, *columns))
    entries = [_entry(each, series, wanted, metric, scores) for each in series]
    return Grid(
        metric=metric,
        row_words=rows,
        column_words=columns,
        rows=sorted({row for row, _ in places}, key=lambda place: _order(place, rows, wanted)),
        columns=sorted({column for _, column in places}, key=lambda place: _order(place, columns, wanted)),
        entries=dict(zip(places, entries, strict=True)),
        baseline=dict(word.split("=", 1) for word in baseline),
        seeds=sorted({record["seed"] for record in records}),
        shared={name: value for name, value in shared.items() if name != "seed" and name not in rows},
    )


def missing(grid: Grid) -> tuple[int, int]:
    """How many cells (rows × columns × seeds) have no value, and how many there would be."""
    whole = len(grid.rows) * len(grid.columns) * len(grid.seeds)
    return whole - sum(len(entry.values) for entry in grid.entries.values()), whole


def _entry(
    series: Series,
    among: Sequence[Series],
    wanted: Mapping[str, str],
    metric: str,
    scores: Callable[[Record], ExampleScores | None],
) -> Entry:
    baseline = baseline_of(series, wanted, among) if wanted else None
    is_baseline = series is baseline
    difference = compare(series, baseline, metric, scores) if baseline and not is_baseline else None
    return Entry(values(series, metric), difference, is_baseline)


def _place(series: Series, words: Sequence[str]) -> Place:
    found = [chosen(series.words, word) for word in words]
    return tuple("–" if value in (None, "") else str(value) for value in found)


def _order(place: Place, words: Sequence[str], wanted: Mapping[str, str]) -> list[Any]:
    """Baselines first, then by name; the numbers in a name count as such."""
    first = [value != chosen(wanted, word) for word, value in zip(words, place, strict=True)]
    return list(zip(first, map(_natural, place), strict=True))


def _natural(text: str) -> list[Any]:
    parts = re.split(r"(\d+)", text)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _default_rows(series: Sequence[Series], differing: Sequence[str], columns: Sequence[str]) -> list[str]:
    taken = {*columns, "seed", *(("train", "infer") if STRATEGY in columns else ())}
    rows = [word for word in differing if word not in taken] or ["name"]
    without = [word for word in rows if word != "overrides"]  # long, and often told by the name of the sweep
    places = {(_place(each, without), _place(each, columns)) for each in series}
    return without if without and len(places) == len(series) else rows


def _check_single(series: Sequence[Series]) -> None:
    for one, other in doubled(series):
        keys = " and ".join(str(record.get("artifact/predict")) for record in (one, other))
        raise ValueError(
            f"the sweep {one.get('name')!r} holds two records of the same choices and seed {one['seed']} "
            f"(artifact/predict {keys}): settings changed between them; delete the older file"
        )


def _check_apart(
    series: Sequence[Series], places: Sequence[object], differing: Sequence[str], words: Sequence[str]
) -> None:
    found: dict[object, Series] = {}
    for each, place in zip(series, places, strict=True):
        other = found.setdefault(place, each)
        apart = [word for word in differing if chosen(each.words, word) != chosen(other.words, word)]
        if other is not each:
            raise ValueError(
                f"rows and columns of {' '.join(words)} put cells into one place that differ in "
                f"{', '.join(apart)}; name it in --rows or --columns"
            )


def _check_words(place: str, given: Sequence[str], records: Sequence[Record]) -> None:
    """Raise ValueError for a word of --rows or --columns that no record knows."""
    known = _known(records)
    for word in given:
        if word == "seed":
            raise ValueError(f"--{place} seed: the means run over the seeds; {hint(word, known)}")
        if word not in known:
            raise ValueError(f"unknown word {word!r} in --{place}; {hint(word, known)}")


def _wanted(baseline: Sequence[str], records: Sequence[Record]) -> dict[str, str]:
    """Word -> choice of the baseline, from "word=choice"; the word "strategy" stands for both sides."""
    known = list(dict.fromkeys([*_known(records), STRATEGY]))
    found: dict[str, str] = {}
    for given in baseline:
        word, equals, choice = given.partition("=")
        if not equals:
            raise ValueError(f"--baseline {given}: expected word=choice, such as rl=none")
        if word not in known:
            raise ValueError(f"unknown word {word!r} in --baseline; {hint(word, known)}")
        for name in ("train", "infer") if word == STRATEGY else (word,):
            choices = sorted({record[name] for record in records if record.get(name) is not None})
            if choice not in choices:
                raise ValueError(f"--baseline {given}: no record has {name}={choice}; {hint(choice, choices)}")
            found[name] = choice
    return found


def _check_metric(metric: str, records: Sequence[Record]) -> None:
    """Raise ValueError for a metric that no record has a number for."""
    numbers = {name for record in records for name, value in record.items() if isinstance(value, int | float)}
    if metric not in numbers - {"seed"}:
        raise ValueError(f"unknown metric {metric!r}; {hint(metric, sorted(numbers - {'seed'}))}")


def _known(records: Sequence[Record]) -> list[str]:
    sides = [STRATEGY] if are_sides_equal(records) else []
    return list(dict.fromkeys(["name", *sides, *(word for word in words(records) if word != "seed")]))
