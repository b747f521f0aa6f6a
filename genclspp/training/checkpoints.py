"""Checkpoints, from which an interrupted training resumes: when they are written, and which one counts.

A checkpoint of a small LLM takes gigabytes, so it is written by the clock: never in a short training, and in a
long one so rarely that writing takes a twentieth of the time at most. The result does not depend on when
checkpoints are written.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

CHECKPOINTS = "checkpoints"  # the folder in which a stage keeps them
SECONDS = 120.0  # at least, between two checkpoints
TIMES = 20  # … and this often as long as the last one took to write
clock = time.monotonic  # a name of its own, so that a test need not wait


class Checkpoints(TrainerCallback):
    """Asks the trainer for a checkpoint once enough time has passed since the last one, or since training began.

    To be added after all callbacks that may stop the training: there is no checkpoint at its end.

    may_save: () -> whether a run could resume exactly from here
    """

    def __init__(self, may_save: Callable[[], bool]) -> None:
        self._may_save = may_save
        self._last = clock()  # when the last one was complete
        self._asked = self._took = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._last = clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = clock()
        is_due = now - self._last >= max(SECONDS, TIMES * self._took)
        # Checkpoints lack what the trainer has summed up for its next log, so they come right after a log.
        if is_due and control.should_log and not control.should_training_stop and self._may_save():
            control.should_save = True
            self._asked = now

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._last = clock()
        self._took = self._last - self._asked


def forget_checkpoints(out: Path) -> None:
    """Remove the checkpoints, which a finished stage no longer needs."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The latest complete checkpoint in `folder`, if any."""
    whole = [path for path in folder.glob("checkpoint-*") if _is_complete(path)]
    return max(whole, key=_step, default=None)


def describe_interruption(step: int, steps: int, folder: Path) -> str:
    """What an interruption after `step` of `steps` costs; `folder` holds the checkpoints."""
    last = last_checkpoint(folder)
    again = step - (_step(last) if last else 0)
    kept = f"checkpoint of step {_step(last)}" if last else "no checkpoint yet"
    lost = "1 step" if again == 1 else f"{again} steps"
    return f"interrupted at step {step} of {steps}, {kept}: {lost} will be computed again"


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def _is_complete(checkpoint: Path) -> bool:
    # transformers writes checkpoints in place, `trainer_state.json` last (a contract test checks that).
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return any(checkpoint.glob("*.safetensors"))
