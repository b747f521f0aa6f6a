"""How a sweep stands: its cells, the stages that they need and share, and how long the rest may take.

Read from the ledger and the artifacts alone, so also while another process runs the sweep; nothing is written.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from genclspp.runs import stages
from genclspp.runs.ledger import Entry, Ledger
from genclspp.runs.outlook import estimate, seconds_of

WAITING = ("pending", "running")


@dataclass(frozen=True)
class Role:
    """The distinct steps of one role: `done` of `steps`, which `cells` cells need; `seconds` in all, so far."""

    name: str
    done: int
    steps: int
    cells: int
    seconds: float


@dataclass(frozen=True)
class Standing:
    """How a sweep stands at the time `now` (seconds since the epoch).

    entries: one per cell, in order
    done:    artifact, "stage/key" -> seconds that its stage took, and when it was finished
    begun:   artifact -> entry of a stage that is being computed, or has failed
    """

    entries: Sequence[Entry]
    done: Mapping[str, tuple[float, float]]
    now: float
    begun: Mapping[str, stages.Entry] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether no cell is running or still to come."""
        return not any(entry.state in WAITING for entry in self.entries)

    @property
    def is_idle(self) -> bool:
        """Whether cells are still to come, but none is running: the sweep was interrupted, or is planning."""
        return not self.is_over and not any(entry.state == "running" for entry in self.entries)

    @cached_property
    def shares(self) -> Counter[str]:
        """Artifact -> how many cells need it."""
        return Counter(name for entry in self.entries for name in {name for _, name in entry.steps} if name)

    @cached_property
    def roles(self) -> list[Role]:
        """The roles of steps, in the order of a cell."""
        names, cells = defaultdict(set), Counter[str]()
        for entry in self.entries:
            for role, name in entry.steps:
                names[role].add(name or entry.record)  # until it is known, no cell shares it
            cells.update({role for role, _ in entry.steps})
        done = {role: [self.done[name][0] for name in found if name in self.done] for role, found in names.items()}
        return [
            Role(role, len(done[role]), len(found), cells[role], sum(done[role])) for role, found in names.items()
        ]

    def finished(self, entry: Entry) -> int:
        """How many of a cell's steps have left their artifacts."""
        return sum(name in self.done for _, name in entry.steps)

    def spent(self, entry: Entry) -> float:
        """Seconds that the finished steps of a cell took, whichever cell computed them."""
        return sum(self.done[name][0] for _, name in entry.steps if name in self.done)

    def doing(self, entry: Entry) -> tuple[str, str, float] | None:
        """Role and artifact of the step that a running cell is at, and for how many seconds; else None."""
        if entry.state != "running":
            return None
        for role, name in entry.steps:
            if (at := self.begun.get(name)) and at.state == "running":
                return role, name, max(self.now - _seconds(at.since), 0.0)
        left = [(role, name) for role, name in entry.steps if name not in self.done]
        if not left:
            return None
        ended = [self.done[name][1] for _, name in entry.steps if name in self.done]
        return *left[0], max(self.now - max(since(entry), *ended, 0.0), 0.0)

    def interrupted(self, entry: Entry) -> str | None:
        """The role of a step that a cell waits for and whose process died, if there is one."""
        died = (role for role, name in entry.steps if name in self.begun and self.begun[name].state == "died")
        return next(died, None)

    def left(self) -> str | None:
        """How long the rest may take, as `Outlook.left` says it; None if nothing is known yet."""
        known, missing, running = defaultdict(list), {}, defaultdict(float)
        for entry in self.entries:
            for (role, name), (kind, amount) in zip(entry.steps, entry.works, strict=True):
                if name in self.done:
                    known[role, kind].append((amount, self.done[name][0]))
                elif entry.state in WAITING:
                    missing[name or (entry.record, role)] = (role, kind), amount
            if at := self.doing(entry):
                running[at[1] or (entry.record, at[0])] = at[2]
        return estimate(known, [(*what, running.get(name, 0.0)) for name, what in missing.items()])


def read(name: str, outputs: Path, now: float) -> Standing:
    """How the sweep `name` stands."""
    folder = outputs / "results" / name
    entries, begun, found = Ledger(folder).read(), stages.read(folder), {}
    for artifact in {name for entry in entries for _, name in entry.steps if name}:
        path = outputs / "artifacts" / artifact
        seconds = seconds_of(path)
        if seconds is not None:
            with suppress(FileNotFoundError):  # it was damaged, and has just been set aside
                found[artifact] = (seconds, (path / "manifest.json").stat().st_mtime)
    return Standing(_running(entries, begun), found, now, begun)


def _running(entries: Sequence[Entry], begun: Mapping[str, stages.Entry]) -> list[Entry]:
    """The entries, where slots compute: there a cell runs while one of its stages does."""
    if any(entry.state == "running" for entry in entries):
        return list(entries)
    since = {name: stage.since for name, stage in begun.items() if stage.state == "running"}

    def now(entry: Entry) -> Entry:
        at = [since[name] for _, name in entry.steps if name in since]
        return replace(entry, state="running", since=min(at)) if at and entry.state == "pending" else entry

    return [now(entry) for entry in entries]


def since(entry: Entry) -> float:
    """When a cell became what it is, in seconds since the epoch."""
    return _seconds(entry.since)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
