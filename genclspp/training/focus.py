"""Which prompts reinforcement learning sees in an epoch.

After a good warm-up, the policy answers most prompts correctly with near certainty; all samples of such a prompt
have the same reward, so there is nothing to learn from it. `Focus` chooses anew at the start of every epoch, among
the prompts that the policy does not solve yet. Every epoch has the same number of prompts, so that learning-rate
schedules and checkpoints keep their meaning: if too few unsolved prompts are left, the least certain solved
ones fill up.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback

from genclspp.store.files import write_json


def choose(probs: Sequence[float], solved: float, count: int, random: Random) -> list[int]:
    """Choose `count` prompts: a random sample of the unsolved ones, filled up with the least certain others.

    probs:   (prompts,) probability of the right answer
    solved:  a prompt is unsolved if that is lower
    returns: indexes of prompts
    """
    unsolved = [k for k, prob in enumerate(probs) if prob < solved]
    if len(unsolved) >= count:
        return random.sample(unsolved, count)
    others = sorted(set(range(len(probs))).difference(unsolved), key=lambda k: (probs[k], k))
    return [*unsolved, *others[: count - len(unsolved)]]


class Focus(TrainerCallback):
    """Chooses the rows of each epoch and presents them as a data set.

    rows:   all rows to choose from
    count:  rows per epoch
    assess: model -> probability of the right answer, per row
    solved: see `choose`
    out:    folder for the choices, which a resumed run must reuse: its policy would choose others
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        count: int,
        assess: Callable[[Any], Sequence[float]],
        solved: float,
        seed: int,
        out: Path,
    ) -> None:
        self._rows, self._count, self._assess = rows, count, assess
        self._solved, self._seed, self._out = solved, seed, out
        self._chosen = list(range(count))

    def dataset(self) -> Dataset:
        """`count` rows that change with every epoch."""
        # The rows are looked up on access, as a trainer takes one data set for all epochs.
        slots = Dataset.from_dict({"slot": range(self._count)})
        return slots.with_transform(self._look_up)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        epoch = int((state.epoch or 0) + 1e-6)  # state.epoch is a float, steps divided by steps per epoch
        path = self._out / f"epoch-{epoch}.json"
        if not path.exists():
            random = Random(f"{self._seed}-{epoch}")
            write_json(path, choose(self._assess(model), self._solved, self._count, random))
        self._chosen = json.loads(path.read_text())

    def _look_up(self, batch: Mapping[str, list[int]]) -> dict[str, list[Any]]:
        rows = [self._rows[self._chosen[slot]] for slot in batch["slot"]]
        return {name: [row[name] for row in rows] for name in rows[0]}
