"""What a cell's confidence is worth: the reliability diagram, and what it gains by leaving examples to people."""

from typing import Any

import numpy as np

from genclspp.inference.metrics import BINS
from genclspp.inference.predictions import ABSTAINED
from genclspp.report.chart import Chart, Value
from genclspp.report.charts.answers import Answers
from genclspp.report.charts.figure import (
    BLUE,
    GREY,
    RED,
    bars,
    build,
    legend,
    number,
    numbers,
    percent,
    translucent,
)
from genclspp.report.subsets import Ratios, members, share

STEPS = 20  # of the risk-coverage curve


def reliability(answers: Answers) -> Chart:
    """Accuracy of the most probable label against its probability, in the bins of `metrics.calibration_error`."""
    confidence, hit = answers.confidence, answers.top == answers.gold
    bins = members(np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1), BINS)
    found = share(hit, bins)
    there: list[int] = np.flatnonzero(found.count > 0).tolist()
    mean = (confidence * bins).sum(axis=(1, 2))[there] / bins.sum(axis=(1, 2))[there]
    gap = np.abs(((confidence - hit) * bins).sum(axis=2)).sum(axis=0).mean() / confidence.shape[1]
    edges = [f"{100 * k / BINS:.0f}–{100 * (k + 1) / BINS:.0f}" for k in there]
    rows = [
        (edge, number(found.count[k]), number(at, 100), *_percents(found, k))
        for edge, k, at in zip(edges, there, mean, strict=True)
    ]
    return Chart(
        id="reliability",
        title="Can its probabilities be trusted?",
        caption=(
            f"Reliability diagram: accuracy of the most probable label where it is so probable, in {BINS} bins of "
            "equal width; below, how many examples each bin has. On the dashed line, probabilities are what they "
            f"say; below it, the cell is too sure. Expected calibration error {gap:.3f}. {answers.told}"
        ),
        figure=_reliability_figure(found, there, mean, edges),
        heading=("probability (%)", "examples", "mean probability (%)", "accuracy (%)", "low (%)", "high (%)"),
        rows=tuple(rows),
    )


def risk_coverage(answers: Answers) -> Chart:
    """Error on the examples that are answered, if only the most confident ones are, against how many these are."""
    examples = answers.gold.shape[1]
    ranks = np.argsort(np.argsort(-answers.confidence, axis=1, kind="stable"), axis=1, kind="stable")
    # Few examples do not make as many different shares.
    sizes = np.unique(np.ceil(np.arange(1, STEPS + 1) / STEPS * examples).astype(int))
    right = share(answers.top == answers.gold, ranks < sizes[:, None, None])
    said = (answers.label != ABSTAINED).astype(float)
    points = [
        (float(row.mean()), 1 - float((hit & (row > 0)).sum() / row.sum()))
        for row, hit in zip(said, answers.is_right, strict=True)
        if 0 < row.sum() < examples
    ]
    rows: list[tuple[Value, ...]] = [
        ("most confident", number(size / examples, 100), *numbers((1 - mean, 1 - high, 1 - low), 100))
        for size, mean, low, high in zip(sizes, right.mean, right.low, right.high, strict=True)
    ]
    rows += [("answers “uncertain”", number(x, 100), number(y, 100), None, None) for x, y in points]
    abstains = (
        " Crosses: where the answer “uncertain” of each seed leaves it; below the curve, it abstains better than "
        "its probabilities would."
    )
    return Chart(
        id="risk-coverage",
        title="What does it gain by leaving doubtful examples to people?",
        caption=(
            "Risk and coverage: the share of wrong answers if it answers only its most confident examples, those "
            f"with the highest probabilities.{abstains if points else ''} {answers.told}"
        ),
        figure=_risk_figure(sizes / examples, right, points),
        heading=("examples answered", "coverage (%)", "wrong (%)", "low (%)", "high (%)"),
        rows=tuple(rows),
    )


def _percents(found: Ratios, k: int) -> list[float | None]:
    return numbers((found.mean[k], found.low[k], found.high[k]), 100)


def _reliability_figure(found: Ratios, there: list[int], mean: np.ndarray, edges: list[str]) -> dict[str, Any]:
    at, right = numbers(mean, 100), numbers(found.mean[there], 100)
    counts = numbers(found.count[there])
    points = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": at,
        "y": right,
        "error_y": bars(*(ends[there].tolist() for ends in (found.mean, found.low, found.high))),
        "marker": {"color": BLUE, "size": 7},
        "line": {"color": BLUE, "width": 1.5},
        "customdata": counts,
        "hovertemplate": "probability %{x} %<br>accuracy %{y} %<br>%{customdata} examples<extra></extra>",
    }
    middles = [100 * (k + 0.5) / BINS for k in there]
    sizes = {
        "type": "bar",
        "x": numbers(middles),
        "y": counts,
        "width": 100 / BINS * 0.9,
        "yaxis": "y2",
        "marker": {"color": translucent(BLUE, 0.5)},
        "customdata": edges,
        "hovertemplate": "%{customdata} %: %{y} examples<extra></extra>",
    }
    diagonal = {"type": "line", "x0": 0, "y0": 0, "x1": 100, "y1": 100, "line": {"color": GREY, "dash": "dash"}}
    return build(
        [points, sizes],
        460,
        xaxis=percent("probability of the most probable label", range=[0, 102], anchor="y2"),
        yaxis=percent("accuracy", range=[0, 102], domain=[0.32, 1]),
        yaxis2={"title": {"text": "examples"}, "automargin": True, "domain": [0, 0.24], "nticks": 4},
        shapes=[diagonal],
    )


def _risk_figure(coverage: np.ndarray, right: Ratios, points: list[tuple[float, float]]) -> dict[str, Any]:
    x, wrong = numbers(coverage, 100), numbers(1 - right.mean, 100)
    outline = numbers(1 - right.low, 100) + numbers(1 - right.high, 100)[::-1]
    band = {
        "type": "scatter",
        "x": x + x[::-1],
        "y": outline,
        "fill": "toself",
        "fillcolor": translucent(BLUE, 0.2),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "name": "95 % interval",
    }
    curve = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": wrong,
        "line": {"color": BLUE, "width": 2},
        "marker": {"size": 5},
        "name": "most confident examples",
        "hovertemplate": "answers %{x} %<br>wrong %{y} %<extra></extra>",
    }
    crosses = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers((x for x, _ in points), 100),
        "y": numbers((y for _, y in points), 100),
        "marker": {"color": RED, "size": 11, "symbol": "x"},
        "name": "answers “uncertain”",
        "hovertemplate": "answers %{x} %<br>wrong %{y} %<extra></extra>",
    }
    return build(
        [band, curve, *([crosses] if points else [])],
        400,
        xaxis=percent("coverage: examples answered", range=[0, 102]),
        yaxis=percent("wrong among those answered", rangemode="tozero"),
        **legend(),
    )
