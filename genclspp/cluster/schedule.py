"""The order of work where several slots compute at once: what may start now, the most urgent first.

The work of a sweep is its distinct steps, and a record per cell. A step may start once the artifacts that it needs
are there, so that no slot ever waits for another. Of those that may start, the one comes first with which the
longest chain of work begins, since that chain decides when the sweep can end.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from genclspp.runs.graph import artifacts_of
from genclspp.store.artifacts import Step

RECORD = "record"  # the kind of the last task of each cell


@dataclass
class Task:
    """What a slot does at a time: a step, or the record of a cell, which has none.

    name:    the key of the step, or "record" and the place of the cell
    kind:    the step's stage, or "record": what it takes of a machine depends on it
    cells:   places of the cells that need it; the first one is what it is planned from
    needs:   names of the tasks that come before it and are not finished
    seconds: that it will probably take
    after:   seconds of the longest chain of tasks that begins with it
    """

    name: str
    kind: str
    step: Step | None
    seconds: float
    cells: list[int] = field(default_factory=list)
    needs: set[str] = field(default_factory=set)
    after: float = -1.0
    has_started: bool = False


class Schedule:
    """Which tasks are left, and which of them may start.

    seconds:  that a step will probably take; None where nothing is known, then it counts as one second
    is_there: whether the artifact of a step is finished
    tasks:    name -> task that is neither finished nor given up
    total:    how many tasks there have been
    """

    def __init__(self, seconds: Callable[[Step], float | None], is_there: Callable[[Step], bool]) -> None:
        self._seconds, self._is_there = seconds, is_there
        self.tasks: dict[str, Task] = {}
        self.total = 0
        self._there: set[str] = set()  # names of steps that are finished
        self._users: dict[str, list[str]] = {}  # name -> tasks that wait for it
        self._left: dict[int, set[str]] = {}  # cell -> its tasks that are not finished
        self._ready: dict[str, list[tuple[float, int, str]]] = defaultdict(list)  # kind -> heap

    def plan(self, cell: int, steps: Sequence[Step], is_known: bool) -> bool:
        """Add what a cell needs, as far as it is known; returns whether anything of it can be done.

        A cell whose steps are all known gets its record as the last task; another one is planned again once all
        that is known has been done.
        """
        chain = [self._task(str(step.artifact.key), step, cell) for step in steps if self._is_ahead(step)]
        if is_known:
            record = self._task(f"{RECORD} {cell}", None, cell)
            record.needs = {task.name for task in chain}
            chain.append(record)
        for task in chain:
            self._connect(task)
        after: dict[str, float] = {}
        for task in reversed(chain):
            longest = after.get(task.name, 0.0) + task.seconds
            after |= {name: max(longest, after.get(name, 0.0)) for name in task.needs}
            if longest > task.after:
                task.after = longest
                if not task.needs and not task.has_started:
                    self.offer(task)
        self._left[cell] = {task.name for task in chain}
        return bool(chain)

    def next(self, fits: Callable[[str], bool]) -> Task | None:
        """Start the most urgent task that may start and of whose kind one `fits`."""
        while True:
            heads = [(heap[0], kind) for kind, heap in self._ready.items() if heap and fits(kind)]
            if not heads:
                return None
            (_, _, name), kind = min(heads)
            heapq.heappop(self._ready[kind])
            task = self.tasks.get(name)
            if task and not task.has_started:  # else it was given up, or offered twice as it became more urgent
                task.has_started = True
                return task

    def offer(self, task: Task) -> None:
        """Let a task start, perhaps once more."""
        task.has_started = False
        urgency = task.after if task.step else math.inf  # a record takes little, and somebody waits for it
        heapq.heappush(self._ready[task.kind], (-urgency, task.cells[0], task.name))

    def finish(self, task: Task) -> list[int]:
        """A task is finished; returns the cells of which nothing known is left."""
        self._there.add(task.name)
        for name in self._users.pop(task.name, ()):
            waiting = self.tasks.get(name)
            if waiting:
                waiting.needs.discard(task.name)
                if not waiting.needs:
                    self.offer(waiting)
        self.tasks.pop(task.name, None)
        for cell in task.cells:
            self._left[cell].discard(task.name)
        return [cell for cell in task.cells if not self._left[cell]]

    def fail(self, task: Task) -> list[int]:
        """A task has failed: give up the cells that need it, with what only they need; returns these cells."""
        lost = [*task.cells]
        for cell in lost:
            for name in self._left.pop(cell):
                self.tasks[name].cells.remove(cell)
                if not self.tasks[name].cells:
                    del self.tasks[name]
        return lost

    def _is_ahead(self, step: Step) -> bool:
        """Whether a step is known and has to be computed."""
        name = step.artifact.key
        if name is None or name in self._there:
            return False
        if name not in self.tasks and self._is_there(step):
            self._there.add(name)
        return name not in self._there

    def _task(self, name: str, step: Step | None, cell: int) -> Task:
        if name not in self.tasks:
            expected = self._seconds(step) if step else 0.0
            kind = step.stage.name if step else RECORD
            self.tasks[name] = Task(name, kind, step, 1.0 if expected is None else expected)
            self.total += 1
        task = self.tasks[name]
        if cell not in task.cells:
            task.cells.append(cell)
        return task

    def _connect(self, task: Task) -> None:
        """Let a new task wait for those that it needs."""
        if task.name in self._users:  # connected when another cell was planned
            return
        self._users[task.name] = []
        if task.step:
            task.needs = {str(each.key) for each in artifacts_of(task.step)}
        task.needs &= self.tasks.keys()
        for name in task.needs:
            self._users[name].append(task.name)
