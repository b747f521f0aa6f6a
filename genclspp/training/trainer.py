"""What both training stages share: arguments, curves, checkpoints to go on from."""

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from transformers import PrinterCallback, TrainerCallback

from genclspp.progress import Watch
from genclspp.suggest import hint

CHECKPOINTS = "checkpoints"
CURVES = "training.jsonl"
Arguments = TypeVar("Arguments")
# Arguments of the libraries that are settled here -> by what.
SETTLED = {
    "seed": "seed",
    "output_dir": "outputs",
    "report_to": "tracking",
    "resume_from_checkpoint": "the same command, which goes on from where it was",
    "eval_strategy": "rl.held_out and rl.checks (SFT checks nothing on the way)",
    "remove_unused_columns": "the trainer, which needs them",
    "completion_only_loss": "the trainer, which learns answers alone",
    "reward_weights": "reward.NAME.weight",
}


def arguments(kind: type[Arguments], given: Mapping[str, Any], prefix: str, seed: int, out: Path) -> Arguments:
    """`given` as the library's own arguments; raises ValueError with the key where it refuses them."""
    check_names([kind], given, prefix)
    _check_values(kind, given, prefix)
    ours = {
        "output_dir": str(out / CHECKPOINTS),
        "seed": seed,
        "report_to": [],
        "disable_tqdm": True,
        "logging_strategy": "steps",
        "save_total_limit": 1,
        "dataloader_pin_memory": False,
    }
    try:
        made: Any = kind(**ours | dict(given))
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{kind.__name__} refuses {prefix}: {reason}") from error
    if made.n_gpu > 1:  # else the trainer splits every batch over all GPUs (DataParallel), and trees with it
        made._n_gpu = 1
    return made


def check_names(kinds: Sequence[type], given: Iterable[str], prefix: str) -> None:
    """Raise ValueError for a name that none of these arguments has, or that is settled elsewhere."""
    known = list(dict.fromkeys(field.name for kind in kinds for field in fields(kind)))
    for name in given:
        if name in SETTLED:
            raise ValueError(f"{prefix}.{name} cannot be set: it is settled by {SETTLED[name]}")
        if name not in known:
            owners = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"unknown key {prefix}.{name}: {owners} has no such argument; {hint(name, known)}")


def _check_values(kind: type, given: Mapping[str, Any], prefix: str) -> None:
    """Refuse what the library would find out in the middle of training: text for a number, an empty batch."""
    hints = get_type_hints(kind)
    for name, value in given.items():
        options = get_args(hints[name]) or (hints[name],)
        if isinstance(value, str) and not {str, Any} & set(options):
            wanted = " or ".join(getattr(option, "__name__", str(option)) for option in options)
            raise ValueError(f"{prefix}.{name}={value!r}; expected {wanted}")
    size = given.get("per_device_train_batch_size")
    if isinstance(size, int) and size < 1:
        raise ValueError(f"{prefix}.per_device_train_batch_size={size}; expected 1 or more")


class Listener(TrainerCallback):
    """Passes progress and curves on; after a resumption, the curves from before it first."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_begin(self, args, state, control, **_):
        for row in state.log_history:
            self.watch.log(_numbers(row))

    def on_step_end(self, args, state, control, **_):
        self.watch.advance(state.global_step, state.max_steps)

    def on_log(self, args, state, control, logs=None, **_):
        self.watch.log(_numbers({"step": state.global_step, **(logs or {})}))


def train(trainer: Any, out: Path) -> dict[str, float]:
    """Train, from the last whole checkpoint if there is one; leave the curves in `out`.

    Returns what the trainer sums up at the end.
    """
    trainer.remove_callback(PrinterCallback)
    result = trainer.train(resume_from_checkpoint=last_checkpoint(out / CHECKPOINTS))
    with (out / CURVES).open("w", encoding="utf-8") as file:
        for row in trainer.state.log_history:
            file.write(json.dumps(_numbers(row)) + "\n")
    return _numbers(result.metrics)


def check_numbers(trainer: Any) -> None:
    """Raise ValueError where training has ended with a gradient that is no number, and so with such a policy."""
    norms = [row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row]
    if norms and not math.isfinite(norms[-1]) and not trainer.args.fp16:  # whose scaler skips such steps
        raise ValueError(
            "the policy no longer gives numbers: the gradient of its last step is none; expected a lower "
            f"learning_rate than {trainer.args.learning_rate:g}"
        )


def forget_checkpoints(out: Path) -> None:
    """Checkpoints serve a stage that was interrupted; a finished one leaves only its weights."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def last_checkpoint(folder: Path) -> str | None:
    """The latest whole checkpoint. They are written in place, `trainer_state.json` last, so look for that one."""
    whole = [path for path in folder.glob("checkpoint-*") if _is_whole(path)]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return any(checkpoint.glob("*.safetensors"))


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
