"""A matrix as a figure: names on both sides, a shade and a text in each cell, some of them framed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from genclspp.report.charts.figure import GREY, build, named

FEW = 8  # columns that have room for a larger type on a phone


@dataclass(frozen=True)
class Matrix:
    """What is drawn.

    rows, columns: names
    shades: (rows, columns) numbers that become colours; None for none
    texts:  (rows, columns) what is written; empty for nothing
    told:   (rows, columns) what the pointer shows after both names; None for nothing
    framed: places (row, column) of the cells with a frame
    """

    rows: Sequence[str]
    columns: Sequence[str]
    shades: Sequence[Sequence[float | None]]
    texts: Sequence[Sequence[str]]
    told: Sequence[Sequence[str | float | None]]
    framed: Iterable[tuple[int, int]]


def draw(
    matrix: Matrix, scale: Sequence[tuple[float, str]], ends: tuple[float, float], **sizes: Any
) -> dict[str, Any]:
    """The figure. scale: colours of a plotly scale; ends: the numbers of its first and last one; sizes: see below

    row: pixels of a row; x, y: titles of the axes; hover: plotly's template of what the pointer shows
    """
    is_wide = len(matrix.columns) > FEW
    cells = {
        "type": "heatmap",
        "z": matrix.shades,
        "zmin": ends[0],
        "zmax": ends[1],
        "colorscale": [list(each) for each in scale],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "customdata": matrix.told,
        "hovertemplate": sizes["hover"],
    }
    places = [(x, y) for y, line in enumerate(matrix.texts) for x, text in enumerate(line) if text]
    # Not as text of the heatmap, whose colour is chosen for a white page.
    written = {
        "type": "scatter",
        "mode": "text",
        "x": [x for x, _ in places],
        "y": [y for _, y in places],
        "text": [matrix.texts[y][x] for x, y in places],
        "textfont": {"size": 10 if is_wide else 12},
        "hoverinfo": "skip",
    }
    # Left to itself, plotly turns names to the right, and leaves out those that would pass the edge.
    turned = {"tickangle": -90, "tickfont": {"size": 10}} if is_wide else {"tickangle": -45}
    return build(
        [cells, written],
        140 + sizes["row"] * len(matrix.rows),
        xaxis=named(matrix.columns, sizes["x"], range=[-0.5, len(matrix.columns) - 0.5], **turned),
        yaxis=named(matrix.rows, sizes["y"], range=[len(matrix.rows) - 0.5, -0.5]),
        shapes=[_frame(*place) for place in matrix.framed],
    )


def _frame(row: int, column: int) -> dict[str, Any]:
    x, y = {"x0": column - 0.5, "x1": column + 0.5}, {"y0": row - 0.5, "y1": row + 0.5}
    return {"type": "rect", **x, **y, "line": {"color": GREY, "width": 1.5}}
