"""An extra answer, "uncertain", for texts that fit more than one label."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from genclspp.prompts import Draft
from genclspp.task import UNCERTAIN, Example, Task


@dataclass(frozen=True)
class Uncertainty:
    """Offer the answer `surface`; in training, it answers the examples that look ambiguous.

    fraction: share of training examples to mark: those of lowest confidence (the paper takes 10 %)
    scorers:  whose confidence: "tfidf" (a linear model) or "model" (the language model, zero-shot, perplexity)
    folds:    out-of-fold parts of the linear model, so that it judges nothing that it was trained on
    """

    surface: str = UNCERTAIN
    fraction: float = 0.1
    scorers: tuple[str, ...] = ("tfidf",)
    folds: int = 5

    def __post_init__(self) -> None:
        # Hydra hands over a list
        object.__setattr__(self, "scorers", tuple(self.scorers))
        unknown = [name for name in self.scorers if name not in ("tfidf", "model")]
        if unknown or not self.scorers:
            raise ValueError(f"uncertainty.scorers must name 'tfidf' or 'model', found {list(self.scorers)}")
        if not 0 < self.fraction < 1:
            raise ValueError(f"uncertainty.fraction must lie between 0 and 1, found {self.fraction}")
        if self.folds < 2:
            raise ValueError(f"uncertainty.folds must be at least 2, found {self.folds}")

    def check(self, task: Task) -> None:
        if UNCERTAIN in task.labels:
            raise ValueError(
                f"{task.name!r} has a label {UNCERTAIN!r}, which the strategy uncertainty could not tell from an "
                "abstention; rename it in the data"
            )
        if self.surface in task.names.values():
            raise ValueError(
                f"{task.name!r} has a label {self.surface!r} of its own, which the strategy uncertainty would "
                "shadow; set another name with strategy.uncertainty.surface"
            )

    def requires(self) -> Mapping[str, Mapping[str, object]]:
        return {"uncertain": {"fraction": self.fraction, "scorers": list(self.scorers), "folds": self.folds}}

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft:
        return replace(draft, uncertain=self.surface)
