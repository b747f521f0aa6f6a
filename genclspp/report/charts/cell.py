"""The charts of one cell, over all its seeds: how it learnt, how sure it is, and what it confuses."""

from typing import TYPE_CHECKING

from genclspp.report.chart import Chart

if TYPE_CHECKING:
    from genclspp.report.results import Results
    from genclspp.report.series import Series


def cell_charts(results: "Results", series: "Series") -> list[Chart]:
    """The charts of a cell; those are left out whose artifacts are missing."""
    return []
