"""Facts: what strategies need to know about each example, planned before any prompt is rendered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from genclspp.data import sampling
from genclspp.models.policy import Policy
from genclspp.prompts.draft import Strategy
from genclspp.runs.plan import Plan
from genclspp.selection import demonstrations, mine, scorers
from genclspp.selection.scorers import Training
from genclspp.suggest import UserError
from genclspp.task import Example, Task

FACTS = ("neighbours", "uncertain")


@dataclass(frozen=True)
class Facts:
    """The two facts of a `Task`: see its fields.

    sources:  what they are derived from, to be part of keys
    is_known: False while a stage has yet to establish one of them; a placeholder takes its place until then
    """

    neighbours: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    uncertain: frozenset[str] = frozenset()
    sources: tuple[object, ...] = ()
    is_known: bool = True


def establish(
    plan: Plan,
    task: Task,
    splits: Sequence[str],
    strategies: Sequence[Strategy],
    policy: Policy,
    training: Training,
) -> Facts:
    """Plan whatever facts `strategies` require for the prompts of `splits`; returns those already known.

    Raises UserError for whatever would stop a stage later.
    """
    needed: dict[str, Mapping[str, Any]] = {}
    for strategy in strategies:
        needed |= strategy.requires()
    for fact in needed:
        if fact not in FACTS:
            raise UserError(f"a strategy requires the unknown fact {fact!r}; known: {', '.join(FACTS)}")
    near: Mapping[str, tuple[Example, ...]] | None = {}
    marked: frozenset[str] | None = frozenset()
    sources: list[object] = []
    if "neighbours" in needed:
        near = _neighbours(plan, task, splits, **needed["neighbours"])
        sources.append(needed["neighbours"])
    # The answers of training examples occur in training prompts, and in prompts with demonstrations.
    if "uncertain" in needed and ("train" in splits or "neighbours" in needed):
        marked, source = _uncertain(plan, task, policy, training, **needed["uncertain"])
        sources.append(source)
    is_known = near is not None and marked is not None
    if near is None:  # a placeholder of as many shots, so that prompts can be rendered all the same
        near = _fixed(plan, task, splits, shots=needed["neighbours"]["shots"], seed=0)
    return Facts(near, marked or frozenset(), tuple(sources), is_known)


def _neighbours(
    plan: Plan, task: Task, splits: Sequence[str], *, select: str, shots: int, **how: Any
) -> Mapping[str, tuple[Example, ...]] | None:
    """Query id -> demonstrations; None while an embedding model has yet to find them."""
    if select == "fixed":
        return _fixed(plan, task, splits, shots, how["seed"])
    train, embedder = task.splits["train"], how["embedder"]

    def find() -> Any:
        return plan.store.step(
            partial(
                demonstrations.find,
                train=train,
                queries=_queries(task, splits),
                shots=shots,
                embedder=embedder,
                language=task.language,
            )
        )

    step = plan.memory.once(find, "find neighbours", task.key, splits, shots, embedder)
    plan.steps.append(step)
    if embedder == "tfidf":  # cheap enough to run while planning, and most of the plan depends on it
        plan.carry_out(step)
    if not plan.holds(step.artifact):
        return None
    path = step.artifact.path
    return plan.memory.once(lambda: demonstrations.read(path, train), "neighbours", step.artifact, task.key)


def _fixed(
    plan: Plan, task: Task, splits: Sequence[str], shots: int, seed: int
) -> Mapping[str, tuple[Example, ...]]:
    def choose() -> Mapping[str, tuple[Example, ...]]:
        train, queries = task.splits["train"], _queries(task, splits)
        return demonstrations.choose_fixed(train, queries, task.labels, shots, seed)

    return plan.memory.once(choose, "fixed demonstrations", task.key, splits, shots, seed)


def _queries(task: Task, splits: Sequence[str]) -> tuple[Example, ...]:
    return tuple(example for split in splits for example in task.splits[split])


def _uncertain(
    plan: Plan, task: Task, policy: Policy, training: Training, *, folds: int, **how: Any
) -> tuple[frozenset[str] | None, object]:
    """Ids of the training examples that look ambiguous (None: not known yet), and what they are derived from."""
    train, judges = task.splits["train"], tuple(how.pop("scorers"))
    check = partial(scorers.check, plan, task, judges, folds, policy, training.sft)
    plan.memory.once(check, "check of scorers", task.key, judges, folds, policy, policy.settings, training.sft)
    parts = plan.memory.once(lambda: sampling.split_folds(train, folds), "folds", task.key, folds)
    readings = scorers.plan_readings(plan, task, judges, parts, policy, training)

    def mining() -> Any:
        return plan.store.step(
            partial(
                mine.mine,
                examples=train,
                labels=task.labels,
                language=task.language,
                scorers=judges,
                folds=parts,
                readings=readings,
                **how,
            )
        )

    if any(artifact.key is None for artifacts in readings.values() for artifact in artifacts):
        step = mining()
    else:
        step = plan.memory.once(mining, "mine", task.key, judges, folds, readings, how)
    plan.steps.append(step)
    mined = step.artifact
    return mine.read(mined.path) if plan.holds(mined) else None, mined
