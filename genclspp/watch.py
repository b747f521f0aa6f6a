"""How a long stage tells what it is doing, without knowing who listens."""

from collections.abc import Mapping
from typing import Protocol


class Watch(Protocol):
    """Listens to a stage: a progress bar, a tracker, a test."""

    def advance(self, done: int, total: int) -> None:
        """`done` of `total` steps are behind us."""

    def log(self, row: Mapping[str, float]) -> None:
        """One row of curves; it carries "step"."""


class Silent:
    """Nobody listens."""

    def advance(self, done: int, total: int) -> None:
        pass

    def log(self, row: Mapping[str, float]) -> None:
        pass
