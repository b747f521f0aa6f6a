"""Series: records that differ in seed alone."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from genclspp.report.series import find_duplicates, gather, values

Record = dict[str, Any]
ACCURACIES = {"none": (0.5, 0.6, 0.64), "grpo": (0.55, 0.63, 0.7)}


def record(rl: str, seed: int, accuracy: float, **changes: Any) -> Record:
    same = {"name": "dev", "dataset": "tickets", "train": "icl", "infer": "icl"}
    return same | {"rl": rl, "seed": seed, "accuracy": accuracy} | changes


def sweep() -> list[Record]:
    return [record(rl, seed, value) for rl, found in ACCURACIES.items() for seed, value in enumerate(found)]


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
    assert {one.words["rl"]: one for one in gather(found)} == {one.words["rl"]: one for one in gather(sweep())}


def test_a_missing_value_is_no_value():
    (one,) = gather([record("grpo", 3, 0.5, ece=0.1), record("grpo", 4, 0.5, ece=None)])
    assert values(one, "ece") == {3: 0.1}


KEYS = st.sampled_from(["x", "y", None])
SEEDS = st.lists(st.tuples(st.integers(0, 5), KEYS), min_size=1, max_size=8)


def found(seeds: list[tuple[int, str | None]], is_random: bool) -> list[Record]:
    return [
        record("none", seed, 0.5, is_random=is_random) | ({"artifact/predict": key} if key else {})
        for seed, key in seeds
    ]


@given(SEEDS)
def test_of_what_is_not_random_a_series_keeps_one_record_of_each_predictions(seeds: list[tuple[int, str | None]]):
    (one,) = gather(found(seeds, is_random=False))
    first = {key: min(seed for seed, other in seeds if other == key) for _, key in seeds}
    assert {each.get("artifact/predict"): each["seed"] for each in one.records} == first
    assert len(one.records) == len(first)
    assert [each["seed"] for each in one.records] == sorted(first.values())


@given(SEEDS)
def test_of_what_is_random_a_series_keeps_every_record(seeds: list[tuple[int, str | None]]):
    (one,) = gather(found(seeds, is_random=True))
    assert sorted(each["seed"] for each in one.records) == sorted(seed for seed, _ in seeds)


@given(SEEDS)
def test_repeating_what_is_not_random_with_later_seeds_changes_nothing(seeds: list[tuple[int, str | None]]):
    later = [(seed + 6, key) for seed, key in seeds]
    once, again = (gather(found(each, is_random=False)) for each in (seeds, seeds + later))
    assert once == again


def test_records_that_agree_in_words_but_not_in_settings_are_no_seeds_of_one_cell():
    mixed = [record("none", seed, 0.5, settings="new" if seed else "old") for seed in range(3)]
    assert [len(one.records) for one in gather(mixed)] == [1, 2]
    assert {one.words["settings"] for one in gather(mixed)} == {"old", "new"}
    apart = [record(rl, seed, 0.5, settings=rl) for rl in ("none", "grpo") for seed in range(2)]
    assert [len(one.records) for one in gather(apart)] == [2, 2]
    assert all("settings" not in one.words for one in gather(apart))  # the words say it
    older = record("none", 5, 0.5)
    assert [len(one.records) for one in gather([*apart, older])] == [3, 2]
