"""Ratios on subsets of the test examples, with intervals that cross seeds and examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp.report.resampling import Scores, means, weights
from genclspp.report.statistics import level, wilson
from genclspp.report.subsets import Ratios, f1, members, quantiles, share

LABELS = 4


def answers(seed: int, seeds: int = 3, examples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Gold labels and answers, (seeds, examples); seeds share what is hard, and one in twenty answers is none."""
    random = np.random.default_rng(seed)
    gold = np.tile(random.integers(0, LABELS, examples), (seeds, 1))
    hard = random.random(examples) < 0.2
    wrong = random.integers(0, LABELS, (seeds, examples))
    found = np.where(hard | (random.random((seeds, examples)) < 0.1), wrong, gold)
    return gold, np.where(random.random((seeds, examples)) < 0.05, -1, found)


def by_draws(part: np.ndarray, whole: np.ndarray, size: int) -> tuple[float, float, float]:
    """The same interval from the resamples that whole cells are compared on. part, whole: (seeds, examples)"""
    drawn = (part @ weights(part.shape[1]).T) / (whole @ weights(part.shape[1]).T)
    found = level(Scores(part.sum(axis=1) / whole.sum(axis=1), drawn, None, size, is_bounded=True))
    return found.mean, found.low, found.high


def ends(found: Ratios, place: int) -> tuple[float, float, float]:
    return float(found.mean[place]), float(found.low[place]), float(found.high[place])


@pytest.mark.parametrize("seed", range(5))
def test_intervals_are_those_of_resampling(seed: int):
    gold, said = answers(seed)
    golds, answered = members(gold, LABELS), members(said, LABELS)
    scores = {
        "recall": share(said == gold, golds),
        "precision": share(said == gold, answered),
        "f1": f1(golds, answered),
    }
    for label in range(LABELS):
        hit, one, other = (x[label].astype(float) for x in (golds & answered, golds, answered))
        wholes = {"recall": (hit, one), "precision": (hit, other), "f1": (2 * hit, one + other)}
        for name, (part, whole) in wholes.items():
            size = round(float((other if name == "precision" else one).sum(axis=1).mean()))
            wanted = by_draws(part, whole, size)
            assert ends(scores[name], label) == pytest.approx(wanted, abs=0.012), name


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_whole_test_set_has_the_interval_of_its_accuracy(seeds: int):
    gold, said = answers(1, seeds)
    found = share(said == gold, np.ones((1, *gold.shape), dtype=bool))
    wanted = level(means((said == gold).astype(float)))
    assert ends(found, 0) == pytest.approx((wanted.mean, wanted.low, wanted.high), abs=0.002)


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 30))
def test_every_interval_holds_its_mean_and_lies_between_0_and_1(seed: int, seeds: int, examples: int):
    gold, said = answers(seed, seeds, examples)
    golds, answered = members(gold, LABELS), members(said, LABELS)
    for found in (share(said == gold, golds), share(said == gold, answered), f1(golds, answered)):
        there = found.count > 0
        assert (np.isnan(found.mean) == ~there).all()
        low, mean, high = found.low[there], found.mean[there], found.high[there]
        assert ((low >= 0) & (low <= mean) & (mean <= high) & (high <= 1)).all()
        assert (high - low > 0).all()  # no number of examples makes certain


@given(st.integers(0, 10**6), st.integers(1, 3))
def test_subsets_add_up_to_the_whole(seed: int, seeds: int):
    gold, said = answers(seed, seeds, 50)
    found = share(said == gold, members(gold, LABELS))
    assert found.count.sum() == 50
    assert np.nansum(found.mean * found.count) / 50 == pytest.approx((said == gold).mean())


def test_what_all_seeds_have_right_is_no_certainty():
    gold = np.zeros((3, 40), dtype=int)
    found = share(gold == 0, members(gold, 1))
    assert ends(found, 0) == pytest.approx((1.0, *wilson(40, 40)))


def test_a_class_that_is_never_answered_has_no_precision_but_an_f1_of_0():
    gold, said = np.tile([0, 0, 1, 1, 1, 1, 1, 1], (2, 1)), np.zeros((2, 8), dtype=int)
    golds, answered = members(gold, 3), members(said, 3)
    assert np.isnan(share(said == gold, answered).mean[1])
    assert (f1(golds, answered).mean[1], f1(golds, answered).count[1]) == (0, 6)
    assert np.isnan(f1(golds, answered).mean[2])


@given(st.lists(st.integers(0, 5), min_size=4, max_size=60))
def test_quantiles_are_equally_large_and_in_order(values: list[int]):
    parts = quantiles(np.array(values), 4)
    sizes = np.bincount(parts, minlength=4)
    assert sizes.max() - sizes.min() <= 1
    for part in range(3):
        assert np.array(values)[parts == part].max() <= np.array(values)[parts == part + 1].min()
