"""What the seeds of each cell say together, in W&B: the figures of `report.results`, and no others."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from genclspp.report import statistics
from genclspp.report.results import Results
from genclspp.runs import tracking
from genclspp.runs.aggregates import TESTED, mirror, summaries
from genclspp.runs.wandb_files import Run, read_runs
from genclspp.settings import TrackingSettings
from tests.unit.test_results import add, sweep

SETTINGS = TrackingSettings("wandb", mode="offline")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    for name in tracking._state:
        monkeypatch.setitem(tracking._state, name, False)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def mirrored(root: Path) -> dict[str, Run]:
    return {run.name: run for run in read_runs(root / "wandb")}


def test_every_cell_has_a_run_with_the_figures_of_results(tmp_path: Path):
    found = sweep(tmp_path)
    mirror(found, SETTINGS, tmp_path, "dev")
    runs = mirrored(tmp_path)
    assert list(runs) == ["aggregate rl=none", "aggregate rl=grpo"]
    assert {(run.job_type, run.group, run.exit_code) for run in runs.values()} == {("aggregate", "dev", 0)}
    baseline, better = found.series
    for series, run in zip(found.series, runs.values(), strict=True):
        assert (run.summary["seeds"], run.config["seed"]) == (3, [0, 1, 2])
        assert run.summary["baseline"] == "rl=none"
        assert f"rl:{series.words['rl']}" in run.tags
        for metric in TESTED:
            level = found.level(series, metric)
            told = [run.summary[f"{metric}/{name}"] for name in ("mean", "sd", "low", "high")]
            assert told == pytest.approx([level.mean, level.sd, level.low, level.high])
    for metric in TESTED:
        gain = found.gain(better, baseline, metric)
        told = runs["aggregate rl=grpo"].summary
        names = ("gain", "gain_low", "gain_high", "p", "p_holm", "detectable")
        assert [told[f"{metric}/{name}"] for name in names] == pytest.approx(
            [gain.mean, gain.low, gain.high, gain.p, gain.p, gain.detectable]
        )
        assert f"{metric}/gain" not in runs["aggregate rl=none"].summary
    assert runs["aggregate rl=grpo"].summary["ece/mean"] == pytest.approx(
        sum(record["ece"] for record in better.records) / 3
    )


def test_p_is_corrected_for_all_gains_of_the_sweep(tmp_path: Path):
    rights = {"none": 0.5, "grpo": 0.6, "rloo": 0.65, "expected": 0.7}
    records = [add(tmp_path, rl, seed, right) for rl, right in rights.items() for seed in range(3)]
    found = summaries(Results(records, tmp_path / "artifacts"))
    for metric in TESTED:
        raw = [summary[f"{metric}/p"] for summary in found[1:]]
        assert [summary[f"{metric}/p_holm"] for summary in found[1:]] == pytest.approx(statistics.holm(raw))


def test_zero_shot_on_both_sides_is_the_baseline_where_there_is_one(tmp_path: Path):
    naive = {"train": "zero_shot", "infer": "zero_shot", "digest/test": "60"}
    records = [add(tmp_path, "grpo", seed, 0.9) for seed in range(2)]
    records += [add(tmp_path, "grpo", seed, 0.5, examples=61, **naive) for seed in range(2)]
    assert [summary["baseline"] for summary in summaries(Results(records, tmp_path / "artifacts"))] == [
        "strategy=zero_shot"
    ] * 2


def test_a_cell_with_one_seed_has_a_run_without_a_deviation(tmp_path: Path):
    mirror(sweep(tmp_path, seeds=1), SETTINGS, tmp_path, "dev")
    for run in mirrored(tmp_path).values():
        assert (run.summary["seeds"], run.summary["accuracy/sd"]) == (1, None)
        assert run.summary["accuracy/low"] < run.summary["accuracy/mean"] < run.summary["accuracy/high"]


def test_missing_predictions_are_said_once_and_leave_the_means(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    there = sweep(tmp_path)
    gone = Results(there.records, tmp_path / "elsewhere")
    mirror(gone, SETTINGS, tmp_path, "dev")
    (warning,) = warnings_of(caplog)
    assert "predictions" in warning
    for run, known in zip(mirrored(tmp_path).values(), summaries(there), strict=True):
        assert run.summary["accuracy/low"] is None
        assert "accuracy/gain" not in run.summary
        for name in ("accuracy/mean", "accuracy/sd", "macro_f1/mean"):
            assert run.summary[name] == pytest.approx(known[name])


def test_running_again_replaces_what_has_changed_and_only_that(tmp_path: Path):
    found = sweep(tmp_path)
    mirror(found, SETTINGS, tmp_path, "dev")
    first = mirrored(tmp_path)
    mirror(found, SETTINGS, tmp_path, "dev")
    assert {name: run.folder for name, run in mirrored(tmp_path).items()} == {
        name: run.folder for name, run in first.items()
    }
    more = Results([*found.records, add(tmp_path, "grpo", 3, 0.9)], tmp_path / "artifacts")
    mirror(more, SETTINGS, tmp_path, "dev")
    second = mirrored(tmp_path)
    assert {run.id for run in second.values()} == {run.id for run in first.values()}
    assert second["aggregate rl=none"].folder == first["aggregate rl=none"].folder
    assert (second["aggregate rl=grpo"].summary["seeds"], len(second)) == (4, 2)


def test_charts_of_the_sweep_have_a_run_and_those_of_a_cell_are_in_its_own(tmp_path: Path):
    drawn = {"data": [{"type": "heatmap", "z": [[0.5]]}], "layout": {}}
    pairings, reliability = (
        SimpleNamespace(id=id_, title=id_, figure=drawn) for id_ in ("pairings", "reliability")
    )
    mirror(sweep(tmp_path, seeds=1), SETTINGS, tmp_path, "dev", [pairings], [[reliability], []])
    files = {
        name: {path.name.split("_")[0] for path in run.folder.rglob("files/media/plotly/*")}
        for name, run in mirrored(tmp_path).items()
    }
    assert files == {
        "aggregate rl=none": {"reliability"},
        "aggregate rl=grpo": set(),
        "charts of dev": {"pairings"},
    }


def test_an_outage_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "wandb").write_text("a file where the folder should be")
    mirror(sweep(tmp_path, seeds=1), SETTINGS, tmp_path, "dev")
    assert len(warnings_of(caplog)) == 1
    mirror(Results([], tmp_path), TrackingSettings("none"), tmp_path, "dev")
