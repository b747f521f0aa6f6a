"""The charts of one cell, over all its seeds: how it learnt, how sure it is, and what it confuses."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from genclspp.report.chart import Chart
from genclspp.report.charts import answers, classes, confidence, confusion, learning
from genclspp.report.series import Series

if TYPE_CHECKING:
    from genclspp.report.results import Results


def cell_charts(results: "Results", series: Series) -> list[Chart]:
    """The charts of a cell, in the order in which people ask; those are left out whose artifacts are missing.

    Raises UserError for a damaged file.
    """
    curves = [draw(results, series) for draw in (learning.sft_curves, learning.head_curves, learning.rl_curves)]
    found = answers.read(results, series)
    if found is None:
        return [chart for chart in curves if chart]
    lengths = _lengths(results, series.records[0].get("digest/test"), found.gold.shape[1])
    return [
        confusion.confusion(found),
        classes.classes(found),
        classes.slices(found, lengths),
        confidence.reliability(found),
        confidence.risk_coverage(found),
        *(chart for chart in curves if chart),
    ]


@lru_cache(maxsize=16)
def _lengths(results: "Results", digest: str | None, examples: int) -> np.ndarray | None:
    """The characters of each test text, which cells with the same digest share; None if no cell has kept them."""
    for record in results.records:
        if digest and record.get("digest/test") == digest and (texts := results.texts(record)):
            return np.array([len(text) for text in texts.texts]) if len(texts.texts) == examples else None
    return None
