"""The charts of made-up sweeps: valid for plotly, the same twice, and they say what was put in."""

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp.inference.metrics import calibration_error
from genclspp.report.chart import Chart
from genclspp.report.charts import cell_charts, sweep_charts
from genclspp.report.charts.confusion import MOST
from genclspp.report.charts.learning import thin
from genclspp.report.charts.means import answer, signed
from genclspp.report.charts.spending import frontier
from genclspp.report.results import Results
from genclspp.report.statistics import ALPHA, Gain, wilson
from genclspp.suggest import UserError
from tests.made_up import sweep

CELL = ["confusion", "classes", "slices", "reliability", "risk-coverage", "sft-curves"]


def by_id(charts: list[Chart]) -> dict[str, Chart]:
    assert len({chart.id for chart in charts}) == len(charts)
    return {chart.id: chart for chart in charts}


def check(charts: list[Chart]) -> None:
    """What holds for every chart."""
    for chart in charts:
        go.Figure(deepcopy(chart.figure))  # plotly's own check of every name and value, which sorts what it takes
        assert chart.title.strip()
        assert chart.caption.endswith((".", "?"))
        assert "nan" not in chart.caption
        assert "inf " not in chart.caption
        assert all(len(row) == len(chart.heading) for row in chart.rows)
        json.dumps([chart.figure, chart.rows], allow_nan=False)
        for axis, layout in chart.figure["layout"].items():
            if axis.startswith(("xaxis", "yaxis")) and "title" in layout:
                assert isinstance(layout["title"]["text"], str)


def same(one: list[Chart], other: list[Chart]) -> bool:
    return [json.dumps(vars(chart)) for chart in one] == [json.dumps(vars(chart)) for chart in other]


@pytest.fixture(scope="module")
def pairings(tmp_path_factory: Any) -> Results:
    return sweep(tmp_path_factory.mktemp("sweep"), rl=("none", "grpo"), examples=300, match=0.15, gain=0.1)


def test_the_charts_of_a_sweep_answer_what_people_ask(pairings: Results):
    charts = by_id(sweep_charts(pairings))
    check([*charts.values()])
    assert list(charts) == [
        *("pairing-1", "pairing-2", "rl", "effect-strategy", "effect-train", "effect-infer"),
        *("cost", "accuracy-for-cost"),
    ]
    assert charts["pairing-1"].caption.startswith("On average, yes: matching prompts gain +1")
    assert charts["rl"].caption.startswith("On average, yes: grpo over none +7")
    assert same([*charts.values()], sweep_charts(Results(pairings.records, pairings.artifacts)))


def test_equal_cells_have_no_verdict_but_that_nothing_was_found(tmp_path: Path):
    found = sweep(tmp_path, rl=("none", "grpo"))
    first, *others = sorted((tmp_path / "predict").iterdir())
    for folder in others:
        (folder / "predictions.parquet").write_bytes((first / "predictions.parquet").read_bytes())
    charts = by_id(sweep_charts(Results(found.records, tmp_path)))
    nothing = "On average, no difference was found: "
    assert charts["pairing-1"].caption.startswith(f"{nothing}matching prompts gain +0.0 points")
    assert charts["rl"].caption.startswith(f"{nothing}grpo over none +0.0 points (+0.0 to +0.0).")


def test_the_answer_about_rl_is_about_rl_alone(tmp_path: Path):
    chart = by_id(sweep_charts(sweep(tmp_path, rl=("none", "grpo", "matched"), examples=300, gain=0.1)))["rl"]
    assert {row[:2] for row in chart.rows} == {("grpo", "none"), ("grpo", "matched")}
    assert chart.caption.startswith("On average, yes: grpo over none +7")


@given(mean=st.floats(-1, 1), p=st.floats(0, 1))
def test_an_answer_is_beyond_noise_and_more_than_a_page_shows(mean: float, p: float):
    said = answer(Gain(mean, mean, mean, p, 0.0, 0.0, math.inf, "crossed"), p)
    assert (said == "no difference was found") == (p > ALPHA or abs(float(signed(mean))) == 0)
    if said != "no difference was found":
        assert said == ("yes" if mean > 0 else "it harms")
    assert not signed(mean).startswith("-0.0")


