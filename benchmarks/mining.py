"""Does mining find the ambiguous examples? One table over seeds of the data: scorers, and ways to combine them.

python benchmarks/mining.py --scorers tfidf
python benchmarks/mining.py --scorers tfidf,trained strategy.uncertainty.folds=3
python benchmarks/mining.py --seeds 0 --scorers tfidf dataset=local dataset.path=DIR dataset.train_size=3000

Other words are those of run.py. Every stage comes from the store under --outputs, so a second call is quick.

seed, hits:   share of the truly ambiguous among the marked examples, and its mean; nan where the data do not know
marked, rest: accuracy of the scorers' best label on the marked examples, and on all others
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp import pipeline, progress
from genclspp.cli import compose
from genclspp.runs.plan import Memory, Plan
from genclspp.runs.terminal import Terminal, quiet
from genclspp.selection import facts
from genclspp.selection.mine import LOGPROBS, combine, confidences, fit_weights, read
from genclspp.selection.scorers import Training
from genclspp.task import Task

Tables = list[np.ndarray]  # of each scorer: (examples, labels) calibrated log-probabilities
Way = Callable[[Tables, list[int]], np.ndarray]  # -> (examples,) confidence


def weighed(tables: Tables, gold: list[int]) -> np.ndarray:
    """As the stage does it."""
    return combine(tables, fit_weights(tables, gold))


def evenly(tables: Tables, gold: list[int]) -> np.ndarray:
    return combine(tables, [1.0] * len(tables))


def averaged(tables: Tables, gold: list[int]) -> np.ndarray:
    return np.log(np.mean([np.exp(table) for table in tables], axis=0))


def margins(logprobs: np.ndarray) -> np.ndarray:
    return confidences(logprobs, [], "margin")


def distance(logprobs: np.ndarray) -> np.ndarray:
    """Best minus second probability."""
    return margins(np.exp(logprobs))


def entropy(logprobs: np.ndarray) -> np.ndarray:
    return (np.exp(logprobs) * logprobs).sum(axis=1)


def ranks(tables: Tables, gold: list[int]) -> np.ndarray:
    return np.mean([margins(table).argsort(kind="stable").argsort() for table in tables], axis=0)


ALONE: dict[str, Way] = {
    "log-odds of the best two": lambda t, g: margins(weighed(t, g)),
    "their difference in probability": lambda t, g: distance(weighed(t, g)),
    "highest probability": lambda t, g: weighed(t, g).max(axis=1),
    "entropy": lambda t, g: entropy(weighed(t, g)),
    "probability of the gold label": lambda t, g: confidences(weighed(t, g), g, "gold"),
}
TOGETHER: dict[str, Way] = {
    "equal weights": lambda t, g: margins(evenly(t, g)),
    "probabilities averaged": lambda t, g: margins(averaged(t, g)),
    "ranks averaged": ranks,
}


@dataclass(frozen=True)
class Mined:
    """What the stage mine left for one seed of the data, beside the truth where the data know it."""

    rows: list[dict]
    task: Task
    marked: int

    def gold(self) -> list[int]:
        return [self.task.labels.index(row["label"]) for row in self.rows]

    def tables(self, scorers: Sequence[str]) -> Tables:
        return [np.array([row["logprobs"][scorer] for row in self.rows]) for scorer in scorers]

    def ambiguous(self) -> np.ndarray:
        truth = {example.id: example.ambiguous for example in self.task.splits["train"]}
        return np.array([np.nan if truth[row["id"]] is None else truth[row["id"]] for row in self.rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2,3", help="dataset.seed, by commas")
    parser.add_argument("--scorers", default="tfidf", help="by commas; each alone, and all together")
    parser.add_argument("--outputs", default="outputs")
    args, words = parser.parse_known_args()
    scorers, seeds = args.scorers.split(","), args.seeds.split(",")
    compose.register()
    quiet(Path(args.outputs) / "logs" / "study_mining.log", Terminal(Console(stderr=True)))
    mined = [mine(words, scorers, seed, args.outputs) for seed in seeds]
    table = Table("scorers", "confidence", *(f"seed {seed}" for seed in seeds), "hits", "marked", "rest")
    for scorer in scorers:
        for name, way in ALONE.items():
            table.add_row(scorer, name, *shares([scorer], way, mined))
    if len(scorers) > 1:
        for name, way in (ALONE | TOGETHER).items():
            table.add_row("together", name, *shares(scorers, way, mined))
    Console(width=130).print(table)


def mine(words: Sequence[str], scorers: Sequence[str], seed: str, outputs: str) -> Mined:
    """Mine the training examples of a cell as the pipeline does."""
    from hydra import compose as compose_config
    from hydra import initialize_config_dir

    ours = [f"strategy.uncertainty.scorers=[{','.join(scorers)}]", f"dataset.seed={seed}", f"outputs={outputs}"]
    with initialize_config_dir(compose.CONF, version_base="1.3"):
        overrides = ["strategy=uncertainty", "tracking=none", *words, *ours]
        cell = compose.cell(compose_config("config", overrides, return_hydra_config=True))
    runner = pipeline.runner(cell, Memory(), Terminal(Console(stderr=True)))

    def plan() -> Plan:
        walk = pipeline.start(cell, runner.memory)
        facts.establish(walk.plan, walk.task, ("train",), cell.train, walk.base, Training(cell.sft, cell.seed))
        return walk.plan

    done, _ = pipeline.carry_out(plan, runner)
    (mined,) = [step.artifact.path for step in done.steps if step.role == "mine"]
    return Mined(list(progress.read(mined / LOGPROBS)), pipeline.start(cell, runner.memory).task, len(read(mined)))


def shares(scorers: Sequence[str], way: Way, mined: Sequence[Mined]) -> list[str]:
    """Hits of each seed and their mean; accuracy on what is marked, and on the rest."""
    hits, on_marked, on_rest = [], [], []
    for one in mined:
        tables, gold = one.tables(scorers), one.gold()
        marked = way(tables, gold).argsort(kind="stable")[: one.marked]
        right = weighed(tables, gold).argmax(axis=1) == gold
        hits.append(one.ambiguous()[marked].mean())
        on_marked.append(right[marked].mean())
        on_rest.append(np.delete(right, marked).mean())
    return [f"{100 * share:.1f}" for share in (*hits, *map(np.mean, (hits, on_marked, on_rest)))]


if __name__ == "__main__":
    main()
