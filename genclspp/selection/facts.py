"""Facts: what strategies need to know of each example, planned before any prompt is rendered."""

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
from genclspp.task import Example, Task

FACTS = ("neighbours", "uncertain")


@dataclass(frozen=True)
class Facts:
    """See `Task`, whose fields these are.

    sources:  what they follow from, for keys
    is_known: False where a stage has yet to establish one of them; a stand-in takes its place until then
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
    """Plan whatever `strategies` require for the prompts of `splits`; what is known of it already.

    Raises ValueError or an OSError for what would stop a stage later.
    """
    needed: dict[str, Mapping[str, Any]] = {}
    for strategy in strategies:
        needed |= strategy.requires()
    for fact in needed:
        if fact not in FACTS:
            raise ValueError(f"a strategy requires the unknown fact {fact!r}; known: {', '.join(FACTS)}")
    near: Mapping[str, tuple[Example, ...]] | None = {}
    marked: frozenset[str] | None = frozenset()
    sources: list[object] = []
    if "neighbours" in needed:
        near = _neighbours(plan, task, splits, **needed["neighbours"])
        sources.append(needed["neighbours"])
    # The answer of a training example shows where it is trained on, and where it is a demonstration.
    if "uncertain" in needed and ("train" in splits or "neighbours" in needed):
        marked, source = _uncertain(plan, task, policy, training, **needed["uncertain"])
        sources.append(source)
    stand_in = _fixed(plan, task, splits, shots=needed["neighbours"]["shots"], seed=0) if near is None else near
    is_known = near is not None and marked is not None
    return Facts(stand_in, marked or frozenset(), tuple(sources), is_known)


def _neighbours(
    plan: Plan, task: Task, splits: Sequence[str], *, select: str, shots: int, **how: Any
) -> Mapping[str, tuple[Example, ...]] | None:
    """query id -> demonstrations; None where a model has yet to find them."""
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
    if embedder == "tfidf":  # cheap, and most of the plan depends on it
        plan.carry_out(step)
    if not plan.holds(step.artifact):
        return None
    path = step.artifact.path
    return plan.memory.once(lambda: demonstrations.read(path, train), "neighbours", step.artifact, task.key)


def _fixed(
    plan: Plan, task: Task, splits: Sequence[str], shots: int, seed: int
) -> Mapping[str, tuple[Example, ...]]:
    def choose() -> Mapping[str, tuple[Example, ...]]:
        return demonstrations.fixed(task.splits["train"], _queries(task, splits), task.labels, shots, seed)

    return plan.memory.once(choose, "fixed demonstrations", task.key, splits, shots, seed)


def _queries(task: Task, splits: Sequence[str]) -> tuple[Example, ...]:
    return tuple(example for split in splits for example in task.splits[split])


def _uncertain(
    plan: Plan, task: Task, policy: Policy, training: Training, *, folds: int, **how: Any
) -> tuple[frozenset[str] | None, object]:
    """Ids of the training examples that look ambiguous (None: not known yet), and what they follow from."""
    train, judges = task.splits["train"], tuple(how.pop("scorers"))
    scorers.check(plan, task, judges, folds, policy, training.sft)
    parts = plan.memory.once(lambda: sampling.folds(train, folds), "folds", task.key, folds)
    readings = scorers.readings(plan, task, judges, parts, policy, training)

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
