"""How a cell learnt: the loss of SFT, and the health of RL, step by step."""

import json
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from genclspp.report.chart import Chart, Value
from genclspp.report.charts.figure import COLOURS, axis, build, legend, numbers
from genclspp.report.records import Record
from genclspp.report.series import Series
from genclspp.suggest import UserError

if TYPE_CHECKING:
    from genclspp.report.results import Results

FILE = "training.jsonl"  # that training stages leave their curves in
MOST = 100  # points of a curve
TALL, GAP = 130, 55  # pixels of a panel, and between two
LEVEL = "A line that has not levelled off has steps to gain; one that is flat from the start learns nothing."
Rows = list[dict[str, float]]


class Panel(NamedTuple):
    """A quantity over the steps of training. `name`: in rows of curves; `factor`: to the unit of its title."""

    name: str
    title: str
    factor: float = 1.0


SFT = (Panel("loss", "loss (nats per token)"),)
HEAD = (Panel("loss", "loss (nats per example)"),)
RL = (
    Panel("reward", "reward in training"),
    Panel("held_out/accuracy", "held-out accuracy (%)", 100),
    Panel("held_out/kl", "KL from the start (nats)"),
    Panel("held_out/entropy", "entropy of answers (nats)"),
    Panel("held_out/invalid", "invalid text (%)", 100),
    Panel("frac_reward_zero_std", "equal rewards (%)", 100),
)


def sft_curves(results: "Results", series: Series) -> Chart | None:
    """The loss of SFT; None if no seed has a curve."""
    told = f"The mean loss on the answers of the training prompts, as the trainer logged it. {LEVEL}"
    return _chart("sft", "Did SFT converge?", told, SFT, results, series)


def head_curves(results: "Results", series: Series) -> Chart | None:
    """The loss of a classification head; None if no seed has a curve."""
    told = f"The mean loss on the labels of the training examples, as the trainer logged it. {LEVEL}"
    return _chart("head", "Did the classification head converge?", told, HEAD, results, series)


def rl_curves(results: "Results", series: Series) -> Chart | None:
    """Reward, held-out checks and signs of collapse over the steps of RL; None if no seed has curves."""
    told = (
        f"{_outcome(series)}Held-out values are measured on validation prompts that RL does not learn from; the "
        "policy of the best check (dotted line) is the result. Signs of ill health: held-out accuracy that falls "
        "while reward rises, a rising share of invalid text, a KL divergence that runs away, an entropy that "
        "drops to 0, and groups of answers whose rewards are all equal, from which nothing is learnt."
    )
    return _chart("rl", "Did RL learn, and stay healthy?", told, RL, results, series)


def _outcome(series: Series) -> str:
    """What RL changed on held-out prompts, and in which seeds it collapsed: sentences with a space behind each."""
    ends = [(record.get("rl/accuracy_start"), record.get("rl/accuracy")) for record in series.records]
    known = [(start, best) for start, best in ends if start is not None and best is not None]
    told = ""
    if known:
        start, best = (100 * fmean(values) for values in zip(*known, strict=True))
        told = f"Held-out accuracy {start:.1f} → {best:.1f} %{', mean over seeds' if len(known) > 1 else ''}. "
    for record in series.records:
        if reason := record.get("rl/collapse"):
            told += f"Stopped early in seed {record['seed']}: {reason}. "
    return told


def _chart(
    stage: str, title: str, told: str, wanted: tuple[Panel, ...], results: "Results", series: Series
) -> Chart | None:
    found = {record["seed"]: _read(results.artifacts, stage, record) for record in series.records}
    curves = {seed: rows for seed, rows in found.items() if rows}
    panels = [panel for panel in wanted if any(panel.name in row for rows in curves.values() for row in rows)]
    if not panels:
        return None
    lacks = [str(seed) for seed in found if seed not in curves]
    without = f" Without seed {', '.join(lacks)}, whose curves are missing." if lacks else ""
    best = {record["seed"]: record.get("rl/best_step") for record in series.records if stage == "rl"}
    return Chart(
        id=f"{stage}-curves",
        title=title,
        caption=f"{told} A line per seed; of more than {MOST} points, means of neighbours.{without}",
        figure=_figure(panels, curves, best),
        heading=("seed", "curve", "points", "first", "last", "lowest", "highest"),
        rows=tuple(_row(seed, panel, rows) for seed, rows in curves.items() for panel in panels),
    )


