"""Facts: what strategies need to know of each example, established before any prompt is built."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from genclspp import models, prompts, retrieve
from genclspp.models import Policy
from genclspp.prompts import Strategy
from genclspp.runner import Runner
from genclspp.task import Example, Task

FACTS = ("neighbours", "uncertain")


def establish(
    task: Task, splits: Sequence[str], strategies: Sequence[Strategy], policy: Policy, runner: Runner
) -> Task:
    """`task` with the facts that `strategies` require for the prompts of `splits`."""
    needed: dict[str, Mapping[str, Any]] = {}
    for strategy in strategies:
        needed |= strategy.requires()
    for fact in needed:
        if fact not in FACTS:
            raise ValueError(f"a strategy requires the unknown fact {fact!r}; known: {', '.join(FACTS)}")
    if "neighbours" in needed:
        task = replace(task, neighbours=_neighbours(task, splits, runner, **needed["neighbours"]))
    # The answer of a training example shows where it is trained on, and where it is a demonstration.
    if "uncertain" in needed and ("train" in splits or "neighbours" in needed):
        task = replace(task, uncertain=_uncertain(task, policy, runner, **needed["uncertain"]))
    return task


def _neighbours(
    task: Task, splits: Sequence[str], runner: Runner, *, select: str, shots: int, **how: Any
) -> Mapping[str, tuple[Example, ...]]:
    train = task.splits["train"]
    queries = tuple(example for split in splits for example in task.splits[split])
    if select == "fixed":
        return retrieve.fixed(train, queries, task.labels, shots, how["seed"])
    inputs = {
        "train": train,
        "queries": queries,
        "shots": shots,
        "embedder": how["embedder"],
        "language": task.language,
    }
    from genclspp.stages.neighbours import read

    return read(runner.stage("neighbours", "neighbours.find", inputs).path, train)


def _uncertain(
    task: Task, policy: Policy, runner: Runner, *, scorers: Sequence[str], **how: Any
) -> frozenset[str]:
    """Ids of the training examples that look ambiguous to the scorers."""
    readings = None
    if "model" in scorers:
        room = models.budget(policy, list(task.names.values()))
        plain = prompts.build(task.splits["train"], task, (), models.frame(policy), room)
        readings = runner.score(policy, plain)
    inputs = {
        "examples": task.splits["train"],
        "scorers": list(scorers),
        "language": task.language,
        "readings": readings,
        **how,
    }
    mined = runner.stage("mine", "mine.mine", inputs)
    return frozenset(json.loads((mined.path / "uncertain.json").read_text(encoding="utf-8")))
