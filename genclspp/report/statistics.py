"""Intervals and tests of a sweep: training seeds and test examples are crossed, and both are random.

With A_i the metric of seed i of cell A, A_i(w) the same under row w of the bootstrap weights W (`resampling`), and
k seeds in each of the cells A and B (or k differences, where seeds are pairs; or one cell alone):

    P       var_w of the mean difference
    own_A   what seeds do by themselves within W: (mean_i var_w A_i(w) - var_w mean_i A_i(w)) / (k - 1)
    I       P - own_A - own_B, the mean covariance of differences between different seeds: the examples' part
    S       s_A² / k + s_B² / k, from the sample variances of A_i and of B_i: the seeds' part
    SE²     max(P, I + S), with Student's t and the degrees of freedom of Welch and Satterthwaite, at least k - 1:
            SE⁴ / (Σ (s² / k)² / (k - 1) + I² / (examples - 1))

P alone, the bootstrap of examples, takes luck of seeds for signal (benchmarks/intervals.py). Sources: Owen 2007,
Sellam et al. 2022, Bouthillier et al. 2021 (seeds); Welch 1947 (t); Card et al. 2020, Miller 2024 (power).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from genclspp.report.corrections import benjamini_hochberg as benjamini_hochberg
from genclspp.report.corrections import holm as holm
from genclspp.report.resampling import DRAWS, Scores, means
from genclspp.suggest import UserError

ALPHA = 0.05
POWER = 0.8  # of the detectable gain
FEW = 6  # fewer examples reject nothing at 5 %: if all of them say the same, the sign test has p = 2 / 2^examples
DATASETS = 6  # as many differences does a signed-rank test need to reach 5 %

Method = Literal[
    "crossed",
    "crossed, with lent seed variance",  # one cell has one seed, and takes the seed variance of the other
    "paired bootstrap, McNemar's exact test",  # one seed each: these two checkpoints, not the recipes
    "paired bootstrap",  # the same for other metrics than shares of right examples
    "Wilson",  # one cell, one seed: nothing about retraining
    "percentile bootstrap",  # the same for other metrics than shares of right examples
]
Cell = np.ndarray | Scores  # an array: (seeds, examples) scores per example


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Level(Interval):
    """How good one cell is; sd is None for one seed."""

    sd: float | None
    method: Method


@dataclass(frozen=True)
class Gain(Interval):
    """How much better one cell is than another.

    p:          two-sided, of "no gain"; not corrected for other tests
    detectable: the smallest gain that would have been found in 80 % of such comparisons, see `smallest_detectable`
    error:      standard error of the mean
    freedom:    degrees of freedom of the error; infinite for one seed each
    """

    p: float
    detectable: float
    error: float
    freedom: float
    method: Method


@dataclass(frozen=True)
class Average(Interval):
    """The mean gain on these data sets, and no others.

    wilcoxon:    p of signed ranks over data sets, zeros split evenly (Demšar 2006); None below `DATASETS`
    significant: on how many of them the gain is significant after Holm's correction
    """

    p: float
    detectable: float
    wilcoxon: float | None
    significant: int
    datasets: int


def gain(a: Cell, b: Cell, *, paired_seeds: bool = False) -> Gain:
    """The gain of cell `a` over cell `b`, which were tested on the same examples in the same order.

    a, b: (seeds, examples) scores per example, or `resampling.macro_f1`; a method without randomness stands for
          every seed: repeat its row. Raises UserError for NaN and for different examples
    paired_seeds: whether seed i of both cells shares a stage, such as the SFT policy that their RL starts from

    With several seeds: the crossed t test; a cell with one seed takes the seed variance of the other. With one
    each: the paired percentile bootstrap, with McNemar's exact test if examples are right or wrong; that tells two
    checkpoints apart, not two recipes. Fewer than `FEW` examples say nothing.
    """
    first, second = _same_examples(a, b)
    is_single = len(first.seeds) == len(second.seeds) == 1
    found = _checkpoints(first, second) if is_single else _recipes(first, second, paired_seeds)
    bound = 1.0 if first.is_bounded and second.is_bounded else math.inf
    # No test, however many seeds it has, may be surer than all examples agreeing would make a sign test.
    p = min(max(found.p, 2.0 ** (1 - first.examples)), 1.0)
    if first.examples < FEW:
        return replace(found, low=-bound, high=bound, p=p, detectable=math.inf, error=math.inf)
    return replace(found, low=max(found.low, -bound), high=min(found.high, bound), p=p)


def level(cell: Cell) -> Level:
    """How good one cell is; takes what `gain` takes.

    With several seeds: ±√(z² I + t² S) with t of k - 1 degrees of freedom, or ±z √P if that is more. (One t for
    the sum, as for gains, covers too little where few seeds differ much.) With one seed: Wilson's interval if
    examples are right or wrong, else the percentile bootstrap; it says nothing about retraining. Fewer than `FEW`
    examples leave only Wilson's.
    """
    scores = cell if isinstance(cell, Scores) else means(cell)
    mean, seeds = float(scores.seeds.mean()), len(scores.seeds)
    sd = float(scores.seeds.std(ddof=1)) if seeds > 1 else None
    half = _half_of_level(scores) if seeds > 1 else 0.0
    # Where all seeds have all examples right (or wrong), nothing varies, and that is no certainty.
    if scores.is_share and half == 0:
        return Level(mean, *wilson(round(mean * scores.examples), scores.examples), sd, "Wilson")
    low, high = (mean - half, mean + half) if seeds > 1 else _percentiles(scores.draws[0], mean)
    if scores.examples < FEW:
        low, high = -math.inf, math.inf
    if scores.is_bounded:
        low, high = max(low, 0.0), min(high, 1.0)
    return Level(mean, low, high, sd, "crossed" if seeds > 1 else "percentile bootstrap")


def relative_gain(a: Cell, b: Cell, *, paired_seeds: bool = False) -> Interval:
    """The gain as a share of the level of `b`: mean A / mean B - 1; takes what `gain` takes.

    The ratio is formed inside W: A_i(w) / B(w) and R B_j(w) / B(w), with R = A / B, take the places of A_i(w) and
    B_j(w) in the crossed interval. Then P is the variance of the ratio, and S that of its linear part (the delta
    method). NaN where `b` is not above 0; infinite where a resample is not, or for fewer than `FEW` examples.
    """
    first, second = _same_examples(a, b)
    base, bases = second.seeds.mean(), second.draws.mean(axis=0)
    if base <= 0:
        return Interval(math.nan, math.nan, math.nan)
    mean = float((ratio := first.seeds.mean() / base) - 1)
    if first.examples < FEW or bases.min() <= 0:
        return Interval(mean, -math.inf, math.inf)
    ours = replace(first, seeds=first.seeds / base, draws=first.draws / bases)
    theirs = replace(second, seeds=ratio * second.seeds / base, draws=ratio * second.draws / bases)
    if len(ours.seeds) == len(theirs.seeds) == 1:
        return Interval(mean, *_percentiles(ours.draws[0] - 1, mean))
    return Interval(mean, *_around(mean, *_crossed(_sides(ours, theirs, paired_seeds))))


def average(gains: Sequence[Gain]) -> Average:
    """The mean of the gains on several data sets: SE = √ΣSE² / G, with Welch-Satterthwaite degrees of freedom."""
    from scipy.stats import wilcoxon

    found, total = np.array([each.mean for each in gains]), sum(each.error**2 for each in gains)
    spread = sum(each.error**4 / each.freedom for each in gains)
    freedom = total**2 / spread if 0 < spread < math.inf else math.inf
    ranks = float(wilcoxon(found, zero_method="zsplit").pvalue) if found.any() else 1.0
    return Average(
        **_student(float(found.mean()), math.sqrt(total) / len(gains), freedom),
        wilcoxon=ranks if len(gains) >= DATASETS else None,
        significant=int((holm([each.p for each in gains]) <= ALPHA).sum()),
        datasets=len(gains),
    )


def smallest_detectable(error: float, freedom: float = math.inf) -> float:
    """The true gain that a two-sided test at 5 % finds in 80 % of comparisons: (t_0.975 + t_0.8) SE, about 2.8 SE.

    error: standard error of the gain; before seeds, √(share of examples on which two cells differ / examples)
    """
    return (_quantile(freedom, 1 - ALPHA / 2) + _quantile(freedom, POWER)) * error


def wilson(right: int, examples: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927)."""
    from scipy.stats import binomtest

    found = binomtest(right, examples).proportion_ci(1 - ALPHA, method="wilson")
    # At shares of 0 and 1 one end equals the share; rounding must not move it past.
    return min(float(found.low), right / examples), max(float(found.high), right / examples)


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided p of McNemar's test (1947). a, b: (examples,) whether each example is right."""
    from scipy.stats import binomtest

    wins, losses = int((a > b).sum()), int((a < b).sum())
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def _recipes(a: Scores, b: Scores, paired_seeds: bool) -> Gain:
    """Two cells of which one has several seeds at least."""
    mean = float(a.seeds.mean() - b.seeds.mean())
    error, freedom = _crossed(_sides(a, b, paired_seeds))
    method: Method = "crossed" if min(len(a.seeds), len(b.seeds)) > 1 else "crossed, with lent seed variance"
    return Gain(**_student(mean, error, freedom), error=error, freedom=freedom, method=method)


