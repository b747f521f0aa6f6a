"""The charts of a whole sweep: what prompts, RL and other choices are worth, and what they cost."""

from typing import TYPE_CHECKING

from genclspp.report.chart import Chart
from genclspp.report.charts import effects, pairing, spending

if TYPE_CHECKING:
    from genclspp.report.results import Results


def sweep_charts(results: "Results") -> list[Chart]:
    """The charts of a sweep, in the order in which people ask; those are left out that it has no cells for."""
    found = [
        *pairing.pairings(results),
        effects.rl_effects(results),
        *effects.effects(results),
        spending.spending(results),
        spending.accuracy_for_cost(results),
    ]
    return [chart for chart in found if chart]
