"""What runs in a slot: one step, or the record of one cell.

A worker plans the cell anew and finds the step by its key. So little travels to it, and a machine with other code
or other data is noticed: the key differs.
"""

import faulthandler
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn

from genclspp.runs.ledger import Entry
from genclspp.settings import Cell
from genclspp.suggest import UserError


@dataclass(frozen=True)
class Job:
    """A task, as it travels to a worker.

    key:     of the step; None for the record of the cell
    entry:   of the cell in the ledger
    threads: to compute with
    folder:  that relative paths start from
    log:     the file that everything is written to, relative to `folder`
    explain: makes a sentence of an error, and writes its traceback to the log
    words:   of the command line, which such sentences speak of
    """

    cell: Cell
    key: str | None
    entry: Entry
    threads: int
    folder: str
    log: str
    explain: Callable[[Exception], str]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    state:    "busy": another sweep is computing the step
    sentence: why it failed
    where:    host and process
    seconds:  of a step that was computed
    record:   of a cell
    lines:    what a person wants to know about it at once
    warnings: what a person should not miss
    """

    state: Literal["done", "failed", "busy"]
    sentence: str = ""
    where: str = ""
    seconds: float | None = None
    record: dict[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def work(job: Job) -> Outcome:
    """Carry out a job; an error becomes an outcome."""
    from genclspp.store.artifacts import Busy

    os.chdir(job.folder)
    sys.argv[1:] = job.words
    where = f"{socket.gethostname()} ({os.getpid()})"
    log = Path(job.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with _writing_to(log):
        try:
            return _record(job, where) if job.key is None else _compute(job, job.key, where)
        except Busy:
            return Outcome("busy", where=where)
        except Exception as error:
            return Outcome("failed", job.explain(error), where)


def _compute(job: Job, key: str, where: str) -> Outcome:
    from genclspp import pipeline
    from genclspp.store.manifests import manifest

    planned = pipeline.plan(job.cell, _memory())
    found = [step for step in planned.steps if step.artifact.key == key]
    if not found:
        raise UserError(
            f"{where} plans other stages than the computer that started the sweep ({key} is not among them); "
            "expected the same code, libraries and data on both"
        )
    step, terminal = found[0], _terminal(job)
    runner = pipeline.runner(job.cell, _memory(), terminal, job.threads, waits=False)
    is_new = runner.carry_out(step)
    seconds = manifest(step.artifact.path)["seconds"] if is_new else None
    mined = (
        pipeline.describe(step, computed=True) if is_new and step.role == "mine" else None
    )  # else the cell tells it
    return Outcome("done", "", where, seconds, {}, (mined,) if mined else (), tuple(terminal.warned))


def _record(job: Job, where: str) -> Outcome:
    from genclspp import pipeline
    from genclspp.report import records
    from genclspp.runs.ledger import Ledger

    terminal = _terminal(job)
    with Ledger(records.path_of(job.cell).parent).running(job.entry):
        record = pipeline.run(job.cell, _memory(), terminal, job.threads)
    return Outcome("done", "", where, None, record, tuple(terminal.told), tuple(terminal.warned))


def _terminal(job: Job) -> Any:
    """A terminal that is the log, and remembers what it tells about the cell."""
    from rich.console import Console

    from genclspp.runs.terminal import Terminal, quiet

    class Telling(Terminal):
        def __init__(self, console: Console) -> None:
            super().__init__(console)
            self.told: list[str] = []
            self.warned: list[str] = []

        def tell(self, line: str) -> None:
            super().tell(line)
            self.told.append(line)

        def warn(self, line: str) -> None:
            super().warn(line)
            self.warned.append(line)

    terminal = Telling(Console(file=sys.stdout, highlight=False))
    quiet(Path(job.log), terminal)
    return terminal


@cache
def _memory() -> Any:
    """What this worker has loaded and rendered; it keeps it from one job to the next."""
    from genclspp.runs.plan import Memory

    return Memory(is_checked=True)


@contextmanager
def _writing_to(log: Path) -> Iterator[None]:
    """Send what this process and its libraries print to a file, to its end also if the process dies."""
    streams, leave = (sys.stdout, sys.stderr), os._exit
    kept = [os.dup(stream) for stream in (1, 2)]

    def say_and_leave(status: int) -> NoReturn:
        print(f"os._exit({status}) was called", flush=True)
        leave(status)

    with log.open("a", encoding="utf-8", buffering=1) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        sys.stdout = sys.stderr = file
        os._exit = say_and_leave  # it leaves no other trace
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
            os._exit = leave
            sys.stdout, sys.stderr = streams
            for stream, old in zip((1, 2), kept, strict=True):
                os.dup2(old, stream)
                os.close(old)
