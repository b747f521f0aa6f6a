"""Meaningless numbers in place of label names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from genclspp.prompts.draft import Draft
from genclspp.task import Example, Task


@dataclass(frozen=True)
class Numeric:
    """A number for each label, from `start`: in label order, or shuffled by a seed."""

    start: int = 1
    shuffle: int | None = None

    def check(self, task: Task) -> None:
        pass  # the labels of any task can be numbered

    def requires(self) -> Mapping[str, Mapping[str, object]]:
        return {}

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft:
        labels = list(task.labels)
        if self.shuffle is not None:
            Random(self.shuffle).shuffle(labels)
        numbers = {label: str(number) for number, label in enumerate(labels, self.start)}
        return replace(draft, surfaces={label: numbers[label] for label in task.labels})
