"""The graph of a sweep: the distinct stages behind its cells, and which of them need which."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from genclspp.models.policy import Policy
from genclspp.prompts.draft import ModelInputs, Prompts
from genclspp.store.artifacts import Artifact, Step


@dataclass
class Node:
    """A step that one cell or several need.

    name:  its key; where that is not known yet, a name that no other node has
    needs: names of the nodes whose artifacts are its inputs
    cells: places of the cells that need it
    """

    name: str
    step: Step
    needs: tuple[str, ...]
    cells: list[int] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether its key is known; else other cells may turn out to need the same step."""
        return self.step.artifact.key is not None

    @property
    def is_there(self) -> bool:
        """Whether its artifact is finished."""
        return self.is_known and self.step.artifact.path.exists()


def build(plans: Sequence[Sequence[Step]]) -> dict[str, Node]:
    """Name -> node, each after those that it needs. plans: the steps of each cell, in order"""
    found: dict[str, Node] = {}
    names: dict[int, str] = {}  # of artifacts without a key
    for place, steps in enumerate(plans):
        for step in steps:
            name = step.artifact.key or f"{step.role} {len(found)}"
            if step.artifact.key is None:
                name = names.setdefault(id(step.artifact), name)
            if name not in found:
                needs = (names.get(id(each), each.key) for each in artifacts_of(step))
                found[name] = Node(name, step, tuple(dict.fromkeys(need for need in needs if need in found)))
            if place not in found[name].cells[-1:]:
                found[name].cells.append(place)
    return found


def artifacts_of(step: Step) -> Iterator[Artifact]:
    """The artifacts among the inputs of a step."""
    return _artifacts(step.call.keywords)


def _artifacts(value: Any) -> Iterator[Artifact]:
    """The artifacts in a value. Prompts hold none, and thousands of texts."""
    if isinstance(value, Artifact):
        yield value
    elif isinstance(value, Policy):
        yield from _artifacts(value.trained)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _artifacts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            if isinstance(part, str):  # texts: a list holds either these or artifacts
                return
            yield from _artifacts(part)
    elif is_dataclass(value) and not isinstance(value, type | Prompts | ModelInputs):
        for each in fields(value):
            yield from _artifacts(getattr(value, each.name))
