"""The vote of the nearest neighbours: the control of in-context learning, which shows the same examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from genclspp.baselines.method import Problem
from genclspp.selection.demonstrations import find_nearest
from genclspp.suggest import UserError
from genclspp.task import Task, normalise

if TYPE_CHECKING:
    import numpy

TIE = 1e-3  # of a vote: what being nearest is worth


@dataclass(frozen=True)
class Knn:
    """The most frequent label among the `k` nearest training examples; of equals, that of the nearest one.

    With `k` shots, these are the demonstrations that strategy=icl_similar shows.

    embedder: "tfidf", or a sentence-transformers model (a folder or a hub id)
    """

    is_random: ClassVar[bool] = False
    reads_model: ClassVar[bool] = False

    k: int = 3
    embedder: str = "tfidf"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"k={self.k}; expected 1 or more")

    def check(self, task: Task) -> None:
        available = len({normalise(example.text) for example in task.splits["train"]}) - 1
        if self.k > available:
            raise UserError(
                f"k={self.k} asks for more neighbours than there are; expected at most {available}, as "
                f"{task.name!r} has {available} different training texts besides the query"
            )

    def scores(self, problem: Problem) -> "numpy.ndarray":
        import numpy

        near = find_nearest(problem.train, problem.queries, self.k, self.embedder, problem.language)
        shares = [
            count_votes([example.label for example in near[query.id]], problem.labels) for query in problem.queries
        ]
        # A vote is shared by all labels, so that those without one have a logarithm.
        return numpy.log(numpy.array(shares) + 1 / len(problem.labels))


def count_votes(neighbours: Sequence[str], labels: Sequence[str]) -> list[float]:
    """The votes of each label, (labels,).

    neighbours: labels of the neighbours, nearest first; the nearest of equals gets a little more
    """
    votes = [float(neighbours.count(label)) for label in labels]
    most = max(votes)
    nearest = next(label for label in neighbours if votes[list(labels).index(label)] == most)
    votes[list(labels).index(nearest)] += TIE
    return votes
