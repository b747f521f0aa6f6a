"""Tables from records alone: which series stands where, and what is said about it."""

import csv
import io
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from genclspp.report import layout, sheets
from genclspp.report.grid import Grid, build, count_missing

Record = dict[str, Any]
ROOT = Path(__file__).parents[2]


def record(rl: str = "none", seed: int = 0, accuracy: float = 0.5, **changes: Any) -> Record:
    same = {"name": "pilot", "dataset": "trec", "train": "icl", "infer": "icl", "decode": "ppl"}
    return same | {"rl": rl, "seed": seed, "accuracy": accuracy, "ece": 0.0314} | changes


def pilot() -> list[Record]:
    """Two sweeps of two learners and two seeds; the gain is 5 points, an eighth of the baseline."""
    levels = {"grpo": 0.44, "none": 0.39}
    return [
        record(rl, seed, level + 0.02 * seed, name=name, **{"dataset.subset": name})
        for name in ("pilot10", "pilot2")
        for rl, level in levels.items()
        for seed in (0, 1)
    ]


def made(records: list[Record], **wanted: Any) -> Grid:
    return build(records, lambda _: None, **wanted)


def printed(sheet: sheets.Sheet, width: int = 120) -> str:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        sheets.show(sheet, console)
    return captured.get()


def test_rows_and_columns_are_the_words_asked_for():
    sheet = layout.readable(made(pilot(), rows=["name"], columns=["rl"], baseline=["rl=none"]))
    assert sheet.heading == ["name", "rl=none", "rl=grpo"]  # the baseline first
    base, told = "40.0 ± 1.4\nbaseline", "45.0 ± 1.4\nΔ +5.0 ± 0.0\n+12.5 %"
    assert sheet.rows == [["pilot2", base, told], ["pilot10", base, told]]


def test_without_words_rows_are_what_differs():
    sheet = layout.readable(made(pilot(), baseline=["rl=none"]))
    assert sheet.heading == ["name", "rl", "accuracy", "n", "Δ", "95 % of Δ", "Δ in %"]
    assert sheet.rows[:2] == [
        ["pilot2", "none", "40.0 ± 1.4", "2", "baseline", "", ""],
        ["pilot2", "grpo", "45.0 ± 1.4", "2", "+5.0 ± 0.0", "", "+12.5 %"],
    ]
    assert layout.readable(made(pilot(), columns=["rl"])).heading == ["name", "rl=grpo", "rl=none"]


def test_knobs_are_a_row_word_where_nothing_else_tells_cells_apart():
    records = [record(**{"strategy.icl.shots": shots}) for shots in (1, 3)]
    sheet = layout.readable(made(records))
    assert sheet.heading[0] == "strategy.icl.shots"
    assert [row[0] for row in sheet.rows] == ["1", "3"]


def test_knobs_can_be_rows_columns_and_baselines():
    records = [
        record(rl, accuracy=level + 0.01 * shots, **{"strategy.icl.shots": shots})
        for rl, level in (("none", 0.4), ("grpo", 0.5))
        for shots in (1, 3)
    ]
    grid = made(records, rows=["rl"], columns=["strategy.icl.shots"], baseline=["strategy.icl.shots=1"])
    sheet = layout.readable(grid)
    assert sheet.heading == ["rl", "strategy.icl.shots=1", "strategy.icl.shots=3"]
    assert all("Δ +2.0" in row[2] for row in sheet.rows)
    with pytest.raises(ValueError, match=r"no record has strategy\.icl\.shots=2"):
        made(records, baseline=["strategy.icl.shots=2"])


def test_equal_sides_are_one_word():
    records = [record(train=name, infer=name) for name in ("icl", "numeric")]
    assert layout.readable(made(records)).heading[0] == "strategy"
    grid = made(records, rows=["strategy"], baseline=["strategy=numeric"])
    assert [entry.is_baseline for entry in grid.entries.values()] == [False, True]
    assert grid.rows == [("numeric",), ("icl",)]


def test_the_order_of_records_does_not_matter():
    shuffled = pilot()
    random.Random(1).shuffle(shuffled)
    for words in ({}, {"columns": ["rl"]}, {"rows": ["rl"], "columns": ["name"], "baseline": ["rl=grpo"]}):
        assert layout.readable(made(shuffled, **words)) == layout.readable(made(pilot(), **words))
        assert layout.numbers(made(shuffled, **words)) == layout.numbers(made(pilot(), **words))


def test_missing_cells_are_a_dash_and_counted():
    records = [one for one in pilot() if (one["name"], one["rl"]) != ("pilot2", "none")][:-1]
    grid = made(records, rows=["name"], columns=["rl"], baseline=["rl=none"])
    assert count_missing(grid) == (3, 8)
    sheet = layout.readable(grid)
    assert sheet.rows[0] == ["pilot2", "–", "44.0 n=1\nΔ –"]
    assert "missing: 3 of 8 cells (rows × columns × seeds) have no accuracy" in sheet.notes
    assert "missing: 1 of 2 series have no baseline with the same seed" in sheet.notes


