"""What is checked while a cell is planned, as it would stop a stage only in the middle of the work.

Each check is made once per process and set of values; those that import torch, which takes seconds, not at all for
cells that have run before.
"""

from functools import partial

from genclspp.inference import metrics
from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.prompts import render, thoughts
from genclspp.prompts.draft import Draft, Prompts
from genclspp.prompts.surfaces import check_surfaces
from genclspp.runs.plan import Memory
from genclspp.runs.terminal import hush_libraries
from genclspp.settings import Cell
from genclspp.suggest import UserError
from genclspp.task import Task
from genclspp.training import rewards, rl, sft


def check_rationales(task: Task) -> None:
    """Raise UserError where SFT is to learn thoughts from examples that have none."""
    train = task.splits["train"]
    bare = [example.id for example in train if not example.rationale.strip()]
    if bare:
        raise UserError(
            f"with reasoning=think, SFT learns thoughts from rationales, but {len(bare)} of the {len(train)} "
            f"training examples of {task.name!r} have none (the first: {bare[0]!r}); set dataset.rationale to "
            "their column, or choose sft=none"
        )


def check_metrics(cell: Cell, task: Task, memory: Memory) -> None:
    """Raise UserError where a metric of the user's own fails on a few predictions."""
    of = (cell.metrics, task.labels)
    memory.once(partial(metrics.check, *of), "check of the metrics", *of)


def check_answers(base: Policy, draft: Draft) -> None:
    """Raise UserError where an answer does not survive the tokenizer's round trip."""
    before = thoughts.SAMPLE if draft.thought_tokens else ""  # the tags have to survive it as well
    joint = render.joint(draft, tokenizers.frame(base))
    tokenizers.check_answers(base, check_surfaces(render.answers(draft)), before + joint)


def check_rewards(cell: Cell, side: Prompts, memory: Memory) -> None:
    """Raise UserError where a reward fails on the first prompt."""
    first, surfaces = side.items[0], list(side.surfaces.items())
    of = (first, surfaces, side.joint, side.thought_tokens, cell.rewards)
    memory.once(partial(rewards.check, side, cell.rewards), "check of the rewards", *of)


def check_arguments(cell: Cell, count: int, memory: Memory) -> None:
    """Raise UserError where a library refuses its arguments.

    count: prompts that RL learns from
    """
    if cell.sft.enabled:
        memory.once(partial(sft.check, cell.sft), "arguments of sft", cell.sft)
    if cell.rl.learner or cell.rl.args:
        memory.once(partial(rl.check, cell.rl, count), "arguments of rl", cell.rl, count)


def check_model(cell: Cell, base: Policy, memory: Memory) -> None:
    """Raise UserError where a library refuses the model or an adapter of it."""
    lora = cell.sft.lora if cell.sft.enabled or cell.rl.learner else None
    hush_libraries()
    memory.once(partial(weights.check, base, lora), "weights", base, base.settings, lora)
