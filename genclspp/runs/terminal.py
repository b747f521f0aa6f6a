"""What a person sees: one status line per stage and a bar while it runs; everything else goes to a log file."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from genclspp.progress import Log
from genclspp.report.figures import duration, fixed
from genclspp.runs.ledger import Entry

ROLE = 19  # characters of the longest role, "complete_validation"


QUIET = 60  # seconds between the lines of a stage, where bars cannot be drawn


class Bar:
    """A `progress.Watch` that draws a progress bar, or else prints a line a minute; passes training curves on."""

    def __init__(self, progress: Progress, role: str, log: Log) -> None:
        self._progress, self._role, self._log, self._note = progress, role, log, ""
        self._task = progress.add_task(role, total=None, note="")
        self._start = self._last = time.monotonic()

    def advance(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)
        now = time.monotonic()
        if self._progress.disable and now - self._last >= QUIET and done:
            self._last = now
            left = duration((now - self._start) / done * (total - done))
            line = f"  {self._role} {done}/{total}, about {left} left {self._note}".rstrip()
            self._progress.console.print(line, soft_wrap=True)

    def log(self, row: Mapping[str, float]) -> None:
        self._log(row)
        shown = [f"{name} {row[name]:.3g}" for name in ("loss", "reward") if name in row]
        if shown:
            self._note = " ".join(shown)
            self._progress.update(self._task, note=self._note)


class Terminal:
    """Writes to a console; `say` for lines, `bar` around a stage."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    def say(self, line: str, indent: int = 4) -> None:
        """Print one line with [rich markup]; text from outside has to be escaped.

        On a terminal it breaks between words, with the rest indented; in a file it stays one line.
        """
        if not self.console.is_terminal:
            self.console.print(line, soft_wrap=True)
            return
        text = Text.from_markup(line)
        first, *rest = text.wrap(self.console, self.console.width)
        self.console.print(first)
        if rest:
            left = text[len(first.plain) :]
            left = left[len(left.plain) - len(left.plain.lstrip()) :]
            self.console.print(Padding(left, (0, 0, 0, indent)))

    def tell(self, line: str) -> None:
        """Print one line about the cell, whatever signs it holds."""
        self.say(f"  {escape(line)}")

    def warn(self, line: str) -> None:
        """Print one line that a person should not miss, whatever signs it holds."""
        self.say(f"  [yellow]warning:[/] {escape(line)}")

    def sweep(self, name: str, count: int, shared: str) -> None:
        """Print how many cells a sweep has, and what they share."""
        self.say(f"sweep [bold]{escape(name)}[/]: {count} {'cells' if count != 1 else 'cell'}, all checked")
        self.say(f"  all: {escape(shared)}")

    def search(self, name: str, count: int, objective: str) -> None:
        """Print how many trials a search has, and what it looks for."""
        self.say(f"search [bold]{escape(name)}[/]: {count} trials, all values checked")
        self.say(f"  for the best {escape(objective)}")

    def jobs(self, names: Sequence[str], folder: Path, sweep: str) -> None:
        """Print which jobs were submitted, and where to look meanwhile."""
        shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
        self.tell(f"jobs submitted: {shown}; what they print is in {folder}")
        self.tell(f"python scripts/status.py {sweep} --watch shows how they stand")

    def heading(self, cell: str, words: str, left: str | None = None) -> None:
        """Print which cell comes, such as "cell 3/9", and how long the rest of the sweep may take."""
        self.say(f"[bold]{cell}[/] {escape(words)}" + (f" [dim]· {left}[/]" if left else ""))

    def status(self, role: str, key: str, seconds: float | None, where: str = "") -> None:
        """Print whether a step was computed, in how many `seconds`, or reused (None); and where, unless here."""
        how = "reused" if seconds is None else f"computed in {duration(seconds)}"
        self.say(f"  {role:<{ROLE}} {how:<18} [dim]{key}  {escape(where)}[/]".rstrip())

    def failed(self, state: str, sentence: str) -> None:
        """Print why the sweep goes on without a cell."""
        self.say(f"  [red]cell {state}:[/] {escape(sentence)}")

    def failures(self, entries: Sequence[Entry], count: int) -> None:
        """Print a table of the cells of a sweep of `count` that have failed or were skipped."""
        have = "has" if len(entries) == 1 else "have"
        self.say(f"[red]{len(entries)} of {count} cells {have} failed[/]; the same command tries again")
        for entry in entries:
            self.say(f"  {entry.number}  {escape(entry.heading)}".rstrip())
            self.say(f"     {entry.state}: {escape(entry.sentence or 'it did not begin')}", 5)
            if entry.state == "failed":
                self.say(f"     log: {escape(entry.log)}", 5)

    def ending(self, record: Path, predictions: Path) -> None:
        """Print where the record of a single cell lies, and what to do next."""
        self.say(f"  record:   {escape(str(record))}")
        self.say(f"  mistakes: {escape(str(predictions / 'predictions.parquet'))}, where label is not gold")
        self.say(f"  a table:  python scripts/make_tables.py {escape(record.parent.name)}")

    def result(self, record: Mapping[str, Any]) -> None:
        """Print the result of a cell."""
        accuracy, low, high, macro_f1, invalid = (
            fixed(100 * record[name], 1)
            for name in ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "invalid_rate")
        )
        self.say(f"  [bold]accuracy {accuracy} %[/] ({low}–{high}), macro-F1 {macro_f1} %, invalid {invalid} %")

    @contextmanager
    def bar(self, role: str, log: Log) -> Iterator[Bar]:
        """A progress bar with the remaining time; it disappears when the stage is done."""
        columns = (
            TextColumn(f"  {role:<{ROLE}}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        ) as progress:
            yield Bar(progress, role, log)


@contextmanager
def until_read() -> Iterator[None]:
    """What prints inside ends quietly once its reader has seen enough, as head does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def quiet(log: Path, terminal: Terminal) -> None:
    """Send log messages and warnings to the file `log`; warnings of our own are also printed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    logging.raiseExceptions = False  # a full disk is for the run to tell, not for every message, ours or wandb's
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for old in logging.getLogger().handlers[:]:
        logging.getLogger().removeHandler(old)
        old.close()
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger(__package__.partition(".")[0]).handlers = [_Aloud(terminal)]
    logging.captureWarnings(True)
    ours = str(Path(__file__).parent.parent)

    def show(message: Any, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        logging.getLogger("py.warnings").warning("%s:%s: %s: %s", filename, lineno, category.__name__, message)
        if filename.startswith(ours):
            terminal.warn(str(message))

    warnings.showwarning = show  # type: ignore[assignment]


class _Aloud(logging.Handler):
    """Prints log messages of our own that are warnings."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.WARNING)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.warn(record.getMessage())


def hush_libraries() -> None:
    """Turn off the progress bars and log output of libraries; called where they are imported anyway."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    for name in ("transformers", "datasets", "trl", "accelerate"):
        for handler in logging.getLogger(name).handlers[:]:
            logging.getLogger(name).removeHandler(handler)
        logging.getLogger(name).propagate = True
