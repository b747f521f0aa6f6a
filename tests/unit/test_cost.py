"""What cells cost alone, and what each pays in a sweep that does equal work once."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genclspp.report.cost import add, costs

FEW = settings(max_examples=40, deadline=None)
ROLES = ("mine", "sft", "rl", "score", "predict")
Record = dict[str, Any]


def taken(key: str) -> float:
    """What the artifact took, whoever made it; in whole seconds, so that sums are exact."""
    return 1 + sum(map(ord, key)) % 50


@st.composite
def sweeps(draw: st.DrawFn) -> list[Record]:
    """Records of cells that share some of their stages; two roles may share an artifact too."""
    keys = st.sampled_from([f"{role}{place}" for role in ROLES for place in range(3)] + ["both"])
    cells = draw(st.lists(st.dictionaries(st.sampled_from(ROLES), keys, min_size=1), min_size=1, max_size=8))
    return [record(cell) for cell in cells]


def record(cell: dict[str, str]) -> Record:
    found: Record = {"name": "sweep", "examples": 10}
    for role, key in cell.items():
        found |= {f"artifact/{role}": key, f"seconds/{role}": taken(key), f"tokens/{role}": 10 * taken(key)}
        found[f"memory/{role}"] = 1e6 * taken(key)
    return found


def keys(records: Sequence[Record]) -> set[str]:
    return {value for each in records for name, value in each.items() if name.startswith("artifact/")}


@FEW
@given(sweeps())
def test_what_all_cells_pay_is_what_all_artifacts_took(records: list[Record]):
    found, there = costs(records), keys(records)
    assert sum(each.paid.seconds for each in found) == sum(map(taken, there))
    assert sum(each.paid.tokens for each in found) == sum(10 * taken(key) for key in there)
    assert max(each.paid.memory or 0 for each in found) == max(1e6 * taken(key) for key in there)
    whole = add(found)
    assert whole.alone.seconds == whole.paid.seconds == sum(map(taken, there))


@FEW
@given(sweeps())
def test_no_cell_pays_more_than_it_costs_alone(records: list[Record]):
    for each, one in zip(costs(records), records, strict=True):
        assert each.alone.seconds == sum(map(taken, keys([one])))
        assert each.alone.seconds >= each.paid.seconds >= 0
        assert set(each.paid.stages) <= set(each.alone.stages)
    assert costs(records)[0].paid == costs(records)[0].alone


@FEW
@given(sweeps(), st.randoms())
def test_the_order_of_cells_changes_nothing_but_who_pays(records: list[Record], random: Any):
    places = list(range(len(records)))
    random.shuffle(places)
    before, after = costs(records), costs([records[place] for place in places])
    for place, each in zip(places, after, strict=True):
        assert each.alone == before[place].alone
    assert add(before).paid.seconds == add(after).paid.seconds


@FEW
@given(sweeps())
def test_a_cell_that_runs_again_pays_nothing(records: list[Record]):
    again = costs(records + records)
    assert again[: len(records)] == costs(records)
    assert not any(chain.from_iterable(each.paid.stages for each in again[len(records) :]))


@FEW
@given(sweeps())
def test_another_sweep_pays_for_itself(records: list[Record]):
    other = [{**each, "name": "other"} for each in records]
    assert costs(records + other) == costs(records) + costs(records)


def test_folds_that_cells_share_are_paid_once_each():
    def folds(*found: str) -> Record:
        entries = {f"{of}/mine_sft/{k}": key for k, key in enumerate(found, 1) for of in ("artifact",)}
        seconds = {f"seconds/mine_sft/{k}": taken(key) for k, key in enumerate(found, 1)}
        total = {"artifact/mine_sft": found[0], "seconds/mine_sft": sum(map(taken, found))}
        return {"name": "sweep", **total, **entries, **seconds}

    first, second = costs([folds("a", "b"), folds("a", "c")])
    assert first.paid.seconds == taken("a") + taken("b")
    assert (second.paid.seconds, second.alone.seconds) == (taken("c"), taken("a") + taken("c"))


def test_inference_is_told_per_1000_test_examples():
    cell = {"score": "s", "predict": "p", "sft": "t"}
    alone, shared = costs([record(cell), record({**cell, "predict": "q"})])
    assert alone.alone.seconds_per_1000 == pytest.approx(100 * (taken("s") + taken("p")))
    assert shared.paid.seconds_per_1000 == pytest.approx(100 * taken("q"))
    assert costs([record({"sft": "t"})])[0].alone.seconds_per_1000 is None
    both = add([alone, shared])
    assert both.alone.seconds_per_1000 == pytest.approx(50 * (taken("s") + taken("p") + taken("q")))


def test_records_without_keys_cost_nothing_that_is_known():
    (found,) = costs([{"name": "old", "accuracy": 0.5}])
    assert (found.alone.seconds, found.alone.tokens, found.alone.memory) == (0, 0, None)
