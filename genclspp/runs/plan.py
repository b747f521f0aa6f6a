"""The plan of a cell: its stages in order, known before any of them runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from genclspp.store.artifacts import Artifact, Step, Store
from genclspp.store.keys import key

T = TypeVar("T")
# What holds the texts of a data set, or as many. To load or render one of them again takes seconds at most.
LARGE = ("task", "validation examples", "prompts", "mining prompts", "a part of prompts", "fixed demonstrations")
MOST = 64  # of each of them


@dataclass
class Plan:
    """The stages of a cell, each after those whose artifacts it needs.

    notes:    what a person should know before the cell starts
    is_known: False while a stage has yet to decide on the inputs of others (which examples are uncertain, say).
              Those have no key yet. Planning again after that stage has run gives their keys; their artifacts may
              exist already, so until then the plan is an upper bound on what will be computed.
    """

    store: Store
    memory: "Memory"
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_known: bool = True

    def add(self, call: "partial[None]", role: str = "") -> Artifact:
        """Plan a stage with its inputs, `partial(stage, name=value, …)`; returns the artifact it will leave."""
        step = self.store.step(call, role)
        self.steps.append(step)
        return step.artifact

    def note(self, sentence: str) -> None:
        """Add a sentence that a person should read before the cell starts, unless it is there already."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def carry_out(self, step: Step) -> None:
        """Carry out a cheap step while planning, because later steps depend on what it leaves."""
        if self.store.carry_out(step):
            self.memory.computed.add(str(step.artifact.key))

    def holds(self, artifact: Artifact) -> bool:
        """Whether the artifact exists already."""
        return self.store.holds(artifact)


class Memory:
    """What a process has loaded, rendered and looked up, shared by cells that need the same.

    Of what is large, it keeps the latest: cells that differ in their data share nothing.

    computed: keys of artifacts that were computed while planning, and whose status line is still to be printed
    failed:   key of a step that has failed -> why, in one sentence
    seconds:  role -> seconds of each step that was computed
    is_checked: whether another process has planned the same cells: it has checked what would stop them, and told
                their notes
    """

    def __init__(self, is_checked: bool = False) -> None:
        self.is_checked = is_checked
        self._known: dict[str, dict[str, Any]] = {}  # kind of large values, or "" for all others -> name -> value
        self.computed: set[str] = set()
        self.failed: dict[str, str] = {}
        self.seconds: dict[str, list[float]] = {}
        self._told: set[str] = set()

    def once(self, make: Callable[[], T], what: str, *of: Any) -> T:
        """The value of `make()`, called once per `what` and key of the values `of`."""
        known = self._known.setdefault(what if what in LARGE else "", {})
        name = f"{what} {key(*of)}"
        value = known.pop(name) if name in known else make()
        known[name] = value  # the latest is the last one
        if what in LARGE and len(known) > MOST:
            del known[next(iter(known))]
        return value

    def news(self, notes: Iterable[str]) -> list[str]:
        """Those of the notes that were not told before. They are now: a sweep says a thing once."""
        found = [note for note in notes if note not in self._told and not self.is_checked]
        self._told.update(found)
        return found
