"""What cells cost, and what the cost buys."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genclspp.report.chart import Chart, Value
from genclspp.report.charts.figure import (
    BLUE,
    COLOURS,
    GREY,
    LEFT,
    TALL_ROW,
    axis,
    bars,
    build,
    headed,
    legend,
    number,
    numbers,
    percent,
    plain,
)
from genclspp.report.charts.names import name, telling
from genclspp.report.cost import INFERENCE, Cost, Spent, add, costs
from genclspp.report.figures import duration
from genclspp.report.series import Series

if TYPE_CHECKING:
    from genclspp.report.results import Results

MOST = 40  # cells that the figure names
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # that stand for cells in a figure
# What roles are for, and the roles; all others find facts, such as which examples are uncertain.
KINDS = {"SFT": ("sft",), "head": ("head",), "RL": ("rl",), "inference": INFERENCE}
VALIDATION, FACTS = "validation", "facts"
ORDER = (*KINDS, VALIDATION, FACTS)  # of their colours: the last one is the rarest, and like the first


def spending(results: "Results") -> Chart | None:
    """Seconds of each cell by kind of stage, paid or shared; None where records hold no keys of artifacts."""
    found = cell_costs(results)
    if not any(cost.alone.stages for cost in found):
        return None
    told = telling(results.series)
    order = sorted(range(len(found)), key=lambda place: -found[place].alone.seconds)
    alone, paid = (sum(getattr(cost, kind).seconds for cost in found) for kind in ("alone", "paid"))
    part = f" The figure shows the {MOST} most expensive cells, the table all." if len(found) > MOST else ""
    return Chart(
        id="cost",
        title="What did it cost?",
        caption=(
            f"The sweep took {duration(paid)} on the device; its cells one by one would have taken "
            f"{duration(alone)}. Seconds by what they were for, over all seeds of a cell: its whole bar is what "
            "the cell costs alone, the solid part what it paid, the pale part what an earlier cell had paid. "
            "Inference is on test examples; seconds per 1,000 of them are those of inference alone. "
            f"Memory is the highest peak of the process or the GPU.{part}"
        ),
        figure=_figure([results.series[k] for k in order[:MOST]], [found[k] for k in order[:MOST]], told),
        heading=(
            "cell",
            *(
                f"{what}, {kind}"
                for what in ("seconds", "tokens", "memory (GB)", "s per 1,000")
                for kind in ("alone", "paid")
            ),
            *(f"{kind}, {of} (s)" for of in _kinds(found) for kind in ("alone", "paid")),
        ),
        rows=tuple(_row(name(results.series[k], told), found[k], _kinds(found)) for k in order),
    )


def accuracy_for_cost(results: "Results") -> Chart | None:
    """Accuracy against the seconds that a cell costs alone, per seed; None where records hold neither."""
    told = telling(results.series)
    found = [
        (each, cost.alone.seconds / len(each.records), values)
        for each, cost in zip(results.series, cell_costs(results), strict=True)
        if cost.alone.seconds and (values := list(results.values(each, "accuracy").values()))
    ]
    if len(found) < 2:
        return None
    points = [(name(each, told), seconds, sum(values) / len(values)) for each, seconds, values in found]
    best = frontier([(seconds, accuracy) for _, seconds, accuracy in points])
    levels = [results.level(each) for each, *_ in found]
    legend_of = "; ".join(f"{letter}: {points[k][0]}" for letter, k in zip(LETTERS, best, strict=False))
    ends = [(level.low, level.high) if level else None for level in levels]
    return Chart(
        id="accuracy-for-cost",
        title="What does more time buy?",
        caption=(
            "Accuracy of each cell, mean over seeds, against the seconds on the device that one seed of it costs "
            "alone. The line joins the cells that no other one beats in both, with their 95 % intervals. "
            f"{legend_of}."
        ),
        figure=_buying_figure(points, ends, best),
        heading=("cell", "seconds alone, per seed", "accuracy (%)", "low (%)", "high (%)", "beaten in both"),
        rows=tuple(
            (
                cell,
                number(seconds),
                *numbers((accuracy, *(end or (None, None))), 100),
                "no" if place in best else "yes",
            )
            for place, ((cell, seconds, accuracy), end) in enumerate(zip(points, ends, strict=True))
        ),
    )


def cell_costs(results: "Results") -> list[Cost]:
    """The cost of each series, over its seeds."""
    of = {id(record): cost for record, cost in zip(results.records, costs(results.records), strict=True)}
    return [add(of[id(record)] for record in each.records) for each in results.series]


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points (cost, value) that no other one beats in both, the cheapest first."""
    found: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if not found or points[place][1] > points[found[-1]][1]:
            found.append(place)
    return found


