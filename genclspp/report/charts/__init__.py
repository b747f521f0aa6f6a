"""The charts of a sweep and of a cell."""

from genclspp.report.charts.cell import cell_charts
from genclspp.report.charts.sweep import sweep_charts

__all__ = ["cell_charts", "sweep_charts"]
