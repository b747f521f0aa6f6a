"""The table at the end of a sweep: its cells, each compared with zero-shot prompts, in the width of a terminal."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from genclspp.report import figures, notes, sheets
from genclspp.report.description import Description
from genclspp.report.entries import Entry, Table
from genclspp.report.records import GENERATIVE
from genclspp.report.results import Results
from genclspp.report.series import Series
from genclspp.report.table import Base, build

NAIVE = {"train": "zero_shot", "infer": "zero_shot"}
STAND_IN = "*"  # marks a gain over the first cell of a data set, where others are over zero-shot
INTERVAL = "95 % of Δ"
BESIDE = {
    "macro_f1": "macro\nF1",
    "invalid_rate": "in-\nvalid",
    "coverage": "cover-\nage",
    "ece": "ece",
    "seconds": "time",
}
HIDES = ("invalid_rate", "coverage")  # where all cells agree, these move below the table
FACTS = ("examples", "majority", *HIDES)


def show(results: Results, console: Console) -> None:
    """Print the table of all records; raises UserError where records do not make one."""
    if not results.records:
        console.print("no records yet")
        return
    table, marked = compare(results)
    made = grid(table, marked, console.width)
    console.print(made)
    intervals = any(column.header == INTERVAL for column in made.columns)
    whole = replace(table, shared={**table.shared, **_facts(results, table)})
    for note in notes.notes(whole, intervals, relative=False):
        console.print(Text(note, style="dim"))


def compare(results: Results, metric: str = "accuracy") -> tuple[Table, set[int]]:
    """The table of a metric, and the ids of the series that are compared with a stand-in, where others are not.

    A series is compared with zero-shot on both sides, all else equal; a stand-in is the first one of its data set.
    """
    has_methods = any(each.words.get("method") for each in results.series)
    wanted = NAIVE | ({"method": GENERATIVE} if has_methods else {})
    naive = {id(each): results.baseline_of(each, wanted) for each in results.series}
    if all(base in (None, each) for each, base in zip(results.series, naive.values(), strict=True)):
        naive = {}  # each would be its own baseline
    known = {name for record in results.records for name in record}
    about = Description(metric=metric, beside=tuple(name for name in BESIDE if name in known))

    def of(series: Series) -> Series | None:
        return naive.get(id(series)) or _first(results, series)

    called = "zero-shot on both sides, all else equal" if naive else "the first cell"
    marked = {id(each) for each in results.series if naive and naive[id(each)] is None}
    stand_in = f" ({STAND_IN}: above the first cell of the data set)" if marked else ""
    base = Base(of, called + stand_in) if len(results.series) > 1 else None
    return build(results, about, base=base), marked


def grid(table: Table, marked: Collection[int] = (), width: int = 120) -> Grid:
    """One row per series, in the order of the records, in the most readable form that fits.

    These are: with the interval of each gain; without; with combinations of strategies on several lines; with all
    words in one column.

    marked: ids of series whose gain is over a stand-in; width: of the terminal, in characters
    """
    plain = {word: [row.place[place] for row, _ in table.series] for place, word in enumerate(_words(table))}
    plain = {word: ["" if text == figures.MISSING else text for text in texts] for word, texts in plain.items()}
    folded = {word: [text.replace("+", "\n+") for text in texts] for word, texts in plain.items()}
    forms = ((plain, True), (plain, False), (folded, False))
    for names, has_intervals in forms:
        made = _grid(table, names, marked, has_intervals and bool(table.gains))
        if Console(width=10_000).measure(made).maximum <= width:
            return made
    lines = [
        [f"{word}={text}" for word, text in zip(folded, texts, strict=True) if text]
        for texts in zip(*folded.values(), strict=True)
    ]
    made = _grid(table, {"cell": ["\n".join(each) for each in lines]}, marked, has_intervals=False)
    made.leading = 1  # separates rows of several lines
    return made


def _words(table: Table) -> Sequence[str]:
    return table.description.rows or () if len(table.series) > 1 else ()


def _grid(table: Table, names: Mapping[str, Sequence[str]], marked: Collection[int], has_intervals: bool) -> Grid:
    beside = [name for name in BESIDE if name in table.description.beside and not _is_hidden(name, table)]
    gains = ["Δ", *([INTERVAL] if has_intervals else [])] if table.base else []
    built = Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in names:
        built.add_column(heading, overflow="fold")
    for heading in ("accuracy", *gains, *(BESIDE[name] for name in beside)):
        built.add_column(heading, justify="right", no_wrap=True)
    for place, (at, series) in enumerate(table.series.items()):
        entry = table.entries[at]
        between = figures.between("accuracy", *_ends(entry), "+")
        built.add_row(
            *(Text(texts[place]) for texts in names.values()),
            _level(table, entry),
            *[_gain(table, entry, id(series) in marked), Text(between)][: len(gains)],
            *(figures.value(name, entry.beside.get(name)) for name in beside),
        )
    return built


def _level(table: Table, entry: Entry) -> Text:
    """Accuracy with its deviation, or for one seed with its interval."""
    line = sheets.level(table, entry)
    mean, *rest = line.text.split(" ", 1)
    text = Text(mean, style="bold" if line.is_bold else "")
    if entry.sd is None and entry.level and not notes.is_short(table, entry):
        rest = [figures.between("accuracy", entry.level.low, entry.level.high).replace(" to ", "–")]
    return text.append(f" {rest[0]}", style="not bold dim") if rest else text


def _gain(table: Table, entry: Entry, is_marked: bool) -> Text:
    line = sheets.gain(table, entry)
    if entry.is_baseline:
        return Text("base", style="dim")
    style = "" if not entry.is_significant else "green" if (entry.points or 0) > 0 else "red"
    return Text(line.text + line.mark + STAND_IN * is_marked, style=style)


def _ends(entry: Entry) -> tuple[float | None, float | None]:
    return (entry.gain.low, entry.gain.high) if entry.gain else (None, None)


def _first(results: Results, series: Series) -> Series:
    """The first series of the same data set."""
    dataset = series.words.get("dataset")
    return next(other for other in results.series if other.words.get("dataset") == dataset)


def _facts(results: Results, table: Table) -> dict[str, str]:
    """Numbers that all records share, but for those that have a column, and a coverage of everything."""
    found = {}
    for name in FACTS:
        values = {record.get(name) for record in results.records}
        if len(values) == 1 and None not in values and (name not in HIDES or _is_hidden(name, table)):
            (value,) = values
            found[name.removesuffix("_rate")] = figures.value(name, value)
    return {name: text for name, text in found.items() if (name, text) != ("coverage", "100.0")}


def _is_hidden(name: str, table: Table) -> bool:
    values = {entry.beside.get(name) for entry in table.entries.values()}
    return values == {None} or (name in HIDES and len(values) == 1 and (len(table.entries) > 1 or values == {1}))
