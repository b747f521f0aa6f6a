"""The one file that knows the order: data → facts → prompts → sft → rl → (think) → predict → record.

Baselines have an order of their own, (head →) classify → predict, and everything before and after in common.
`plan` walks it once and does only cheap work: it raises whatever would stop the cell later, and returns the stages
that the cell needs. `run` carries them out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from genclspp.baselines import steps
from genclspp.data.load import load
from genclspp.data.sampling import split_validation
from genclspp.inference import predict, score, think
from genclspp.inference.predict import Scored
from genclspp.models import folders, tokenizers
from genclspp.models.policy import Policy
from genclspp.prompts import render
from genclspp.prompts.draft import BEYOND, Budget, Draft, Prompts, Strategy
from genclspp.report import records
from genclspp.runs import changes, checks
from genclspp.runs.plan import Memory, Plan
from genclspp.runs.runner import Runner
from genclspp.runs.terminal import Terminal
from genclspp.runs.tracking import Tracker
from genclspp.selection import facts, mine
from genclspp.selection.scorers import Training
from genclspp.settings import Cell
from genclspp.store.artifacts import Step, Store
from genclspp.store.files import write_json
from genclspp.strategies.reasoning import Think
from genclspp.task import Task
from genclspp.training import rl, sft, warmup


@dataclass(frozen=True)
class Walk:
    """What the stages of a cell are planned from: its data, its base model, and the stages planned so far."""

    cell: Cell
    task: Task
    base: Policy
    plan: Plan


def plan(cell: Cell, memory: Memory) -> Plan:
    """The stages of `cell`, in order; the last one leaves the predictions of its test split.

    Raises UserError for whatever would stop one of them: data, model, prompt length, settings.
    """
    task = read(cell, memory)
    checks.check_metrics(cell, task, memory)
    has_run = memory.is_checked or records.path_of(cell).exists()  # then libraries, slow to import, accept it
    if cell.method:
        return _plan_baseline(cell, task, memory, has_run)
    if not has_run:
        checks.check_arguments(cell, warmup.count_rewarded(cell.rl, len(task.splits["train"])), memory)
    walk = start(cell, memory)
    policy = _learn(walk)
    _infer(walk, policy)
    if not has_run:
        checks.check_model(cell, walk.base, memory)
    return walk.plan


def _plan_baseline(cell: Cell, task: Task, memory: Memory, has_run: bool) -> Plan:
    """The stages of a cell with a method other than the generative one."""
    planned = Plan(_store(cell), memory, notes=list(task.notes))
    base = _base(cell, memory) if cell.method.reads_model else None
    if base and not has_run:
        steps.check_training(cell, task, base, memory)
    steps.add(planned, cell, _with_validation(cell, task, memory, checks=False), base)
    return planned


def runner(
    cell: Cell, memory: Memory, terminal: Terminal, threads: int | None = None, *, waits: bool = True
) -> Runner:
    """What the steps of a cell are carried out with. threads: in place of the cell's own"""
    sweep, threads = records.path_of(cell).parent, threads or cell.threads
    tracker = Tracker(cell.tracking, Path(cell.outputs), cell.sweep, cell.choices, cell.config)
    return Runner(memory, terminal, tracker, sweep, cell.predict.batch_size, threads, waits)


def run(cell: Cell, memory: Memory, terminal: Terminal, threads: int | None = None) -> dict[str, Any]:
    """Carry out a cell, reusing finished artifacts; write its record and return it. threads: see `runner`"""
    path, carrier = records.path_of(cell), runner(cell, memory, terminal, threads)
    done, is_new = carry_out(lambda: plan(cell, memory), carrier)
    predicted, task = done.steps[-1].artifact.path, read(cell, memory)
    settled = {"is_random": _is_random(cell, done, memory), records.TRAIN: changes.digest_of(cell, task, memory)}
    measured = predict.measure(predicted, task.labels, cell.seed, cell.metrics)
    record = records.summarise(cell, done.steps, {**_settle(cell, memory), **settled, **measured})
    is_new |= not path.exists()
    write_json(path, record)
    if is_new:
        carrier.tracker.result(path.stem, record, predict.read(predicted), task.labels)
    terminal.result(record)
    return record


def _settle(cell: Cell, memory: Memory) -> dict[str, Any]:
    """What the model has settled, of a cell that reads one: its weights, and choices that were left to it."""
    if cell.method and not cell.method.reads_model:
        return {}
    base = _base(cell, memory)
    layout = {} if cell.method else {"layout": tokenizers.layout(base)}
    return {**layout, "precision": base.settings.precision, "weights": base.source}


