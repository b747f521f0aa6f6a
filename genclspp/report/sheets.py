"""From a table to a sheet: its figures as texts with marks, the same in every format."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from genclspp.report.entries import AVERAGE, Entry, Row, Table
from genclspp.report.figures import MISSING, between, percent, probability, value
from genclspp.report.notes import is_short, notes

SIGNIFICANT = "†"
OTHERS = "Other cells"  # the heading above rows of no block, below all blocks


@dataclass(frozen=True)
class Line:
    """A line of a text, bold or not, with a mark behind it or none."""

    text: str
    is_bold: bool = False
    mark: str = ""


Text = tuple[Line, ...]


@dataclass(frozen=True)
class Sheet:
    """A title, headings of columns, blocks of rows with as many texts, and notes below.

    words: number of leading columns that name a row
    """

    name: str
    title: str
    heading: list[Text]
    blocks: Mapping[str, list[list[Text]]]
    notes: list[str]
    words: int

    @property
    def rows(self) -> list[list[Text]]:
        return [row for rows in self.blocks.values() for row in rows]


def readable(table: Table) -> Sheet:
    """For people: a column per choice of the column words, or without such words, a column per number."""
    about = table.description
    rows = about.rows or ()
    if about.columns:
        heading = [_heading(about.columns, column) for column in table.columns]
        body = {row: [_stacked(table, row, column) for column in table.columns] for row in table.rows}
    else:
        numbers = _columns(table)
        heading = [name.replace("/", "\n") for name in numbers]
        body = {row: [numbers_of(table, row)[name] for name in numbers] for row in table.rows}
    blocks: dict[str, list[list[Text]]] = {}
    for row, texts in body.items():
        block = row.block or (OTHERS if about.blocks else "")
        blocks.setdefault(block, []).append([*map(plain, row.place), *texts])
    return Sheet(
        table.name, about.title, [plain(text) for text in (*rows, *heading)], blocks, notes(table), len(rows)
    )


def plain(text: str) -> Text:
    return tuple(map(Line, text.split("\n")))


def level(table: Table, entry: Entry | None, count: bool = True) -> Line:
    """Mean ± standard deviation, bold if it is not below the best; with the number of seeds where some lack."""
    if entry is None or not entry.n:
        return Line(MISSING)
    metric = table.description.metric
    spread = "" if entry.sd is None else f" ± {value(metric, entry.sd)}"
    few = f" n={entry.n}" if count and is_short(table, entry) else ""
    return Line(f"{value(metric, entry.mean)}{spread}{few}", entry.is_best)


def gain(table: Table, entry: Entry) -> Line:
    """Points above the baseline, marked if significant."""
    if entry.is_baseline:
        return Line("baseline")
    if entry.points is None:
        return Line(MISSING)
    return Line(value(table.description.metric, entry.points, "+"), mark=SIGNIFICANT * entry.is_significant)


def _heading(words: Sequence[str], column: tuple[str, ...]) -> str:
    return "average" if column == AVERAGE else "\n".join(map("=".join, zip(words, column, strict=True)))


def _stacked(table: Table, row: Row, column: tuple[str, ...]) -> Text:
    entry = table.entries.get((row, column))
    if entry is None or not entry.n:
        return plain(MISSING)
    return tuple(line for line in _lines(table, entry) if line.text)


def _lines(table: Table, entry: Entry) -> Iterator[Line]:
    metric = table.description.metric
    yield level(table, entry)
    if not table.base:
        yield Line(between(metric, *_ends(entry.level)))
        return
    above = gain(table, entry)
    yield above if entry.is_baseline else Line(f"Δ {above.text}", mark=above.mark)
    yield Line(between(metric, *_ends(entry.gain), "+"))
    yield Line(percent(entry.relative.mean) if entry.relative else "")
    if entry.on is not None:
        yield Line(f"{SIGNIFICANT} on {entry.on} of {entry.n}")


def _ends(interval: object) -> tuple[float | None, float | None]:
    return getattr(interval, "low", None), getattr(interval, "high", None)


def numbers_of(table: Table, row: Row) -> dict[str, Text]:
    """Heading -> text, of the only entry of a row in a table without column words."""
    entry = table.entries[row, ()]
    metric = table.description.metric
    texts = {
        metric: (level(table, entry, count=False),),
        "95 %": plain(between(metric, *_ends(entry.level))),
        "n": plain(str(entry.n)),
        "Δ": (gain(table, entry),),
        "95 % of Δ": plain(between(metric, *_ends(entry.gain), "+")),
        "Δ in %": plain(percent(entry.relative.mean) if entry.relative else ""),
        "p (Holm)": plain(probability(entry.corrected) if entry.gain else ""),
    }
    return texts | {name: plain(value(name, entry.beside.get(name))) for name in table.description.beside}


def _columns(table: Table) -> list[str]:
    """The headings that have something below them, and n where it differs."""
    found = [numbers_of(table, row) for row in table.rows]
    bare = {name for name in found[0] if all(not line.text for each in found for line in each[name])}
    if len({each["n"] for each in found}) == 1:
        bare.add("n")
    if not table.base:
        bare.add("Δ")
    return [name for name in found[0] if name not in bare]
