"""Print the prompts of any configuration: python scripts/show_prompts.py strategy=icl [show=3]

What the model reads is printed verbatim, special tokens included; the answer follows an arrow. Nothing is trained,
unless uncertain examples have to be mined first. Takes the words of run.py, for one cell.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp.cli import compose, errors
from genclspp.cli.main import guard
from genclspp.prompts.draft import Prompts, Strategy
from genclspp.runs import threads
from genclspp.settings import Cell
from genclspp.suggest import UserError

if TYPE_CHECKING:
    from genclspp.models.policy import Policy
    from genclspp.runs.plan import Memory, Plan
    from genclspp.runs.runner import Runner

SHOW = next((word.split("=")[1] for word in sys.argv if word.startswith("show=")), "2")


@hydra.main(version_base="1.3", config_path=compose.CONF, config_name="config")
def show(config: DictConfig) -> None:
    from genclspp import pipeline
    from genclspp.runs.plan import Memory
    from genclspp.runs.terminal import Terminal, quiet
    from genclspp.settings import TrackingSettings

    try:
        cell = compose.cell(config)
        if cell.method:
            raise UserError(f"method={cell.choices['method']} reads no prompt; expected method=generative")
        outputs = Path(cell.outputs)
        quiet(outputs / "logs" / cell.sweep / "show_prompts.log", Terminal())
        memory = Memory()
        pipeline.plan(cell, memory)  # to raise whatever would stop the cell
        untracked = replace(cell, tracking=TrackingSettings(backend="none"))
        runner = pipeline.runner(untracked, memory, Terminal())
        base = pipeline.start(cell, memory).base
        for side, split, strategies in (("train", "train", cell.train), ("infer", "test", cell.infer)):
            write(side, rendered(cell, split, strategies, memory, runner), base)
    except (UserError, OSError) as error:
        raise errors.stop(error) from None


def rendered(
    cell: Cell, split: str, strategies: Sequence[Strategy], memory: "Memory", runner: "Runner"
) -> Prompts:
    """The prompts of a split; runs the stages that `strategies` depend on (mining, say) first."""
    from genclspp import pipeline

    found: list[Prompts] = []

    def plan() -> "Plan":
        walk = pipeline.start(cell, memory)
        found.append(pipeline.prompts(walk, (split,), strategies))
        return walk.plan

    pipeline.carry_out(plan, runner)
    return found[-1]


def write(side: str, prompts: Prompts, base: "Policy") -> None:
    from genclspp.models import tokenizers

    console, tokens = Console(highlight=False), tokenizers.tokenizer(base)
    lengths = [len(tokens.encode(item.text)) for item in prompts.items]
    for item, length in zip(prompts.items[: int(SHOW)], lengths, strict=False):
        console.rule(f"{side}: {item.id}, {length} tokens")
        console.print(Text(item.text), end="")
        console.print(Text(f"{prompts.joint}⟶ {item.written}{tokens.eos_token}", style="bold green"))
    cut = sum(item.truncated for item in prompts.items)
    console.rule(
        f"{side}: {len(prompts.items)} prompts, {min(lengths)} to {max(lengths)} tokens, {cut} truncated, "
        f"{len(prompts.surfaces)} answers"
    )


if __name__ == "__main__":
    if not SHOW.isdecimal():
        sys.exit(f"error: show={SHOW}; expected a number of prompts")
    sys.argv = [word for word in sys.argv if not word.startswith("show=")]
    threads.wait_passively()
    compose.register()
    guard(show)