def _is_random(cell: Cell, done: Plan, memory: Memory) -> bool:
    """Whether the predictions of a cell, which has been carried out, depend on its seed."""
    other = plan(replace(cell, seed=cell.seed + 1), memory).steps[-1]
    return other.artifact.key != done.steps[-1].artifact.key


def carry_out(make: Callable[[], Plan], runner: Runner) -> tuple[Plan, bool]:
    """Carry out what `make` plans; returns the final plan, and whether anything was computed.

    Some stages decide on the inputs of others (mining, say). Once they have run, `make` is called again.
    """
    done: set[tuple[str, str]] = set()
    is_new = False
    while True:
        planned = make()
        for note in runner.memory.news(planned.notes):
            runner.terminal.tell(note)
        for step in planned.steps:
            if step.artifact.key and (step.role, step.artifact.key) not in done:
                computed = runner.carry_out(step)
                is_new |= computed
                done.add((step.role, step.artifact.key))
                if line := describe(step, computed):
                    runner.terminal.tell(line)
        if planned.is_known:
            return planned, is_new


def describe(step: Step, computed: bool) -> str | None:
    """What a person wants to know about a finished step at once, in one line."""
    described = {"rl": rl.describe, "predict": predict.describe} | ({"mine": mine.describe} if computed else {})
    return described[step.role](step.artifact.path) if step.role in described else None


def start(cell: Cell, memory: Memory) -> Walk:
    """Load the data and find the base model of a cell; its plan is still empty."""
    task = read(cell, memory)
    return Walk(cell, task, _base(cell, memory), Plan(_store(cell), memory, notes=list(task.notes)))


def _base(cell: Cell, memory: Memory) -> Policy:
    return memory.once(lambda: folders.resolve(cell.model, _store(cell)), "model", cell.model)


def _store(cell: Cell) -> Store:
    return Store(Path(cell.outputs) / "artifacts")


def read(cell: Cell, memory: Memory) -> Task:
    """Load the data of a cell; raises UserError if it lacks what the strategies or thoughts need."""
    task = memory.once(lambda: load(cell.dataset), "task", cell.dataset)
    if cell.reasoning.enabled and cell.sft.enabled:
        checks.check_rationales(task)
    for name, strategy in (*cell.strategies("train"), *cell.strategies("infer")):
        memory.once(partial(render.check, strategy, name, task), "check of a strategy", task, name, strategy)
    return task


def prompts(walk: Walk, splits: Sequence[str], strategies: Sequence[Strategy], *, blank: bool = False) -> Prompts:
    """Plan the facts that the prompts of `splits` need, and render the prompts, one split after the other.

    blank: with an empty text to classify, inside the words that strategies put around it; all else is the same
    """
    cell, task, base, memory = walk.cell, walk.task, walk.base, walk.plan.memory
    known = facts.establish(walk.plan, task, splits, strategies, base, Training(cell.sft, cell.seed))
    wanted = [cell.reasoning, cell.predict.max_new_tokens, cell.rl.args.get("max_completion_length")]

    def build() -> Prompts:
        full = replace(task, neighbours=known.neighbours, uncertain=known.uncertain)
        examples = [example for split in splits for example in full.splits[split]]
        if blank:
            examples = [replace(example, text="") for example in examples]
        edits = [*strategies, *_thinking(cell, task, base)]
        frame, draft = tokenizers.frame(base), render.sketch(examples[0], full, edits)
        checks.check_answers(base, draft)
        room = _room(base, draft, cell)
        render.check_room(replace(draft, demonstrations=()), full, frame, room)
        return replace(render.build(examples, full, edits, frame, room), is_known=known.is_known)

    of = (task, splits, strategies, base, base.settings, known.sources, known.is_known, blank, wanted)
    side = memory.once(build, "prompts", *of)
    if not side.is_known:
        walk.plan.is_known = False
    elif side.truncated:
        which = "+".join(splits)
        walk.plan.note(f"{side.truncated} of {len(side.items)} prompts ({which}) truncated to fit the model")
    return side


def _thinking(cell: Cell, task: Task, base: Policy) -> list[Strategy]:
    """The strategy that asks for a thought, on both sides, if the cell has reasoning."""
    if not cell.reasoning.enabled:
        return []
    rationales = [example.rationale for example in task.splits["train"]]
    return [Think(tokenizers.thought_tokens(base, rationales, cell.reasoning.max_thought_tokens))]


