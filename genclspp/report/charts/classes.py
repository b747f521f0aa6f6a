"""How well a cell does on each class, and on other subsets of its test examples."""

from typing import Any

import numpy as np

from genclspp.report.chart import Chart
from genclspp.report.charts.answers import Answers
from genclspp.report.charts.figure import (
    BLUE,
    GREEN,
    GREY,
    RED,
    ROW,
    bars,
    build,
    legend,
    lines,
    number,
    numbers,
    percent,
)
from genclspp.report.subsets import Ratios, f1, members, quantiles, share

MOST = 25  # classes that a figure names
WORST = 8  # of them among the slices
PARTS = ("lowest", "second", "third", "highest")


def classes(answers: Answers) -> Chart:
    """Precision, recall and F1 of each class, the lowest F1 first."""
    gold, answered = (members(places, len(answers.labels)) for places in (answers.gold, answers.label))
    recall, precision = share(answers.is_right, gold), share(answers.is_right, answered)
    scores = f1(gold, answered)
    order = np.argsort(np.nan_to_num(scores.mean, nan=2), kind="stable")  # those without examples come last
    rows = tuple(
        (
            answers.labels[k],
            number(scores.count[k]),
            *(value for each in (precision, recall, scores) for value in percents(each, k)),
        )
        for k in order
    )
    shown = [k for k in order if scores.count[k] > 0][:MOST]
    part = f" The {MOST} with the lowest F1 of {len(answers.labels)} classes; the table has all."
    return Chart(
        id="classes",
        title="Which classes are hard?",
        caption=(
            "Precision, recall and F1 of each class; the bar is the 95 % interval of F1. Precision is that of the "
            f"seeds that give the answer.{part if len(answers.labels) > len(shown) else ''} {answers.told}"
        ),
        figure=_class_figure(answers, shown, precision, recall, scores),
        heading=(
            *("class", "examples"),
            *(f"{of}{what} (%)" for of in ("precision", "recall", "F1") for what in ("", " low", " high")),
        ),
        rows=rows,
    )


def slices(answers: Answers, lengths: np.ndarray | None) -> Chart:
    """Accuracy on parts of the test set: by confidence, by length of the text, and on the hardest classes.

    lengths: (examples,) characters; None where the texts are missing
    """
    found: list[tuple[str, str, Ratios, int]] = []
    whole = share(answers.is_right, np.ones((1, *answers.gold.shape), dtype=bool))
    parts = min(len(PARTS), answers.gold.shape[1])
    if parts == len(PARTS):
        by_confidence = share(answers.is_right, members(quantiles(answers.confidence, parts), parts))
        found += [("confidence", f"confidence: {name} quarter", by_confidence, k) for k, name in enumerate(PARTS)]
        if lengths is not None:
            places = np.tile(quantiles(lengths, parts), (len(answers.seeds), 1))
            by_length = share(answers.is_right, members(places, parts))
            ranges = [_range(lengths[places[0] == k]) for k in range(parts)]
            found += [("length", f"length: {told}", by_length, k) for k, told in enumerate(ranges)]
    by_class = share(answers.is_right, members(answers.gold, len(answers.labels)))
    hardest = np.argsort(np.nan_to_num(by_class.mean, nan=2), kind="stable")
    found += [("class", answers.labels[k], by_class, k) for k in hardest if by_class.count[k] > 0]
    rows = [(by, name, number(of.count[k]), *percents(of, k)) for by, name, of, k in found]
    few = [each for each in found if each[0] != "class"] + [each for each in found if each[0] == "class"][:WORST]
    without = "" if lengths is not None else " Without lengths, as the texts are missing."
    return Chart(
        id="slices",
        title="On which examples is it weak?",
        caption=(
            "Accuracy on parts of the test set: quarters by the highest probability of each example and by the "
            "length of its text in characters, and the classes with the lowest accuracy (the table has all). "
            f"Dashed: all examples.{without} {answers.told}"
        ),
        figure=_slice_figure(few, float(whole.mean[0])),
        heading=("by", "part", "examples", "accuracy (%)", "low (%)", "high (%)"),
        rows=(("", "all", number(whole.count[0]), *percents(whole, 0)), *rows),
    )


def percents(found: Ratios, k: int) -> list[float | None]:
    """Mean and interval of one subset, in percent."""
    return numbers((found.mean[k], found.low[k], found.high[k]), 100)


def _range(values: np.ndarray) -> str:
    return f"{values.min():,}–{values.max():,}"


def _class_figure(
    answers: Answers, shown: list[int], precision: Ratios, recall: Ratios, scores: Ratios
) -> dict[str, Any]:
    kinds = (("precision", precision, GREEN, "triangle-up-open"), ("recall", recall, RED, "square-open"))
    names = [f"{answers.labels[k]}" for k in shown]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": numbers(scores.mean[shown], 100),
            "y": list(range(len(shown))),
            "error_x": bars(*(ends[shown].tolist() for ends in (scores.mean, scores.low, scores.high))),
            "marker": {"color": BLUE, "size": 9},
            "name": "F1",
            "customdata": numbers(scores.count[shown]),
            "hovertemplate": "%{y}: F1 %{x} %<br>%{customdata} examples<extra></extra>",
        }
    ]
    data += [
        {
            "type": "scatter",
            "mode": "markers",
            "x": numbers(of.mean[shown], 100),
            "y": list(range(len(shown))),
            "marker": {"color": colour, "size": 8, "symbol": symbol},
            "name": name,
            "hovertemplate": f"%{{y}}: {name} %{{x}} %<extra></extra>",
        }
        for name, of, colour, symbol in kinds
    ]
    return build(
        data, 120 + ROW * len(shown), xaxis=percent("precision, recall, F1"), yaxis=lines(names), **legend()
    )


def _slice_figure(found: list[tuple[str, str, Ratios, int]], overall: float) -> dict[str, Any]:
    means, lows, highs = ([float(getattr(of, name)[k]) for *_, of, k in found] for name in ("mean", "low", "high"))
    colours = {"confidence": BLUE, "length": GREEN, "class": RED}
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": numbers((means[row] for row in rows), 100),
            "y": rows,
            "error_x": bars(*([values[row] for row in rows] for values in (means, lows, highs))),
            "marker": {"color": colour, "size": 9},
            "name": f"by {by}",
            "customdata": numbers(found[row][2].count[found[row][3]] for row in rows),
            "hovertemplate": "%{y}: %{x} %<br>%{customdata} examples<extra></extra>",
        }
        for by, colour in colours.items()
        if (rows := [row for row, each in enumerate(found) if each[0] == by])
    ]
    whole = {"type": "line", "x0": 100 * overall, "x1": 100 * overall, "y0": 0, "y1": 1, "yref": "paper"}
    return build(
        data,
        120 + ROW * len(found),
        xaxis=percent("accuracy"),
        yaxis=lines([name for _, name, *_ in found]),
        shapes=[{**whole, "line": {"color": GREY, "dash": "dash", "width": 1.5}}],
        **legend(),
    )
