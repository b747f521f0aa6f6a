"""Carries out a sweep on slots: decides what starts when, and says what became of each cell."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from genclspp.cluster.schedule import RECORD, Schedule, Task
from genclspp.cluster.worker import Job, Outcome
from genclspp.runs.outlook import Outlook
from genclspp.runs.plan import Plan
from genclspp.settings import Cell
from genclspp.store.artifacts import Step
from genclspp.suggest import UserError

TRIES = 3  # of a task whose machine was lost
PAUSE = 1.0  # seconds, at most, between looks at what has ended; then steps of other sweeps are looked for again


class SlotsLike(Protocol):
    """What the driver needs of slots (`slots.Slots`, or a simulation)."""

    def fits(self, kind: str) -> bool: ...

    def start(self, kind: str, job: Job) -> Any: ...

    def wait(self, seconds: float) -> Sequence[tuple[Any, Outcome]]: ...

    def threads(self, kind: str) -> int: ...


@dataclass(frozen=True)
class Ended:
    """A step or a cell that has ended.

    cells: places of the cells that it is about: those that need a finished step, those that are lost with a failed
           one, or the one with its record
    log:   the file that its worker wrote
    """

    task: Task
    outcome: Outcome
    cells: Sequence[int]
    log: str


@dataclass
class Driver:
    """Carries out the cells of `outlook`.

    plan:    plans a cell again, once what it waited for is there
    seconds: that a step will probably take
    explain: makes a sentence of an error, for workers
    """

    outlook: Outlook
    plan: Callable[[Cell], Plan]
    slots: SlotsLike
    seconds: Callable[[Step], float | None]
    explain: Callable[[Exception], str]
    _running: dict[Any, Task] = field(default_factory=dict)
    _elsewhere: list[Task] = field(default_factory=list)  # what other sweeps are computing
    _lost: dict[str, int] = field(default_factory=dict)  # name -> how often its machine was lost

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.seconds, lambda step: step.store.holds(step.artifact))
        self._folder = os.getcwd()

    def begin(self) -> None:
        """Find out what is to be done."""
        for place, steps in enumerate(self.outlook.steps):
            self.schedule.plan(place, steps, all(step.artifact.key for step in steps))

    def carry_out(self) -> Iterator[Ended]:
        """Yield what ends, until nothing is left."""
        if not self.schedule.total:
            self.begin()
        while self.schedule.tasks:
            self._fill()
            for reference, outcome in self.slots.wait(PAUSE):
                yield from self._end(self._running.pop(reference), outcome)
            while self._elsewhere:
                self.schedule.offer(self._elsewhere.pop())

    @property
    def running(self) -> list[Task]:
        return [*self._running.values()]

    def _fill(self) -> None:
        """Hand over tasks as long as there is room."""
        while task := self.schedule.next(self.slots.fits):
            self._running[self.slots.start(task.kind, self._job(task))] = task

    def _job(self, task: Task) -> Job:
        cell = self.outlook.cells[task.cells[0]]
        key = task.name if task.step else None
        entry, threads, log = self.outlook.entry(cell), self.slots.threads(task.kind), self._log(task)
        return Job(cell, key, entry, threads, self._folder, log, self.explain, tuple(sys.argv[1:]))

    def _log(self, task: Task) -> str:
        """The file that the worker of a task writes, named by the step, or by the record of the cell."""
        cell = self.outlook.cells[task.cells[0]]
        name = f"{task.kind}-{task.name}" if task.step else self.outlook.entry(cell).record
        return str(Path(cell.outputs) / "logs" / cell.sweep / f"{name}.log")

    def _end(self, task: Task, outcome: Outcome) -> Iterator[Ended]:
        if not task.cells:  # all cells that needed it have been given up
            return
        log = self._log(task)
        if outcome.state == "busy":
            lost = self._lost[task.name] = self._lost.get(task.name, 0) + bool(outcome.sentence)
            if lost < TRIES:
                self._elsewhere.append(task)
                return
            outcome = Outcome("failed", f"{outcome.sentence}, {lost} times")
        if outcome.state == "failed":
            yield Ended(task, outcome, self.schedule.fail(task), log)
            return
        cells = [*task.cells]
        complete = self.schedule.finish(task)
        yield Ended(task, outcome, cells, log)
        if task.kind != RECORD:
            yield from self._go_on(complete)

    def _go_on(self, cells: Sequence[int]) -> Iterator[Ended]:
        """Plan cells again of which all that was known is done."""
        for place in cells:
            try:
                planned = self.plan(self.outlook.cells[place])
                if not self.schedule.plan(place, planned.steps, planned.is_known):
                    raise UserError("it waits for a stage that nothing computes")
            except Exception as error:
                given_up = Task(f"{RECORD} {place}", RECORD, None, 0.0, [place])
                yield Ended(given_up, Outcome("failed", self.explain(error)), [place], self._log(given_up))
