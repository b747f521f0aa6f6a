"""Methods other than the generative one. A new one is a class of this form and a YAML in conf/method."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from genclspp.models.policy import Policy
from genclspp.progress import Silent, Watch
from genclspp.task import Example, Task

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Problem:
    """What a method learns from, and what it classifies.

    train:   the training examples
    queries: the examples to classify; their labels are empty
    labels:  in the order of the task; not each of them has a training example
    seed:    of the cell; 0 for a method that is not random
    policy:  the model, for a method that reads one
    batch_size: queries per forward pass of the model; it changes results by rounding alone
    """

    train: Sequence[Example]
    queries: Sequence[Example]
    labels: Sequence[str]
    language: str = "en"
    seed: int = 0
    policy: Policy | None = None
    batch_size: int = 32
    watch: Watch = field(default_factory=Silent)

    def in_order(self, scores: Any, seen: Sequence[str]) -> "numpy.ndarray":
        """Scores of all labels, (queries, labels), from those of the labels that a model has seen.

        scores: (queries, seen labels); a label that was not seen gets the lowest of the query's scores
        """
        import numpy

        from genclspp.selection import linear

        return linear.in_order(numpy.asarray(scores), seen, self.labels)


class Method(Protocol):
    """A frozen dataclass; its fields are its own settings, set as `method.NAME`.

    is_random:   whether its scores depend on the seed
    reads_model: whether it reads the cell's model, so that `model` and `precision` concern it
    """

    is_random: ClassVar[bool]
    reads_model: ClassVar[bool]

    def check(self, task: Task) -> None:
        """Raise UserError if the task lacks what the method needs.

        A message that begins with a field ("k=9 asks …") is shown with its full key ("method.k=9 …").
        """

    def scores(self, problem: Problem) -> Any:
        """A score of each label for each query, (queries, labels): log-probabilities, up to scale and shift.

        The label with the highest score is the prediction, the first one of equals. A temperature, fitted on
        validation examples, turns the scores into probabilities.
        """
        ...