def kind_of(role: str) -> str:
    """What a stage with this role is for."""
    if role.endswith("_validation"):
        return VALIDATION
    return next((kind for kind, roles in KINDS.items() if role in roles), FACTS)


def _kinds(found: Sequence[Cost]) -> list[str]:
    there = {kind_of(stage.role) for cost in found for stage in cost.alone.stages}
    return [kind for kind in (FACTS, *KINDS, VALIDATION) if kind in there]


def _seconds(spent: Spent, kind: str) -> float:
    return sum(seconds for role, seconds in spent.by_role.items() if kind_of(role) == kind)


def _row(cell: str, cost: Cost, kinds: Sequence[str]) -> tuple[Value, ...]:
    both = (cost.alone, cost.paid)
    return (
        cell,
        *numbers(spent.seconds for spent in both),
        *numbers(spent.tokens for spent in both),
        *numbers((spent.memory for spent in both), 1e-9),
        *numbers(spent.seconds_per_1000 for spent in both),
        *numbers(_seconds(spent, kind) for kind in kinds for spent in both),
    )


def _figure(series: Sequence[Series], found: Sequence[Cost], told: Sequence[str]) -> dict[str, Any]:
    data, names = [], [name(each, told) or str(each.words.get("name")) for each in series]
    for kind in _kinds(found):
        paid = [_seconds(cost.paid, kind) for cost in found]
        shared = [_seconds(cost.alone, kind) - own for cost, own in zip(found, paid, strict=True)]
        for values, opacity, what in ((paid, 1.0, "paid"), (shared, 0.35, "paid by an earlier cell")):
            data.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "width": 0.35,
                    "customdata": [plain(each) for each in names],
                    "x": numbers(values),
                    "y": list(range(len(found))),
                    "marker": {"color": COLOURS[ORDER.index(kind)], "opacity": opacity},
                    "name": kind,
                    "legendgroup": kind,
                    "showlegend": opacity == 1,
                    "hovertemplate": f"%{{customdata}}<br>{kind}, {what}: %{{x}} s<extra></extra>",
                }
            )
    return build(
        data,
        100 + TALL_ROW * len(found),
        barmode="stack",
        xaxis=axis("seconds, all seeds"),
        **{**headed(names), **legend(left=LEFT)},
    )


def _buying_figure(
    points: Sequence[tuple[str, float, float]],
    ends: Sequence[tuple[float, float] | None],
    best: Sequence[int],
) -> dict[str, Any]:
    means = [accuracy for *_, accuracy in points]
    pairs = list(zip(means, ends, strict=True))
    xs, ys = numbers(seconds for _, seconds, _ in points), numbers(means, 100)
    # Only the cells on the line have bars: many lie above each other.
    barred = [end if k in best and end is not None else (mean, mean) for k, (mean, end) in enumerate(pairs)]
    lows, highs = [low for low, _ in barred], [high for _, high in barred]
    names = [plain(cell) for cell, *_ in points]
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [xs[k] for k in best],
        "y": [ys[k] for k in best],
        "line": {"color": GREY, "dash": "dot", "shape": "hv"},
        "hoverinfo": "skip",
    }
    cells = {
        "type": "scatter",
        "mode": "markers+text",
        "x": xs,
        "y": ys,
        "error_y": bars(means, lows, highs),
        "marker": {
            "color": BLUE,
            "size": 9,
            "symbol": ["circle" if k in best else "circle-open" for k in range(len(xs))],
        },
        "text": [LETTERS[best.index(k)] if k in best[: len(LETTERS)] else "" for k in range(len(xs))],
        "textposition": "middle right",
        "customdata": names,
        "cliponaxis": False,
        "hovertemplate": "%{customdata}<br>%{x} s, %{y} %<extra></extra>",
    }
    return build(
        [line, cells],
        420,
        xaxis=axis("seconds, one seed alone", rangemode="tozero"),
        yaxis=percent("accuracy"),
    )
