"""The headline of a sweep: the best cell, chosen on validation examples and reported on test examples.

The best of many cells on the test examples is partly the luckiest one; choosing on others keeps luck out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from genclspp.report.figures import is_loss
from genclspp.report.results import Results
from genclspp.report.series import Series, examples_of
from genclspp.report.statistics import Level

SPLIT = "validation"  # which chooses


@dataclass(frozen=True)
class Headline:
    """The cell that was chosen for a data set.

    chosen: its metric on the validation examples, by which it was the best of so many `candidates`
    mean:   its metric on the test examples; level: the same with its interval, None where predictions are missing
    """

    dataset: Any
    series: Series
    metric: str
    candidates: int
    chosen: float
    mean: float
    level: Level | None


def headlines(results: Results, metric: str, among: Sequence[Series] | None = None) -> list[Headline]:
    """The headline of each set of test examples with several cells that all have the metric on validation ones.

    among: the series to choose from; None for all
    """
    groups: dict[Any, list[Series]] = {}
    for series in results.series if among is None else among:
        if results.values(series, metric):
            groups.setdefault((series.words.get("dataset"), examples_of(series)), []).append(series)
    found = [_headline(results, metric, of[0], group) for of, group in groups.items() if len(group) > 1]
    return [headline for headline in found if headline]


def _headline(results: Results, metric: str, dataset: Any, group: Sequence[Series]) -> Headline | None:
    validated = [results.values(series, f"{SPLIT}/{metric}").values() for series in group]
    if not all(validated):
        return None
    means = [fmean(values) for values in validated]
    chosen = min(means) if is_loss(metric) else max(means)
    series = group[means.index(chosen)]
    mean = fmean(results.values(series, metric).values())
    return Headline(dataset, series, metric, len(group), chosen, mean, results.level(series, metric))