def test_missing_predictions_are_said():
    notes = layout.readable(made(pilot(), baseline=["rl=none"])).notes
    assert any("2 of 2 differences have no interval" in note for note in notes)


def test_intervals_come_from_the_scores_of_the_examples():
    def scores(record: Record) -> dict[str, float]:
        return {str(place): float(place < 100 * record["accuracy"]) for place in range(100)}

    sheet = layout.readable(build(pilot(), scores, baseline=["rl=none"]))
    low, high = map(float, sheet.rows[1][5].split(" to "))
    assert 0 <= low < 5 < high
    assert not any(note.startswith("missing") for note in sheet.notes)


def test_one_seed_has_no_deviation_and_that_is_said():
    sheet = layout.readable(made([one for one in pilot() if one["seed"] == 0], columns=["rl"]))
    assert sheet.rows[0] == ["pilot2", "44.0", "39.0"]
    assert any("n=1" in note for note in sheet.notes)


def test_metrics_that_are_no_shares_stay_as_they_are():
    sheet = layout.readable(made(pilot(), metric="ece", baseline=["rl=none"]))
    assert sheet.rows[1][2:5] == ["0.031 ± 0.000", "2", "+0.000 ± 0.000"]
    assert any(note.startswith("no interval: ece") for note in sheet.notes)


def test_a_value_that_is_none_counts_as_missing():
    records = [record(seed=0), record(seed=1, ece=None)]
    assert count_missing(made(records, metric="ece")) == (1, 2)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"rows": ["datset"]}, r"unknown word 'datset' in --rows; did you mean 'dataset'"),
        ({"columns": ["r"]}, r"unknown word 'r' in --columns; did you mean 'rl'"),
        ({"rows": ["seed"]}, r"--rows seed: values are averaged over seeds"),
        ({"baseline": ["rll=none"]}, r"unknown word 'rll' in --baseline; did you mean 'rl'"),
        ({"baseline": ["rl"]}, r"--baseline rl: expected word=choice"),
        ({"baseline": ["rl=gppo"]}, r"no record has rl=gppo; did you mean 'grpo'"),
        ({"metric": "acuracy"}, r"unknown metric 'acuracy'; did you mean 'accuracy'"),
        ({"metric": "seed"}, r"unknown metric 'seed'"),
        ({"rows": ["name"]}, r"--rows and --columns do not separate cells that differ in rl; add rl"),
    ],
)
def test_what_cannot_be_is_one_sentence(words: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        made(pilot(), **words)


def test_two_records_of_the_same_choices_and_seed_are_refused():
    with pytest.raises(ValueError, match=r"two records with the same choices and seed 0 .*delete the older"):
        made([*pilot(), pilot()[0]])


def test_markdown_has_no_markup_but_its_own():
    odd = [record("a|b_c*<d>", accuracy=0.5), record("`[x](y)`\\", accuracy=0.6)]
    text = sheets.markdown(layout.readable(made(odd, columns=["rl"], baseline=["rl=a|b_c*<d>"])))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table} == {4}
    assert r"a\|b\_c\*\<d\>" in table[0]
    assert r"\`\[x\](y)\`\\" in table[0]
    assert "<br>" in table[2]


def test_csv_holds_every_place_with_plain_numbers():
    grid = made([*pilot(), record("x,y", name="pilot2")], rows=["name"], columns=["rl"], baseline=["rl=none"])
    rows = list(csv.DictReader(io.StringIO(sheets.comma_separated(layout.numbers(grid)))))
    assert len(rows) == 6
    told = {(row["name"], row["rl"]): row for row in rows}
    assert float(told["pilot2", "grpo"]["difference"]) == pytest.approx(5)
    assert float(told["pilot2", "grpo"]["difference_relative"]) == pytest.approx(12.5)
    assert told["pilot10", "x,y"]["n"] == "0"
    assert told["pilot2", "none"]["is_baseline"] == "1"


def test_a_narrow_terminal_cuts_no_number_and_names_are_no_markup():
    sheet = layout.readable(made([record("[bold]x[/]"), record(accuracy=0.987)], columns=["rl"]))
    assert "[bold]x[/]" in printed(sheet)
    assert "98.7" in printed(sheet, width=10)
    assert "…" not in printed(sheet, width=10)


@pytest.mark.parametrize("format", ["text", "markdown", "csv"])
def test_the_script_reads_records_and_writes_a_table(format: str, tmp_path: Path):
    for place, one in enumerate(pilot()):
        path = tmp_path / "results" / one["name"] / f"{place}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(one))
    words = ["pilot10", "pilot2", "--rows", "name", "--columns", "rl", "--baseline", "rl=none"]
    done = script(*words, "--format", format, "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "pilot2" in done.stdout
    assert "missing: 2 of 2 differences" in re.sub(r"\s+", " ", done.stdout + done.stderr)
    failed = script("pilot", "--outputs", str(tmp_path))
    assert failed.returncode == 1
    assert re.fullmatch(r"error: no sweep 'pilot' .*did you mean 'pilot2'.*\n", failed.stderr)


def script(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/make_tables.py", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
