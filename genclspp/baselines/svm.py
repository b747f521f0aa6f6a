"""A linear SVM on TF-IDF features: what counting words is worth."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from genclspp.baselines.method import Problem
from genclspp.suggest import UserError
from genclspp.task import Task

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Svm:
    """`sklearn.svm.LinearSVC` on word 1-2-grams (character 1-2-grams for Chinese), one label against the rest.

    C: the inverse of the regularisation's strength
    """

    is_random: ClassVar[bool] = False  # the solver's own seed is fixed: it decides on rounding alone
    reads_model: ClassVar[bool] = False

    C: float = 1.0

    def __post_init__(self) -> None:
        if self.C <= 0:
            raise UserError(f"C={self.C:g}; expected more than 0")

    def check(self, task: Task) -> None:
        seen = sorted({example.label for example in task.splits["train"]})
        if len(seen) < 2:
            raise UserError(
                f"method=svm tells labels apart, and all training examples of {task.name!r} have the label "
                f"{seen[0]!r}; expected two labels or more"
            )

    def scores(self, problem: Problem) -> "numpy.ndarray":
        from genclspp.selection import linear

        # The solver stops early, so it depends on the order of the examples; sorted, they always have the same.
        train = sorted(problem.train, key=lambda example: (example.text, example.label))
        model = linear.fit(train, problem.language, self.C)
        return linear.decide(model, [query.text for query in problem.queries], problem.labels)
