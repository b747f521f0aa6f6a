"""How far a sweep is: where a cell stands in it, what tells it apart, and how long the rest may take."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

from genclspp.report import records
from genclspp.report.figures import duration
from genclspp.runs.ledger import Entry
from genclspp.settings import Cell
from genclspp.store.artifacts import Step
from genclspp.store.manifests import Damaged, manifest


@dataclass(frozen=True)
class Outlook:
    """The cells of a sweep, each with the steps that it was planned with. notes: what a person should know"""

    cells: Sequence[Cell]
    steps: Sequence[Sequence[Step]]
    notes: Sequence[str] = ()

    def without_inputs(self) -> "Outlook":
        """The same without the inputs of steps, which hold texts: for who plans a cell again when it runs."""
        return Outlook(self.cells, [[_without_inputs(step) for step in steps] for steps in self.steps])

    def entry(self, cell: Cell) -> Entry:
        """The cell's entry in the ledger, with its place in the sweep and what tells it apart there."""
        number = self._numbers[records.path_of(cell)]
        heading = " ".join(map("=".join, self._apart[number - 1].items()))
        return Entry.of(number, heading, records.path_of(cell).stem, self.steps[number - 1])

    def shared(self) -> str:
        """What all cells share, such as "dataset trec6 · model smollm2 · …", as far as their methods know it."""
        apart = {name for each in self._apart for name in each}
        known = {name: value for each in self._words[::-1] for name, value in each.items()}
        names = dict.fromkeys(name for each in self._words for name in each)
        return " · ".join(f"{name} {known[name]}" for name in names if name not in apart)

    def left(self, cell: Cell) -> str | None:
        """How long the sweep may take from the start of `cell` on: a text, or None if nothing is known yet.

        Each step that is still missing is expected to take as long for its work as those of the same role have.
        """
        known, missing, number = defaultdict(list), {}, self.entry(cell).number
        for place, steps in enumerate(self.steps, 1):
            for step in steps:
                seconds, role = seconds_of(step.artifact.path), (step.role, step.work.kind)
                if seconds is not None:
                    known[role].append((step.work.amount, seconds))
                elif place >= number:
                    missing[step.artifact.key or step] = role, step.work.amount, 0.0  # cells may share a step
        return estimate(known, missing.values())

    @cached_property
    def _numbers(self) -> dict[object, int]:
        return {records.path_of(cell): place for place, cell in enumerate(self.cells, 1)}

    @cached_property
    def _words(self) -> list[Mapping[str, str]]:
        return join_sides([choices_of(cell) for cell in self.cells])

    @cached_property
    def _apart(self) -> list[dict[str, str]]:
        return tell_apart(self._words)


def _without_inputs(step: Step) -> Step:
    light = Step(step.store, partial(step.call.func), step.role)
    vars(light).update(artifact=step.artifact, work=step.work)  # as its properties would find them from the inputs
    return light


Role = tuple[str, str]  # of a step, and the kind of its work: what it can be compared with


def estimate(
    known: Mapping[Role, Sequence[tuple[float, float]]], missing: Iterable[tuple[Role, float, float]]
) -> str | None:
    """How long what is missing may take, such as "about 2m10 left"; None if that is not known, or under a second.

    known:   role -> amount of work of its steps, and the seconds that they have taken
    missing: role of each step, amount of its work, and for how many seconds it has been running
    """
    paces, ahead = {}, list(missing)
    for role, spent in known.items():
        if whole := sum(amount for amount, _ in spent):
            paces[role] = sum(took for _, took in spent) / whole
    total = sum(max(paces[role] * amount - ran, 0.0) for role, amount, ran in ahead if role in paces)
    if total < 1:
        return None
    return f"{'about' if paces.keys() >= {role for role, *_ in ahead} else 'at least'} {duration(total)} left"


def seconds_of(artifact: Path) -> float | None:
    """How long an artifact took; None while it is unfinished or damaged."""
    try:
        return _seconds(artifact)
    except Damaged:
        return None


@cache
def _seconds(artifact: Path) -> float:
    return manifest(artifact)["seconds"]  # a large sweep asks for each of them before every cell


def choices_of(cell: Cell) -> dict[str, str]:
    """Word -> choice of a cell, as in its record; the path of data is left out, as its name says the same."""
    knobs = {name: str(value) for name, value in cell.knobs.items() if name != "dataset.path"}
    return {**cell.choices, "seed": str(cell.seed), **knobs}


def join_sides(cells: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Word -> choice of each cell, with "strategy" in place of "train" and "infer" if all have equal sides."""
    if not records.are_sides_equal(cells):
        return list(cells)
    return [
        {records.STRATEGY if name == "train" else name: each[name] for name in each if name != "infer"}
        for each in cells
    ]


def tell_apart(cells: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Of the words of each cell, those in which the cells differ."""
    names = dict.fromkeys(name for each in cells for name in each)
    differing = [
        name for name in names if len({each.get(name) for each in cells if records.concerns(each, name)}) > 1
    ]
    return [{name: each[name] for name in differing if name in each} for each in cells]
