"""An extra answer, "uncertain", for texts that fit more than one label."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from genclspp.prompts.draft import Draft
from genclspp.suggest import UserError, hint
from genclspp.task import UNCERTAIN, Example, Task

SCORERS = ("tfidf", "trained", "model")
WANTED = (*SCORERS, "./folder", "organisation/name")


@dataclass(frozen=True)
class Uncertainty:
    """Offer the answer `surface`; in training, it is the answer to the examples that look ambiguous.

    fraction: share of training examples to mark: those with the lowest confidence (the paper takes 10 %)
    scorers:  whose confidence, one or several: "tfidf" (a linear model, out of fold), "trained" (the cell's base
              model, fine-tuned out of fold with the cell's SFT settings), "model" (the base model, zero-shot), or
              another model, zero-shot: a folder in hub format (with a "/": ./name) or a hub id (organisation/name)
    folds:    number of folds; each is scored by a model trained on the others, so none scores what it has seen
    confidence: "margin" (log-odds of the best label against the second) or "gold" (the probability of the gold
              label, which also marks examples that look mislabelled)
    """

    surface: str = UNCERTAIN
    fraction: float = 0.1
    scorers: tuple[str, ...] = ("tfidf",)
    folds: int = 5
    confidence: Literal["margin", "gold"] = "margin"

    def __post_init__(self) -> None:
        # YAML has lists only, and a list would make the record unhashable.
        object.__setattr__(self, "scorers", tuple(self.scorers))
        if not self.scorers:
            raise UserError(f"scorers is empty; expected one or more of {', '.join(WANTED)}")
        for name in self.scorers:
            if name not in SCORERS and "/" not in name:
                raise UserError(f"scorers names the unknown scorer {name!r}; {hint(name, WANTED)}")
            if self.scorers.count(name) > 1:
                raise UserError(f"scorers names {name!r} twice; expected each scorer once")
        if not 0 < self.fraction < 1:
            raise UserError(f"fraction={self.fraction}; expected a number between 0 and 1")
        if self.folds < 2:
            raise UserError(f"folds={self.folds}; expected 2 or more")

    def check(self, task: Task) -> None:
        if UNCERTAIN in task.labels:
            raise UserError(
                f"{task.name!r} has a label {UNCERTAIN!r}, which would be mistaken for the abstention that the "
                "strategy uncertainty offers; rename the label in the data"
            )
        if self.surface in task.names.values():
            raise UserError(
                f"surface={self.surface!r} is the name of a label of {task.name!r}; expected another name for the "
                "extra answer"
            )

    def requires(self) -> Mapping[str, Mapping[str, object]]:
        how = ("scorers", "folds", "confidence", "fraction")
        return {"uncertain": {name: getattr(self, name) for name in how}}

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft:
        return replace(draft, uncertain=self.surface)
