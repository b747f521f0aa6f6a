"""Differences against a baseline of the same seed, and their interval over test examples."""

import random
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest

from genclspp.report.paired import baseline_of, bootstrap_interval, compare
from genclspp.report.series import Series, find_duplicates, gather, values

Record = dict[str, Any]
ACCURACIES = {"none": (0.5, 0.6, 0.64), "grpo": (0.55, 0.63, 0.7)}


def record(rl: str, seed: int, accuracy: float, **changes: Any) -> Record:
    same = {"name": "dev", "dataset": "tickets", "train": "icl", "infer": "icl"}
    return same | {"rl": rl, "seed": seed, "accuracy": accuracy} | changes


def sweep() -> list[Record]:
    return [record(rl, seed, value) for rl, found in ACCURACIES.items() for seed, value in enumerate(found)]


def series(records: list[Record], rl: str) -> Series:
    return next(one for one in gather(records) if one.words["rl"] == rl)


def scores_by_seed(record: Record) -> dict[str, float]:
    """Scores of 200 examples whose mean is the record's accuracy."""
    right = round(200 * record["accuracy"])
    places = random.Random(record["rl"] + str(record["seed"])).sample(range(200), right)
    return {str(place): float(place in places) for place in range(200)}


def test_series_hold_the_records_that_differ_in_seed_alone():
    found = gather([*sweep(), record("none", 0, 0.1, dataset="trec")])
    assert [(one.words["dataset"], one.words["rl"], len(one.records)) for one in found] == [
        ("tickets", "none", 3),
        ("tickets", "grpo", 3),
        ("trec", "none", 1),
    ]
    assert not find_duplicates(found)
    assert len(find_duplicates(gather([*sweep(), record("none", 2, 0.9)]))) == 1


def test_a_series_does_not_depend_on_the_order_of_records():
    found = sweep()
    random.Random(0).shuffle(found)
    for rl in ACCURACIES:
        assert series(found, rl) == series(sweep(), rl)


def test_a_series_differs_from_itself_by_nothing():
    one = series(sweep(), "grpo")
    told = compare(one, one, "accuracy", scores_by_seed)
    assert told is not None
    assert (told.mean, told.sd, told.low, told.high, told.relative, told.seeds) == (0, 0, 0, 0, 0, 3)


def test_on_whole_grids_the_mean_of_differences_is_the_difference_of_means():
    ours, theirs = series(sweep(), "grpo"), series(sweep(), "none")
    told = compare(ours, theirs, "accuracy", lambda _: None)
    assert told is not None
    assert told.mean == pytest.approx(fmean(ACCURACIES["grpo"]) - fmean(ACCURACIES["none"]))
    assert told.sd == pytest.approx(stdev([0.05, 0.03, 0.06]))
    assert told.relative == pytest.approx(told.mean / fmean(ACCURACIES["none"]))
    assert (told.low, told.high) == (None, None)


def test_exchanging_the_sides_exchanges_the_sign():
    ours, theirs = series(sweep(), "grpo"), series(sweep(), "none")
    there, back = (compare(*pair, "accuracy", scores_by_seed) for pair in ((ours, theirs), (theirs, ours)))
    assert there is not None
    assert back is not None
    assert there.mean == -back.mean
    assert there.low == pytest.approx(-back.high, abs=0.005)
    assert there.high == pytest.approx(-back.low, abs=0.005)


def test_only_seeds_that_both_have_are_compared():
    records = [one for one in sweep() if (one["rl"], one["seed"]) != ("none", 1)]
    told = compare(series(records, "grpo"), series(records, "none"), "accuracy", scores_by_seed)
    assert told is not None
    assert told.seeds == 2
    assert told.mean == pytest.approx((0.05 + 0.06) / 2)
    alone = [record("grpo", 0, 0.5), record("none", 1, 0.5)]
    assert compare(series(alone, "grpo"), series(alone, "none"), "accuracy", scores_by_seed) is None


def test_one_seed_has_an_interval_and_no_deviation():
    records = [one for one in sweep() if one["seed"] == 0]
    told = compare(series(records, "grpo"), series(records, "none"), "accuracy", scores_by_seed)
    assert told is not None
    assert told.sd is None
    assert told.low is not None


