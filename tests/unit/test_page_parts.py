"""What the page packs, and what it says: properties of its parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from genclspp.inference.predictions import Predictions
from genclspp.report.page import content, examples, gains, headline
from genclspp.report.page.blocks import pack, pack_json, unpack
from genclspp.report.page.content import Outstanding
from genclspp.report.results import Results


def result(accuracy: float, validation: float | None = None, seed: int = 0, **choices: Any) -> dict[str, Any]:
    record = {"name": "dev", "dataset": "d", "train": "zero_shot", "infer": "zero_shot", **choices, "seed": seed}
    record |= {"accuracy": accuracy, "examples": 100, "digest/test": "x"}
    return record if validation is None else {**record, "validation/accuracy": validation}


def of(*records: dict[str, Any]) -> Results:
    return Results(records, Path("nowhere"))


@given(st.binary())
def test_blocks_unpack_to_what_was_packed(data: bytes) -> None:
    assert unpack(pack(data)) == data


def test_blocks_are_safe_inside_a_script_element() -> None:
    assert "<" not in pack_json(["</script>", "<!--", "\x00"])


@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=8))
def test_changes_between_prompts_give_the_prompts_back(rows: list[list[int]]) -> None:
    found, before = [], list[int]()
    for start, end, *middle in examples.changes(rows):
        before = [*before[:start], *middle, *before[len(before) - end :]]
        found.append(before)
    assert found == rows


@given(arrays.arrays(np.float32, (4, 7), elements=st.floats(0, 1, width=32)))
def test_the_likeliest_labels_are_kept_to_half_a_percent(probabilities: np.ndarray) -> None:
    gold = np.array([0, 6, 3, 2])
    nothing: Any = np.zeros((4, 0), dtype=np.float32)
    ids = tuple("abcd")
    found = examples.top(
        Predictions(tuple("ABCDEFG"), ids, gold, gold, gold, probabilities, nothing, ids, np.zeros(4, dtype=bool))
    )
    places = np.frombuffer(found[:40], "<i2").reshape(4, examples.TOP)
    shares = np.frombuffer(found[40:60], "u1").reshape(4, examples.TOP) / 255
    expected = np.sort(probabilities, axis=1)[:, ::-1][:, : examples.TOP]
    assert np.allclose(np.take_along_axis(probabilities, places.astype(int), axis=1), expected)
    assert np.abs(shares - expected).max() <= 0.002
    assert np.abs(np.frombuffer(found[60:], "u1") / 255 - probabilities[range(4), gold]).max() <= 0.002


def test_the_headline_is_chosen_on_validation_examples() -> None:
    results = of(result(0.9, 0.7, rl="none"), result(0.8, 0.75, rl="grpo"))
    (best,) = headline.headlines(results, ["rl"], [])
    assert (best.title, best.accuracy) == ("rl=grpo", 0.8)
    assert best.how().startswith("Chosen on validation examples (75.0 %) as the best of 2 cells")


def test_without_validation_the_headline_says_that_its_figure_is_too_good() -> None:
    results = of(result(0.9, rl="none"), result(0.8, rl="grpo"))
    (best,) = headline.headlines(results, ["rl"], [])
    assert best.title == "rl=none"
    assert "too good" in best.how()


def names(baselines: Sequence[gains.Baseline]) -> list[str]:
    return [one.name for one in baselines]


def test_the_first_baseline_is_zero_shot_and_then_comes_what_is_off() -> None:
    cells = [
        result(0.5, train=train, infer=infer, rl=rl)
        for rl in ("grpo", "none")
        for train in ("icl", "zero_shot")
        for infer in ("icl", "zero_shot")
    ]
    results = of(*cells)
    found = names(gains.baselines(results, [str(place) for place in range(8)], [""] * 8, range(8)))
    assert found[0] == "strategy=zero_shot"
    assert set(found[1:4]) == {"rl=none", "train=zero_shot", "infer=zero_shot"}
    assert found[-8:] == [str(place) for place in range(8)]


def test_names_of_cells_stay_when_others_are_added() -> None:
    few, more = of(result(0.5, rl="none")), of(result(0.5, rl="none"), result(0.6, rl="grpo"))
    assert content.name_of(few.series[0]) == content.name_of(more.series[0])


def test_the_name_of_a_sweep_is_left_out_where_others_tell_cells_apart() -> None:
    apart = of(result(0.5, name="one", rl="none"), result(0.5, name="two", rl="grpo"))
    equal = of(result(0.5, name="one", rl="none"), result(0.5, name="two", rl="none"))
    assert content.words(apart) == ["rl"]
    assert content.words(equal) == ["name"]


def test_cells_without_a_result_are_grouped_failed_ones_first() -> None:
    outstanding = [
        Outstanding("s", "a", "pending"),
        Outstanding("s", "b", "failed", "no memory"),
        Outstanding("s", "c", "failed", "no memory"),
    ]
    assert content.counted(outstanding) == "3 cells have no result: 2 failed, 1 pending"
    assert [(one.state, len(group)) for one, group in content.grouped(outstanding)] == [
        ("failed", 2),
        ("pending", 1),
    ]
