"""Checks that span several sections of a cell, made once all of them are known."""

from collections.abc import Mapping
from typing import Any

from genclspp.baselines.head import Head
from genclspp.settings import Cell
from genclspp.suggest import UserError, hint


def check(cell: Cell) -> None:
    """Raise UserError if choices of a cell contradict each other."""
    _check_head(cell)
    _check_matched(cell)
    _check_focus(cell)
    _check_learner(cell)
    _check_rewards(cell)


BOTH = ("learning_rate", "num_train_epochs")
# What a model may advise: kind of training -> arguments. "grpo" is for RLOO as well.
ADVICE = {"full": BOTH, "lora": (*BOTH, "target_modules"), "grpo": BOTH, "expected": BOTH}


def check_advice(advice: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError for advice of a model that no group asks for."""
    for kind, values in advice.items():
        if kind not in ADVICE:
            raise UserError(f"unknown key model.advice.{kind}; {hint(kind, ADVICE)}")
        for name in values:
            if name not in ADVICE[kind]:
                raise UserError(f"unknown key model.advice.{kind}.{name}; {hint(name, ADVICE[kind])}")


def _check_head(cell: Cell) -> None:
    if isinstance(cell.method, Head) and not cell.sft.enabled:
        raise UserError("method=head trains a classification head, found sft=none; expected sft=full or sft=lora")


def _check_matched(cell: Cell) -> None:
    """`rl=matched`: more SFT in place of RL."""
    extra, steps = cell.sft.extra_examples, cell.rl.args.get("max_steps")
    if extra == 0:
        return
    if isinstance(steps, int) and steps > 0:
        raise UserError(
            f"rl.args.max_steps={steps} conflicts with sft.extra_examples={extra} (rl=matched), which counts "
            "examples; expected rl.examples and rl.args.num_train_epochs to set how long to train"
        )
    if not cell.sft.enabled:
        raise UserError(f"sft.extra_examples={extra} extends SFT, found sft=none; expected sft=full or sft=lora")
    if cell.rl.learner:
        raise UserError(
            f"sft.extra_examples={extra} is the control for RL, found rl={cell.choices['rl']}; expected no RL "
            "(rl=matched takes the number from rl.examples)"
        )


def _check_focus(cell: Cell) -> None:
    if cell.rl.focus == "rest" and not (cell.sft.enabled and cell.rl.learner):
        raise UserError("rl.focus='rest' splits the training examples between SFT and RL; it needs both")
    if cell.rl.focus == "unsolved" and cell.reasoning.enabled:
        raise UserError(
            "rl.focus='unsolved' needs the exact probability of the right answer, which is unknown after a "
            "thought; with reasoning=think, expected 'all' or 'rest'"
        )


def _check_learner(cell: Cell) -> None:
    if cell.rl.learner and cell.rl.learner.lists_answers and cell.reasoning.enabled:
        raise UserError(
            f"rl={cell.choices['rl']} enumerates everything the model may write, and thoughts cannot be listed; "
            "with reasoning=think, choose a learner that samples (rl=grpo, rl=rloo), or rl=none"
        )


def _check_rewards(cell: Cell) -> None:
    """Reject a reward that could never pay. A reward declares what it needs with `training.rewards.needs`."""
    if not cell.rl.learner:
        return
    if not cell.rewards:
        raise UserError(f"rl={cell.choices['rl']} has no reward to maximise; choose one (reward=correct)")
    can_abstain = any("uncertain" in strategy.requires() for strategy in cell.train)
    offered = {"thoughts": cell.reasoning.enabled, "uncertain": can_abstain}
    wanted = {
        "thoughts": "pays for thoughts; it needs reasoning=think",
        "uncertain": 'pays for the answer "uncertain", which the training prompts do not offer; it needs the '
        "strategy uncertainty",
    }
    for reward in cell.rewards:
        for need in vars(reward.function).get("needs", ()):
            if not offered[need]:
                raise UserError(f"reward.{reward.name} {wanted[need]}")
