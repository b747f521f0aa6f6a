"""A chart: one figure of a sweep or of a cell, and the same numbers as a table."""

from dataclasses import dataclass
from typing import Any

Value = str | float | None  # of a table; None where there is nothing to say


@dataclass(frozen=True)
class Chart:
    """A figure for the page and for W&B, with what a reader needs to trust it.

    id:      stable, also that of the element which shows it
    title:   the question that it answers
    caption: what it shows and how that was computed
    figure:  plotly JSON, `data` and `layout`; without colours of text and background, which the page sets
    heading: of the table that shows the same numbers
    rows:    of that table
    """

    id: str
    title: str
    caption: str
    figure: dict[str, Any]
    heading: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
