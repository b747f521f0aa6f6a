"""Do the intervals and tests of `genclspp.report.statistics` hold? A simulation with a known truth.

python benchmarks/intervals.py                                  # all, 300 repetitions: minutes on one core
python benchmarks/intervals.py --only coverage --metrics accuracy --seeds 3 --examples 200 --repetitions 100
python benchmarks/intervals.py --json intervals.json

Cells are right on about 85 % of the examples. An example is right where the sum of skill, ease of the example (for
all cells), its ease for this cell, shift of the training seed and noise, all normal, is above 0. There are five
unbalanced classes, and an example has one wrong answer, so that the true accuracy and macro-F1 are known exactly.

coverage: how often the crossed 95 % interval of a gain holds the true gain, and that of the bootstrap of examples
          alone; also of the relative gain, and of the level of one cell. Wanted of gains: at least 93 % in every
          row, and a mean of at most 98.5 %
family:   how often eight cells that equal their baseline yield an alarm after Holm's correction, with the crossed
          test, the bootstrap of examples alone and McNemar's test on pooled seeds. Wanted: at most 5.5 %
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri, stdtr

from genclspp.report.resampling import Scores, macro_f1, means, weights
from genclspp.report.statistics import gain, level, mcnemar, relative_gain

CLASSES = np.array([0.4, 0.25, 0.15, 0.12, 0.08])  # shares
LEVELS = (0.87, 0.85)  # accuracy of cell and baseline
EFFECTS = {"no": 0.0, "small": 0.04, "large": 0.15}  # standard deviation of the seeds' shift
EASE, OWN, NOISE = 0.8, 0.35, 0.5  # standard deviations; their squares sum to 1 within 0.02
VARIANCE = EASE**2 + OWN**2 + NOISE**2
CELLS = 8
Answers = np.ndarray  # (cells, seeds, examples) place of the answered class


@dataclass(frozen=True)
class Setting:
    """One row of a table."""

    metric: str
    seeds: int
    examples: int
    effect: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--only", choices=("coverage", "family"))
    parser.add_argument("--metrics", nargs="+", choices=("accuracy", "macro_f1"), default=["accuracy", "macro_f1"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[3, 5])
    parser.add_argument("--examples", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--effects", nargs="+", choices=list(EFFECTS), default=list(EFFECTS))
    parser.add_argument("--json")
    args = parser.parse_args()
    settings = [Setting(*row) for row in product(args.metrics, args.seeds, args.examples, args.effects)]
    found = {}
    for name, simulate in (("coverage", coverage), ("family", family)):
        if args.only in (None, name):
            found[name] = run(name, simulate, settings, args.repetitions)
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=2) + "\n")


def run(name: str, simulate, settings: list[Setting], repetitions: int) -> list[dict]:
    """Simulate and print a table of percentages."""
    rows = []
    for setting in settings:
        start = time.perf_counter()
        shares = {what: round(100 * share, 1) for what, share in simulate(setting, repetitions).items()}
        if not rows:
            print(f"\n{name}, in %, {repetitions} repetitions")
            print("metric    seeds examples effect ", *(f"{what:>13}" for what in shares))
        print(
            f"{setting.metric:9} {setting.seeds:5} {setting.examples:8} {setting.effect:7}",
            *(f"{share:13.1f}" for share in shares.values()),
            flush=True,
        )
        print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
        rows.append({**vars(setting), **shares})
    columns = [[row[what] for row in rows if what in row] for what in rows[0] if what not in vars(setting)]
    for end, summary in (("mean", np.mean), ("least", min), ("most", max)):
        print(f"{end:32}", *(f"{summary(column):13.1f}" for column in columns))
    return rows


def coverage(setting: Setting, repetitions: int) -> dict[str, float]:
    """The share of intervals that hold the truth."""
    truths = [truth(setting.metric, share, setting.effect) for share in LEVELS]
    true_gain = truths[0] - truths[1]
    hits = {"crossed": 0, "examples only": 0, "relative": 0, "one cell": 0}
    for ours, theirs in tables(setting, LEVELS, repetitions):
        found, relative, one = gain(ours, theirs), relative_gain(ours, theirs), level(ours)
        low, high = np.percentile(ours.draws.mean(axis=0) - theirs.draws.mean(axis=0), [2.5, 97.5])
        hits["crossed"] += found.low <= true_gain <= found.high
        hits["examples only"] += bool(low <= true_gain <= high)
        hits["relative"] += relative.low <= truths[0] / truths[1] - 1 <= relative.high
        hits["one cell"] += one.low <= truths[0] <= one.high
    return {what: count / repetitions for what, count in hits.items()}


def family(setting: Setting, repetitions: int) -> dict[str, float]:
    """The share of tables with a false alarm: eight cells against a baseline, all with the same accuracy."""
    alarms = {"crossed": 0, "examples only": 0} | ({"McNemar": 0} if setting.metric == "accuracy" else {})
    for baseline, *cells in tables(setting, (LEVELS[1],) * (CELLS + 1), repetitions):
        tests = {"crossed": [gain(cell, baseline).p for cell in cells]}
        tests["examples only"] = [examples_only(cell, baseline) for cell in cells]
        if setting.metric == "accuracy":
            tests["McNemar"] = [mcnemar(cell.each.ravel(), baseline.each.ravel()) for cell in cells]
        for what, p in tests.items():
            alarms[what] += CELLS * min(p) <= 0.05  # the first step of Holm: the others need it
    return {what: count / repetitions for what, count in alarms.items()}


def examples_only(cell: Scores, baseline: Scores) -> float:
    """p of the gain when examples alone are random."""
    draws = cell.draws.mean(axis=0) - baseline.draws.mean(axis=0)
    mean = cell.seeds.mean() - baseline.seeds.mean()
    return float(2 * stdtr(np.inf, -abs(mean) / draws.std(ddof=1)))


def tables(setting: Setting, levels: tuple[float, ...], repetitions: int) -> Iterator[list[Scores]]:
    """Cells with the accuracies `levels`, tested on the same examples, `repetitions` times."""
    weights(setting.examples)
    for repetition in range(repetitions):
        draw = np.random.default_rng([setting.seeds, setting.examples, repetition])
        gold, answers = test(draw, setting, levels)
        if setting.metric == "accuracy":
            yield [means(cell == gold) for cell in answers]
        else:
            yield [macro_f1(gold, cell, len(CLASSES)) for cell in answers]


def test(draw: np.random.Generator, setting: Setting, levels: tuple[float, ...]) -> tuple[np.ndarray, Answers]:
    """The gold classes of new examples, and what newly trained seeds of each cell answer."""
    shape = (len(levels), setting.seeds, setting.examples)
    gold = draw.choice(len(CLASSES), p=CLASSES, size=setting.examples)
    wrong = (gold + draw.integers(1, len(CLASSES), size=setting.examples)) % len(CLASSES)
    shift = EFFECTS[setting.effect]
    skills = ndtri(np.array(levels)) * np.sqrt(VARIANCE + shift**2)
    is_right = (
        skills[:, None, None]
        + EASE * draw.normal(size=shape[2])
        + OWN * draw.normal(size=(shape[0], 1, shape[2]))
        + shift * draw.normal(size=(*shape[:2], 1))
        + NOISE * draw.normal(size=shape)
    ) > 0
    return gold, np.where(is_right, gold, wrong)


@cache
def truth(metric: str, share: float, effect: str) -> float:
    """The metric on infinitely many examples, over the distribution of seeds.

    Given a seed's shift, all classes are right with the same probability r, and wrong answers are uniform over the
    other classes; Gauss-Hermite quadrature integrates over the shift.
    """
    if metric == "accuracy":
        return share
    points, masses = np.polynomial.hermite_e.hermegauss(60)
    skill = ndtri(share) * np.sqrt(VARIANCE + EFFECTS[effect] ** 2)
    right = ndtr((skill + EFFECTS[effect] * points) / np.sqrt(VARIANCE))[:, None]
    answered = right * CLASSES + (1 - right) * (1 - CLASSES) / (len(CLASSES) - 1)
    scores = (2 * right * CLASSES / (CLASSES + answered)).mean(axis=1)
    return float(scores @ masses / masses.sum())


if __name__ == "__main__":
    main()
