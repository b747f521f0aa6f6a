"""Whose confidence mining goes by, and what those scorers say of the training examples.

tfidf      a linear model, trained out of fold (inside the stage mine)
trained    the cell's base model, fine-tuned out of fold as the cell's SFT does
model      the cell's base model, zero-shot
any other  the base model in this folder (in hub format) or of this hub id, zero-shot
"""

from collections.abc import Sequence
from dataclasses import replace

from genclspp.data import sampling
from genclspp.models import folders, tokenizers
from genclspp.models.policy import Policy
from genclspp.prompts import render
from genclspp.prompts.draft import Prompts
from genclspp.runs.runner import Runner
from genclspp.settings import ModelSettings, SftSettings
from genclspp.store import Artifact, Store
from genclspp.task import Example, Task

OUT_OF_FOLD = ("tfidf", "trained")


def check(task: Task, scorers: Sequence[str], folds: int, policy: Policy, sft: SftSettings, store: Store) -> None:
    """Raise ValueError for whatever would stop `readings` or the stage mine."""
    if "trained" in scorers and not sft.enabled:
        raise ValueError(
            "uncertainty.scorers names 'trained', which fine-tunes as the cell's SFT does, but sft is off; choose "
            "sft=full or sft=lora, or other scorers"
        )
    train = task.splits["train"]
    for scorer in scorers:
        if scorer in OUT_OF_FOLD:
            _check_folds(scorer, train, folds)
        if scorer != "tfidf":
            _check_model(scorer, task, policy, store)


def readings(
    task: Task, scorers: Sequence[str], folds: Sequence[Sequence[int]], policy: Policy, runner: Runner
) -> dict[str, list[Artifact]]:
    """scorer -> its readings of the training examples: one for each of the folds, or one of all.

    Prompts are zero-shot whatever the cell's strategies: so cells that train alike mine the same examples. The
    linear model is left to the stage mine.
    """
    read: dict[str, list[Artifact]] = {}
    for scorer in scorers:
        if scorer == "trained":
            read[scorer] = _out_of_fold(task, folds, policy, runner)
        elif scorer != "tfidf":
            judge = _judge(scorer, policy, runner.store)
            read[scorer] = [runner.score(judge, _prompts(task, judge), "mine_score")]
    return read


def _out_of_fold(task: Task, folds: Sequence[Sequence[int]], policy: Policy, runner: Runner) -> list[Artifact]:
    """Readings of each fold by a model that was fine-tuned on the others."""
    side = _prompts(task, policy)
    read = []
    for fold in folds:
        rest = sorted(set(range(len(side.items))).difference(fold))
        inputs = {
            "policy": policy,
            "prompts": _part(side, rest),
            # What stands in for RL concerns the cell alone
            "settings": replace(runner.cell.sft, extra_examples=0, extra_epochs=1.0),
            "seed": runner.cell.seed,
        }
        trained = policy.after(runner.stage("mine_sft", "training.sft.fit", inputs, watch=True))
        read.append(runner.score(trained, _part(side, fold), "mine_score"))
    return read


def _judge(scorer: str, policy: Policy, store: Store) -> Policy:
    """The base model of a scorer. One that is not the cell's is held in the same precision."""
    if scorer in ("trained", "model"):
        return policy
    return folders.resolve(ModelSettings(path=scorer, dtype=policy.settings.dtype), store)


def _prompts(task: Task, policy: Policy) -> Prompts:
    frame = tokenizers.frame(policy)
    room = tokenizers.budget(policy, [frame.joint + name for name in task.names.values()])
    return render.build(task.splits["train"], task, (), frame, room)


def _part(side: Prompts, positions: Sequence[int]) -> Prompts:
    return replace(side, items=tuple(side.items[position] for position in positions))


def _check_folds(scorer: str, train: Sequence[Example], folds: int) -> None:
    for fold in sampling.folds(train, folds):
        held_out = set(fold)
        left = {example.label for position, example in enumerate(train) if position not in held_out}
        if len(left) < 2:
            raise ValueError(
                f"the scorer {scorer!r} of uncertainty.scorers is trained out of fold, but beside a fold of the "
                f"{len(train)} training examples only the labels {sorted(left)} are left; expected two or more"
            )


def _check_model(scorer: str, task: Task, policy: Policy, store: Store) -> None:
    """What is checked of the cell's model and prompts, of a scorer's too."""
    try:
        judge = _judge(scorer, policy, store)
        tokenizers.check_answers(judge, task.names, tokenizers.frame(judge).joint)
        first = replace(task, splits={**task.splits, "train": task.splits["train"][:1]})
        _prompts(first, judge)  # raises where there is no room for a text
    except (ValueError, OSError) as error:
        raise ValueError(f"the scorer {scorer!r} of uncertainty.scorers cannot be used: {error}") from error
