"""Facts: what strategies need to know of each example, established before any prompt is built."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genclspp.data import sampling
from genclspp.models.policy import Policy
from genclspp.prompts.draft import Strategy
from genclspp.runs.runner import Runner
from genclspp.selection import demonstrations
from genclspp.selection import scorers as judges
from genclspp.settings import SftSettings
from genclspp.store import Store
from genclspp.task import Example, Task

FACTS = ("neighbours", "uncertain")


def check(
    task: Task,
    splits: Sequence[str],
    strategies: Sequence[Strategy],
    policy: Policy,
    sft: SftSettings,
    store: Store,
) -> None:
    """Raise ValueError for whatever would stop `establish` later."""
    needed = _needed(strategies)
    if _mines(needed, splits):
        how = needed["uncertain"]
        judges.check(task, how["scorers"], how["folds"], policy, sft, store)


def establish(
    task: Task, splits: Sequence[str], strategies: Sequence[Strategy], policy: Policy, runner: Runner
) -> Task:
    """`task` with the facts that `strategies` require for the prompts of `splits`."""
    needed = _needed(strategies)
    if "neighbours" in needed:
        task = replace(task, neighbours=_neighbours(task, splits, runner, **needed["neighbours"]))
    if _mines(needed, splits):
        task = replace(task, uncertain=_uncertain(task, policy, runner, **needed["uncertain"]))
    return task


def _needed(strategies: Sequence[Strategy]) -> dict[str, Mapping[str, Any]]:
    needed: dict[str, Mapping[str, Any]] = {}
    for strategy in strategies:
        needed |= strategy.requires()
    for fact in needed:
        if fact not in FACTS:
            raise ValueError(f"a strategy requires the unknown fact {fact!r}; known: {', '.join(FACTS)}")
    return needed


def _mines(needed: Mapping[str, Any], splits: Sequence[str]) -> bool:
    """The answer of a training example shows where it is trained on, and where it is a demonstration."""
    return "uncertain" in needed and ("train" in splits or "neighbours" in needed)


def _neighbours(
    task: Task, splits: Sequence[str], runner: Runner, *, select: str, shots: int, **how: Any
) -> Mapping[str, tuple[Example, ...]]:
    train = task.splits["train"]
    queries = tuple(example for split in splits for example in task.splits[split])
    if select == "fixed":
        return demonstrations.fixed(train, queries, task.labels, shots, how["seed"])
    inputs = {
        "train": train,
        "queries": queries,
        "shots": shots,
        "embedder": how["embedder"],
        "language": task.language,
    }
    from genclspp.selection.neighbours import read

    return read(runner.stage("neighbours", "selection.neighbours.find", inputs).path, train)


def _uncertain(
    task: Task, policy: Policy, runner: Runner, *, scorers: Sequence[str], folds: int, **how: Any
) -> frozenset[str]:
    """Ids of the training examples that look ambiguous to the scorers."""
    train = task.splits["train"]
    parts = sampling.folds(train, folds)
    inputs = {
        "examples": train,
        "labels": task.labels,
        "language": task.language,
        "scorers": tuple(scorers),
        "folds": parts,
        "readings": judges.readings(task, scorers, parts, policy, runner),
        **how,
    }
    mined = runner.stage("mine", "selection.mine.mine", inputs)
    if not mined.reused:
        runner.terminal.say(f"  {_told(mined.path)}")
    return frozenset(json.loads((mined.path / "uncertain.json").read_text(encoding="utf-8")))


def _told(mined: Path) -> str:
    """What was marked, in one line."""
    report = json.loads((mined / "report.json").read_text(encoding="utf-8"))
    shares = report["accuracy"]["all"]
    return (
        f"{report['marked']} of {report['examples']} training examples marked uncertain; the scorers are right on "
        f"{100 * shares['marked']:.1f} % of them, on {100 * shares['rest']:.1f} % of the rest"
    )