def test_the_pairing_table_holds_the_gains_of_the_results(pairings: Results):
    rows = by_id(sweep_charts(pairings))["pairing-1"].rows
    assert [row[:2] for row in rows if row[4] is None] == [("zero_shot", "zero_shot"), ("icl", "icl")]
    (row,) = [row for row in rows if row[:2] == ("icl", "zero_shot")]
    asked, equal = (
        next(
            one
            for one in pairings.series
            if [one.words[k] for k in ("train", "infer", "rl")] == [side, "zero_shot", "none"]
        )
        for side in ("icl", "zero_shot")
    )
    gain = pairings.gain(asked, equal)
    assert gain
    assert row[4] == pytest.approx(100 * gain.mean, rel=1e-3)
    assert row[7] == pytest.approx(gain.p, rel=1e-3)


def test_cost_sums_to_what_the_sweep_took(pairings: Results):
    cost = by_id(sweep_charts(pairings))["cost"]
    paid = sum(row[cost.heading.index("seconds, paid")] for row in cost.rows)
    # Two trained policies and their RL in three seeds, and inference of 24 records.
    assert paid == pytest.approx(6 * 40 + 6 * 25 + 24 * 5.1, rel=1e-3)


def test_the_charts_of_a_cell(pairings: Results):
    series = next(one for one in pairings.series if one.words["rl"] == "grpo")
    charts = cell_charts(pairings, series)
    check(charts)
    assert list(by_id(charts)) == [*CELL, "rl-curves"]
    assert same(charts, cell_charts(Results(pairings.records, pairings.artifacts), series))


def test_the_reliability_diagram_has_the_calibration_error_of_the_metrics(pairings: Results):
    series = pairings.series[0]
    chart = by_id(cell_charts(pairings, series))["reliability"]
    read = [pairings.predictions(record) for record in series.records]
    error = np.mean([calibration_error(each.probabilities.astype(float), each.gold) for each in read if each])
    assert f"Expected calibration error {error:.3f}." in chart.caption
    assert sum(row[1] for row in chart.rows) == pytest.approx(300, rel=1e-3)


def test_all_examples_at_full_coverage_are_wrong_as_often_as_the_forced_answers(pairings: Results):
    series = pairings.series[0]
    chart = by_id(cell_charts(pairings, series))["risk-coverage"]
    scores = pairings.scores(series, "accuracy_forced")
    (whole,) = [row for row in chart.rows if row[:2] == ("most confident", 100)]
    assert scores
    assert whole[2] == pytest.approx(100 * (1 - scores.seeds.mean()), rel=1e-3)
    assert sum(row[0] == "answers “uncertain”" for row in chart.rows) == 3


def test_the_confusion_matrix_and_its_table_hold_the_same_counts(pairings: Results):
    chart = by_id(cell_charts(pairings, pairings.series[0]))["confusion"]
    mistakes = sum(row[2] for row in chart.rows)
    accuracy = np.mean(list(pairings.values(pairings.series[0], "accuracy").values()))
    assert mistakes == pytest.approx(300 * (1 - accuracy), rel=1e-3)
    assert "Most often confused: blue → red (10 of 105)" in chart.caption  # neighbours are confused, as made up


@pytest.mark.parametrize("count", [2, 15, 151])
def test_any_number_of_labels_with_one_seed(tmp_path: Path, count: int):
    labels = [f"label {place}" for place in range(count)]
    made = sweep(tmp_path, train=("icl",), infer=("icl",), seeds=(0,), labels=labels, examples=200)
    check(sweep_charts(made))
    charts = by_id(cell_charts(made, made.series[0]))
    check([*charts.values()])
    assert len(charts["confusion"].figure["layout"]["yaxis"]["ticktext"]) == min(count, MOST)
    assert len(charts["classes"].rows) == count
    assert "One seed, 200 test examples: the intervals say nothing about retraining." in charts["classes"].caption
    assert "pairing-1" not in by_id(sweep_charts(made))
    (row,) = [row for row in charts["slices"].rows if row[1] == "all"]
    right = round(200 * made.records[0]["accuracy"])
    assert row[4:] == pytest.approx([100 * end for end in wilson(right, 200)], rel=1e-3)


def test_labels_of_any_script_are_text_and_no_markup(tmp_path: Path):
    labels = ["<b>bold</b>", "&amp;", "1", "1.0", "财经新闻", "أخبار", "👩‍🚀", "a\0b", "x" * 500, "‮evil"]
    made = sweep(tmp_path, train=("icl",), infer=("icl",), labels=labels)
    charts = by_id(cell_charts(made, made.series[0]))
    check([*charts.values()])
    shown = charts["confusion"].figure["layout"]["yaxis"]["ticktext"]
    assert shown[:4] == ["&lt;b&gt;bold&lt;/b&gt;", "&amp;amp;", "1", "1.0"]
    assert shown[7] == "a�b"
    assert len(shown[8]) < 30
    assert {row[0] for row in charts["classes"].rows} == set(labels)  # tables hold them as they are


