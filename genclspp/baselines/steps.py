"""The stages of a baseline: (head →) classify → predict."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from genclspp.baselines import head
from genclspp.baselines.classify import classify
from genclspp.baselines.head import Head
from genclspp.inference import predict
from genclspp.inference.predict import Scored
from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.prompts.draft import Prompt, Prompts
from genclspp.runs.plan import Memory, Plan
from genclspp.runs.terminal import hush_libraries
from genclspp.section import in_full
from genclspp.settings import Cell
from genclspp.store.artifacts import Artifact, Step
from genclspp.suggest import UserError, blame, is_ours
from genclspp.task import Example, Task


def add(plan: Plan, cell: Cell, task: Task, base: Policy | None) -> None:
    """Plan the stages of a cell with a method other than the generative one; the last one leaves its predictions.

    task: its validation examples are those that cells are compared on
    base: the model, for a method that reads one

    Raises UserError for whatever would stop one of them.
    """
    plan.memory.once(partial(_check, cell, task), "check of the method", cell.method, task.key)
    policy, cut = base, frozenset[str]()
    if base and isinstance(cell.method, Head):
        policy = base.after(plan.add(_training(cell, task, base)))
        cut = _truncated(plan, task, base)
    scores = _score(plan, cell, task, policy)
    tested = _scored(task, "test", scores, cut)
    validated = _scored(task, "validation", scores, cut) if task.splits["validation"] else None
    plan.add(partial(predict.predict, tested=tested, validated=validated, decoder=cell.decoder))


def check_training(cell: Cell, task: Task, base: Policy, memory: Memory) -> None:
    """Raise UserError where a library refuses to train a head: its arguments, the model, or an adapter of it."""
    if isinstance(cell.method, Head):
        memory.once(partial(head.check, cell.sft), "arguments of a head", cell.sft)
        hush_libraries()
        lora, labels = cell.sft.lora, task.labels
        check = partial(weights.check, base, lora, labels)
        memory.once(check, "weights of a head", base, base.settings, lora, labels)


def _check(cell: Cell, task: Task) -> None:
    """Raise UserError where the task lacks what the method needs, or the method's own check fails."""
    kind = type(cell.method)
    try:
        cell.method.check(task)
    except ValueError as error:
        raise in_full(error, kind, "method") from None
    except Exception as error:
        if is_ours(cell.method):
            raise
        raise UserError(f"the method {kind.__name__} raised {blame(error, inspect.getfile(kind))}") from error


def _training(cell: Cell, task: Task, base: Policy) -> "partial[None]":
    """The stage that trains a head."""
    return partial(
        head.fit,
        policy=base,
        train=task.splits["train"],
        labels=task.labels,
        max_length=tokenizers.max_length(base),
        settings=cell.sft,
        seed=cell.seed,
    )


def _truncated(plan: Plan, task: Task, base: Policy) -> frozenset[str]:
    """The ids of all examples whose text does not fit into the model, of which a note tells."""
    found: Sequence[str] = plan.memory.once(
        lambda: [id for examples in task.splits.values() for id in head.truncated(base, examples)],
        "texts that do not fit",
        *(task.key, base, base.settings),
    )
    if found:
        plan.note(f"{len(found)} of {sum(map(len, task.splits.values()))} texts truncated to fit the model")
    return frozenset(found)


def _score(plan: Plan, cell: Cell, task: Task, policy: Policy | None) -> Artifact:
    """Plan the scores of both splits."""
    seed = cell.seed if cell.method.is_random else 0

    def make() -> Step:
        queries = {
            split: [Example(example.id, example.text, label="") for example in task.splits[split]]
            for split in ("test", "validation")
        }
        return plan.store.step(
            partial(
                classify,
                method=cell.method,
                train=task.splits["train"],
                queries=queries,
                labels=task.labels,
                language=task.language,
                seed=seed,
                policy=policy,
            )
        )

    step = plan.memory.once(make, "classify", task.key, cell.method, seed, policy)
    plan.steps.append(step)
    return step.artifact


def _scored(task: Task, split: str, scores: Artifact, cut: frozenset[str]) -> Scored:
    """What `predict` reads of a split.

    cut: ids of examples whose text does not fit into the model
    """
    examples = task.splits[split]
    items = tuple(
        Prompt(example.id, "", example.label, truncated=example.id in cut, gold=example.label)
        for example in examples
    )
    # What a method answers is a label as it stands, and it reads no prompt.
    prompts = Prompts(dict(zip(task.labels, task.labels, strict=True)), "", items)
    texts = tuple(example.text for example in examples)
    return Scored(prompts, texts, replace(scores, path=scores.path / split))