def _room(base: Policy, draft: Draft, cell: Cell) -> Budget:
    """What is left for a prompt beside its thought and answer, or the longer completions that `cell` asks for."""
    joint = render.joint(draft, tokenizers.frame(base))
    completions = [joint + surface for surface in render.answers(draft).values()]
    wanted = cell.predict.max_new_tokens or 0
    sampled = cell.rl.args.get("max_completion_length")
    if isinstance(sampled, int):  # other types are rejected with the trainer's arguments
        wanted = max(wanted, sampled - draft.thought_tokens)
    return tokenizers.budget(base, completions, draft.thought_tokens, wanted)


def _learn(walk: Walk) -> Policy:
    """Plan SFT, then RL, as far as the cell wants them; returns the policy that they will leave."""
    cell, plan, policy = walk.cell, walk.plan, walk.base
    if not (cell.sft.enabled or cell.rl.learner):
        return policy
    taught = rest = prompts(walk, ("train",), cell.train)
    if cell.rl.focus == "rest":
        taught, rest = warmup.split(taught, cell.rl.warmup, cell.seed)
    if cell.sft.enabled:
        learn = partial(sft.fit, policy=policy, prompts=taught.taught, settings=cell.sft, seed=cell.seed)
        policy = policy.after(plan.add(learn))
    if cell.rl.learner:
        checks.check_rewards(cell, rest, plan.memory)
        few = replace(walk, task=_with_validation(cell, walk.task, plan.memory, checks=True))
        checked = prompts(few, ("validation",), cell.train) if few.task.splits["validation"] else None
        reinforce = partial(
            rl.fit,
            policy=policy,
            prompts=rest,
            held_out=checked,
            rewards=cell.rewards,
            settings=cell.rl,
            lora=cell.sft.lora,
            seed=cell.seed,
        )
        policy = policy.after(plan.add(reinforce))
    return policy


def _with_validation(cell: Cell, task: Task, memory: Memory, *, checks: bool) -> Task:
    """`task` with a part of the validation split: that of RL's checks, or the one that cells are compared on."""

    def choose() -> Task:
        whole = task.splits["validation"]
        checked, compared = split_validation(whole, cell.rl.held_out, cell.predict.validation, cell.dataset.seed)
        return replace(task, splits={**task.splits, "validation": checked if checks else compared})

    of = (task, checks, cell.rl.held_out, cell.predict.validation, cell.dataset.seed)
    return memory.once(choose, "validation examples", *of)


def _infer(walk: Walk, policy: Policy) -> None:
    """Plan predictions on the test split, and on validation examples, which also calibrate the probabilities."""
    tested = _read(walk, policy, "test", "")
    few = replace(walk, task=_with_validation(walk.cell, walk.task, walk.plan.memory, checks=False))
    validated = _read(few, policy, "validation", "_validation") if few.task.splits["validation"] else None
    walk.plan.add(partial(predict.predict, tested=tested, validated=validated, decoder=walk.cell.decoder))


def _read(walk: Walk, policy: Policy, split: str, suffix: str) -> Scored:
    """Plan what the decoder needs of a split: thoughts if wanted, then the scores of all answers after them.

    suffix: of the stages' roles
    """
    cell, plan = walk.cell, walk.plan
    side = prompts(walk, (split,), cell.infer)
    thought = completions = prior = prompt_scores = None
    if side.thought_tokens:
        thought = plan.add(partial(think.think, policy=policy, inputs=side.inputs), f"think{suffix}")
    scores = plan.add(partial(score.score, policy=policy, inputs=side.inputs, thoughts=thought), f"score{suffix}")
    if "completion" in cell.decoder.needs:
        write = partial(
            score.complete,
            policy=policy,
            inputs=side.inputs,
            thoughts=thought,
            scores=scores,
            max_new_tokens=cell.predict.max_new_tokens or side.answer_tokens + BEYOND,
        )
        completions = plan.add(write, f"complete{suffix}")
    if "prompt" in cell.decoder.needs:
        weigh = partial(score.score_prompts, policy=policy, inputs=side.inputs, thoughts=thought)
        prompt_scores = plan.add(weigh, f"score_prompts{suffix}")
    if "prior" in cell.decoder.needs:  # read after the same thought, so that only the text differs
        blank = prompts(walk, (split,), cell.infer, blank=True)
        prior = plan.add(
            partial(score.score, policy=policy, inputs=blank.inputs, thoughts=thought), f"prior{suffix}"
        )
    texts = tuple(example.text for example in walk.task.splits[split])
    return Scored(side, texts, scores, thought, completions, prior, prompt_scores)
