"""What the seeds of each cell say together, in W&B: the figures of `report.results`, and no others."""

import logging
import os
from pathlib import Path

import pytest

from genclspp.report import summary
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
    """Name -> run of each cell."""
    return {run.name: run for run in read_runs(root / "wandb") if run.name.startswith("aggregate ")}


def charts(run: Run) -> set[str]:
    return {path.name.partition("_")[0] for path in run.folder.rglob("files/media/plotly/*")}


def test_every_cell_has_a_run_with_the_figures_of_results(tmp_path: Path):
    found = sweep(tmp_path)
    mirror(found, SETTINGS, tmp_path, "dev")
    runs = mirrored(tmp_path)
    assert list(runs) == ["aggregate rl=none", "aggregate rl=grpo"]
    assert {(run.job_type, run.group, run.exit_code) for run in runs.values()} == {("aggregate", "dev", 0)}
    baseline, better = found.series
    for series, run in zip(found.series, runs.values(), strict=True):
        assert (run.summary["seeds"], run.config["seed"]) == (3, [0, 1, 2])
        assert run.summary["baseline"] == "the first cell"
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
            [gain.mean, gain.low, gain.high, gain.p, told[f"{metric}/p_holm"], gain.detectable]
        )
        assert f"{metric}/gain" not in runs["aggregate rl=none"].summary
    assert runs["aggregate rl=grpo"].summary["ece/mean"] == pytest.approx(
        sum(record["ece"] for record in better.records) / 3
    )


def test_p_is_that_of_the_table_at_the_end_of_the_sweep(tmp_path: Path):
    rights = {"none": 0.5, "grpo": 0.6, "rloo": 0.65, "expected": 0.7}
    records = [add(tmp_path, rl, seed, right) for rl, right in rights.items() for seed in range(3)]
    results = Results(records, tmp_path / "artifacts")
    for metric in TESTED:
        entries = list(summary.compare(results, metric)[0].entries.values())
        for told, entry in zip(summaries(results), entries, strict=True):
            assert told.get(f"{metric}/p_holm") == entry.corrected
            assert told.get(f"{metric}/p", 0) <= told.get(f"{metric}/p_holm", 0)
    assert "accuracy/p" not in summaries(results)[0]


def test_zero_shot_on_both_sides_is_the_baseline_where_there_is_one(tmp_path: Path):
    naive = {"train": "zero_shot", "infer": "zero_shot", "digest/test": "60"}
    records = [add(tmp_path, "grpo", seed, 0.9) for seed in range(2)]
    records += [add(tmp_path, "grpo", seed, 0.5, examples=61, **naive) for seed in range(2)]
    told = summaries(Results(records, tmp_path / "artifacts"))
    assert {each["baseline"] for each in told} == {"zero-shot on both sides, all else equal"}


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


def test_charts_of_the_sweep_have_a_run_and_a_cell_shows_how_far_to_trust_it(tmp_path: Path):
    pairs = [(trained, asked) for trained in ("icl", "numeric") for asked in ("icl", "numeric")]
    records = [
        add(tmp_path, f"none{place}", 0, 0.7, train=trained, infer=asked) | {"rl": "none", "sft": "full"}
        for place, (trained, asked) in enumerate(pairs)
    ]
    mirror(Results(records, tmp_path / "artifacts"), SETTINGS, tmp_path, "dev")
    cells = mirrored(tmp_path)
    assert [charts(run) for run in cells.values()] == [{"reliability"}] * 4
    assert list(cells) == [f"aggregate train={trained} infer={asked}" for trained, asked in pairs]
    (whole,) = (run for run in read_runs(tmp_path / "wandb") if run.name == "charts of dev")
    assert (whole.job_type, "pairing-1" in charts(whole)) == ("aggregate", True)


def test_an_outage_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "wandb").write_text("a file where the folder should be")
    mirror(sweep(tmp_path, seeds=1), SETTINGS, tmp_path, "dev")
    assert len(warnings_of(caplog)) == 1
    mirror(Results([], tmp_path), TrackingSettings("none"), tmp_path, "dev")
