"""Reinforcement learning: the exact expected reward against GRPO, from the same under-trained policy.

python benchmarks/rl.py --data ../shared/data --json rl.json --plot docs/rl_speed.png
python benchmarks/rl.py --data ../shared/data --learners trl,grpo,expected     # TRL's own GRPO too

Both learn from the same prompts with the settings of conf/rl. After every second step (of the exact learner, which
needs few: after each) the clock is stopped to compute the mean expected reward over 96 training prompts, exactly.
The table shows when each learner has reached the reward at which GRPO ends, the mean over the last quarter of its
steps; the curves show all seeds.
"""

import argparse
import gc
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import measure as bench
import torch
from rich.console import Console
from transformers import TrainerCallback
from trl import GRPOTrainer

from genclspp import pipeline
from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.prompts.draft import Prompts
from genclspp.runs.plan import Memory, Plan
from genclspp.runs.terminal import Terminal
from genclspp.settings import Cell, TrackingSettings
from genclspp.training import learners, rl, sft
from genclspp.training.early_stopping import HeldOut
from genclspp.training.rewards import gold_places, reward_table
from genclspp.training.trainer import train
from genclspp.trees import scoring

CASES = {
    "tickets": ["dataset=tickets"],
    "trec6": ["dataset=local", "dataset.path={data}/trec6"],
    "sst5": ["dataset=local", "dataset.path={data}/sst5"],
}
MEASURED = 96
WARM_UP = [
    "dataset.train_size=600",
    "dataset.validation_size=200",
    "sft.args.num_train_epochs=1",
    "sft.args.warmup_steps=0",
    "rl.examples=256",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with trec6 and sst5")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(CASES), help="one case")
    parser.add_argument("--learners", default="grpo,rloo,expected", help="the first is the one to catch up with")
    parser.add_argument("--set", nargs="*", default=[], help="overrides for all, such as dataset.train_size=500")
    parser.add_argument("--grpo", nargs="*", default=[], help="overrides for grpo, such as rl.examples=64")
    parser.add_argument("--expected", nargs="*", default=[], help="overrides for expected")
    parser.add_argument("--plot", metavar="PNG")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cases = [args.only] if args.only else list(CASES)
    races = {case: [race(case, seed, args) for seed in args.seeds] for case in cases}
    bench.report([row(case, ways) for case, ways in races.items()], args.json)
    if args.plot:
        draw(races, args.plot)


Curve = list[tuple[float, float]]  # seconds, mean expected reward on training prompts


@dataclass(frozen=True)
class Way:
    """How a learner went: its curve, and the expected reward on the validation split before and after."""

    curve: Curve
    before: float
    after: float


def race(case: str, seed: int, args: argparse.Namespace) -> dict[str, Way]:
    words = [word.format(data=args.data) for word in CASES[case]] + [*WARM_UP, *args.set, f"seed={seed}"]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for learner in args.learners.split(","):
            choice = "grpo" if learner == "trl" else learner
            cell = bench.make_cell([*words, f"rl={choice}", f"outputs={folder}", *getattr(args, learner, [])])
            found[learner] = way = learn(cell, Path(folder) / learner, trees=learner != "trl")
            print(f"{case}, seed {seed}, {learner}: {way.curve[0]} … {way.curve[-1]}; ", end="", file=sys.stderr)
            print(f"validation {way.before:.3f} → {way.after:.3f}", file=sys.stderr, flush=True)
    return found


def learn(cell: Cell, out: Path, *, trees: bool) -> Way:
    policy, side, checked = warm_up(cell)
    settings = cell.rl
    model = weights.load(policy, train=True, lora=cell.sft.lora if cell.sft.enabled else None, seed=cell.seed)
    watched = rewards(model, policy, learners.sample_prompts(side, MEASURED, cell.seed), cell)
    held_out = rewards(model, policy, checked, cell)
    before = held_out(model)
    gc.collect()
    gc.freeze()  # accelerate collects garbage first of all, and would go through all that was imported
    start = time.perf_counter()
    weights.disable_dropout(model)
    problem = learners.Problem(policy, side, cell.rewards, settings, cell.seed, out)
    rows, _ = rl.select_rows(model, problem)
    trainer = settings.learner.trainer(model, problem, rows)
    if not trees:  # the trainer's own way of sampling and of computing log-probabilities
        trainer.__class__ = GRPOTrainer
    clock = Clock(start, watched, every=1 if isinstance(settings.learner, learners.Expected) else 2)
    trainer.add_callback(clock)
    train(trainer, out)
    return Way(clock.curve, before, held_out(model))


def warm_up(cell: Cell) -> tuple[Policy, Prompts, Prompts]:
    """The under-trained policy that all learners start from; the prompts of the training and validation splits.

    The policy is trained for the first learner; the others take it from the store.
    """
    memory, threads = Memory(), torch.get_num_threads()  # else the runner would set its own
    untracked = replace(cell, tracking=TrackingSettings())
    runner = pipeline.runner(untracked, memory, Terminal(Console(quiet=True)), threads)
    found: list[tuple[Policy, Prompts, Prompts]] = []

    def plan() -> Plan:
        walk = pipeline.start(cell, memory)
        side, checked = (pipeline.prompts(walk, (split,), cell.train) for split in ("train", "validation"))
        policy = walk.base
        if cell.sft.enabled:
            fit = partial(sft.fit, policy=policy, prompts=side.taught, settings=cell.sft, seed=cell.seed)
            policy = policy.after(walk.plan.add(fit))
        found.append((policy, side, checked))
        return walk.plan

    pipeline.carry_out(plan, runner)
    return found[-1]


def rewards(model: Any, policy: Policy, side: Prompts, cell: Cell) -> Callable[[Any], float]:
    """What measures a model: its mean expected reward on the prompts of `side`, exactly."""
    tokens, texts = tokenizers.tokenizer(policy), [item.text for item in side.items]
    known = HeldOut(
        texts,
        side.completions(),
        torch.tensor(reward_table(side, cell.rewards)),
        torch.tensor(gold_places(side)),
        scoring.label_logprobs(model, tokens, texts, side.completions()),
    )
    return lambda model: known.check(model, tokens, 0).reward


class Clock(TrainerCallback):
    """Seconds of learning and the reward reached; the clock stands still while the reward is measured."""

    def __init__(self, start: float, reward: Any, every: int) -> None:
        self._start, self._reward, self._every = start, reward, every
        self.curve: list[tuple[float, float]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self._note(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step % self._every == 0:
            self._note(model)

    def _note(self, model: Any) -> None:
        now = time.perf_counter()
        self.curve.append((now - self._start, self._reward(model)))
        self._start += time.perf_counter() - now


def row(case: str, races: list[dict[str, Way]]) -> dict[str, Any]:
    """Medians over seeds."""
    facts: dict[str, list[float]] = {}
    for ways in races:
        first, *others = ways
        curve = ways[first].curve
        goal = statistics.mean(reward for _, reward in curve[-(len(curve) // 4) :])
        facts.setdefault("reward at the start", []).append(curve[0][1])
        facts.setdefault(f"reward at which {first} ends", []).append(goal)
        facts.setdefault(f"{first} seconds", []).append(curve[-1][0])
        for other in others:
            reached = next((seconds for seconds, reward in ways[other].curve if reward >= goal), float("inf"))
            facts.setdefault(f"{other} seconds to reach it", []).append(reached)
            facts.setdefault(f"{other}, share of {first}'s time", []).append(reached / curve[-1][0])
            facts.setdefault(f"reward at which {other} ends", []).append(ways[other].curve[-1][1])
        facts.setdefault("validation at the start", []).append(ways[first].before)
        for learner, way in ways.items():
            facts.setdefault(f"validation after {learner}", []).append(way.after)
    medians = {name: rounded(statistics.median(values)) for name, values in facts.items()}
    every = [[name, [rounded(value) for value in values]] for name, values in facts.items()]
    return {"case": case, "seeds": len(races), **medians, "per seed": every}


def rounded(value: float) -> float | str:
    return round(value, 3) if math.isfinite(value) else "never"


def draw(races: dict[str, list[dict[str, Way]]], file: str) -> None:
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(races), figsize=(4.5 * len(races), 3.4), squeeze=False)
    for panel, (case, seeds) in zip(panels[0], races.items(), strict=True):
        for colour, learner in zip(("tab:orange", "tab:green", "tab:blue"), seeds[0], strict=False):
            for seed, ways in enumerate(seeds):
                seconds, rewards = zip(*ways[learner].curve, strict=True)
                panel.plot(seconds, rewards, color=colour, linewidth=1.2, label=learner if seed == 0 else None)
        panel.set(title=case, xlabel="seconds of learning", ylabel="mean expected reward")
        panel.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
