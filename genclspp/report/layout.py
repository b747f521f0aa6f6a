"""From a grid to a sheet: how means, differences and what is missing are put into words."""

import re
from statistics import fmean

from genclspp.report.grid import Entry, Grid, Place, missing
from genclspp.report.paired import COUNTS, RESAMPLES
from genclspp.report.series import spread
from genclspp.report.sheets import Sheet

MISSING = "–"
# Metrics told in %.
SHARE = re.compile(r"f1/.*|(accuracy|macro_f1)\w*|selective_accuracy|coverage|majority|\w+_(rate|share)")


def readable(grid: Grid) -> Sheet:
    """A column for each choice of the column words; without such words, a column for each number."""
    if grid.column_words:
        heading = ["\n".join(map("=".join, zip(grid.column_words, place, strict=True))) for place in grid.columns]
        rows = [[*row, *(_stacked(grid, row, column) for column in grid.columns)] for row in grid.rows]
    else:
        heading = [grid.metric, "n", *(["Δ", "95 % of Δ", "Δ in %"] if grid.baseline else [])]
        rows = [[*row, *_side_by_side(grid, grid.entries[row, ()])] for row in grid.rows]
    return Sheet([*grid.row_words, *heading], rows, notes(grid), len(grid.row_words))


def numbers(grid: Grid) -> Sheet:
    """One row per place, with each number in a column of its own and in full, for programs to read."""
    words = [*grid.row_words, *grid.column_words]
    heading = ["metric", "n", "mean", "sd", "is_baseline", "pairs", "difference", "difference_sd"]
    heading += ["difference_low", "difference_high", "difference_relative"]
    rows = [
        [*row, *column, grid.metric, *_numbers(grid.entries.get((row, column)), _scale(grid))]
        for row in grid.rows
        for column in grid.columns
    ]
    return Sheet([*words, *heading], rows, notes(grid), len(words))


def notes(grid: Grid) -> list[str]:
    """What the numbers mean, and what is missing."""
    shared = [f"{name} {value}" for name, value in grid.shared.items() if value not in (None, "")]
    seeds = ", ".join(map(str, grid.seeds))
    unit = " in %" if _is_share(grid) else ""
    told = (
        f"mean ± standard deviation over n={len(grid.seeds)} seeds ({seeds})"
        if len(grid.seeds) > 1
        else f"n=1, the seed {seeds}, and so no standard deviation"
    )
    found = [f"in all: {' · '.join(shared)}"] if shared else []
    return [*found, f"{grid.metric}{unit}: {told}", *_on_differences(grid), *_on_missing(grid)]


def _on_differences(grid: Grid) -> list[str]:
    if not grid.baseline:
        return []
    name = " ".join(map("=".join, grid.baseline.items()))
    points = "points " if _is_share(grid) else ""
    drawn = f"{RESAMPLES} draws of the test examples, paired; the seeds stay as they are"
    return [
        f"Δ: {points}above {name} of the same seed, mean ± standard deviation over seeds; in %: of its mean",
        f"a to b: 95 % interval of Δ by bootstrap ({drawn})"
        if grid.metric in COUNTS
        else f"no interval: {grid.metric} is no share of the test examples (as {', '.join(COUNTS)} are)",
    ]


def _on_missing(grid: Grid) -> list[str]:
    gaps, whole = missing(grid)
    found = [entry for entry in grid.entries.values() if grid.baseline and not entry.is_baseline]
    known = [entry.difference for entry in found if entry.difference]
    bare = sum(difference.low is None for difference in known) if grid.metric in COUNTS else 0
    axes = "rows × columns × seeds" if grid.column_words else "rows × seeds"
    why = "as no predictions of the same examples on both sides are in artifacts; Δ is over the seeds alone"
    alone = len(found) - len(known)
    told = [
        (gaps, f"{gaps} of {whole} cells ({axes}) have no {grid.metric}"),
        (alone, f"{alone} of {len(found)} series have no baseline of the same seed"),
        (bare, f"{bare} of {len(known)} differences have no interval, {why}"),
    ]
    return [f"missing: {note}" for count, note in told if count]


def _side_by_side(grid: Grid, entry: Entry) -> list[str]:
    differences = _differences(grid, entry) if grid.baseline else []
    return [_level(grid, entry), str(len(entry.values)), *differences]


def _stacked(grid: Grid, row: Place, column: Place) -> str:
    entry = grid.entries.get((row, column))
    if entry is None or not entry.values:
        return MISSING
    count = f" n={len(entry.values)}" if len(entry.values) < len(grid.seeds) else ""
    if not grid.baseline:
        return _level(grid, entry) + count
    gap, *rest = _differences(grid, entry)
    lines = [_level(grid, entry) + count, gap if entry.is_baseline else f"Δ {gap}", *rest]
    return "\n".join(line for line in lines if line)


def _level(grid: Grid, entry: Entry) -> str:
    found = entry.values.values()
    return _value(grid, fmean(found)) + _spread(grid, spread(found)) if found else MISSING


def _differences(grid: Grid, entry: Entry) -> list[str]:
    """The difference, its interval and the relative one; "" for what there is not."""
    told = entry.difference
    if told is None:
        return ["baseline" if entry.is_baseline else MISSING, "", ""]
    few = f" n={told.seeds}" if told.seeds < len(entry.values) else ""
    return [
        f"{_value(grid, told.mean, '+')}{_spread(grid, told.sd)}{few}",
        f"{_value(grid, told.low, '+')} to {_value(grid, told.high, '+')}"
        if told.low is not None and told.high is not None
        else "",
        "" if told.relative is None else f"{100 * told.relative:+z.1f} %",
    ]


def _numbers(entry: Entry | None, scale: float) -> list[str]:
    if entry is None or not entry.values:
        return ["0", *[""] * 9]
    found, told = entry.values.values(), entry.difference
    levels = [fmean(found) * scale, _times(spread(found), scale)]
    gaps = [told.mean, told.sd, told.low, told.high] if told else [None] * 4
    return [
        str(len(found)),
        *map(_exact, levels),
        str(int(entry.is_baseline)),
        str(told.seeds if told else 0),
        *(_exact(_times(gap, scale)) for gap in gaps),
        _exact(_times(told.relative, 100) if told else None),
    ]


def _is_share(grid: Grid) -> bool:
    return SHARE.fullmatch(grid.metric) is not None


def _scale(grid: Grid) -> float:
    return 100 if _is_share(grid) else 1


def _value(grid: Grid, value: float, sign: str = "") -> str:
    value *= _scale(grid)
    places = 1 if _is_share(grid) or abs(value) >= 100 else 3
    return format(value, f"{sign}z.{places}f")


def _spread(grid: Grid, value: float | None) -> str:
    return "" if value is None else f" ± {_value(grid, value)}"


def _times(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _exact(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
