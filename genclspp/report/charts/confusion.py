"""Which classes a cell confuses."""

from typing import Any

import numpy as np

from genclspp.inference.predictions import ABSTAINED, INVALID
from genclspp.report.chart import Chart
from genclspp.report.charts.answers import Answers
from genclspp.report.charts.figure import RED, number, translucent
from genclspp.report.charts.matrix import FEW, Matrix, draw

MOST = 14  # labels that a figure can name and count on a phone
PAIRS = 100  # rows of the table
OTHERS = "other labels"
HOVER = "%{y} → %{x}<br>%{customdata} examples, %{z} %<extra></extra>"


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
    often = [
        f"{names[g]} → {names[s]} ({counts[g, s]:.3g} of {golds[g]:.3g})"
        for g, s in [pair for pair in pairs if pair[1] < labels][:3]
    ]
    most = f" Most often confused: {', '.join(often)}." if often else ""
    return Chart(
        id="confusion",
        title="Which classes does it confuse?",
        caption=(
            "Confusion matrix: how many examples of each class (a row) got which answer (a column); the darker, "
            f"the larger the share of the row. Framed: right.{part if labels > MOST else ''} The table holds the "
            f"mistakes alone{rest}.{most} {answers.told.partition(';')[0].rstrip('.')}."
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
    rows, columns, table = _part(counts, shown, names)
    shares = 100 * table / np.maximum(counts[shown].sum(axis=1), 1)[:, None]
    cells = [[(row, column) for column in range(len(columns))] for row in range(len(rows))]
    matrix = Matrix(
        rows=rows,
        columns=columns,
        shades=[[number(shares[cell]) if table[cell] else None for cell in line] for line in cells],
        texts=[[_written(table[cell], len(columns) > FEW) for cell in line] for line in cells],
        told=[[number(table[cell]) or None for cell in line] for line in cells],
        framed=[(k, k) for k in range(len(rows))],
    )
    scale = ((0, translucent(RED, 0.06)), (1, translucent(RED, 0.75)))
    return draw(matrix, scale, (0, 100), row=28, x="answer", y="", hover=HOVER)


def _part(counts: np.ndarray, shown: list[int], names: list[str]) -> tuple[list[str], list[str], np.ndarray]:
    """Names of rows and columns and the counts of some labels; further columns hold whatever else was answered."""
    labels, part = len(counts), counts[shown]
    hidden = [place for place in range(labels) if place not in shown]
    ends = [(OTHERS, part[:, hidden].sum(axis=1)), *((names[k], part[:, k]) for k in (labels, labels + 1))]
    ends = [(name, column) for name, column in ends if column.any()]
    rows = [names[k] for k in shown]
    table = np.column_stack([part[:, shown], *(column for _, column in ends)])
    return rows, [*rows, *(name for name, _ in ends)], table


def _written(count: float, is_short: bool) -> str:
    """A mean count in as few characters as say something: "12", "3.3", "<1" or "·"; nothing for 0."""
    if count < 1:
        return "" if not count else "·" if is_short else "<1"
    return f"{count:.0f}" if is_short or count >= 10 else f"{count:.1f}".removesuffix(".0")
