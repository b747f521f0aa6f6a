"""Sheets: tables of text, and how they are written to terminals, as Markdown and as CSV."""

import csv
import io
import re
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Sheet:
    """A heading, rows of as many texts, and notes below. `words`: number of leading columns that name a row."""

    heading: list[str]
    rows: list[list[str]]
    notes: list[str]
    words: int


def show(sheet: Sheet, console: Console) -> None:
    """Print the sheet on a terminal."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.leading = int(any("\n" in text for row in sheet.rows for text in row))  # separate multi-line rows
    for place, (heading, *texts) in enumerate(zip(sheet.heading, *sheet.rows, strict=True)):
        widest = max(cell_len(line) for text in (heading, *texts) for line in text.splitlines() or [""])
        if place < sheet.words:
            table.add_column(Text(heading), overflow="fold")
        else:
            table.add_column(Text(heading), justify="right", min_width=widest)
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    # A table too wide for the terminal is better than truncated numbers.
    needed = console.measure(table, options=console.options.update(max_width=10_000)).minimum
    console.print(table, width=max(console.width, needed), crop=False)
    for note in sheet.notes:
        console.print(Text(note, style="dim"))


def markdown(sheet: Sheet) -> str:
    """The sheet as a GitHub Markdown table, with its notes as a list below."""
    rule = ["---" if place < sheet.words else "---:" for place in range(len(sheet.heading))]
    lines = [[*map(_escaped, sheet.heading)], rule, *([*map(_escaped, row)] for row in sheet.rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return table + "\n\n" + "".join(f"- {_escaped(note)}\n" for note in sheet.notes)


def comma_separated(sheet: Sheet) -> str:
    """Heading and rows as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([sheet.heading, *sheet.rows])
    return out.getvalue()


def _escaped(text: str) -> str:
    """Escape Markdown's special characters; line ends become `<br>`."""
    plain = re.sub(r"([\\`*_\[\]<>|&~$])", r"\\\1", text)
    return "<br>".join(plain.splitlines())