def _read(artifacts: Path, stage: str, record: Record) -> Rows:
    """The curves that a stage of a record left; empty if it has none, or if they are not there."""
    path = artifacts / stage / str(record.get(f"artifact/{stage}")) / FILE
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise UserError(
            f"{path} is no file of curves ({error}); delete {path.parent} and run its cell again"
        ) from None
    return [row for row in rows if "step" in row]


def thin(points: list[tuple[float, float]], most: int = MOST) -> list[tuple[float, float]]:
    """At most `most` points: the means of equally many neighbours."""
    size = -(-len(points) // most)
    chunks = (points[start : start + size] for start in range(0, len(points), size))
    return [(fmean(x for x, _ in chunk), fmean(y for _, y in chunk)) for chunk in chunks]


def _points(rows: Rows, panel: Panel) -> list[tuple[float, float]]:
    return [(row["step"], panel.factor * row[panel.name]) for row in rows if panel.name in row]


def _row(seed: int, panel: Panel, rows: Rows) -> tuple[Value, ...]:
    values = [value for _, value in _points(rows, panel)]
    if not values:
        return (str(seed), panel.title, 0, None, None, None, None)
    return (str(seed), panel.title, len(values), *numbers((values[0], values[-1], min(values), max(values))))


def _figure(panels: list[Panel], curves: dict[int, Rows], best: dict[int, Any]) -> dict[str, Any]:
    wide = 2 if len(panels) > 1 else 1
    tall = -(-len(panels) // wide)
    whole = tall * TALL + (tall - 1) * GAP  # pixels from the first panel's top to the last one's foot
    data, layout, notes, marks = [], {}, [], []
    for place, panel in enumerate(panels):
        row, column = divmod(place, wide)
        end = "" if place == 0 else str(place + 1)
        span = [column / wide + (0.06 if column else 0), (column + 1) / wide - (0.06 if column < wide - 1 else 0)]
        top = 1 - row * (TALL + GAP) / whole
        heights = [max(top - TALL / whole, 0), top]
        layout[f"xaxis{end}"] = axis("step" if row == tall - 1 or place + wide >= len(panels) else "", domain=span)
        layout[f"xaxis{end}"]["anchor"] = f"y{end}"
        layout[f"yaxis{end}"] = {"domain": heights, "anchor": f"x{end}", "automargin": True, "nticks": 5}
        notes.append(_heading(panel, span[0], heights[1]))
        for number_of, (seed, rows) in enumerate(curves.items()):
            colour = COLOURS[number_of % len(COLOURS)]
            points = thin(_points(rows, panel))
            data.append(_line(points, seed, colour, end, is_named=place == 0))
            if best.get(seed) is not None and panel.name == "held_out/accuracy":
                x = {"x0": best[seed], "x1": best[seed], "xref": f"x{end}"}
                y = {"y0": 0, "y1": 1, "yref": f"y{end} domain"}
                marks.append({"type": "line", **x, **y, "line": {"color": colour, "dash": "dot", "width": 1.5}})
    above = legend(22 / whole) if len(curves) > 1 else {}
    margin = {"l": 50, "r": 20, "t": 70 if above else 40, "b": 50}
    height = whole + margin["t"] + margin["b"]
    return build(data, height, annotations=notes, shapes=marks, **{**layout, **above, "margin": margin})


def _heading(panel: Panel, x: float, y: float) -> dict[str, Any]:
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    return {"text": panel.title, **place, "showarrow": False, "font": {"size": 12}}


def _line(points: list[tuple[float, float]], seed: int, colour: str, end: str, is_named: bool) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(points) < 20 else "lines",
        "x": numbers(x for x, _ in points),
        "y": numbers(y for _, y in points),
        "xaxis": f"x{end}",
        "yaxis": f"y{end}",
        "line": {"color": colour, "width": 1.5},
        "marker": {"size": 4},
        "name": f"seed {seed}",
        "legendgroup": str(seed),
        "showlegend": is_named,
    }
