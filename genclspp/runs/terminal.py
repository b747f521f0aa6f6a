"""What a person sees: one status line per stage and a bar while it runs; everything else goes to a log file."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from genclspp.progress import Log
from genclspp.settings import Cell


class Bar:
    """A `progress.Watch` that draws a progress bar, and passes training curves on."""

    def __init__(self, progress: Progress, task: TaskID, log: Log) -> None:
        self._progress, self._task, self._log = progress, task, log

    def advance(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def log(self, row: Mapping[str, float]) -> None:
        self._log(row)
        shown = [f"{name} {row[name]:.3g}" for name in ("loss", "reward") if name in row]
        if shown:
            self._progress.update(self._task, note=" ".join(shown))


class Terminal:
    """Writes to a console; `say` for lines, `bar` around a stage."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    def say(self, line: str) -> None:
        """Print one line with [rich markup]; text from outside has to be escaped."""
        self.console.print(line, soft_wrap=True)

    def tell(self, line: str) -> None:
        """Print one line about the cell, whatever signs it holds."""
        self.say(f"  {escape(line)}")

    def warn(self, line: str) -> None:
        """Print one line that a person should not miss, whatever signs it holds."""
        self.say(f"  [yellow]warning:[/] {escape(line)}")

    def heading(self, cell: Cell) -> None:
        named = {**cell.choices, "seed": str(cell.seed)}
        words = [f"[cyan]{group}[/]={escape(choice)}" for group, choice in named.items()]
        self.say(" ".join(["[bold]cell[/]", *words, escape(cell.overrides)]).rstrip())

    def status(self, role: str, key: str, seconds: float | None) -> None:
        """Print whether a step was computed, in how many `seconds`, or reused (None)."""
        how = "reused" if seconds is None else f"computed in {seconds:.0f} s"
        self.say(f"  {role:<14} {how:<18} [dim]{key}[/]")

    def result(self, record: Mapping[str, Any]) -> None:
        """Print the result of a cell."""
        low, high = record["accuracy_low"], record["accuracy_high"]
        self.say(
            f"  [bold]accuracy {100 * record['accuracy']:.1f} %[/] ({100 * low:.1f}–{100 * high:.1f}), "
            f"macro-F1 {100 * record['macro_f1']:.1f} %, invalid {100 * record['invalid_rate']:.1f} %"
        )

    @contextmanager
    def bar(self, role: str, log: Log) -> Iterator[Bar]:
        """A progress bar with the remaining time; it disappears when the stage is done."""
        columns = (
            TextColumn(f"  {role:<14}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        ) as progress:
            yield Bar(progress, progress.add_task(role, total=None, note=""), log)


def quiet(log: Path, console: Console) -> None:
    """Send log messages and warnings to the file `log`; warnings of our own are also printed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for old in logging.getLogger().handlers[:]:
        logging.getLogger().removeHandler(old)
        old.close()
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    logging.captureWarnings(True)
    ours = str(Path(__file__).parent.parent)

    def show(message: Any, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        logging.getLogger("py.warnings").warning("%s:%s: %s: %s", filename, lineno, category.__name__, message)
        if filename.startswith(ours):
            console.print(f"  [yellow]warning:[/] {escape(str(message))}", soft_wrap=True)

    warnings.showwarning = show  # type: ignore[assignment]


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
