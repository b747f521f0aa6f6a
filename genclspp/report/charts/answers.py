"""The predictions of all seeds of a cell on the same test examples, as arrays that charts count in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genclspp.report.series import Series

if TYPE_CHECKING:
    from genclspp.report.results import Results


@dataclass(frozen=True, eq=False)
class Answers:
    """What a cell answered in each seed; arrays are (seeds, examples), places are those of `Predictions`.

    top, confidence: the most probable label, and its calibrated probability
    missing:         seeds without predictions
    """

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    missing: tuple[int, ...]
    gold: np.ndarray
    label: np.ndarray
    top: np.ndarray
    confidence: np.ndarray

    @property
    def is_right(self) -> np.ndarray:
        """Whether the answer is right; invalid ones and abstentions are not."""
        return self.label == self.gold

    @property
    def told(self) -> str:
        """Of which seeds and examples it is, as a sentence for captions."""
        examples = f"{self.gold.shape[1]:,} test examples"
        if len(self.seeds) == 1:
            of = f"One seed, {examples}: the intervals say nothing about retraining."
        else:
            of = f"Means over {len(self.seeds)} seeds, {examples}; the 95 % intervals cross seeds and examples."
        lacks = ", ".join(map(str, self.missing))
        return f"{of} Without seed {lacks}, whose predictions are missing." if lacks else of


def read(results: "Results", series: Series) -> Answers | None:
    """The answers of a cell; None if no seed has predictions, or if seeds were tested on different examples."""
    read = [(record["seed"], results.predictions(record)) for record in series.records]
    found = {seed: each for seed, each in read if each is not None and len(each)}
    if not found:
        return None
    first = next(iter(found.values()))
    for each in found.values():
        if each.ids != first.ids or each.labels != first.labels or not np.array_equal(each.gold, first.gold):
            return None
    tables = [each.probabilities for each in found.values()]
    return Answers(
        labels=first.labels,
        seeds=tuple(found),
        missing=tuple(seed for seed, each in read if seed not in found),
        gold=np.tile(first.gold, (len(found), 1)),
        label=np.array([each.label for each in found.values()]),
        top=np.array([table.argmax(axis=1) for table in tables]),
        confidence=np.array([table.max(axis=1) for table in tables], dtype=float),
    )
