"""The one file that knows the order: data → facts → prompts → sft → rl → (think) → predict → record."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genclspp.data.load import load
from genclspp.data.sampling import stratified_order, subsample
from genclspp.inference import metrics
from genclspp.inference.decode import Reading
from genclspp.models import folders, tokenizers
from genclspp.models.policy import Policy
from genclspp.prompts import render as text
from genclspp.prompts import thoughts
from genclspp.prompts.draft import Budget, Draft, Prompts, Strategy
from genclspp.prompts.surfaces import check_surfaces
from genclspp.report.record import record_path, summarise, summary
from genclspp.runs.runner import Runner
from genclspp.runs.terminal import Terminal
from genclspp.runs.tracking import Tracker
from genclspp.selection import facts
from genclspp.settings import Cell
from genclspp.store import Artifact, Store, write_json
from genclspp.strategies.reasoning import Think
from genclspp.task import Task


def check(cell: Cell) -> None:
    """Raise ValueError or an OSError for whatever would stop `run` later: data, model, room, settings."""
    outputs = Path(cell.outputs)
    outputs.mkdir(parents=True, exist_ok=True)
    store = Store(outputs / "artifacts")
    task = load(cell.dataset)
    policy = folders.resolve(cell.model, store)
    if cell.reasoning.enabled:
        _check_reasoning(cell, task)
    asking = with_thoughts(cell, task, policy)
    for splits, strategies in ((("train",), asking.train), (("validation", "test"), asking.infer)):
        for strategy in strategies:
            strategy.check(task)
        side = _without_facts(task)
        first = side.splits["train"][0]
        draft = text.sketch(first, side, strategies)
        surfaces, frame = check_surfaces(text.answers(draft)), tokenizers.frame(policy)
        before = thoughts.SAMPLE if draft.thought_tokens else ""  # the tags have to read back as well
        tokenizers.check_answers(policy, surfaces, before + text.joint(draft, frame))
        text.check_room(draft, side, frame, _room(policy, draft, cell))
        if splits != ("train",) or _learns(cell):
            facts.check(task, splits, strategies, policy, cell.sft, store)
    if not record_path(cell).exists():  # a cell that has run once passed these, and importing TRL takes seconds
        _check_training(cell, task, outputs)


def run(cell: Cell, terminal: Terminal) -> dict[str, Any]:
    """Carry out a cell, reusing whatever is there; leave its record and return it."""
    outputs = Path(cell.outputs)
    tracker = Tracker(cell.tracking, outputs, cell.sweep, cell.choices, cell.config)
    runner = Runner(Store(outputs / "artifacts"), terminal, tracker, cell)
    terminal.heading(cell)
    task = load(cell.dataset)
    base = folders.resolve(cell.model, runner.store)
    asking = with_thoughts(cell, task, base)
    policy = learn(asking, task, base, runner)
    predictions, labels = infer(asking, task, base, policy, runner)
    record = summarise(cell, runner.done, metrics.compute(predictions, labels, cell.seed))
    fresh = any(not artifact.reused for artifact in runner.done) or not record_path(cell).exists()
    write_json(record_path(cell), record)
    if fresh:
        tracker.result(record_path(cell).stem, record, predictions, labels)
    low, high = record["accuracy_low"], record["accuracy_high"]
    terminal.say(
        f"  [bold]accuracy {100 * record['accuracy']:.1f} %[/] ({100 * low:.1f}–{100 * high:.1f}), "
        f"macro-F1 {100 * record['macro_f1']:.1f} %, invalid {100 * record['invalid_rate']:.1f} %"
    )
    return record


def with_thoughts(cell: Cell, task: Task, base: Policy) -> Cell:
    """`cell` with prompts that ask for a thought, on both sides, where it wants reasoning."""
    if not cell.reasoning.enabled:
        return cell
    rationales = [example.rationale for example in task.splits["train"]]
    think = Think(tokenizers.thought_tokens(base, rationales, cell.reasoning.max_thought_tokens))
    return replace(cell, train=(*cell.train, think), infer=(*cell.infer, think))


def learn(cell: Cell, task: Task, base: Policy, runner: Runner) -> Policy:
    """SFT, then RL, as far as the cell wants them."""
    if not _learns(cell):
        return base
    side = rest = render(task, ("train",), cell.train, base, runner)
    policy = base
    if cell.rl.focus == "rest":
        side, rest = warm_up(side, cell.rl.warmup, cell.seed)
    if cell.sft.enabled:
        # How long a thought may become is no matter of SFT.
        taught = replace(side, thought_tokens=0)
        inputs = {"policy": policy, "prompts": taught, "settings": cell.sft, "seed": cell.seed}
        policy = policy.after(runner.stage("sft", "training.sft.fit", inputs, watch=True))
    if cell.rl.learner != "none":
        held_out = subsample(task.splits["validation"], cell.rl.held_out, cell.dataset.seed)
        held_out_task = replace(task, splits={**task.splits, "validation": held_out})
        inputs = {
            "policy": policy,
            "prompts": rest,
            "held_out": render(held_out_task, ("validation",), cell.train, base, runner) if held_out else NOTHING,
            "rewards": cell.rewards,
            "settings": cell.rl,
            "lora": cell.sft.lora,
            "seed": cell.seed,
        }
        learned = runner.stage("rl", "training.rl.fit", inputs, watch=True)
        _tell(learned, runner)
        policy = policy.after(learned)
    return policy


def _tell(learned: Artifact, runner: Runner) -> None:
    """How RL fared on held-out prompts, where it was checked."""
    told = summary(learned.path)
    if "rl/best_step" in told:
        start, best = (100 * told[name] for name in ("rl/accuracy_start", "rl/accuracy"))
        runner.terminal.say(
            f"  held-out accuracy {start:.1f} → {best:.1f} %, the best of {told['rl/steps']} steps: "
            f"step {told['rl/best_step']}"
        )


def warm_up(side: Prompts, share: float, seed: int) -> tuple[Prompts, Prompts]:
    """The prompts of SFT and those of RL: a seeded split, stratified by answer."""
    order = stratified_order([item.answer for item in side.items], seed)
    cut = _taught(len(order), share)
    first, second = (tuple(side.items[k] for k in sorted(part)) for part in (order[:cut], order[cut:]))
    return replace(side, items=first), replace(side, items=second)


def _taught(count: int, share: float) -> int:
    """How many of `count` prompts SFT sees: a share of them, never none and never all."""
    return min(max(round(share * count), 1), count - 1)


NOTHING = Prompts({}, "", ())


def infer(
    cell: Cell, task: Task, base: Policy, policy: Policy, runner: Runner
) -> tuple[list[metrics.Prediction], list[str]]:
    """Predict the test split, calibrated on (a part of) the validation split."""
    held_out = subsample(task.splits["validation"], cell.predict.calibration, cell.dataset.seed)
    task = replace(task, splits={**task.splits, "validation": held_out})
    tested, cut = task.splits["test"], len(held_out)
    side = render(task, ("validation", "test"), cell.infer, base, runner)
    known, asked = _halves(side, cut)
    known_blank = asked_blank = None
    if cell.decoder.blanks:
        blank = render(task, ("validation", "test"), cell.infer, base, runner, blank=True)
        known_blank, asked_blank = _halves(blank, cut)
    asked_thoughts, known_thoughts = runner.think(policy, asked), runner.think(policy, known)
    inputs: dict[str, Any] = {
        "ids": [example.id for example in tested],
        "golds": [example.label for example in tested],
        "truncated": [item.truncated for item in asked.items],
        "readings": _read(runner, policy, asked, asked_blank, asked_thoughts, complete=cell.decoder.completes),
        "held_out": _read(runner, policy, known, known_blank, known_thoughts, complete=False),
        "held_out_golds": [example.label for example in held_out],
        "surfaces": dict(side.surfaces),
        "decoder": cell.decoder,
    }
    if asked_thoughts:
        inputs["thoughts"] = asked_thoughts
    done = runner.stage("predict", "inference.predict.predict", inputs)
    from genclspp.inference.predict import read

    return read(done.path), list(task.labels)


def render(
    task: Task,
    splits: Sequence[str],
    strategies: Sequence[Strategy],
    base: Policy,
    runner: Runner,
    *,
    blank: bool = False,
) -> Prompts:
    """The prompts of `splits`, one after the other, with the facts that they need.

    blank: the same prompts, demonstrations included, with an empty text to classify
    """
    task = facts.establish(task, splits, strategies, base, runner)
    examples = [example for split in splits for example in task.splits[split]]
    if blank:
        examples = [replace(example, text="") for example in examples]
    room = _room(base, text.sketch(examples[0], task, strategies), runner.cell)
    built = text.build(examples, task, strategies, tokenizers.frame(base), room)
    cut = sum(item.truncated for item in built.items)
    if cut:
        runner.terminal.say(
            f"  {cut} of {len(built.items)} prompts ({'+'.join(splits)}) truncated to fit the model"
        )
    return built


def _room(policy: Policy, draft: Draft, cell: Cell) -> Budget:
    """What the answers and the thought of a draft, or the longer completions that `cell` asks for, leave."""
    joint = text.joint(draft, tokenizers.frame(policy))
    completions = [joint + surface for surface in text.answers(draft).values()]
    wanted = cell.predict.max_new_tokens or 0
    sampled = cell.rl.args.get("max_completion_length")
    if isinstance(sampled, int):  # anything else is refused with the other arguments
        wanted = max(wanted, sampled - draft.thought_tokens)
    return tokenizers.budget(policy, completions, draft.thought_tokens, wanted)


def _read(
    runner: Runner,
    policy: Policy,
    side: Prompts,
    blank: Prompts | None,
    written: Sequence[str],
    *,
    complete: bool,
) -> list[Reading]:
    """What the policy says behind the thoughts it has written; a prior is that behind the same thought."""
    blank = blank.after(written) if blank is not None else None
    return runner.read(policy, side.after(written), blank, complete=complete)


def _learns(cell: Cell) -> bool:
    return cell.sft.enabled or cell.rl.learner != "none"


def _check_reasoning(cell: Cell, task: Task) -> None:
    train = task.splits["train"]
    bare = [example.id for example in train if not example.rationale.strip()]
    if cell.sft.enabled and bare:
        raise ValueError(
            f"with reasoning=think, SFT learns thoughts from rationales, but {len(bare)} of the {len(train)} "
            f"training examples of {task.name!r} have none (the first: {bare[0]!r}); name their column with "
            "dataset.rationale, or choose sft=none"
        )
    if cell.rl.learner == "expected":
        raise ValueError(
            "rl=expected needs a list of all that may be written, and thoughts cannot be listed; with "
            "reasoning=think, choose a learner that samples (rl=grpo, rl=rloo), or rl=none"
        )
    if cell.rl.focus == "unsolved":
        raise ValueError(
            "rl.focus='unsolved' asks how likely the right answer is, which no list tells behind thoughts; with "
            "reasoning=think, expected 'all' or 'rest'"
        )


def _check_training(cell: Cell, task: Task, outputs: Path) -> None:
    if cell.rl.focus == "rest" and not (cell.sft.enabled and cell.rl.learner != "none"):
        raise ValueError("rl.focus='rest' splits the training examples between SFT and RL; it needs both of them")
    _check_rewards(cell)
    if cell.sft.enabled:
        from genclspp.training import sft

        sft.check(cell.sft, outputs)
    if cell.rl.learner != "none" or cell.rl.args:
        from genclspp.training import rl

        there = len(task.splits["train"])
        rest = there - _taught(there, cell.rl.warmup) if cell.rl.focus == "rest" else there
        rl.check(cell.rl, rest if cell.rl.examples is None else min(cell.rl.examples, rest), outputs)


def _check_rewards(cell: Cell) -> None:
    """Refuse a reward of ours that could never pay."""
    if cell.rl.learner == "none":
        return
    if not cell.rewards:
        raise ValueError(f"there is no reward for rl={cell.rl.learner} to raise; choose one (reward=correct)")
    can_abstain = any("uncertain" in strategy.requires() for strategy in cell.train)
    for reward in cell.rewards:
        if reward.target == "genclspp.training.rewards.thought_format" and not cell.reasoning.enabled:
            raise ValueError(f"reward.{reward.name} pays for thoughts; it needs reasoning=think")
        if reward.target == "genclspp.training.rewards.abstained" and not can_abstain:
            raise ValueError(
                f'reward.{reward.name} pays for the answer "uncertain", which the training prompts do not offer; '
                "it needs the strategy uncertainty"
            )


def _without_facts(task: Task) -> Task:
    """`task` with empty neighbours for the first training example: enough for a draft of the fixed parts."""
    return replace(task, neighbours={task.splits["train"][0].id: ()})


def _halves(side: Prompts, cut: int) -> tuple[Prompts, Prompts]:
    return replace(side, items=side.items[:cut]), replace(side, items=side.items[cut:])
