"""The table at the end of a sweep: its cells, each compared with the naive baseline."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genclspp.report.records import STRATEGY, Record, chosen, is_knob_of, split_words, words
from genclspp.report.series import average

NAIVE = "zero_shot"
COLUMN_WIDTH = 8  # of a column, with its gap


class Column(NamedTuple):
    """A column; `format` writes a value. With `may_hide`, a value that all rows share moves to the caption."""

    name: str
    heading: str
    format: Callable[[float], str]
    may_hide: bool = False


def show(records: Sequence[Record], console: Console) -> None:
    """Print the table of `records` for the width of the console."""
    if not records:
        console.print("no records yet")
        return
    built = table(records, width=console.width)
    caption, built.caption = built.caption, None  # a table would wrap it at its own width
    console.print(built)
    console.print(caption)


def table(records: Sequence[Record], baseline: Record | None = None, width: int = 120) -> Table:
    """One row per cell, or per series if cells differ in seed, with its difference from a baseline in points.

    baseline: compare all rows with this record; None compares each with its own, see `find_baseline`
    width:    of the terminal, in characters
    """
    records = average(records)
    choices, shared = split_words(records)
    metrics = [metric for metric in COLUMNS if not _is_hidden(metric, records)]
    compared = [(baseline, True) if baseline else find_baseline(record, records) for record in records]
    if all(other is record for record, (other, _) in zip(records, compared, strict=True)):
        # All prompts are zero-shot, so each row would be its own baseline.
        compared = [(find_stand_in(record, records), False) for record in records]
    marked = any(is_naive for _, is_naive in compared)  # if none is, the caption says so once
    best = max(record["accuracy"] for record in records)
    built = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    names = _name_columns(records, choices, room=width - 26 - COLUMN_WIDTH * len(metrics))
    built.leading = int("cell" in names)  # separate multi-line rows
    for heading in names:
        built.add_column(heading, overflow="fold")
    built.add_column("accuracy", justify="right", no_wrap=True)
    if len(records) > 1:
        built.add_column("Δ", justify="right", no_wrap=True)
    for metric in metrics:
        built.add_column(metric.heading, justify="right", no_wrap=True)
    for place, (record, (other, is_naive)) in enumerate(zip(records, compared, strict=True)):
        built.add_row(
            *(Text(column[place]) for column in names.values()),
            _accuracy(record, is_best=len(records) > 1 and record["accuracy"] == best),
            *([_difference(record, other, is_naive, marked)] if len(records) > 1 else []),
            *(_format(metric, record) for metric in metrics),
        )
    lines = [_shared(records, shared, metrics), _uncertainty(records)]
    if len(records) > 1:
        lines.append(_comparison([is_naive for _, is_naive in compared], baseline is not None))
    built.caption = Text("\n".join(line for line in lines if line), style="dim")
    return built


def find_baseline(record: Record, records: Sequence[Record]) -> tuple[Record, bool]:
    """The record to compare with, and whether it is the naive baseline: (baseline, is_naive).

    The naive baseline is zero-shot in training and at inference, and equal in all other choices. If `records` do
    not include it, a stand-in takes its place.
    """
    names = [name for name in words(records) if not is_knob_of(name, (STRATEGY, "train", "infer"))]
    wanted = {**{name: record.get(name) for name in names}, "train": NAIVE, "infer": NAIVE}
    naive = [other for other in records if {name: other.get(name) for name in names} == wanted]
    return (naive[0], True) if naive else (find_stand_in(record, records), False)


def find_stand_in(record: Record, records: Sequence[Record]) -> Record:
    """The first record of the same data set."""
    return next(other for other in records if other.get("dataset") == record.get("dataset"))


def duration(seconds: float) -> str:
    """Seconds as text, to two units.

    >>> [duration(s) for s in (0.4, 59, 61, 3725)]
    ['0 s', '59 s', '1m01', '1h02']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


