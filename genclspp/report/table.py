"""From the series of sweeps and a description to a table: who stands where, and how good it is."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

from genclspp.report import family, statistics
from genclspp.report.description import Description, Place, absent, has, place, settle
from genclspp.report.entries import AVERAGE, At, Entry, Row, Table
from genclspp.report.headline import headlines
from genclspp.report.records import Record, split_words
from genclspp.report.results import Results
from genclspp.report.series import Series, examples_of, spread
from genclspp.report.statistics import Gain, Interval, Level
from genclspp.suggest import UserError


@dataclass(frozen=True)
class Base:
    """What series are compared with: how to find it, and what it is called."""

    of: Callable[[Series], Series | None]
    called: str


def build(results: Results, description: Description, name: str = "", base: Base | None = None) -> Table:
    """The table of `results`; raises UserError for what its description names and no record has.

    base: what to compare with, where the description has no baseline
    """
    about = settle(description, results.series)
    series = [each for each in results.series if has(each, about.where)]
    if not series:
        asked = " and ".join(f"{word}={'|'.join(map(str, found))}" for word, found in about.where.items())
        raise UserError(f"no record has {asked}; the table is empty")
    placed = _placed(series, about)
    rows = sorted({row for row, _ in placed}, key=lambda row: _order_of_row(row, about))
    columns = sorted({column for _, column in placed}, key=lambda at: _order(at, about.columns, about))
    base = _base(results, description.baseline, about.baseline) if about.baseline else base
    entries = {at: _entry(each, base.of(each) if base else None, results, about) for at, each in placed.items()}
    if about.average and len(columns) > 1:
        entries |= _averages(entries, rows, columns)
        columns = [*columns, AVERAGE]
    shared = split_words([record for each in series for record in each.records])[1]
    judged, compared = family.judge(entries, placed, results, about.metric)
    return Table(
        name=name,
        description=about,
        rows=rows,
        columns=columns,
        entries=judged,
        series=placed,
        shared={word: value for word, value in shared.items() if word not in ("seed", *(about.rows or ()))},
        base=base.called if base else "",
        compared=compared,
        headlines=headlines(
            results, about.metric, [placed[row, at] for row in rows for at in columns if (row, at) in placed]
        ),
        absent=absent(about, results.series),
    )


def _base(results: Results, named: Mapping[str, Any], wanted: Mapping[str, Any]) -> Base:
    words = " ".join(f"{word}={choice}" for word, choice in named.items())
    return Base(partial(results.baseline_of, wanted=wanted), f"the cell with {words} and all else equal")


def _placed(series: Sequence[Series], about: Description) -> dict[At, Series]:
    """The series of each entry; raises UserError where rows and columns do not tell two of them apart."""
    found: dict[At, Series] = {}
    for each in series:
        block = next((heading for heading, wanted in about.blocks.items() if has(each, wanted)), "")
        at = Row(block, place(each, about.rows or ())), place(each, about.columns)
        other = found.setdefault(at, each)
        if other is not each:
            apart = [word for word in each.words if each.words[word] != other.words.get(word)]
            raise UserError(
                f"rows and columns do not separate cells that differ in {', '.join(apart)}; "
                f"add {' or '.join(apart)} to them, or choose among them"
            )
    return found


def _entry(series: Series, baseline: Series | None, results: Results, about: Description) -> Entry:
    values = list(results.values(series, about.metric).values())
    if not values:
        return Entry(0, float("nan"))
    means = {name: list(results.values(series, name).values()) for name in about.beside}
    entry = Entry(
        n=len(values),
        mean=fmean(values),
        sd=spread(values),
        level=results.level(series, about.metric) or _recorded(series.records, about.metric),
        is_fixed=not series.records[0].get("is_random", True),
        beside={name: fmean(found) for name, found in means.items() if found},
    )
    if baseline is None:
        return entry
    if baseline is series:
        return replace(entry, is_baseline=True)
    if gain := results.gain(series, baseline, about.metric):
        relative = results.relative_gain(series, baseline, about.metric)
        return replace(entry, gain=gain, points=gain.mean, relative=relative)
    base = results.values(baseline, about.metric).values()
    if not base or len(examples_of(series) | examples_of(baseline)) > 1:
        return entry
    above = entry.mean - fmean(base)
    return replace(entry, points=above, relative=_ratio(above, entry.mean))


def _recorded(records: Sequence[Record], metric: str) -> Level | None:
    """The interval of a series of one record, where that holds one: Wilson's for accuracy, else a bootstrap's."""
    low, high = (records[0].get(f"{metric}_{end}") for end in ("low", "high"))
    if len(records) > 1 or low is None or high is None:
        return None
    return Level(records[0][metric], low, high, None, "Wilson" if metric == "accuracy" else "percentile bootstrap")


def _ratio(points: float, mean: float) -> Interval | None:
    """Points above a baseline as a share of it; nothing is known about its error."""
    base = mean - points
    return Interval(points / base, -math.inf, math.inf) if base > 0 else None


def _averages(entries: Mapping[At, Entry], rows: Sequence[Row], columns: Sequence[Place]) -> dict[At, Entry]:
    """The average over columns, of the rows that have all of them."""
    found = {}
    for row in rows:
        parts = [entries[row, column] for column in columns if (row, column) in entries]
        if len(parts) < len(columns) or not all(part.n for part in parts):
            continue
        mean, gains = fmean(part.mean for part in parts), [part.gain for part in parts]
        tested = [gain for gain in gains if isinstance(gain, Gain)]
        gain = statistics.average(tested) if len(tested) == len(parts) else None
        points = [part.points for part in parts if part.points is not None]
        above = fmean(points) if len(points) == len(parts) else None
        found[row, AVERAGE] = Entry(
            n=len(parts),
            mean=mean,
            is_average=True,
            is_baseline=all(part.is_baseline for part in parts),
            gain=gain,
            points=above,
            relative=None if above is None else _ratio(above, mean),
        )
    return found


def _order_of_row(row: Row, about: Description) -> list[Any]:
    headings = [*about.blocks, ""]  # rows of no block come last
    return [headings.index(row.block), *_order(row.place, about.rows or (), about)]


def _order(at: Place, words: Sequence[str], about: Description) -> list[Any]:
    """Sort key: as `where` lists choices, else baselines first, then natural ("pilot2" before "pilot10")."""
    return [_rank(value, word, about) for word, value in zip(words, at, strict=True)]


def _rank(value: str, word: str, about: Description) -> list[Any]:
    if word in about.where:
        return [[*map(str, about.where[word])].index(value)]
    wanted = about.baseline.get("train" if word == "strategy" else word)
    parts = re.split(r"(\d+)", value)
    return [
        wanted is not None and value != str(wanted),
        *[(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts],
    ]