def test_a_missing_value_is_no_value():
    records = [*sweep(), record("grpo", 3, 0.5, ece=0.1), record("grpo", 4, 0.5, ece=None)]
    assert values(series(records, "grpo"), "ece") == {3: 0.1}


def test_predictions_of_one_seed_missing_leave_no_interval():
    def some(record: Record) -> dict[str, float] | None:
        return None if record["seed"] == 1 else scores_by_seed(record)

    told = compare(series(sweep(), "grpo"), series(sweep(), "none"), "accuracy", some)
    assert told is not None
    assert told.low is None


def test_the_baseline_is_equal_in_all_but_the_wanted_choices():
    found = gather([*sweep(), record("none", 0, 0.1, dataset="trec"), record("grpo", 0, 0.2, dataset="trec")])
    ours = [one for one in found if one.words["rl"] == "grpo"]
    baselines = [baseline_of(one, {"rl": "none"}, found) for one in ours]
    assert [one.words["dataset"] for one in baselines if one] == ["tickets", "trec"]
    assert baseline_of(ours[0], {"rl": "none", "dataset": "sst5"}, found) is None


def gaps(generator: np.random.Generator, count: int, seeds: int = 1) -> list[dict[str, float]]:
    drawn = generator.choice([-1.0, 0.0, 0.0, 1.0], size=(seeds, count))
    return [{str(place): gap for place, gap in enumerate(row)} for row in drawn]


@pytest.mark.parametrize("count", [1, 7, 300])
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_holds_the_mean_and_is_the_same_every_time(count: int, seeds: int):
    pairs = gaps(np.random.default_rng(count), count, seeds)
    low, high = bootstrap_interval(pairs)
    mean = fmean(fmean(pair.values()) for pair in pairs)
    assert low <= mean + 1e-12
    assert mean - 1e-12 <= high
    assert bootstrap_interval(pairs) == (low, high)


def test_the_interval_is_the_one_of_examples_drawn_one_by_one():
    pairs = gaps(np.random.default_rng(0), 400, seeds=2)
    table = np.array([list(pair.values()) for pair in pairs])
    draws = np.random.default_rng(1).integers(400, size=(4000, 400))
    plain = np.percentile(table.mean(axis=0)[draws].mean(axis=1), [2.5, 97.5])
    assert bootstrap_interval(pairs) == pytest.approx(plain.tolist(), abs=0.01)


def test_seeds_that_err_alike_do_not_narrow_the_interval():
    (pair,) = gaps(np.random.default_rng(0), 400)
    assert bootstrap_interval([pair] * 5) == pytest.approx(bootstrap_interval([pair]), abs=1e-9)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval(gaps(generator, 150))
        hits += low <= 0 <= high
    assert 180 <= hits <= 198


def test_only_records_of_the_same_test_examples_are_paired():
    ours, theirs = (
        gather([record(rl, seed, 0.5, **{"digest/test": digest}) for seed in (0, 1)])
        for rl, digest in (("grpo", "a"), ("none", "b"))
    )
    assert compare(*ours, *theirs, "accuracy", lambda _: None) is None
    (old,) = gather([record("none", seed, 0.4) for seed in (0, 1)])  # older records do not say
    gap = compare(*ours, old, "accuracy", lambda _: None)
    assert gap is not None
    assert gap.seeds == 2


def test_a_record_in_which_nothing_is_random_stands_for_every_seed():
    (trained,) = gather([record("grpo", seed, 0.5 + 0.1 * seed, is_random=True) for seed in (0, 1, 2)])
    (fixed,) = gather([record("none", 0, 0.4, is_random=False)])
    gap = compare(trained, fixed, "accuracy", lambda _: None)
    assert gap is not None
    assert gap.seeds == 3
    assert gap.mean == pytest.approx(0.2)
    (other,) = gather([record("none", 0, 0.4, is_random=True)])
    gap = compare(trained, other, "accuracy", lambda _: None)
    assert gap is not None
    assert gap.seeds == 1


def test_a_baseline_needs_no_knob_of_the_group_that_differs():
    found = gather([record("none", 0, 0.4), record("grpo", 0, 0.5, **{"rl.examples": 64})])
    assert baseline_of(found[1], {"rl": "none"}, found) is found[0]