COLUMNS = (
    Column("macro_f1", "macro\nF1", _percent),
    Column("invalid_rate", "in-\nvalid", _percent, may_hide=True),
    Column("coverage", "cover-\nage", _percent, may_hide=True),
    Column("ece", "ece", "{:.3f}".format),
    Column("seconds", "time", duration),
)


def _is_hidden(metric: Column, records: Sequence[Record]) -> bool:
    values = [record.get(metric.name) for record in records]
    if metric.name == "coverage" and all(value in (None, 1) for value in values):
        return True
    return values.count(None) == len(values) or (
        metric.may_hide and len(records) > 1 and all(value == values[0] for value in values)
    )


def _name_columns(records: Sequence[Record], choices: Sequence[str], room: int) -> dict[str, list[str]]:
    """Heading -> one text per record, in the most readable form that fits into `room` characters.

    These are: a column per choice; the same with combinations on several lines; all choices in one column.
    """
    plain = {name: [_text(chosen(record, name)) for record in records] for name in choices}
    folded = {name: [value.replace("+", "\n+") for value in values] for name, values in plain.items()}
    for columns in (plain, folded):
        if sum(2 + max(map(_longest, (name, *values))) for name, values in columns.items()) <= room:
            return columns
    return {
        "cell": [
            "\n".join(f"{name}={folded[name][place]}" for name in choices if folded[name][place])
            for place in range(len(records))
        ]
    }


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _longest(text: str) -> int:
    return max(map(len, text.split("\n")))


def _accuracy(record: Record, is_best: bool) -> Text:
    text = Text(_percent(record["accuracy"]), style="bold" if is_best else "")
    if "accuracy_low" in record:
        low, high = _percent(record["accuracy_low"]), _percent(record["accuracy_high"])
        text.append(f" {low}–{high}", style="not bold dim")
    if "seeds" in record:
        spread = record["accuracy_sd"]
        text.append(" n=1" if spread is None else f" ± {_percent(spread)}", style="not bold dim")
    return text


def _difference(record: Record, other: Record, is_naive: bool, marked: bool) -> Text:
    if record is other:
        return Text("base" if is_naive else "first", style="dim")
    points = 100 * (record["accuracy"] - other["accuracy"])
    style = "green" if points > 0.05 else "red" if points < -0.05 else ""
    return Text(f"{points:+.1f}" + ("*" if marked and not is_naive else ""), style=style)


def _format(metric: Column, record: Record) -> str:
    value = record.get(metric.name)
    return "–" if value is None else metric.format(value)


def _shared(records: Sequence[Record], shared: Mapping[str, Any], shown: Sequence[Column]) -> str:
    first = records[0]
    same = [f"{name} {value}" for name, value in shared.items() if value != ""]
    facts = (Column("examples", "examples", str), Column("majority", "majority", _percent))
    hidden = [metric for metric in COLUMNS if metric not in shown and metric.name != "coverage"]
    same += [
        f"{metric.name.removesuffix('_rate')} {_format(metric, first)}"
        for metric in (*facts, *hidden)
        if first.get(metric.name) is not None
        and all(record.get(metric.name) == first[metric.name] for record in records)
    ]
    return ("all cells: " if len(records) > 1 else "") + " · ".join(same) if same else ""


def _uncertainty(records: Sequence[Record]) -> str:
    counts = sorted({record["seeds"] for record in records if "seeds" in record})
    if not counts:
        return "accuracy with its 95 % interval; shares in %"
    seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f"means over {seeds} seeds, accuracy ± its standard deviation; shares in %"


def _comparison(are_naive: Sequence[bool], is_given: bool) -> str:
    if is_given:
        return "Δ: points of accuracy above the baseline"
    if not any(are_naive):
        return "Δ: points of accuracy above the first cell, as no cell has a zero-shot counterpart"
    naive = "Δ: points of accuracy above zero-shot on both sides, the other choices equal"
    stand_in = "*: above the first cell of the data set, as there is no such baseline"
    return naive if all(are_naive) else f"{naive}\n{stand_in}"
