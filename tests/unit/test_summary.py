from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from genclspp.report.figures import duration
from genclspp.report.results import Results
from genclspp.report.summary import compare, grid, show
from tests import sweeps

Record = dict[str, Any]


def record(train: str = "zero_shot", infer: str = "zero_shot", accuracy: float = 0.8, **changes: Any) -> Record:
    return {
        "name": "dev",
        "dataset": "tickets",
        "model": "minilm",
        "train": train,
        "infer": infer,
        "decode": "ppl",
        "sft": "full",
        "rl": "none",
        "reward": "correct",
        "reasoning": "none",
        "seed": 0,
        "examples": 500,
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.03,
        "accuracy_high": accuracy + 0.02,
        "macro_f1": accuracy - 0.01,
        "invalid_rate": 0.0,
        "coverage": 1.0,
        "ece": 0.034,
        "majority": 0.17,
        "seconds": 100.0,
        "artifact/sft": "0a1b2c",
        "version/torch": "2.13",
        "commit": "abc",
    } | changes


def printed(found: Results | list[Record], width: int = 120) -> str:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        show(found if isinstance(found, Results) else bare(found), console)
    return captured.get()


def bare(records: list[Record]) -> Results:
    """Results of records without predictions."""
    return Results(records, Path("nowhere"))


def cells(found: Results | list[Record], width: int = 120) -> list[list[str]]:
    """The heading and the rows of the table, as plain text."""
    columns = grid(*compare(found if isinstance(found, Results) else bare(found)), width).columns
    return [
        [str(column.header).replace("\n", " ") for column in columns],
        *([str(cell) for cell in row] for row in zip(*(column.cells for column in columns), strict=True)),
    ]


def test_each_cell_is_compared_with_zero_shot_and_the_same_other_choices():
    records = [
        record("icl", "icl", 0.85),
        record(accuracy=0.8),
        record("icl", "icl", 0.60, decode="greedy"),
        record(accuracy=0.7, decode="greedy"),
    ]
    heading, *rows = cells(records)
    assert heading[:4] == ["strategy", "decode", "accuracy", "Δ"]
    assert [row[:4] for row in rows] == [
        ["icl", "ppl", "85.0 82.0–87.0", "+5.0"],
        ["zero_shot", "ppl", "80.0 77.0–82.0", "base"],
        ["icl", "greedy", "60.0 57.0–62.0", "-10.0"],
        ["zero_shot", "greedy", "70.0 67.0–72.0", "base"],
    ]
    assert "above zero-shot on both sides" in printed(records)


def test_without_a_baseline_the_first_cell_stands_in_and_that_is_said():
    records = [record("icl", "icl", 0.85), record("numeric", "numeric", 0.8)]
    assert [row[2] for row in cells(records)[1:]] == ["base", "-5.0"]
    assert "above the first cell" in printed(records)


def test_where_prompts_are_equal_everywhere_the_first_cell_is_the_baseline():
    records = [record(rl="matched", accuracy=0.8), record(rl="grpo", accuracy=0.9)]
    assert [row[2] for row in cells(records)[1:]] == ["base", "+10.0"]
    assert "above the first cell" in printed(records)


def test_a_stand_in_beside_real_baselines_is_marked():
    records = [record(), record("icl", "icl", 0.9), record("icl", "icl", 0.7, decode="greedy")]
    assert [row[3] for row in cells(records)[1:]] == ["base", "+10.0", "-10.0*"]
    assert "*: above the first cell of the data set" in printed(records)


def test_the_baseline_needs_no_knob_of_a_strategy_that_it_does_not_have():
    few, many = (record("icl", "icl", 0.9, **{"strategy.icl.shots": shots}) for shots in (1, 3))
    assert [row[2:4] for row in cells([record(), few, many])[1:]] == [
        ["80.0 77.0–82.0", "base"],
        ["90.0 87.0–92.0", "+10.0"],
        ["90.0 87.0–92.0", "+10.0"],
    ]
    other = record(accuracy=0.7, **{"rl.examples": 64})
    assert [row[2] for row in cells([other, few])[1:]] == ["base", "+20.0"]
    assert "above the first cell" in printed([other, few])


def test_a_stand_in_is_of_the_same_data_set():
    records = [record(), record("icl", "icl", dataset="trec"), record("numeric", "numeric", 0.7, dataset="trec")]
    records.append(record("icl", "icl", 0.9))
    assert [row[3] for row in cells(records)[1:]] == ["base", "base", "-10.0*", "+10.0"]


def test_what_is_equal_everywhere_is_named_once_below():
    text = printed([record(), record("icl", "icl", 0.9)])
    assert text.count("tickets") == text.count("minilm") == text.count("reward correct") == 1
    assert "All cells: dataset tickets · model minilm · decode ppl" in text
    assert "examples 500 · majority 17.0 · invalid 0.0" in " ".join(text.split())
    assert "version" not in text
    assert "0a1b2c" not in text


