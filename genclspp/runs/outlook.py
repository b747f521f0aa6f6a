"""How far a sweep is: where a cell stands in it, what tells it apart, and how long the rest may take."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from statistics import fmean

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
        return Entry(number, heading, records.path_of(cell).stem, steps=steps_of(self.steps[number - 1]))

    def shared(self) -> str:
        """What all cells share, such as "dataset trec6 · model smollm2 · …", as far as their methods know it."""
        apart = {name for each in self._apart for name in each}
        known = {name: value for each in self._words[::-1] for name, value in each.items()}
        names = dict.fromkeys(name for each in self._words for name in each)
        return " · ".join(f"{name} {known[name]}" for name in names if name not in apart)

    def left(self, cell: Cell) -> str | None:
        """How long the sweep may take from the start of `cell` on: a text, or None if nothing is known yet.

        Each step that is still missing is expected to take as long as those of the same role have taken.
        """
        known, missing, number = defaultdict(list), {}, self.entry(cell).number
        for place, steps in enumerate(self.steps, 1):
            for step in steps:
                seconds = seconds_of(step.artifact.path)
                if seconds is not None:
                    known[step.role].append(seconds)
                elif place >= number:
                    missing[step.artifact.key or step] = step.role  # cells may share a step
        return estimate(known, [(role, 0.0) for role in missing.values()])

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
    vars(light)["artifact"] = step.artifact  # as its property would find it from the inputs
    return light


def steps_of(steps: Sequence[Step]) -> tuple[tuple[str, str], ...]:
    """Role and artifact, "stage/key", of each step; "" for an artifact that is not known yet."""
    made = [(step.role, step.artifact) for step in steps]
    return tuple((role, f"{artifact.stage}/{artifact.key}" if artifact.key else "") for role, artifact in made)


def estimate(known: Mapping[str, Sequence[float]], missing: Sequence[tuple[str, float]]) -> str | None:
    """How long what is missing may take, such as "about 2m10 left"; None if that is not known, or under a second.

    known:   role -> seconds that steps of it have taken
    missing: role of each step, and for how many seconds it has been running
    """
    total = sum(max(fmean(known[role]) - ran, 0.0) for role, ran in missing if known.get(role))
    if total < 1:
        return None
    return f"{'about' if known.keys() >= {role for role, _ in missing} else 'at least'} {duration(total)} left"


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
