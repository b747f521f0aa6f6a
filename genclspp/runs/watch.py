"""What `scripts/status.py` shows of a sweep: once, or live while another process runs it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from genclspp.report.figures import duration
from genclspp.runs.ledger import Entry
from genclspp.runs.standing import Role, Standing, since

STYLES = {"done": "green", "running": "cyan", "pending": "dim", "failed": "red", "skipped": "yellow"}
FIRST = ("running", "failed", "skipped", "pending", "done")  # what is kept where not all cells fit
LEAST = 8  # characters that a column of choices is not cut below
MOST = 500  # cells that are listed where there is room for all; a larger table takes seconds to lay out
MINUTE = 60  # seconds between lines, where nothing can be redrawn


def watch(read: Callable[[], Standing], name: str, console: Console, pause: Callable[[], None]) -> None:
    """Show how a sweep stands until it is over: redrawn after each `pause`; a line a minute where it cannot be."""
    if not console.is_terminal:
        for standing in _lines(read, pause):
            console.print(line(name, standing), soft_wrap=True)
        return
    standing = read()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(board(name, standing, (console.width, console.height - 1)), refresh=True)
            if standing.is_over:
                return
            pause()
            standing = read()


def board(name: str, standing: Standing, size: tuple[int, int] | None = None) -> RenderableType:
    """The sweep in a sentence, its cells, and its stages.

    size: columns and lines that it has to fit into; None for up to `MOST` cells, each with its whole reason
    """
    stages = _stages(standing.roles) if standing.roles else ""
    width, room = None, MOST
    if size is not None:
        width, room = size[0], size[1] - 6 - (len(standing.roles) + 4 if standing.roles else 0)
    shown = _fitting(standing.entries, room)
    left_out = Counter[str](entry.state for entry in standing.entries)
    left_out.subtract(entry.state for entry in shown)
    rest = Text(f"… and {_counts(left_out)}" if left_out.total() else "", style="dim")
    return Group(_headline(name, standing), _cells(shown, standing, width), rest, stages)


def line(name: str, standing: Standing) -> str:
    """The sweep in one line of a file."""
    clock = datetime.fromtimestamp(standing.now).strftime("%H:%M:%S")
    running = [entry for entry in standing.entries if entry.state == "running"]
    cells = [f"cell {entry.number} {entry.heading}".rstrip() + f": {_what(entry, standing)}" for entry in running]
    return " · ".join([f"{clock} {_headline(name, standing).plain}", *cells])


def _lines(read: Callable[[], Standing], pause: Callable[[], None]) -> Iterator[Standing]:
    """The first standing, then one a minute, then the last."""
    standing = read()
    yield standing
    told = standing.now
    while not standing.is_over:
        pause()
        standing = read()
        if standing.is_over or standing.now - told >= MINUTE:
            told = standing.now
            yield standing


def _headline(name: str, standing: Standing) -> Text:
    counts = _counts(Counter[str](entry.state for entry in standing.entries))
    count = len(standing.entries)
    text = Text(f"{name}: {count} cell{'s' * (count != 1)}, {counts}")
    if left := standing.left():
        text.append(f" · {left}")
    if standing.is_idle:
        text.append(" · nothing is running", style="yellow")
    return text


def _counts(states: Counter[str]) -> str:
    return ", ".join(f"{states[state]} {state}" for state in STYLES if states[state])


def _fitting(entries: Sequence[Entry], room: int) -> Sequence[Entry]:
    """As many of the entries as fit: what runs or has failed, what comes next, what was done last."""
    if len(entries) <= room:
        return entries
    ranked = sorted(
        entries,
        key=lambda entry: (FIRST.index(entry.state), -entry.number if entry.state == "done" else entry.number),
    )
    kept = {entry.record for entry in ranked[: max(room, 1)]}
    return [entry for entry in entries if entry.record in kept]


def _cells(entries: Sequence[Entry], standing: Standing, width: int | None) -> Table:
    """A line per cell, cut to `width`; None for as many lines as it takes."""
    words, named = _named(entries, width)
    today = datetime.fromtimestamp(standing.now).date()
    rows = []
    for entry, choices in zip(entries, named, strict=True):
        became = datetime.fromtimestamp(since(entry))
        clock = became.strftime("%H:%M:%S" if became.date() == today else "%m-%d %H:%M")
        rows.append([str(entry.number), *choices, entry.state, clock, _what(entry, standing)])
    headings = ["", *words, "state", "since", "stages, or why"]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, (heading, most) in enumerate(zip(headings, _cut(widths, width), strict=True)):
        table.add_column(heading, justify="left" if place else "right", max_width=most, no_wrap=most is not None)
    for row, entry in zip(rows, entries, strict=True):
        state = Text(entry.state, style=STYLES[entry.state])
        table.add_row(*map(Text, row[:-3]), state, *map(Text, row[-2:]))
    return table


def _named(entries: Sequence[Entry], width: int | None) -> tuple[list[str], list[list[str]]]:
    """What cells differ in, and the choices of each: a column per word, or one for all where there are many."""
    choices = [dict(part.partition("=")[::2] for part in entry.heading.split()) for entry in entries]
    words = list(dict.fromkeys(word for each in choices for word in each))
    if not words:
        return ["cell"], [[entry.record] for entry in entries]
    rows = [[each.get(word, "") for word in words] for each in choices]
    widths = [max(map(len, column)) for column in zip(words, *rows, strict=True)]
    if width is None or sum(min(one, LEAST) + 2 for one in widths) <= width - 46:  # 46 for the other columns
        return words, rows
    return [" ".join(words)], [[" ".join(row)] for row in rows]


def _cut(widths: Sequence[int], room: int | None) -> Sequence[int | None]:
    """Widths of columns, with gaps of two, that fit into `room`: the widest are cut; None for no limit.

    Number, state and time stay whole.
    """
    if room is None:
        return [None] * len(widths)
    cut, least = list(widths), [LEAST] * len(widths)
    least[0], least[-3], least[-2], least[-1] = *(widths[place] for place in (0, -3, -2)), 20
    while sum(cut) + 2 * len(cut) > room:
        spare = [width - fewest for width, fewest in zip(cut, least, strict=True)]
        if max(spare) <= 0:
            break
        cut[spare.index(max(spare))] -= 1
    return cut


def _what(entry: Entry, standing: Standing) -> str:
    """What a cell is at, or why it is not."""
    if entry.sentence:
        return entry.sentence
    whole = len(entry.steps)
    if entry.state == "done" and whole:
        return f"{whole}/{whole}, {duration(standing.spent(entry))}"
    if whole and entry.state == "pending":
        died = standing.interrupted(entry)
        return f"{standing.finished(entry)}/{whole}" + (f", the process of {died} died" if died else "")
    at = standing.doing(entry)
    if at is None:
        return ""
    role, artifact, seconds = at
    shared = f", for {standing.shares[artifact]} cells" if standing.shares[artifact] > 1 else ""
    stage = standing.begun.get(artifact)
    where = f" on {stage.host} ({stage.process})" if stage else ""
    return f"{role} {duration(seconds)}{shared}{where}, {standing.finished(entry)}/{whole}"


def _stages(roles: Sequence[Role]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for heading in ("done", "of", "for cells", "each took", "spent"):
        table.add_column(heading, justify="right", no_wrap=True)
    for role in roles:
        each = duration(role.seconds / role.done) if role.done else ""
        counts = (str(role.done), str(role.steps), str(role.cells))
        table.add_row(role.name, *counts, each, duration(role.seconds) if role.done else "")
    return table


def pause() -> None:
    """Wait until the next look."""
    time.sleep(1)
