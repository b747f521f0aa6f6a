"""Which classes a cell confuses."""

from typing import Any

import numpy as np

from genclspp.inference.predictions import ABSTAINED, INVALID
from genclspp.report.chart import Chart
from genclspp.report.charts.answers import Answers
from genclspp.report.charts.figure import RED, build, named, number, plain, translucent

MOST = 14  # labels that a figure can name and count on a phone
PAIRS = 100  # rows of the table
OTHERS = "other labels"


def confusion(answers: Answers) -> Chart:
    """What is answered where; with many labels, among those that are confused most."""
    counts = count(answers)
    labels = len(answers.labels)
    shown = most_confused(counts[:, :labels], MOST) if labels > MOST else list(range(labels))
    names = [*answers.labels, "(uncertain)", "(invalid)"]
    pairs = sorted(
        ((gold, said) for gold, said in np.argwhere(counts > 0).tolist() if gold != said),
        key=lambda pair: (-counts[pair], pair),
    )
    golds = counts.sum(axis=1)
    rows = tuple(
        (names[g], names[s], number(counts[g, s]), number(counts[g, s] / golds[g], 100)) for g, s in pairs[:PAIRS]
    )
    part = f" Of {labels} labels, the {len(shown)} with the most mistakes, the confused side by side."
    rest = f", the {PAIRS} most frequent of {len(pairs)}" if len(pairs) > PAIRS else ""
    return Chart(
        id="confusion",
        title="Which classes does it confuse?",
        caption=(
            "Confusion matrix: how many examples of each class (a row) got which answer (a column); the darker, "
            f"the larger the share of the row. Framed: right.{part if labels > MOST else ''} The table holds the "
            f"mistakes alone{rest}. {answers.told.partition(';')[0].rstrip('.')}."
        ),
        figure=_figure(counts, shown, names),
        heading=("class", "answer", "examples", "of the class (%)"),
        rows=rows,
    )


def count(answers: Answers) -> np.ndarray:
    """(labels, labels + 2) examples of each class by answer, mean over seeds; abstained and invalid come last."""
    labels = len(answers.labels)
    said = np.select([answers.label == ABSTAINED, answers.label == INVALID], [labels, labels + 1], answers.label)
    flat = np.bincount((answers.gold * (labels + 2) + said).ravel(), minlength=labels * (labels + 2))
    return flat.reshape(labels, labels + 2) / len(answers.seeds)


def most_confused(counts: np.ndarray, most: int) -> list[int]:
    """The places of the labels with the most mistakes, in an order in which confused ones are neighbours.

    counts: (labels, labels)
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    mistakes = counts + counts.T
    np.fill_diagonal(mistakes, 0)
    chosen = np.sort(np.argsort(-mistakes.sum(axis=1), kind="stable")[:most])
    among = mistakes[np.ix_(chosen, chosen)]
    apart = squareform(1 / (1 + among), checks=False)
    order = leaves_list(optimal_leaf_ordering(linkage(apart, "average"), apart))
    return chosen[order].tolist()


def _figure(counts: np.ndarray, shown: list[int], names: list[str]) -> dict[str, Any]:
    labels = len(counts)
    part = counts[shown]
    hidden = [place for place in range(labels) if place not in shown]
    ends = [(OTHERS, part[:, hidden].sum(axis=1)), *((names[k], part[:, k]) for k in (labels, labels + 1))]
    ends = [(name, column) for name, column in ends if column.any()]
    table = np.column_stack([part[:, shown], *(column for _, column in ends)])
    shares = table / np.maximum(counts[shown].sum(axis=1), 1)[:, None]
    rows, columns = [names[k] for k in shown], [*(names[k] for k in shown), *(name for name, _ in ends)]
    told = [
        [
            f"{plain(row)} → {plain(column)}<br>{number(n)} examples, {number(share, 100)} %" if n else ""
            for column, n, share in zip(columns, line, part, strict=True)
        ]
        for row, line, part in zip(rows, table.tolist(), shares.tolist(), strict=True)
    ]
    cells = {
        "type": "heatmap",
        "z": [[number(share, 100) if share else None for share in line] for line in shares.tolist()],
        "zmin": 0,
        "zmax": 100,
        "colorscale": [[0, translucent(RED, 0.06)], [1, translucent(RED, 0.75)]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertext": told,
        "hoverinfo": "text",
    }
    there = np.argwhere(table > 0).tolist()
    written = {
        "type": "scatter",
        "mode": "text",
        "x": [column for _, column in there],
        "y": [row for row, _ in there],
        "text": [f"{table[row, column]:.3g}" for row, column in there],
        "textfont": {"size": 10 if len(columns) > 8 else 12},
        "hoverinfo": "skip",
    }
    right = [
        {"type": "rect", "x0": k - 0.5, "x1": k + 0.5, "y0": k - 0.5, "y1": k + 0.5, "line": {"width": 1.5}}
        for k in range(len(rows))
    ]
    return build(
        [cells, written],
        140 + 28 * len(rows),
        xaxis=named(columns, "answer", tickangle=-60, range=[-0.5, len(columns) - 0.5]),
        yaxis=named(rows, "class", range=[len(rows) - 0.5, -0.5]),
        shapes=right,
    )
