"""Paired differences between a series and its baseline, seed by seed and example by example."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from genclspp.inference import predict
from genclspp.inference.metrics import Prediction
from genclspp.report.records import STRATEGY, Record, is_knob_of
from genclspp.report.series import Series, spread
from genclspp.task import UNCERTAIN

RESAMPLES = 10_000

# Metrics that are a share of the test examples -> whether an example counts.
COUNTS: dict[str, Callable[[Prediction], bool]] = {
    "accuracy": lambda p: p.label == p.gold,
    "accuracy_forced": lambda p: p.forced == p.gold,
    "invalid_rate": lambda p: p.label is None,
    "coverage": lambda p: p.label is not None and p.label != UNCERTAIN,
}

ExampleScores = Mapping[str, float]  # example id -> 1 if it counts, else 0


@dataclass(frozen=True)
class Difference:
    """How far a series is above its baseline, over the seeds that both have.

    mean, sd:  of the differences per seed; sd is None for one seed
    low, high: 95 % interval of the mean, see `bootstrap_interval`; None if predictions are missing
    relative:  the mean as a share of the baseline's mean; None if that is 0
    seeds:     number of pairs
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    relative: float | None
    seeds: int


def baseline_of(series: Series, wanted: Mapping[str, Any], among: Sequence[Series]) -> Series | None:
    """The series with the choices `wanted` that equals this one in all other words, if there is one.

    Knobs of the groups that differ need not be equal: zero-shot prompts have no number of shots.
    """
    sides = [STRATEGY, "train", "infer"] if wanted.keys() & {"train", "infer"} else []
    free = {name for each in among for name in each.words if is_knob_of(name, [*wanted, *sides])} - wanted.keys()
    words = {name: value for name, value in {**series.words, **wanted}.items() if name not in free}
    return next((other for other in among if words.items() <= other.words.items()), None)


def compare(
    series: Series, baseline: Series, metric: str, scores: Callable[[Record], ExampleScores | None]
) -> Difference | None:
    """The paired difference of a metric; None if no seed has both values, on the same test examples.

    scores: see `reader`
    """
    pairs_of = _pair(series, baseline, metric)
    seeds = sorted(pairs_of)
    if not seeds:
        return None
    gaps = [float(ours[metric] - theirs[metric]) for ours, theirs in pairs_of.values()]
    level = fmean(theirs[metric] for _, theirs in pairs_of.values())
    pairs = [example_gaps(scores(ours), scores(theirs)) for ours, theirs in pairs_of.values()]
    known = [pair for pair in pairs if pair]
    # An interval over some of the seeds would belong to another mean than the one shown.
    low, high = bootstrap_interval(known) if len(known) == len(seeds) else (None, None)
    relative = fmean(gaps) / level if level else None
    return Difference(fmean(gaps), spread(gaps), low, high, relative, len(seeds))


def _pair(series: Series, baseline: Series, metric: str) -> dict[int, tuple[Record, Record]]:
    """Seed -> the records of both sides that have the metric, on the same test examples.

    A record in which nothing depends on the seed stands for all seeds. Older records do not say whether it does,
    nor on which examples they were measured.
    """
    here, there = ({record["seed"]: record for record in each.records} for each in (series, baseline))
    found = {}
    for seed in sorted(here.keys() | there.keys()):
        ours, theirs = (of.get(seed) or _constant(of) for of in (here, there))
        if ours and theirs and None not in (ours.get(metric), theirs.get(metric)) and _are_alike(ours, theirs):
            found[seed] = (ours, theirs)
    return found


def _constant(of: Mapping[int, Record]) -> Record | None:
    """The only record of a series in which nothing depends on the seed."""
    (first, *more) = of.values()
    return None if more or first.get("is_random", True) else first


def _are_alike(ours: Record, theirs: Record) -> bool:
    """Whether two records were measured on the same test examples, as far as they say."""
    digests = {ours.get("digest/test"), theirs.get("digest/test")} - {None}
    return len(digests) < 2


def example_gaps(ours: ExampleScores | None, theirs: ExampleScores | None) -> dict[str, float] | None:
    """Example id -> difference; None if either is missing, or if they are of different examples."""
    if ours is None or theirs is None or ours.keys() != theirs.keys():
        return None
    return {id: ours[id] - theirs[id] for id in ours}


def bootstrap_interval(pairs: Sequence[Mapping[str, float]], seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean difference, by a paired bootstrap over test examples.

    pairs: for each seed, example id -> difference

    An example is resampled with its differences in all seeds: policies of different seeds tend to err on the same
    examples, so resampling them independently would pretend that there are more examples. Seeds are not resampled:
    the interval covers other test examples, not other seeds.
    """
    # What each example contributes to the mean, summed over seeds; the contributions add up to the mean.
    parts: dict[str, float] = defaultdict(float)
    for pair in pairs:
        for id, gap in pair.items():
            parts[id] += gap / len(pair) / len(pairs)
    # Contributions take few distinct values, so resampling examples amounts to drawing the counts of these values
    # from a multinomial distribution: (resamples, values) instead of (resamples, examples).
    found, counts = np.unique(np.array(list(parts.values())).round(12), return_counts=True)
    draws = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=RESAMPLES)
    low, high = np.percentile(draws @ found, [2.5, 97.5])
    mean = sum(parts.values())
    return min(float(low), mean), max(float(high), mean)  # rounding must not exclude the mean


def reader(artifacts: Path, metric: str) -> Callable[[Record], ExampleScores | None]:
    """A function that reads the scores of a record's test examples from its predictions in `artifacts`.

    It returns None if the predictions are not there, or if the metric is not a share of the examples.
    """
    counts = COUNTS.get(metric)

    @cache
    def of(key: str) -> ExampleScores | None:
        folder = artifacts / "predict" / key
        if counts is None:
            return None
        try:
            found = predict.read(folder)
        except FileNotFoundError:
            return None
        return {each.id: float(counts(each)) for each in found}

    return lambda record: of(record["artifact/predict"]) if "artifact/predict" in record else None
