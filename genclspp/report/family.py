"""The tests of a table, one family that Holm corrects.

It holds every gain over the baseline, every average gain, and every entry against the best one of its column.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from genclspp.report import statistics
from genclspp.report.entries import AVERAGE, At, Entry, Row
from genclspp.report.figures import is_loss
from genclspp.report.results import Results
from genclspp.report.series import Series, examples_of
from genclspp.report.statistics import ALPHA, Average


def judge(
    entries: Mapping[At, Entry], series: Mapping[At, Series], results: Results, metric: str
) -> tuple[dict[At, Entry], int]:
    """The entries with the verdicts of all tests, and how many were tested against the best of their column."""
    gains = {at: entry.gain.p for at, entry in entries.items() if entry.gain}
    best = _against_best(entries, series, results, metric)
    rivals = {at: p for at, p in best.items() if p is not None}
    corrected = [float(p) for p in statistics.holm([*gains.values(), *rivals.values()])]
    after = dict(zip(gains, corrected, strict=False))
    against = dict(zip(rivals, corrected[len(gains) :], strict=True))
    judged = {
        at: replace(entry, corrected=after.get(at), is_best=at in best and against.get(at, 1) > ALPHA)
        for at, entry in entries.items()
    }
    on = {at: _count(judged, at[0]) for at, entry in judged.items() if isinstance(entry.gain, Average)}
    return {at: replace(entry, on=on.get(at)) for at, entry in judged.items()}, len(rivals)


def _count(entries: Mapping[At, Entry], row: Row) -> int:
    return sum(entry.is_significant for at, entry in entries.items() if at[0] == row and at[1] != AVERAGE)


def _against_best(
    entries: Mapping[At, Entry], series: Mapping[At, Series], results: Results, metric: str
) -> dict[At, float | None]:
    """p of "equals the best of its column" for each entry that can be best; None for the best one.

    An entry without scores of the test examples cannot be tested, and has none; without a test, nothing is best.
    """
    found: dict[At, float | None] = {}
    sign = -1 if is_loss(metric) else 1
    for rivals in _rivals(entries, series):
        best = max(rivals, key=lambda at: sign * entries[at].mean)
        tested = {at: _compare(best, at, series, results, metric) for at in rivals if at != best}
        known = {at: p for at, p in tested.items() if p is not None}
        found |= {best: None, **known} if known else {}
    return found


def _rivals(entries: Mapping[At, Entry], series: Mapping[At, Series]) -> Iterator[list[At]]:
    """The entries of each column that were tested on the same examples, where there are several."""
    groups: dict[object, list[At]] = {}
    for at, entry in entries.items():
        if entry.n:
            examples = examples_of(series[at]) if at in series else frozenset()
            groups.setdefault((at[1], examples), []).append(at)
    yield from (group for group in groups.values() if len(group) > 1)


def _compare(best: At, other: At, series: Mapping[At, Series], results: Results, metric: str) -> float | None:
    """p of a comparison in one column, or over all data sets in the column of averages."""
    if best[1] != AVERAGE:
        gain = results.gain(series[best], series[other], metric)
        return gain.p if gain else None
    columns = sorted(column for row, column in series if row == best[0])
    gains = [results.gain(series[best[0], each], series[other[0], each], metric) for each in columns]
    known = [gain for gain in gains if gain]
    return statistics.average(known).p if len(known) == len(gains) else None
