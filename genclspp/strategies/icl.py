"""Demonstrations: solved training examples before the query."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from genclspp.prompts.draft import Draft
from genclspp.suggest import UserError
from genclspp.task import Example, Task, normalise


@dataclass(frozen=True)
class Icl:
    """Show `shots` training examples.

    select:   "fixed" shows the same ones in every prompt (one per class first), "similar" the nearest to the query
    embedder: for "similar": "tfidf", or a sentence-transformers model (a folder or a hub id)
    seed:     for "fixed": seed of the draw
    """

    shots: int = 3
    select: Literal["fixed", "similar"] = "fixed"
    embedder: str = "tfidf"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise UserError(f"shots={self.shots}; expected 1 or more")

    def check(self, task: Task) -> None:
        available = len({normalise(example.text) for example in task.splits["train"]}) - 1
        if self.shots > available:
            raise UserError(
                f"shots={self.shots} asks for more demonstrations than there are; expected at most "
                f"{available}, as {task.name!r} has {available} different training texts besides the query"
            )

    def requires(self) -> Mapping[str, Mapping[str, object]]:
        how = {"embedder": self.embedder} if self.select == "similar" else {"seed": self.seed}
        return {"neighbours": {"select": self.select, "shots": self.shots, **how}}

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft:
        return replace(draft, demonstrations=task.neighbours[example.id][: self.shots])
