"""How long a sweep would take on so many slots: the driver on a clock that jumps from one end to the next."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genclspp.cluster.worker import Job, Outcome


@dataclass
class Simulation:
    """Slots that compute nothing. Outcomes are made when a job ends.

    seconds: that a job takes
    outcome: what becomes of it
    now:     seconds since the start
    """

    slots: int
    seconds: Callable[[Job], float]
    outcome: Callable[[Job], Outcome] = lambda job: Outcome("done")
    now: float = 0.0
    _running: list[tuple[float, int, Job]] = field(default_factory=list)
    _count: int = 0

    def fits(self, kind: str) -> bool:
        return len(self._running) < self.slots

    def threads(self, kind: str) -> int:
        return 1

    def start(self, kind: str, job: Job) -> Any:
        self._count += 1
        heapq.heappush(self._running, (self.now + self.seconds(job), self._count, job))
        return self._count

    def wait(self, seconds: float) -> list[tuple[Any, Outcome]]:
        """The job that ends first, and those that end at the same time."""
        if not self._running:
            self.now += seconds
            return []
        self.now = self._running[0][0]
        ended = []
        while self._running and self._running[0][0] <= self.now:
            _, count, job = heapq.heappop(self._running)
            ended.append((count, self.outcome(job)))
        return ended
