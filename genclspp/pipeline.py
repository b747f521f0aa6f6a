"""The one file that knows the order: data → facts → prompts → sft → rl → (think) → predict → record.

`plan` walks it once and does only cheap work: it raises whatever would stop the cell later, and returns the stages
that the cell needs. `run` carries them out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from genclspp.data.load import load
from genclspp.data.sampling import split_validation, stratified_order
from genclspp.inference import predict, score, think
from genclspp.inference.predict import Scored
from genclspp.models import folders, tokenizers
from genclspp.models.policy import Policy
from genclspp.prompts import render, thoughts
from genclspp.prompts.draft import BEYOND, Budget, Draft, Prompts, Strategy
from genclspp.prompts.surfaces import check_surfaces
from genclspp.report import records
from genclspp.runs import checks
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
from genclspp.training import rl, sft


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
    has_run = records.path_of(cell).exists()  # then the libraries have accepted it; to import them takes seconds
    if not has_run:
        checks.check_arguments(cell, _rewarded(cell, task), memory)
    walk = start(cell, memory)
    policy = _learn(walk)
    _infer(walk, policy)
    if not has_run:
        checks.check_model(cell, walk.base, memory)
    return walk.plan


def run(cell: Cell, memory: Memory, terminal: Terminal) -> dict[str, Any]:
    """Carry out a cell, reusing finished artifacts; write its record and return it."""
    outputs, path = Path(cell.outputs), records.path_of(cell)
    tracker = Tracker(cell.tracking, outputs, cell.sweep, cell.choices, cell.config)
    runner = Runner(memory, terminal, tracker, cell.predict.batch_size, cell.threads)
    done, is_new = carry_out(lambda: plan(cell, memory), runner)
    walk, predicted = start(cell, memory), done.steps[-1].artifact.path
    base, labels = walk.base, walk.task.labels
    measured = predict.measure(predicted, labels, cell.seed, cell.metrics)
    settled = {"layout": tokenizers.layout(base), "precision": base.settings.precision, "weights": base.source}
    record = records.summarise(
        cell, done.steps, {**settled, "is_random": _is_random(cell, done, memory), **measured}
    )
    is_new |= not path.exists()
    write_json(path, record)
    if is_new:
        tracker.result(path.stem, record, predict.read(predicted), labels)
    terminal.result(record)
    return record


def _is_random(cell: Cell, done: Plan, memory: Memory) -> bool:
    """Whether the predictions of a cell, which has been carried out, depend on its seed."""
    other = plan(replace(cell, seed=cell.seed + 1), memory)
    return other.steps[-1].artifact.key != done.steps[-1].artifact.key


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
                if line := _describe(step, computed):
                    runner.terminal.tell(line)
        if planned.is_known:
            return planned, is_new


def _describe(step: Step, computed: bool) -> str | None:
    """What a person wants to know about a finished step at once, in one line."""
    if step.role == "mine" and computed:
        return mine.describe(step.artifact.path)
    described = {"rl": rl.describe, "predict": predict.describe}
    return described[step.role](step.artifact.path) if step.role in described else None


def start(cell: Cell, memory: Memory) -> Walk:
    """Load the data and find the base model of a cell; its plan is still empty."""
    task, store = read(cell, memory), Store(Path(cell.outputs) / "artifacts")
    base = memory.once(lambda: folders.resolve(cell.model, store), "model", cell.model)
    return Walk(cell, task, base, Plan(store, memory, notes=list(task.notes)))


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
        _check_answers(base, draft)
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


def _check_answers(base: Policy, draft: Draft) -> None:
    """Raise UserError where an answer does not survive the tokenizer's round trip."""
    before = thoughts.SAMPLE if draft.thought_tokens else ""  # the tags have to survive it as well
    joint = render.joint(draft, tokenizers.frame(base))
    tokenizers.check_answers(base, check_surfaces(render.answers(draft)), before + joint)


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
        taught, rest = _warm_up(taught, cell.rl.warmup, cell.seed)
    if cell.sft.enabled:
        learn = partial(sft.fit, policy=policy, prompts=taught.taught, settings=cell.sft, seed=cell.seed)
        policy = policy.after(plan.add(learn))
    if cell.rl.learner:
        checks.check_rewards(cell, rest, plan.memory)
        few = _with_validation(walk, checks=True)
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


def _with_validation(walk: Walk, *, checks: bool) -> Walk:
    """`walk` with a part of the validation split: that of RL's checks, or the one that cells are compared on."""
    cell = walk.cell

    def choose() -> Task:
        whole = walk.task.splits["validation"]
        checked, compared = split_validation(whole, cell.rl.held_out, cell.predict.validation, cell.dataset.seed)
        return replace(walk.task, splits={**walk.task.splits, "validation": checked if checks else compared})

    of = (walk.task, checks, cell.rl.held_out, cell.predict.validation, cell.dataset.seed)
    return replace(walk, task=walk.plan.memory.once(choose, "validation examples", *of))


def _warm_up(side: Prompts, share: float, seed: int) -> tuple[Prompts, Prompts]:
    """Split prompts between SFT and RL: seeded, and stratified by answer."""
    order = stratified_order([item.answer for item in side.items], seed)
    cut = _taught(len(order), share)
    first, second = (tuple(side.items[k] for k in sorted(part)) for part in (order[:cut], order[cut:]))
    return replace(side, items=first), replace(side, items=second)


def _taught(count: int, share: float) -> int:
    """How many of `count` prompts SFT sees: a share of them, at least one and never all."""
    return min(max(round(share * count), 1), count - 1)


def _infer(walk: Walk, policy: Policy) -> None:
    """Plan predictions on the test split, and on validation examples, which also calibrate the probabilities."""
    tested = _read(walk, policy, "test", "")
    few = _with_validation(walk, checks=False)
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


def _rewarded(cell: Cell, task: Task) -> int:
    """How many prompts RL learns from."""
    there = len(task.splits["train"])
    rest = there - _taught(there, cell.rl.warmup) if cell.rl.focus == "rest" else there
    return rest if cell.rl.examples is None else min(cell.rl.examples, rest)
