"""The charts of a whole sweep: what training with the inference prompt, each choice, and RL are worth."""

from typing import TYPE_CHECKING

from genclspp.report.chart import Chart

if TYPE_CHECKING:
    from genclspp.report.results import Results


def sweep_charts(results: "Results") -> list[Chart]:
    """The charts of a sweep, those it has the cells for."""
    return []
