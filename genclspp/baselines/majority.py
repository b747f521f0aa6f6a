"""The most frequent label: what a method that never reads the text is right on."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from genclspp.baselines.method import Problem
from genclspp.task import Task

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Majority:
    """Always the most frequent label of the training examples; its probabilities are their shares."""

    is_random: ClassVar[bool] = False
    reads_model: ClassVar[bool] = False

    def check(self, task: Task) -> None: ...

    def scores(self, problem: Problem) -> "numpy.ndarray":
        import numpy

        counts = Counter(example.label for example in problem.train)
        # One more of each (Laplace), so that a label without training examples has a logarithm.
        logs = numpy.log([counts[label] + 1 for label in problem.labels])
        return numpy.tile(logs, (len(problem.queries), 1))
