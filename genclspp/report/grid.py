"""A grid: the series of one or more sweeps in rows and columns, compared with a baseline.

A word is the name of a choice, such as "rl" or "dataset": what rows, columns and baselines are made of.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genclspp.report.paired import Difference, ExampleScores, baseline_of, compare
from genclspp.report.records import STRATEGY, Record, are_sides_equal, chosen, split_words, words
from genclspp.report.series import Series, find_duplicates, gather, values
from genclspp.suggest import UserError, hint

Place = tuple[str, ...]  # the choice of a row, or of a column, for each of its words


@dataclass(frozen=True)
class Entry:
    """One cell of the grid. `values`: seed -> value; `difference`: from its baseline, None if it has none."""

    values: Mapping[int, float]
    difference: Difference | None
    is_baseline: bool


@dataclass(frozen=True)
class Grid:
    """Rows and columns in order, and the entries where they meet.

    row_words, column_words: the words that rows and columns vary; without column words there is one column
    baseline: word -> choice of the baseline; empty if nothing is compared
    shared:   word -> choice that all records share
    """

    metric: str
    row_words: Sequence[str]
    column_words: Sequence[str]
    rows: Sequence[Place]
    columns: Sequence[Place]
    entries: Mapping[tuple[Place, Place], Entry]
    baseline: Mapping[str, Any]
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
    """Build the grid of `records`; raises UserError for unknown words, and where series share an entry.

    scores:   see `paired.reader`
    rows:     words; None takes those that differ between series and are not columns
    baseline: "word=choice": each series is compared with the one that has these choices and equals it in all else
    """
    series = gather(records)
    _check_single(series)
    differing, shared = split_words(records)
    _check_metric(metric, records)
    _check_words("rows", rows or (), records)
    _check_words("columns", columns, records)
    wanted = _wanted(baseline, records)
    rows = _default_rows(series, differing, columns) if rows is None else rows
    places = [(_place(each, rows), _place(each, columns)) for each in series]
    _check_places(series, places, differing)
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


def count_missing(grid: Grid) -> tuple[int, int]:
    """How many cells (rows × columns × seeds) have no value, out of how many."""
    whole = len(grid.rows) * len(grid.columns) * len(grid.seeds)
    return whole - sum(len(entry.values) for entry in grid.entries.values()), whole


def _entry(
    series: Series,
    among: Sequence[Series],
    wanted: Mapping[str, Any],
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


def _order(place: Place, words: Sequence[str], wanted: Mapping[str, Any]) -> list[Any]:
    """Sort key: baselines first, then natural order by name ("pilot2" before "pilot10")."""
    first = [value != chosen(wanted, word) for word, value in zip(words, place, strict=True)]
    return list(zip(first, map(_natural, place), strict=True))


def _natural(text: str) -> list[Any]:
    parts = re.split(r"(\d+)", text)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _default_rows(series: Sequence[Series], differing: Sequence[str], columns: Sequence[str]) -> list[str]:
    taken = {*columns, "seed", *(("train", "infer") if STRATEGY in columns else ())}
    rows = [word for word in differing if word not in taken] or ["name"]
    # Often the name of the sweep says the same as its knobs: these are omitted if places stay unique.
    without = [word for word in rows if "." not in word]
    places = {(_place(each, without), _place(each, columns)) for each in series}
    return without if without and len(places) == len(series) else rows


def _check_single(series: Sequence[Series]) -> None:
    for one, other in find_duplicates(series):
        keys = " and ".join(str(record.get("artifact/predict")) for record in (one, other))
        raise UserError(
            f"the sweep {one.get('name')!r} has two records with the same choices and seed {one['seed']} "
            f"(artifact/predict {keys}), so settings changed in between; delete the older file"
        )


def _check_places(series: Sequence[Series], places: Sequence[object], differing: Sequence[str]) -> None:
    found: dict[object, Series] = {}
    for each, place in zip(series, places, strict=True):
        other = found.setdefault(place, each)
        apart = [word for word in differing if chosen(each.words, word) != chosen(other.words, word)]
        if other is not each:
            raise UserError(
                f"--rows and --columns do not separate cells that differ in {', '.join(apart)}; "
                f"add {' or '.join(apart)}"
            )


def _check_words(place: str, given: Sequence[str], records: Sequence[Record]) -> None:
    """Raise UserError for a word of --rows or --columns that no record knows."""
    known = _known(records)
    for word in given:
        if word == "seed":
            raise UserError(f"--{place} seed: values are averaged over seeds; {hint(word, known)}")
        if word not in known:
            raise UserError(f"unknown word {word!r} in --{place}; {hint(word, known)}")


def _wanted(baseline: Sequence[str], records: Sequence[Record]) -> dict[str, Any]:
    """Word -> choice of the baseline, from "word=choice"; the word "strategy" stands for both sides."""
    known = list(dict.fromkeys([*_known(records), STRATEGY]))
    found: dict[str, Any] = {}
    for given in baseline:
        word, equals, choice = given.partition("=")
        if not equals:
            raise UserError(f"--baseline {given}: expected word=choice, such as rl=none")
        if word not in known:
            raise UserError(f"unknown word {word!r} in --baseline; {hint(word, known)}")
        for name in ("train", "infer") if word == STRATEGY else (word,):
            choices = {str(record[name]): record[name] for record in records if record.get(name) is not None}
            if choice not in choices:
                near = hint(choice, sorted(choices))
                raise UserError(f"--baseline {given}: no record has {name}={choice}; {near}")
            found[name] = choices[choice]
    return found


def _check_metric(metric: str, records: Sequence[Record]) -> None:
    """Raise UserError for a metric that no record has a number for."""
    numbers = {name for record in records for name, value in record.items() if isinstance(value, int | float)}
    if metric not in numbers - {"seed"}:
        raise UserError(f"unknown metric {metric!r}; {hint(metric, sorted(numbers - {'seed'}))}")


def _known(records: Sequence[Record]) -> list[str]:
    sides = [STRATEGY] if are_sides_equal(records) else []
    return list(dict.fromkeys(["name", *sides, *(word for word in words(records) if word != "seed")]))