def _checkpoints(a: Scores, b: Scores) -> Gain:
    """Two cells with one seed each."""
    mean, draws = float(a.seeds[0] - b.seeds[0]), a.draws[0] - b.draws[0]
    error = float(draws.std(ddof=1))
    low, high = _percentiles(draws, mean)
    if a.is_share and b.is_share and a.each is not None and b.each is not None:
        least = smallest_detectable(math.sqrt((a.each != b.each).mean() / a.examples))
        p = mcnemar(a.each[0], b.each[0])
        return Gain(mean, low, high, p, least, error, math.inf, "paired bootstrap, McNemar's exact test")
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    p = min(float(2 * (tail + 1) / (DRAWS + 1)), 1.0)
    return Gain(mean, low, high, p, smallest_detectable(error), error, math.inf, "paired bootstrap")


def _crossed(sides: Sequence[Scores]) -> tuple[float, float]:
    """Standard error and degrees of freedom of the first side minus the second, if there is one."""
    total, shared, parts = _variances(sides)
    variance, least = max(total, shared + sum(part for part, _ in parts)), min(freedom for _, freedom in parts)
    parts.append((max(shared, 0), max(sides[0].examples - 1, 1)))
    spread = sum(part**2 / freedom for part, freedom in parts)
    return math.sqrt(variance), max(float(variance**2 / spread) if spread else math.inf, least)


