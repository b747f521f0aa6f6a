"""What both training stages share: library arguments, curves, and checkpoints to resume from."""

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import torch
from transformers import PrinterCallback, TrainerCallback

from genclspp.progress import Watch
from genclspp.suggest import hint

CHECKPOINTS = "checkpoints"
CURVES = "training.jsonl"
Arguments = TypeVar("Arguments")
# Library arguments that cannot be set -> what determines them.
SETTLED = {
    "seed": "seed",
    "output_dir": "outputs",
    "report_to": "tracking",
    "resume_from_checkpoint": "the stage, which resumes when the same command is run again",
    **dict.fromkeys(("bf16", "fp16"), "precision"),
    "use_cpu": "the machine: a GPU is used if there is one",
    "eval_strategy": "rl.held_out and rl.checks (SFT is not evaluated while it trains)",
    "remove_unused_columns": "the trainer, which needs all columns",
    "completion_only_loss": "the trainer, which learns completions only",
    "reward_weights": "reward.NAME.weight",
}


def build_arguments(
    kind: type[Arguments],
    given: Mapping[str, Any],
    prefix: str,
    seed: int,
    out: Path,
    precision: str | None = None,
) -> Arguments:
    """The library's own arguments from `given`.

    kind:   the library's class, such as `trl.SFTConfig`
    prefix: where `given` stands in the configuration, such as "sft.args"
    raises: ValueError that names the key, if an argument is unknown, cannot be set or is rejected
    """
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
        "use_cpu": not torch.cuda.is_available(),
        "bf16": precision == "bfloat16",
    }
    try:
        made: Any = kind(**ours | dict(given))
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{kind.__name__} rejects {prefix}: {reason}") from error
    # With several GPUs, the trainer would split each batch, and its tree, over all of them (DataParallel).
    if made.n_gpu > 1:
        made._n_gpu = 1
    return made


def check_names(kinds: Sequence[type], given: Iterable[str], prefix: str) -> None:
    """Raise ValueError for a name that is no field of any of `kinds`, or that users cannot set."""
    known = list(dict.fromkeys(field.name for kind in kinds for field in fields(kind)))
    for name in given:
        if name in SETTLED:
            raise ValueError(f"{prefix}.{name} cannot be set: it is determined by {SETTLED[name]}")
        if name not in known:
            owners = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"unknown key {prefix}.{name}: {owners} has no such argument; {hint(name, known)}")


def _check_values(kind: type, given: Mapping[str, Any], prefix: str) -> None:
    """Refuse what the library would notice only in the middle of training: text for a number, an empty batch."""
    hints = get_type_hints(kind)
    for name, value in given.items():
        options = get_args(hints[name]) or (hints[name],)  # of int | None: int and NoneType
        if isinstance(value, str) and not {str, Any} & set(options):
            wanted = " or ".join(getattr(option, "__name__", str(option)) for option in options)
            raise ValueError(f"{prefix}.{name}={value!r}; expected {wanted}")
    size = given.get("per_device_train_batch_size")
    if isinstance(size, int) and size < 1:
        raise ValueError(f"{prefix}.per_device_train_batch_size={size}; expected 1 or more")


class Listener(TrainerCallback):
    """Reports progress and curves to a `Watch`; after a resumption, the curves logged before it first."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for row in state.log_history:
            self.watch.log(_numeric(row))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.watch.advance(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.watch.log(_numeric({"step": state.global_step, **(logs or {})}))


def train(trainer: Any, out: Path) -> dict[str, float]:
    """Train, from the last complete checkpoint if there is one; leave the curves in `out`.

    returns: the summary metrics of the trainer, such as `train_loss`
    """
    trainer.remove_callback(PrinterCallback)
    result = trainer.train(resume_from_checkpoint=last_checkpoint(out / CHECKPOINTS))
    with (out / CURVES).open("w", encoding="utf-8") as file:
        for row in trainer.state.log_history:
            file.write(json.dumps(_numeric(row)) + "\n")
    return _numeric(result.metrics)


def count_trained(model: Any) -> int:
    """How many parameters training changes: all, or those of the adapter."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def check_finite(trainer: Any) -> None:
    """Raise ValueError if the last gradient was NaN or infinite, and the weights with it."""
    norms = [row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row]
    if norms and not math.isfinite(norms[-1]):
        raise ValueError(
            "training diverged: the last gradient is NaN or infinite; "
            f"expected a learning_rate below {trainer.args.learning_rate:g}"
        )


def forget_checkpoints(out: Path) -> None:
    """Remove the checkpoints, which a finished stage no longer needs."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)


def last_checkpoint(folder: Path) -> str | None:
    """The latest complete checkpoint in `folder`, if any."""
    whole = [path for path in folder.glob("checkpoint-*") if _is_complete(path)]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def _is_complete(checkpoint: Path) -> bool:
    # transformers writes checkpoints in place, `trainer_state.json` last (a contract test checks that).
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return any(checkpoint.glob("*.safetensors"))


def _numeric(row: Mapping[str, Any]) -> dict[str, float]:
    """The numeric entries of a row of curves."""
    return {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