def test_missing_predictions_are_left_out_or_told(tmp_path: Path):
    made = sweep(tmp_path, train=("icl",), infer=("icl",), rl=("none", "grpo"))
    series = made.series[0]
    (tmp_path / "predict" / series.records[1]["artifact/predict"] / "predictions.parquet").unlink()
    (tmp_path / "sft" / series.records[2]["artifact/sft"] / "training.jsonl").unlink()
    charts = by_id(cell_charts(made, series))
    assert "Without seed 1, whose predictions are missing." in charts["classes"].caption
    assert "Without seed 2, whose curves are missing." in charts["sft-curves"].caption
    for record in series.records:
        (tmp_path / "predict" / record["artifact/predict"] / "predictions.parquet").unlink(missing_ok=True)
    again = Results(made.records, tmp_path)
    assert list(by_id(cell_charts(again, series))) == ["sft-curves"]
    assert "rl" not in by_id(sweep_charts(again))
    check(sweep_charts(again))


def test_cells_without_artifacts_have_no_charts(tmp_path: Path):
    made = Results([{"name": "old", "dataset": "d", "accuracy": 0.5, "seed": 0}], tmp_path)
    assert cell_charts(made, made.series[0]) == []
    assert sweep_charts(made) == []


def test_a_damaged_file_of_curves_is_one_sentence(tmp_path: Path):
    made = sweep(tmp_path, train=("icl",), infer=("icl",), seeds=(0,))
    (tmp_path / "sft" / "icl0" / "training.jsonl").write_text("{half")
    with pytest.raises(UserError, match=r"training.jsonl is no file of curves .* run its cell again"):
        cell_charts(made, made.series[0])


def test_long_curves_are_means_of_neighbours():
    points = [(float(step), float(step)) for step in range(1, 1001)]
    assert thin(points, 100) == [(10 * k + 5.5, 10 * k + 5.5) for k in range(100)]
    assert thin(points[:7], 100) == points[:7]


def test_the_frontier_is_what_no_cell_beats_in_both():
    assert frontier([(1, 0.5), (2, 0.4), (3, 0.9), (3, 0.8), (4, 0.9)]) == [0, 2]


@pytest.mark.parametrize("examples", [1, 3, 5])
def test_very_few_examples(tmp_path: Path, examples: int):
    made = sweep(tmp_path, examples=examples, seeds=(0, 1))
    check(sweep_charts(made))
    for series in made.series:
        charts = by_id(cell_charts(made, series))
        check([*charts.values()])
        assert any(row[0] == "length" for row in charts["slices"].rows) == (examples > 3)


def test_curves_with_nan_are_drawn_with_a_gap(tmp_path: Path):
    made = sweep(tmp_path, train=("icl",), infer=("icl",), seeds=(0,))
    rows = [{"step": step, "loss": float("nan") if step == 2 else 1.0} for step in (1, 2, 3)]
    (tmp_path / "sft" / "icl0" / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    charts = cell_charts(made, made.series[0])
    check(charts)
    assert by_id(charts)["sft-curves"].figure["data"][0]["y"] == [1, None, 1]


def test_the_curves_of_rl_say_what_it_changed_and_where_it_collapsed(tmp_path: Path):
    made = sweep(tmp_path, train=("icl",), infer=("icl",), rl=("grpo",), seeds=(0, 1))
    checked = {"rl/accuracy_start": 0.5, "rl/accuracy": 0.625}
    collapsed = [
        {**made.records[0], **checked},
        {**made.records[1], **checked, "rl/collapse": "the text is invalid"},
    ]
    again = Results(collapsed, tmp_path)
    caption = by_id(cell_charts(again, again.series[0]))["rl-curves"].caption
    assert caption.startswith(
        "Held-out accuracy 50.0 → 62.5 %, mean over seeds. Stopped early in seed 1: the text is"
    )


def test_comparisons_without_predictions_are_counted(tmp_path: Path):
    made = sweep(tmp_path, rl=("none", "grpo"))
    missing = made.series[1].records[0]["artifact/predict"]
    (tmp_path / "predict" / missing / "predictions.parquet").unlink()
    caption = by_id(sweep_charts(made))["rl"].caption
    assert "of 3 comparisons" in caption
    assert caption.endswith("Left out: 1 without predictions on the same test examples.")
