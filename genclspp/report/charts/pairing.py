"""Does training with the inference prompt matter? Cells by the prompts of both sides, against equal ones."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genclspp.report import statistics
from genclspp.report.chart import Chart, Value
from genclspp.report.charts.figure import BLUE, GREY, RED, number, numbers, translucent
from genclspp.report.charts.matrix import FEW, Matrix, draw
from genclspp.report.charts.means import answer, mean_gain, signed
from genclspp.report.charts.names import SIDES, name, side, telling
from genclspp.report.figures import fixed
from genclspp.report.records import is_knob_of
from genclspp.report.series import Series
from genclspp.report.statistics import ALPHA, Gain

if TYPE_CHECKING:
    from genclspp.report.results import Results

HOVER = "training %{y}, inference %{x}<br>%{z} points, p %{customdata}<extra></extra>"
MOST = 6  # matrices of a sweep that have a chart
Pair = tuple[str, str]  # prompts in training and at inference
Pairings = Mapping[Pair, Series]


def pairings(results: "Results") -> list[Chart]:
    """A matrix of training × inference prompts for each setting of everything else, the largest ones first."""
    found = matrices(results.series)
    told = telling([next(iter(matrix.values())) for matrix in found])
    largest = sorted(found, key=len, reverse=True)[:MOST]
    return [_chart(results, matrix, place, told) for place, matrix in enumerate(largest)]


def matrices(series: Sequence[Series]) -> list[Pairings]:
    """Trained cells that are equal in all but the prompts of their sides, where some have different ones."""
    found: dict[Any, dict[Pair, Series]] = defaultdict(dict)
    for each in series:
        if {each.words.get("sft"), each.words.get("rl")} <= {"none", None} or not each.words.get("train"):
            continue
        rest = [
            (word, str(choice))
            for word, choice in each.words.items()
            if word not in SIDES and not is_knob_of(word, (*SIDES, "strategy"))
        ]
        found[tuple(rest)][side(each, "train"), side(each, "infer")] = each
    return [matrix for matrix in found.values() if any(is_compared(pair, matrix) for pair in matrix)]


def is_compared(pair: Pair, matrix: Pairings) -> bool:
    """Whether a cell has other prompts in training than at inference, and there is one with equal ones."""
    trained, asked = pair
    return trained != asked and (asked, asked) in matrix


def _chart(results: "Results", matrix: Pairings, place: int, told: Sequence[str]) -> Chart:
    gains = {
        (trained, asked): gain
        for trained, asked in matrix
        if is_compared((trained, asked), matrix)
        and (gain := results.gain(matrix[trained, asked], matrix[asked, asked]))
    }
    corrected = dict(zip(gains, statistics.benjamini_hochberg([gain.p for gain in gains.values()]), strict=True))
    marked = {pair for pair, p in corrected.items() if p <= ALPHA}
    where = name(next(iter(matrix.values())), told)
    return Chart(
        id=f"pairing-{place + 1}",
        title="Does training with the inference prompt matter?" + (f" ({where})" if where else ""),
        caption=(
            f"{_verdict(results, matrix, gains, marked)} Accuracy in %, by the prompts in training (rows) and at "
            "inference (columns), mean over seeds. Framed: trained with the inference prompt. Other cells: points "
            "above (blue) or below (orange) the framed one of their column; * beyond noise, by the crossed test, "
            f"corrected over these {len(gains)} comparisons (Benjamini–Hochberg at 5 %, exploratory)."
        ),
        figure=_figure(results, matrix, gains, marked),
        heading=(
            *("training prompt", "inference prompt", "seeds", "accuracy (%)", "gain over equal prompts (points)"),
            *("low", "high", "p", "p corrected", "detectable (points)"),
        ),
        rows=tuple(_row(results, matrix, pair, gains.get(pair), corrected.get(pair)) for pair in matrix),
    )


def _verdict(results: "Results", matrix: Pairings, gains: Mapping[Pair, Gain], marked: set[Pair]) -> str:
    """The answer in a sentence: the mean gain of matching over mismatched prompts, with its interval."""
    if not gains:
        return "The predictions are missing, so nothing can be tested."
    worse = sum(gains[pair].mean < 0 for pair in marked)
    tally = f"{worse} of {len(gains)} mismatched cells are worse beyond noise, {len(marked) - worse} better."
    overall = mean_gain(results, [(matrix[asked, asked], matrix[trained, asked]) for trained, asked in gains])
    if overall is None:
        return tally
    least = (
        f"; {fixed(100 * overall.detectable, 1)} would have been detected" if overall.detectable < math.inf else ""
    )
    return (
        f"On average, {answer(overall, overall.p)}: matching prompts gain {signed(overall.mean)} points over "
        f"mismatched ones (95 % interval {signed(overall.low)} to {signed(overall.high)}{least}). {tally}"
    )


def _row(
    results: "Results", matrix: Pairings, pair: Pair, gain: Gain | None, corrected: float | None
) -> tuple[Value, ...]:
    values = list(results.values(matrix[pair], "accuracy").values())
    start = (*pair, len(values), number(float(np.mean(values)), 100) if values else None)
    if gain is None:
        return (*start, *[None] * 6)
    return (
        *start,
        *numbers((gain.mean, gain.low, gain.high), 100),
        *numbers((gain.p, corrected)),
        number(gain.detectable, 100),
    )


def _figure(results: "Results", matrix: Pairings, gains: Mapping[Pair, Gain], marked: set[Pair]) -> dict[str, Any]:
    both = [*(asked for _, asked in matrix), *(trained for trained, _ in matrix)]
    order = sorted(dict.fromkeys(both), key=lambda choice: choice != "zero_shot")
    rows, columns = ([one for one in order if one in {pair[k] for pair in matrix}] for k in (0, 1))
    digits = 0 if len(columns) > FEW else 1
    pairs = [[(trained, asked) for asked in columns] for trained in rows]

    def shade(pair: Pair) -> float | None:
        return number(gains[pair].mean, 100) if pair in gains else 0.0 if pair in matrix else None

    shades = [[shade(pair) for pair in line] for line in pairs]
    most = max((abs(value) for line in shades for value in line if value), default=1)
    drawn = Matrix(
        rows=rows,
        columns=columns,
        shades=shades,
        texts=[
            [_written(results, matrix.get(pair), gains.get(pair), pair in marked, digits) for pair in line]
            for line in pairs
        ],
        told=[[number(gains[pair].p) if pair in gains else None for pair in line] for line in pairs],
        framed=[(rows.index(each), columns.index(each)) for each in columns if each in rows],
    )
    scale = ((0, translucent(RED, 0.75)), (0.5, translucent(GREY, 0.06)), (1, translucent(BLUE, 0.75)))
    return draw(drawn, scale, (-most, most), row=60, x="prompt at inference", y="prompt in training", hover=HOVER)


def _written(results: "Results", series: Series | None, gain: Gain | None, is_marked: bool, digits: int) -> str:
    """What stands in a cell of the matrix: its accuracy, and how far it is from the framed one."""
    values = list(results.values(series, "accuracy").values()) if series else []
    if not values:
        return ""
    level = f"{100 * np.mean(values):.{digits}f}"
    return level if gain is None else f"{level}<br>{100 * gain.mean:+.{digits}f}{'*' if is_marked else ''}"