def test_sides_share_a_column_only_where_they_are_equal():
    assert cells([record(), record("icl", "icl")])[0][0] == "strategy"
    assert cells([record(), record("icl", "zero_shot"), record("icl", "icl")])[0][:2] == ["train", "infer"]
    assert cells([record(), record("zero_shot", "icl")])[0][0] == "infer"


def test_coverage_is_a_column_only_where_something_is_left_unanswered():
    assert "cover- age" not in cells([record(), record("icl", "icl")])[0]
    assert "cover- age" in cells([record(), record("icl", "icl", coverage=0.9)])[0]


def test_other_words_of_a_record_tell_cells_apart():
    heading, *rows = cells([record(knobs="shots=1"), record(knobs="shots=3")])
    assert heading[0] == "knobs"
    assert [row[0] for row in rows] == ["shots=1", "shots=3"]


def test_one_record_has_no_difference():
    assert "Δ" not in printed([record("icl", "numeric")])


def test_missing_metrics_are_a_dash():
    heading, *rows = cells([record(), record("icl", "icl", ece=None)])
    assert rows[1][heading.index("ece")] == "–"


def test_names_are_not_read_as_markup():
    assert "[bold]x[/]" in printed([record(), record("[bold]x[/]", "icl")])


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_its_terminal_and_cuts_no_name(width: int):
    records = [
        record(),
        record("icl_similar+definition+numeric", "icl_similar+definition", decode="greedy", invalid_rate=0.1),
        record("uncertainty", "uncertainty", accuracy=0.98, dataset="banking77", coverage=0.85, seconds=3900),
    ]
    text = printed(records, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    words = ["icl_similar", "+definition", "+numeric", "uncertainty", "banking77", "greedy", "98.0 95.0–100.0"]
    assert not [word for word in words if word not in text]
    assert "…" not in text


def test_no_records_are_said():
    assert printed([]) == "no records yet\n"


def test_durations():
    assert [duration(s) for s in (0.4, 59, 61, 3725)] == ["0 s", "59 s", "1m01", "1h02"]


def test_cells_that_differ_in_seed_alone_are_one_row():
    plain = [record(accuracy=value, seed=seed) for seed, value in enumerate((0.7, 0.8, 0.9))]
    shown = [record("icl", "icl", value + 0.05, seed=seed) for seed, value in enumerate((0.7, 0.8, 0.9))]
    heading, *rows = cells([*plain, *shown])
    assert "seed" not in heading
    assert [row[:3] for row in rows] == [["zero_shot", "80.0 ± 10.0", "base"], ["icl", "85.0 ± 10.0", "+5.0"]]
    assert "mean ± standard deviation over n = 3 seeds (0, 1, 2)" in printed([*plain, *shown])


def test_a_row_of_one_seed_beside_others_says_so():
    rows = cells([record(seed=0), record(seed=1), record("icl", "icl", 0.9, seed=0)])[1:]
    assert [row[1:3] for row in rows] == [["80.0 ± 0.0", "base"], ["90.0 n=1", "+10.0"]]


def test_where_no_cell_is_repeated_there_is_no_deviation():
    records = [record(seed=0), record("icl", "icl", seed=1)]
    assert [row[:2] for row in cells(records)[1:]] == [["zero_shot", "80.0 77.0–82.0"], ["icl", "80.0 77.0–82.0"]]
    assert "accuracy in % of one seed each (0, 1)" in printed(records)


def test_what_is_tested_is_marked_and_said(tmp_path: Path):
    found = [
        sweeps.add(tmp_path, right + 0.01 * seed, seed, train=name, infer=name)
        for name, right in (("zero_shot", 0.6), ("icl", 0.62), ("numeric", 0.9))
        for seed in (0, 1, 2)
    ]
    heading, *rows = cells(sweeps.results(tmp_path, *found))
    assert heading[1:4] == ["accuracy", "Δ", "95 % of Δ"]
    assert [row[2] for row in rows] == ["base", "+2.0", "+30.0†"]
    low, high = map(float, rows[2][3].split(" to "))
    assert low < 30 < high
    text = " ".join(printed(sweeps.results(tmp_path, *found)).split())
    assert "one family of 4 tests (2 gains and 2 comparisons with the best of a column)" in text
    assert "chosen by accuracy on the validation examples" in text
    assert "95 % of Δ" not in cells(sweeps.results(tmp_path, *found), width=60)[0]


def test_a_method_without_prompts_is_compared_with_zero_shot_prompts(tmp_path: Path):
    found = [
        sweeps.add(tmp_path, 0.6, seed, method="generative", train="zero_shot", infer="zero_shot")
        for seed in (0, 1)
    ]
    found.append(
        sweeps.add(tmp_path, 0.8, method="svm", is_random=False, train=None, infer=None, decode=None, rl=None)
    )
    heading, *rows = cells(sweeps.results(tmp_path, *found))
    assert heading[:2] == ["method", "accuracy"]
    assert [row[:3] for row in rows] == [["generative", "60.0 ± 0.0", "base"], ["svm", "80.0 73.9–85.0", "+20.0†"]]
