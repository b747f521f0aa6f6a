"""What a cell computes, known before it is computed: its stages in order, and what they are for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from genclspp.store.artifacts import Artifact, Step, Store
from genclspp.store.keys import key

T = TypeVar("T")


@dataclass
class Plan:
    """The stages of a cell, each behind those whose artifacts it needs.

    notes:    what a person should know before it starts
    is_known: False where a stage has yet to decide on the inputs of others (which examples are uncertain, say).
              Those have no key then, and are what may be computed at most: once the stage has run, planning again
              finds their keys, and some of them may be there already.
    """

    store: Store
    memory: "Memory"
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_known: bool = True

    def add(self, call: "partial[None]", role: str = "") -> Artifact:
        """Plan a stage, given with its inputs as `partial(stage, name=value, …)`; what it will leave."""
        step = self.store.step(call, role)
        self.steps.append(step)
        return step.artifact

    def note(self, sentence: str) -> None:
        """Something that a person should know before the cell starts; said once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def carry_out(self, step: Step) -> None:
        """Carry out a cheap step at once, as later ones depend on what it leaves."""
        if self.store.carry_out(step):
            self.memory.computed.add(str(step.artifact.key))

    def holds(self, artifact: Artifact) -> bool:
        """Whether the artifact is there already."""
        return self.store.holds(artifact)


class Memory:
    """What a process has loaded, rendered and looked up, so that cells which want the same share it.

    computed: keys of artifacts that were computed while planning, and have not been told of yet
    """

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        self.computed: set[str] = set()

    def once(self, make: Callable[[], T], what: str, *of: Any) -> T:
        """What `make` gives; made once for `what` and equal values `of`."""
        name = f"{what} {key(*of)}"
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]
