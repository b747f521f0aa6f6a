"""Which prompts reinforcement learning draws in an epoch.

After a good warm-up the policy answers most prompts rightly with near certainty; there all rewards of a group are
equal and teach nothing. `Focus` chooses anew at the beginning of every epoch, among the prompts that the policy
does not solve yet. An epoch always has the same number of draws, so that learning-rate schedules and checkpoints
mean what they say: where fewer unsolved prompts are left, the least certain of the solved ones fill up.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback

from genclspp.store.files import write_json


def choose(chances: Sequence[float], solved: float, draws: int, random: Random) -> list[int]:
    """`draws` positions: of those whose chance is below `solved`, then of the least certain others.

    chances: probability of the right answer, per prompt
    """
    unsolved = [k for k, chance in enumerate(chances) if chance < solved]
    if len(unsolved) >= draws:
        return random.sample(unsolved, draws)
    others = sorted(set(range(len(chances))).difference(unsolved), key=lambda k: (chances[k], k))
    return [*unsolved, *others[: draws - len(unsolved)]]


class Focus(TrainerCallback):
    """Chooses the rows of each epoch, and shows them as a data set.

    rows:    all that may be chosen
    draws:   per epoch
    chances: model -> probability of the right answer, per row
    out:     remembers the choices, which an interrupted run must not make again with another policy
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        draws: int,
        chances: Callable[[Any], Sequence[float]],
        solved: float,
        seed: int,
        out: Path,
    ) -> None:
        self._rows, self._draws, self._chances = rows, draws, chances
        self._solved, self._seed, self._out = solved, seed, out
        self._chosen = list(range(draws))

    def dataset(self) -> Dataset:
        """`draws` rows that change with every epoch."""
        slots = Dataset.from_dict({"slot": range(self._draws)})
        return slots.with_transform(self._look_up)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        epoch = int((state.epoch or 0) + 1e-6)
        path = self._out / f"epoch-{epoch}.json"
        if not path.exists():
            random = Random(f"{self._seed}-{epoch}")
            write_json(path, choose(self._chances(model), self._solved, self._draws, random))
        self._chosen = json.loads(path.read_text())

    def _look_up(self, batch: Mapping[str, list[int]]) -> dict[str, list[Any]]:
        rows = [self._rows[self._chosen[slot]] for slot in batch["slot"]]
        return {name: [row[name] for row in rows] for name in rows[0]}