def _half_of_level(cell: Scores) -> float:
    """Half the width of the interval of one cell with several seeds."""
    total, shared, [(part, freedom)] = _variances([cell])
    normal, student = (_quantile(each, 1 - ALPHA / 2) ** 2 for each in (math.inf, freedom))
    return math.sqrt(max(normal * total, normal * max(shared, 0) + student * part))


def _variances(sides: Sequence[Scores]) -> tuple[float, float, list[tuple[float, int]]]:
    """P, I, and the parts of S with the degrees of freedom of each."""
    first, *second = (side.draws.mean(axis=0) for side in sides)
    total = float((first - sum(second)).var(ddof=1))
    several = [side for side in sides if len(side.seeds) > 1]
    shared = total - sum(_own(side.draws) for side in several)
    if len(several) == len(sides):
        return total, shared, [(side.seeds.var(ddof=1) / len(side.seeds), len(side.seeds) - 1) for side in sides]
    lent = several[0].seeds
    return total, shared, [(lent.var(ddof=1) * sum(1 / len(side.seeds) for side in sides), len(lent) - 1)]


def _own(draws: np.ndarray) -> float:
    """What each seed varies with the draws by itself, over seeds: 0 where seeds err on the same examples."""
    apart, together = draws.var(axis=1, ddof=1).mean(), draws.mean(axis=0).var(ddof=1)
    return float((apart - together) / (len(draws) - 1))


def _sides(a: Scores, b: Scores, paired_seeds: bool) -> list[Scores]:
    if not paired_seeds:
        return [a, b]
    if len(a.seeds) != len(b.seeds):
        raise UserError(f"{len(a.seeds)} and {len(b.seeds)} seeds are no pairs; expected as many on both sides")
    return [replace(a, seeds=a.seeds - b.seeds, draws=a.draws - b.draws)]


def _same_examples(a: Cell, b: Cell) -> tuple[Scores, Scores]:
    first, second = (cell if isinstance(cell, Scores) else means(cell) for cell in (a, b))
    if first.examples != second.examples:
        raise UserError(f"cells tested on {first.examples} and {second.examples} examples; expected the same ones")
    return first, second


def _student(mean: float, error: float, freedom: float) -> dict[str, float]:
    """What Student's t says of a mean: the fields that `Gain` and `Average` share."""
    from scipy.special import stdtr

    low, high = _around(mean, error, freedom)
    p = float(2 * stdtr(freedom, -abs(mean) / error)) if error else float(mean == 0)
    return {"mean": mean, "low": low, "high": high, "p": p, "detectable": smallest_detectable(error, freedom)}


def _around(mean: float, error: float, freedom: float) -> tuple[float, float]:
    half = _quantile(freedom, 1 - ALPHA / 2) * error
    return mean - half, mean + half


def _quantile(freedom: float, share: float) -> float:
    """Of Student's t; of the normal distribution for infinite degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def _percentiles(draws: np.ndarray, mean: float) -> tuple[float, float]:
    low, high = np.percentile(draws, [100 * ALPHA / 2, 100 - 100 * ALPHA / 2])
    return min(float(low), mean), max(float(high), mean)  # a skewed bootstrap must not exclude the mean
