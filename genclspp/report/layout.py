"""From a grid to a sheet: how means, differences and missing values are formatted."""

import re
from statistics import fmean

from genclspp.report.grid import Entry, Grid, Place, count_missing
from genclspp.report.paired import COUNTS, RESAMPLES
from genclspp.report.series import spread
from genclspp.report.sheets import Sheet

MISSING = "–"
# Metrics shown in %.
SHARE = re.compile(
    r"(validation/)?"
    r"(f1/.*|(accuracy|macro_f1)\w*|selective_accuracy|coverage|majority|demonstration_vote|\w+_(rate|share))"
)


def readable(grid: Grid) -> Sheet:
    """For people: a column per choice of the column words, or without such words, a column per number."""
    if grid.column_words:
        heading = ["\n".join(map("=".join, zip(grid.column_words, place, strict=True))) for place in grid.columns]
        rows = [[*row, *(_stacked(grid, row, column) for column in grid.columns)] for row in grid.rows]
    else:
        heading = [grid.metric, "n", *(["Δ", "95 % of Δ", "Δ in %"] if grid.baseline else [])]
        rows = [[*row, *_side_by_side(grid, grid.entries[row, ()])] for row in grid.rows]
    return Sheet([*grid.row_words, *heading], rows, notes(grid), len(grid.row_words))


def numbers(grid: Grid) -> Sheet:
    """For programs: one row per entry, with each number in its own column and unrounded."""
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
    """What the numbers mean, and which are missing."""
    shared = [f"{name} {value}" for name, value in grid.shared.items() if value not in (None, "")]
    seeds = ", ".join(map(str, grid.seeds))
    unit = " in %" if _is_share(grid) else ""
    statistic = (
        f"mean ± standard deviation over n={len(grid.seeds)} seeds ({seeds})"
        if len(grid.seeds) > 1
        else f"n=1 (seed {seeds}), so no standard deviation"
    )
    found = [f"all cells: {' · '.join(shared)}"] if shared else []
    return [*found, f"{grid.metric}{unit}: {statistic}", *_on_differences(grid), *_on_missing(grid)]


def _on_differences(grid: Grid) -> list[str]:
    if not grid.baseline:
        return []
    name = " ".join(map("=".join, grid.baseline.items()))
    points = "points " if _is_share(grid) else ""
    how = f"{RESAMPLES} resamples of the test examples; seeds are not resampled"
    return [
        f"Δ: {points}above {name} with the same seed, mean ± standard deviation over seeds; in %: of its mean",
        f"a to b: 95 % interval of Δ by paired bootstrap ({how})"
        if grid.metric in COUNTS
        else f"no interval: {grid.metric} is not a share of the test examples (as {', '.join(COUNTS)} are)",
    ]


def _on_missing(grid: Grid) -> list[str]:
    gaps, whole = count_missing(grid)
    found = [entry for entry in grid.entries.values() if grid.baseline and not entry.is_baseline]
    known = [entry.difference for entry in found if entry.difference]
    bare = sum(difference.low is None for difference in known) if grid.metric in COUNTS else 0
    axes = "rows × columns × seeds" if grid.column_words else "rows × seeds"
    why = "as the artifacts do not hold predictions of both sides on the same examples; Δ is over seeds alone"
    alone = len(found) - len(known)
    counted = [
        (gaps, f"{gaps} of {whole} cells ({axes}) have no {grid.metric}"),
        (alone, f"{alone} of {len(found)} series have no baseline with the same seed"),
        (bare, f"{bare} of {len(known)} differences have no interval, {why}"),
    ]
    return [f"missing: {note}" for count, note in counted if count]


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
    """The difference, its interval, and the relative difference; "" for what is missing."""
    gap = entry.difference
    if gap is None:
        return ["baseline" if entry.is_baseline else MISSING, "", ""]
    few = f" n={gap.seeds}" if gap.seeds < len(entry.values) else ""
    return [
        f"{_value(grid, gap.mean, '+')}{_spread(grid, gap.sd)}{few}",
        f"{_value(grid, gap.low, '+')} to {_value(grid, gap.high, '+')}"
        if gap.low is not None and gap.high is not None
        else "",
        "" if gap.relative is None else f"{100 * gap.relative:+z.1f} %",
    ]


def _numbers(entry: Entry | None, scale: float) -> list[str]:
    if entry is None or not entry.values:
        return ["0", *[""] * 9]
    found, gap = entry.values.values(), entry.difference
    levels = [fmean(found) * scale, _times(spread(found), scale)]
    gaps = [gap.mean, gap.sd, gap.low, gap.high] if gap else [None] * 4
    return [
        str(len(found)),
        *map(_exact, levels),
        str(int(entry.is_baseline)),
        str(gap.seeds if gap else 0),
        *(_exact(_times(value, scale)) for value in gaps),
        _exact(_times(gap.relative, 100) if gap else None),
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
