"""Checkpoints, from which an interrupted training resumes: when they are written, and which one counts.

A checkpoint of a small LLM takes gigabytes, so it is written by the clock: never in a short training, and in a
long one so rarely that writing takes a twentieth of the time at most. The result does not depend on when
checkpoints are written.

A checkpoint counts once it is sealed: the seal holds a digest of each file that a run needs to resume from there.
One that was cut off or changed is passed over, for an earlier one or the beginning.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from genclspp.store.files import write_json
from genclspp.store.manifests import file_digest
from genclspp.suggest import UserError

CHECKPOINTS = "checkpoints"  # the folder in which a stage keeps them
BEST, FOCUS = "best-*", "focus"  # what RL keeps beside them, and needs to resume: policies, choices of rows
SEAL = "seal.json"
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
        self._out: tuple[int, int] | None = None  # the folder of the stage

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._last = clock()
        self._out = _identity(Path(args.output_dir).parent)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        out = Path(args.output_dir).parent
        if _identity(out) != self._out:  # transformers makes it anew, and goes on apart from all that it held
            raise UserError(f"the folder {out} has vanished while it was in use; put it back, and run this again")
        now = clock()
        is_due = now - self._last >= max(SECONDS, TIMES * self._took)
        # Checkpoints lack what the trainer has summed up for its next log, so they come right after a log.
        if is_due and control.should_log and not control.should_training_stop and self._may_save():
            control.should_save = True
            self._asked = now

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        self._last = clock()
        self._took = self._last - self._asked


def forget_checkpoints(out: Path) -> None:
    """Remove the checkpoints, which a finished stage no longer needs."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def seal(checkpoint: Path) -> None:
    """Declare a checkpoint complete, then remove the earlier ones, of which it takes the place."""
    out = checkpoint.parent.parent
    needed = [*checkpoint.rglob("*"), *out.glob(f"{BEST}/**/*"), *out.glob(f"{FOCUS}/*")]
    files = sorted(path for path in needed if path.is_file() and path.name != SEAL)
    write_json(checkpoint / SEAL, {path.relative_to(out).as_posix(): file_digest(path) for path in files})
    for other in checkpoint.parent.glob("checkpoint-*"):
        if other != checkpoint:
            shutil.rmtree(other)


def resume(out: Path) -> Path | None:
    """The checkpoint to resume from, if any. What was chosen after it is forgotten, to be chosen again."""
    checkpoint = last_checkpoint(out / CHECKPOINTS)
    known = _sealed(checkpoint) if checkpoint else {}
    for path in out.glob(f"{FOCUS}/*"):
        if path.relative_to(out).as_posix() not in known:
            path.unlink()
    return checkpoint


def last_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint in `folder` that is complete and unchanged, if any."""
    return next(filter(_is_whole, reversed(_complete(folder))), None)


def describe_interruption(step: int, steps: int, folder: Path) -> str:
    """What an interruption after `step` of `steps` costs; `folder` holds the checkpoints."""
    last = next(reversed(_complete(folder)), None)
    again = step - (_step(last) if last else 0)
    kept = f"checkpoint of step {_step(last)}" if last else "no checkpoint yet"
    lost = "1 step" if again == 1 else f"{again} steps"
    return f"interrupted at step {step} of {steps}, {kept}: {lost} will be computed again"


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another of the same name; None where there is none."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _complete(folder: Path) -> list[Path]:
    """The sealed checkpoints, in order."""
    return sorted((path.parent for path in folder.glob(f"checkpoint-*/{SEAL}")), key=_step)


def _sealed(checkpoint: Path) -> dict[str, str]:
    """File, relative to the folder of the stage -> its digest."""
    return json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))


def _is_whole(checkpoint: Path) -> bool:
    """Whether all files under the seal are unchanged."""
    out = checkpoint.parent.parent
    try:
        return all(file_digest(out / name) == known for name, known in _sealed(checkpoint).items())
    except (OSError, ValueError, AttributeError):
        return False
