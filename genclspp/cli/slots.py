"""`hydra/launcher=ray`: the stages of a sweep on slots, and what a person sees of it."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console
from rich.live import Live
from rich.text import Text

from genclspp.cli import compose, errors, search, sweep
from genclspp.settings import Cell
from genclspp.suggest import UserError

if TYPE_CHECKING:
    from genclspp.cluster.driver import Driver, Ended
    from genclspp.cluster.slots import Slots
    from genclspp.runs.outlook import Outlook
    from genclspp.runs.plan import Memory
    from genclspp.runs.terminal import Terminal


def launch(
    configs: Sequence[DictConfig], address: str | None, slots: int | None, resources: Mapping[str, Any]
) -> list[JobReturn]:
    """Carry out the jobs of a sweep; what a job returns is what `main.run` returns for it.

    address, slots, resources: see `cluster.slots.Slots`
    """
    from genclspp.runs import stages
    from genclspp.runs.terminal import Terminal

    terminal = Terminal(Console(file=sys.stdout, highlight=False))
    outlook, words, count = _outlook(configs, terminal)
    if not outlook.cells:
        return [JobReturn(status=JobStatus.COMPLETED) for _ in configs]
    first = outlook.cells[0]
    log = Path(first.outputs) / "logs" / first.sweep / "ray.log"
    screen = Screen(outlook, words, count, terminal, sweep.memory(first.outputs))
    try:
        with _aside(log), _slots(address, slots, resources) as room:
            values = screen.carry_out(room)
    except UserError as error:
        raise errors.stop(error) from None
    except KeyboardInterrupt:  # Ray has ended its processes by now
        stages.forget_dead(Path(first.outputs) / "results" / first.sweep)
        raise
    if screen.is_stopped:
        stages.forget_dead(Path(first.outputs) / "results" / first.sweep)
        sweep.end(is_stopped=True)
    jobs = [compose.cell(config) for config in configs] if sweep.Sweep.search else outlook.cells
    return [JobReturn(status=JobStatus.COMPLETED, _return_value=values.get(_name(cell))) for cell in jobs]


_kept: "list[Slots]" = []  # from one batch of trials to the next: workers that start anew import for seconds


def _slots(
    address: str | None, slots: int | None, resources: Mapping[str, Any]
) -> "AbstractContextManager[Slots]":
    """Slots for one batch of jobs. Those of a search stay open until the program ends, when Ray closes them."""
    from genclspp.cluster.slots import Slots

    if not sweep.Sweep.search:
        return Slots(address, slots, resources)
    if not _kept:
        _kept.append(Slots(address, slots, resources))
    return nullcontext(_kept[0])


def _outlook(configs: Sequence[DictConfig], terminal: "Terminal") -> "tuple[Outlook, str, int]":
    """The cells, what one of them is called, and how many there are in all: of a grid, or trials of a search."""
    from genclspp import pipeline
    from genclspp.runs.outlook import Outlook

    grid, searched = sweep.Sweep.outlook, sweep.Sweep.search
    if grid:
        return grid, "cell", len(grid.cells)
    assert searched is not None
    cells, plans = [], []
    for config in configs:
        try:
            cell = compose.cell(config)
            plans.append(pipeline.plan(cell, sweep.memory(cell.outputs)))
            cells.append(cell)
        except UserError as error:  # such a trial is lost, and the search goes on
            terminal.failed("failed", errors.report(error))
    entries = {_name(cell): entry for cell, entry in searched.trials.values()}

    class Trials(Outlook):
        def entry(self, cell: Cell) -> Any:
            return entries[_name(cell)]

    notes = [note for plan in plans for note in plan.notes]
    return Trials(cells, [plan.steps for plan in plans], notes), "trial", searched.count


def _name(cell: Cell) -> str:
    from genclspp.report import records

    return records.path_of(cell).stem


@contextmanager
def _aside(log: Path) -> Iterator[None]:
    """Send to a file what Ray prints in this process, such as a paragraph about each worker that dies."""
    kept = os.dup(2)
    with log.open("a", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        os.dup2(file.fileno(), 2)  # what is not Python writes there
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@dataclass
class Screen:
    """Drives cells, and prints what becomes of them.

    called, count: what a cell is called, "cell" or "trial", and how many there are in all
    is_stopped:    whether a cell has failed and the others are not to go on
    """

    outlook: "Outlook"
    called: str
    count: int
    terminal: "Terminal"
    memory: "Memory"
    is_stopped: bool = False

    def carry_out(self, room: "Slots") -> dict[str, float | None]:
        """Carry out the cells; returns name of a record -> what `main.run` returns for it."""
        from genclspp import pipeline
        from genclspp.cluster.driver import Driver
        from genclspp.runs import threads
        from genclspp.runs.estimates import Estimates

        first = self.outlook.cells[0]
        estimates = Estimates(Path(first.outputs) / "artifacts", threads.count(1))
        plan = partial(pipeline.plan, memory=self.memory)
        driver = Driver(self.outlook, plan, room, estimates.seconds, errors.report)
        values: dict[str, float | None] = {}
        for note in self.memory.news(dict.fromkeys(self.outlook.notes)):
            self.terminal.tell(note)
        driver.begin()
        steps = {step.artifact.key for steps in self.outlook.steps for step in steps if step.artifact.key}
        there = len(steps - driver.schedule.tasks.keys())
        if there:
            self.terminal.tell(f"{there} of {len(steps)} stages are there already")
        with Live(AtWork(driver), console=self.terminal.console, transient=True, **UNTOUCHED):
            for ended in driver.carry_out():
                if ended.outcome.state == "failed":
                    self._tell_failed(ended)
                    if first.failures == "stop":
                        self.is_stopped = True
                        room.stop()
                        break
                elif ended.task.step:
                    self._tell_step(ended)
                else:
                    cell = self._tell_cell(ended)
                    values[_name(cell)] = search.objective(cell, ended.outcome.record)
        return values

    def _tell_step(self, ended: "Ended") -> None:
        seconds, step = ended.outcome.seconds, ended.task.step
        assert step is not None
        if seconds is not None:
            self.memory.seconds.setdefault(step.role, []).append(seconds)
        others = f"for {len(ended.cells)} {self.called}s" if len(ended.cells) > 1 else ""
        self.terminal.status(step.role, ended.task.name, seconds, f"{ended.outcome.where} {others}".strip())
        for line in ended.outcome.lines:
            self.terminal.tell(line)
        self._warn(ended)

    def _warn(self, ended: "Ended") -> None:
        for line in self.memory.news(ended.outcome.warnings):  # workers say the same
            self.terminal.warn(line)

    def _tell_cell(self, ended: "Ended") -> Cell:
        cell = self._head(ended.cells[0])
        for line in ended.outcome.lines:
            self.terminal.tell(line)
        self._warn(ended)
        self.terminal.result(ended.outcome.record)
        return cell

    def _tell_failed(self, ended: "Ended") -> None:
        """Say which cells are lost: the first one has failed, and others that need the same step are skipped."""
        from genclspp.report import records
        from genclspp.runs.ledger import Ledger

        step, sentence = ended.task.step, ended.outcome.sentence
        for place in ended.cells:
            cell = self._head(place)
            entry, ledger = self.outlook.entry(cell), Ledger(records.path_of(cell).parent)
            if place == ended.cells[0]:
                reason = f"{step.role}: {sentence}" if step else sentence
                ledger.note(entry, "failed", reason, ended.log)
                self.terminal.failed("failed", reason)
            else:
                role = step.role if step else ""
                reason = f"it needs the stage {role} {ended.task.name}, which has failed: {sentence}"
                ledger.note(entry, "skipped", reason)
                self.terminal.failed("skipped", reason)

    def _head(self, place: int) -> Cell:
        cell = self.outlook.cells[place]
        entry = self.outlook.entry(cell)
        self.terminal.heading(f"{self.called} {entry.number}/{self.count}", entry.heading)
        return cell


UNTOUCHED: dict[str, Any] = {"redirect_stdout": False, "redirect_stderr": False}  # what Ray prints goes to its log


@dataclass
class AtWork:
    """What the slots are doing, in a line that stays at the bottom of a terminal."""

    driver: "Driver"

    def __rich__(self) -> Text:
        done = self.driver.schedule.total - len(self.driver.schedule.tasks)
        roles = Counter(task.step.role if task.step else "record" for task in list(self.driver.running))
        running = ", ".join(f"{role} {count}" if count > 1 else role for role, count in roles.items())
        return Text(f"{done} of {self.driver.schedule.total} stages and records · now: {running or 'nothing'}")
