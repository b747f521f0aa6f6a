"""What both training stages share: library arguments, curves, and the call that trains."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import torch
from transformers import PrinterCallback, TrainerCallback

from genclspp.models.determinism import repeatable
from genclspp.progress import Watch
from genclspp.section import SEEDS, Bounds
from genclspp.suggest import UserError, hint
from genclspp.training.checkpoints import CHECKPOINTS, Checkpoints, describe_interruption, resume

CURVES = "training.jsonl"
Arguments = TypeVar("Arguments")
# Library arguments that cannot be set -> what determines them.
SETTLED = {
    "seed": "seed",
    "output_dir": "outputs",
    "report_to": "tracking",
    **dict.fromkeys(
        ("resume_from_checkpoint", "ignore_data_skip"),
        "the stage, which resumes when the same command is run again",
    ),
    **dict.fromkeys(
        ("save_strategy", "save_steps", "save_total_limit", "save_only_model"),
        "the clock: checkpoints are written every two minutes, or less often where writing takes long",
    ),
    "logging_strategy": "logging_steps",
    **dict.fromkeys(("bf16", "fp16"), "precision"),
    "use_cpu": "the machine: a GPU is used if there is one",
    "eval_strategy": "rl.held_out and rl.checks (SFT is not evaluated while it trains)",
    "remove_unused_columns": "the trainer, which needs all columns",
    "completion_only_loss": "the trainer, which learns completions only",
    "reward_weights": "reward.NAME.weight",
}

# Bounds of library arguments that the libraries do not check, or only in the middle of training.
BOUNDS = {
    **dict.fromkeys(("learning_rate", "weight_decay", "warmup_steps", "max_grad_norm"), Bounds(0)),
    **dict.fromkeys(("num_train_epochs", "logging_steps", "adam_epsilon"), Bounds(0, is_open=True)),
    **dict.fromkeys(("per_device_train_batch_size", "gradient_accumulation_steps"), Bounds(1)),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), Bounds(0, 1)),
    "max_steps": Bounds(-1),
    "data_seed": SEEDS,
    # Of GRPO and RLOO:
    **dict.fromkeys(("beta", "epsilon"), Bounds(0)),
    **dict.fromkeys(("num_iterations", "steps_per_generation", "max_completion_length"), Bounds(1)),
    "num_generations": Bounds(2),
    "temperature": Bounds(0, is_open=True),
    "top_p": Bounds(0, 1),
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
    raises: UserError that names the key, if an argument is unknown, cannot be set or is rejected
    """
    check_names([kind], given, prefix)
    _check_values(kind, given, prefix)
    ours = {
        "output_dir": str(out / CHECKPOINTS),
        "seed": seed,
        "report_to": [],
        "disable_tqdm": True,
        "logging_strategy": "steps",
        "save_strategy": "no",  # but for those that `Checkpoints` asks for
        "save_total_limit": None,  # `Checkpoints` removes earlier ones once a checkpoint is sealed
        "dataloader_pin_memory": False,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": precision == "bfloat16",
    }
    try:
        made: Any = kind(**ours | dict(given))
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{kind.__name__} rejects {prefix}: {reason}") from error
    # With several GPUs, the trainer would split each batch, and its tree, over all of them (DataParallel).
    if made.n_gpu > 1:
        made._n_gpu = 1
    return made


def check_names(kinds: Sequence[type], given: Iterable[str], prefix: str) -> None:
    """Raise UserError for a name that is no field of any of `kinds`, or that users cannot set."""
    known = list(dict.fromkeys(field.name for kind in kinds for field in fields(kind)))
    for name in given:
        if name in SETTLED:
            raise UserError(f"{prefix}.{name} cannot be set: it is determined by {SETTLED[name]}")
        if name not in known:
            owners = " or ".join(kind.__name__ for kind in kinds)
            raise UserError(f"unknown key {prefix}.{name}: {owners} has no such argument; {hint(name, known)}")


def _check_values(kind: type, given: Mapping[str, Any], prefix: str) -> None:
    """Refuse what the library would notice only in the middle of training: text for a number, an empty batch."""
    hints = get_type_hints(kind)
    for name, value in given.items():
        options = get_args(hints[name]) or (hints[name],)  # of int | None: int and NoneType
        if not _fits(value, set(options)):
            wanted = " or ".join(getattr(option, "__name__", str(option)) for option in options)
            raise UserError(f"{prefix}.{name}={value!r}; expected {wanted}")
        bounds = BOUNDS.get(name)
        if bounds and isinstance(value, int | float) and not bounds.allow(value):
            raise UserError(f"{prefix}.{name}={value}; expected {bounds}")
    if given.get("max_steps") == 0:  # which transformers takes for -1
        raise UserError(f"{prefix}.max_steps=0; expected 1 or more, or -1 to train for num_train_epochs")


def _fits(value: Any, options: set[Any]) -> bool:
    """Whether a value is of one of the types `options`, as far as that can be said of numbers and text."""
    if not options <= {bool, int, float, type(None)}:
        return not isinstance(value, str) or bool({str, Any} & options)
    return type(value) in options or (type(value) is int and float in options)


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
    """Train, from the last whole checkpoint if there is one; leave the curves in `out`.

    A trainer whose state is not always complete in a checkpoint has a method `may_save`, see `Checkpoints`.

    returns: the summary metrics of the trainer, such as `train_loss`
    raises:  KeyboardInterrupt that says what will be computed again
    """
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Checkpoints(getattr(trainer, "may_save", lambda: True)))
    checkpoint = resume(out)
    try:
        with repeatable(trainer.args.device.type == "cuda"):
            result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except KeyboardInterrupt as stopped:
        step, steps = trainer.state.global_step, trainer.state.max_steps
        if not step:
            raise
        raise KeyboardInterrupt(describe_interruption(step, steps, out / CHECKPOINTS)) from stopped
    with (out / CURVES).open("w", encoding="utf-8") as file:
        for row in trainer.state.log_history:
            file.write(json.dumps(_numeric(row)) + "\n")
    return _numeric(result.metrics)


def count_trained(model: Any) -> int:
    """How many parameters training changes: all, or those of the adapter."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def check_finite(trainer: Any) -> None:
    """Raise UserError if a gradient was NaN or infinite, and so a trained weight is.

    The losses that the trainer logs do not tell: it leaves out those that are NaN.
    """
    trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    if not all(torch.isfinite(weight).all() for weight in trained):
        raise UserError(
            "training diverged: weights are NaN or infinite; "
            f"expected a learning_rate below {trainer.args.learning_rate:g}"
        )


def _numeric(row: Mapping[str, Any]) -> dict[str, float]:
    """The numeric entries of a row of curves."""
    return {name: float(value) for name, value in row.items() if isinstance(value, int | float)}
