"""What each scorer of mining does, and what its scores mean.

tfidf      a linear model, trained out of fold (inside the stage mine): decision scores
trained    the cell's base model, fine-tuned out of fold with the cell's SFT settings: log-probability per label
model      the cell's base model, zero-shot: the same
any other  another base model, a folder in hub format or a hub id, zero-shot: the same
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from genclspp.data import sampling
from genclspp.inference import score
from genclspp.models import folders, tokenizers
from genclspp.models.policy import Policy
from genclspp.prompts import render
from genclspp.prompts.draft import Prompts
from genclspp.runs.plan import Plan
from genclspp.settings import ModelSettings, SftSettings
from genclspp.store.artifacts import Artifact
from genclspp.suggest import UserError
from genclspp.task import Example, Task
from genclspp.training import sft

OUT_OF_FOLD = ("tfidf", "trained")


@dataclass(frozen=True)
class Training:
    """How the scorer "trained" is fine-tuned: with the settings of the cell."""

    sft: SftSettings
    seed: int


def check(
    plan: Plan, task: Task, scorers: Sequence[str], folds: int, policy: Policy, settings: SftSettings
) -> None:
    """Raise UserError for whatever would stop a scorer, or the stage mine."""
    if "trained" in scorers and not settings.enabled:
        raise UserError(
            "uncertainty.scorers names 'trained', which fine-tunes with the cell's SFT settings, but sft is off; "
            "choose sft=full or sft=lora, or other scorers"
        )
    for scorer in scorers:
        if scorer in OUT_OF_FOLD:
            _check_folds(scorer, task.splits["train"], folds)
        if scorer != "tfidf":
            _check_model(plan, scorer, task, policy)


def plan_readings(
    plan: Plan,
    task: Task,
    scorers: Sequence[str],
    folds: Sequence[Sequence[int]],
    policy: Policy,
    training: Training,
) -> dict[str, list[Artifact]]:
    """Plan the stages that score the training examples; scorer -> one artifact per fold, or one for all examples.

    Prompts are zero-shot whatever the cell's strategies, so cells with the same model and SFT mine the same
    examples. "tfidf" needs no artifact, as the stage mine trains it.
    """
    read: dict[str, list[Artifact]] = {}
    for scorer in scorers:
        if scorer == "trained":
            read[scorer] = _out_of_fold(plan, task, folds, policy, training)
        elif scorer != "tfidf":
            judge = _judge(plan, scorer, policy)
            read[scorer] = [_score(plan, judge, _prompts(plan, task, judge))]
    return read


def _out_of_fold(
    plan: Plan, task: Task, folds: Sequence[Sequence[int]], policy: Policy, training: Training
) -> list[Artifact]:
    """Plan scores of each fold by a model fine-tuned on the others."""
    side = _prompts(plan, task, policy)
    # The extra SFT of rl=matched is the cell's control for RL, and no part of mining.
    settings = replace(training.sft, extra_examples=0, extra_epochs=1.0)
    read = []
    for fold in folds:
        rest = sorted(set(range(len(side.items))).difference(fold))
        learn = partial(
            sft.fit, policy=policy, prompts=_part(plan, side, rest), settings=settings, seed=training.seed
        )
        trained = policy.after(plan.add(learn, "mine_sft"))
        read.append(_score(plan, trained, _part(plan, side, fold)))
    return read


def _score(plan: Plan, policy: Policy, prompts: Prompts) -> Artifact:
    return plan.add(partial(score.score, policy=policy, inputs=prompts.inputs, thoughts=None), "mine_score")


def _judge(plan: Plan, scorer: str, policy: Policy) -> Policy:
    """The base model of a scorer; one that is not the cell's is loaded in the same precision."""
    if scorer in ("trained", "model"):
        return policy
    settings = ModelSettings(path=scorer, precision=policy.settings.precision)
    return plan.memory.once(lambda: folders.resolve(settings, plan.store), "model", settings)


def _prompts(plan: Plan, task: Task, policy: Policy) -> Prompts:
    def build() -> Prompts:
        frame = tokenizers.frame(policy)
        room = tokenizers.budget(policy, [frame.joint + name for name in task.names.values()])
        return render.build(task.splits["train"], task, (), frame, room)

    return plan.memory.once(build, "mining prompts", task.key, policy, policy.settings)


def _part(plan: Plan, side: Prompts, positions: Sequence[int]) -> Prompts:
    def take() -> Prompts:
        return replace(side, items=tuple(side.items[position] for position in positions))

    return plan.memory.once(take, "a part of prompts", side, positions)


def _check_folds(scorer: str, train: Sequence[Example], folds: int) -> None:
    for fold in sampling.split_folds(train, folds):
        held_out = set(fold)
        left = {example.label for position, example in enumerate(train) if position not in held_out}
        if len(left) < 2:
            raise UserError(
                f"the scorer {scorer!r} of uncertainty.scorers is trained out of fold, but without one of the "
                f"folds the {len(train)} training examples have only the labels {sorted(left)}; expected two or "
                "more"
            )


def _check_model(plan: Plan, scorer: str, task: Task, policy: Policy) -> None:
    """Check the model and prompts of a scorer as the cell's own are checked."""
    try:
        judge = _judge(plan, scorer, policy)
        tokenizers.check_answers(judge, task.names, tokenizers.frame(judge).joint)
        _prompts(plan, task, judge)  # raises if there is no room for a text
    except (ValueError, OSError) as error:
        raise UserError(f"the scorer {scorer!r} of uncertainty.scorers cannot be used: {error}") from error
