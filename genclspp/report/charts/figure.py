"""How all figures look: colours, places for names, few digits.

Figures have no colours of text and background, and all areas are translucent, so that a page can show them light
and dark. Colours are those of Okabe and Ito (2008), which the colour-blind can tell apart.
"""

import html
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, GREY = "#E69F00", "#56B4E9", "#808080"
COLOURS = (BLUE, RED, GREEN, PINK, ORANGE, SKY)
ROW, TALL_ROW = 22, 40  # pixels of a line of a figure: with a short name beside it, with a long one above it
LEFT = 15  # pixels to the left of a figure without names there
NAME, LONG_NAME = 28, 52  # characters of the longest ones, which a phone can show


def plain(text: str, most: int = NAME) -> str:
    """A text for plotly, which would read "<b>" and "&amp;" as markup; shortened, without control characters."""
    shown = "".join("�" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return html.escape(shown if len(shown) <= most else shown[: most - 1] + "…", quote=False)


def numbers(values: Iterable[float | None], factor: float = 1.0) -> list[float | None]:
    """Values times a factor, to four significant digits, as a figure shows no more; None for NaN or infinity."""
    return [number(value, factor) for value in values]


def number(value: float | None, factor: float = 1.0) -> float | None:
    """One of `numbers`."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{factor * value:.4g}")


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title, which makes room for its tick labels."""
    return {"title": {"text": title, "standoff": 8}, "automargin": True, **more}


def percent(title: str, **more: Any) -> dict[str, Any]:
    """An axis of values in percent."""
    return axis(f"{title} (%)", **more)


def named(names: Sequence[str], title: str = "", **more: Any) -> dict[str, Any]:
    """An axis with a name at each whole number; as categories, equal names would fall together."""
    ticks = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": [plain(name) for name in names]}
    return axis(title, **ticks, showgrid=False, zeroline=False, **more)


def lines(names: Sequence[str], **more: Any) -> dict[str, Any]:
    """A vertical axis with a name per line, the first one at the top."""
    return named(names, range=[len(names) - 0.5, -0.5], **more)


def headed(names: Sequence[str]) -> dict[str, Any]:
    """The layout of a figure with a line per name, the first one at the top, and each name above its line."""
    above = {"x": 0, "xref": "paper", "xanchor": "left", "yanchor": "bottom", "yshift": 7, "showarrow": False}
    return {
        "margin": {"l": LEFT, "r": 20, "t": 20, "b": 50},
        "yaxis": {
            "range": [len(names) - 0.5, -0.8],
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
        },
        "annotations": [{"text": plain(name, LONG_NAME), "y": k, **above} for k, name in enumerate(names)],
    }


def bars(means: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> dict[str, Any]:
    """Error bars from the ends of intervals, in percent."""
    above = numbers([high - mean for mean, high in zip(means, highs, strict=True)], 100)
    below = numbers([mean - low for mean, low in zip(means, lows, strict=True)], 100)
    return {"type": "data", "array": above, "arrayminus": below, "thickness": 1.5, "width": 0}


def translucent(colour: str, opacity: float) -> str:
    """A colour such as "#0072B2" with an opacity, for areas behind text."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def build(data: Sequence[Mapping[str, Any]], height: float, **layout: Any) -> dict[str, Any]:
    """A figure; `height` in pixels, as wide as there is room."""
    given = {"height": round(height), "margin": {"l": 60, "r": 20, "t": 20, "b": 50}, "showlegend": False}
    return {"data": [dict(trace) for trace in data], "layout": given | layout}


def legend(above: float = 0.0, left: int = 60) -> dict[str, Any]:
    """The layout of a legend on top of the figure, in a line where there is room.

    above: share of the figure's height between both; left: pixels to the left of the figure
    """
    place = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1 + above, "yanchor": "bottom"}
    return {"showlegend": True, "legend": place, "margin": {"l": left, "r": 20, "t": 50, "b": 50}}
