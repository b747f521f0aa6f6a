import json
import logging
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genclspp.inference.metrics import Prediction
from genclspp.report.chart import Chart
from genclspp.runs import tracking, wandb_content
from genclspp.runs.tracking import Tracker
from genclspp.runs.wandb_content import flatten, is_secret, run_id, tags
from genclspp.runs.wandb_files import read_runs
from genclspp.settings import TrackingSettings

CHOICES = {"dataset": "tickets", "model": "tiny", "train": "icl+numeric", "infer": "zero_shot", "rl": "none"}
CONFIG = {"sft": {"args": {"learning_rate": 0.1, "modules": ["q", "v"]}}, "seed": 3, "path": Path("data")}
SECRET = "hf_ThisMustNeverBeWritten"
ROOT = Path(__file__).parents[2]
HEATMAP = Chart(
    *("pairings", "Which prompts?", ""),
    *({"data": [{"type": "heatmap", "z": [[0.5, 0.25]]}], "layout": {}}, (), ()),
)

PREDICTIONS = [
    Prediction("1", "no", "no", "no", "no", {"no": 0.9, "no match": 0.1}, text="Is it? " * 500),
    Prediction("2", "no", None, "no match", "half \ud83d a smile" * 200, {"no": 0.2, "no match": 0.8}),
    Prediction("3", "no match", "uncertain", "no", "uncertain", {"no": 0.6, "no match": 0.4}, truncated=True),
]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that has not warned yet, and no credentials of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in tracking._state:
        monkeypatch.setitem(tracking._state, name, False)


def tracker(root: Path, config: dict | None = None, sweep: str = "dev", **settings) -> Tracker:
    return Tracker(TrackingSettings("wandb", **settings), root, sweep, CHOICES, config or CONFIG)


def one_run(root: Path, key: str = "0a1b2c", stage: str = "sft") -> None:
    with tracker(root).run(stage, key) as log:
        log({"loss": 1.0, "step": 1})


def failing_run(root: Path, error: BaseException, key: str = "aa") -> None:
    with tracker(root).run("sft", key) as log:
        log({"loss": 5.0, "step": 1})
        raise error


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def in_new_process(script: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `script` with a terminal for all three streams, as a person would."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=kept | environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    os.close(theirs)
    os.close(ours)
    return found


def test_a_stage_leaves_one_finished_run_that_tells_everything(tmp_path: Path):
    with tracker(tmp_path).run("sft", "0a1b2c") as log:
        for step in range(1, 301):
            log({"loss": 1 / step, "step": step})
    (run,) = read_runs(tmp_path / "wandb")
    assert (run.id, run.group, run.job_type, run.project) == ("sft-0a1b2c", "dev", "sft", "genclspp")
    assert run.name == "sft tickets tiny icl+numeric 0a1b2c"
    assert sorted(run.tags) == sorted(f"{name}:{value}" for name, value in CHOICES.items())
    assert run.config == {
        "sft.args.learning_rate": 0.1,
        "sft.args.modules": ["q", "v"],
        "seed": 3,
        "path": "data",
        **CHOICES,
        "artifact": "0a1b2c",
    }
    assert [(row["step"], row["loss"]) for row in run.history] == [(n, 1 / n) for n in range(1, 301)]
    assert run.summary["loss"] == {"last": 1 / 300, "min": 1 / 300}
    assert run.exit_code == 0


def test_a_result_leaves_its_metrics_confusion_and_predictions(tmp_path: Path):
    record = {"name": "dev", "accuracy": 0.5, "selective_accuracy": None, "sft_key": "0a1b2c", "seed": 3}
    tracker(tmp_path).result("a cell/1", record, PREDICTIONS, ["no", "no match"])
    (run,) = read_runs(tmp_path / "wandb")
    assert (run.group, run.job_type, run.exit_code) == ("dev", "result", 0)
    assert run.name == "result tickets tiny icl+numeric zero_shot seed 3"
    assert {name: value for name, value in record.items() if value is not None}.items() <= run.summary.items()
    (confusion,) = run.folder.rglob("files/media/table/confusion*.json")
    assert json.loads(confusion.read_text())["data"] == [
        ["no", "no", 1],
        ["no", "(invalid)", 1],
        ["no match", "uncertain", 1],
    ]
    (table,) = run.folder.rglob("files/media/table/predictions*.json")
    rows = json.loads(table.read_text())["data"]
    assert [[row[0], *row[2:5]] for row in rows] == [
        ["1", "no", "no", True],
        ["2", "no", "(invalid)", False],
        ["3", "no match", "uncertain", False],
    ]
    assert rows[1][7].startswith("half \\ud83d a smile")
    assert len(rows[1][7]) < 1200
    assert [row[1] for row in rows] == [("Is it? " * 500)[: wandb_content.TEXT_LENGTH] + "…", "", ""]


def test_the_summary_keeps_the_best_of_what_has_a_goal(tmp_path: Path):
    rows = [{"loss": 2.0, "held_out/reward": 0.1}, {"loss": 1.0, "held_out/reward": 0.9}, {"grad_norm": 3.0}]
    with tracker(tmp_path).run("rl", "aa") as log:
        for step, row in enumerate([*rows, {"loss": 4.0, "held_out/reward": 0.3}]):
            log({"step": step, **row})
    (run,) = read_runs(tmp_path)
    assert run.bests == {"loss": "min", "held_out/reward": "max"}
    assert run.summary["loss"] == {"last": 4.0, "min": 1.0}
    assert run.summary["held_out/reward"] == {"last": 0.3, "max": 0.9}
    assert run.summary["grad_norm"] == 3.0


def test_an_aggregate_leaves_its_summary_and_charts_and_is_replaced_where_it_says_something_new(tmp_path: Path):
    one = tracker(tmp_path)
    for summary in ({"accuracy/mean": 0.5, "accuracy/sd": None}, {"accuracy/mean": 0.5, "accuracy/sd": None}):
        one.aggregate("cell", "aggregate decode=ppl", summary, [HEATMAP])
        (run,) = read_runs(tmp_path)
        first = run.folder
    assert (run.group, run.job_type, run.name, run.exit_code) == ("dev", "aggregate", "aggregate decode=ppl", 0)
    assert summary.items() <= run.summary.items()
    (chart,) = run.folder.rglob("files/media/plotly/pairings*.json")
    drawn = json.loads(chart.read_text())
    assert drawn["data"][0]["z"] == HEATMAP.figure["data"][0]["z"]
    assert drawn["layout"]["title"]["text"] == HEATMAP.title
    assert run.summary["pairings/_type"] == "plotly-file"
    one.aggregate("cell", "aggregate decode=ppl", {"accuracy/mean": 0.6}, [HEATMAP])
    (run,) = read_runs(tmp_path)
    assert (run.summary["accuracy/mean"], run.folder == first) == (0.6, False)


def test_the_table_of_predictions_is_bounded(tmp_path: Path):
    tracker(tmp_path).result("cell", {}, PREDICTIONS * 400, ["no", "no match"])
    (table,) = (tmp_path / "wandb").rglob("files/media/table/predictions*.json")
    assert len(json.loads(table.read_text())["data"]) == wandb_content.TABLE_ROWS


def test_cells_of_one_process_stay_apart(tmp_path: Path):
    for key, sweep in [("aa", "first"), ("bb", "second")]:
        one = tracker(tmp_path, sweep=sweep)
        with one.run("sft", key) as log:
            log({"loss": 1.0, "step": 1})
        with one.run("rl", key) as log:
            log({"reward": 0.5, "step": 1})
        one.result("cell", {"accuracy": 0.5}, PREDICTIONS, ["no", "no match"])
    runs = read_runs(tmp_path / "wandb")
    assert len({run.id for run in runs}) == len(runs) == 6
    assert [(run.group, run.job_type) for run in runs] == [
        (sweep, stage) for sweep in ("first", "second") for stage in ("sft", "rl", "result")
    ]
    assert all(run.exit_code == 0 and len(run.history) == 1 for run in runs)
    assert "loss" not in runs[1].summary


def test_a_run_inside_a_run_stays_apart(tmp_path: Path):
    with tracker(tmp_path).run("rl", "aa") as outer:
        with tracker(tmp_path).run("mine", "bb") as inner:
            inner({"loss": 2.0, "step": 1})
        outer({"reward": 1.0, "step": 1})
    histories = {
        run.job_type: [row.keys() & {"loss", "reward"} for row in run.history] for run in read_runs(tmp_path)
    }
    assert histories == {"rl": [{"reward"}], "mine": [{"loss"}]}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_run_is_finished_also_when_its_stage_fails(tmp_path: Path, error: type[BaseException]):
    with pytest.raises(error):
        failing_run(tmp_path, error())
    (run,) = read_runs(tmp_path)
    assert run.exit_code == 1
    assert len(run.history) == 1


def test_doing_a_stage_again_replaces_its_run(tmp_path: Path):
    one_run(tmp_path, "aa-1")
    one_run(tmp_path, "aa")
    with pytest.raises(ValueError, match="half way"):
        failing_run(tmp_path, ValueError("half way"))
    one_run(tmp_path, "aa")
    runs = read_runs(tmp_path)
    assert [(run.id, [row["loss"] for row in run.history]) for run in runs[1:]] == [("sft-aa", [1.0])]
    assert len(runs) == 2


def test_a_broken_folder_is_said_once_and_work_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "wandb").write_text("a file where the folder should be")
    one_run(tmp_path, "aa")
    one_run(tmp_path, "bb")
    tracker(tmp_path).result("cell", {}, PREDICTIONS, ["no", "no match"])
    (warning,) = warnings_of(caplog)
    assert "could not start a run" in warning


def test_a_missing_wandb_is_said_once_and_work_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    one_run(tmp_path, "aa")
    one_run(tmp_path, "bb")
    assert len(warnings_of(caplog)) == 1


def test_an_error_of_the_stage_is_not_softened(tmp_path: Path):
    (tmp_path / "wandb").write_text("a file where the folder should be")
    with pytest.raises(ZeroDivisionError), tracker(tmp_path).run("sft", "aa"):
        _ = 1 / 0


def test_a_dead_writer_is_said_once_and_the_next_run_has_a_new_one(tmp_path: Path):
    script = f"""
import os, signal, subprocess
from pathlib import Path
from genclspp.settings import TrackingSettings
from genclspp.runs.tracking import Tracker
tracker = Tracker(TrackingSettings("wandb", mode="offline"), Path({str(tmp_path)!r}), "dev", {{}}, {{}})
with tracker.run("sft", "aa") as log:
    log({{"loss": 1.0, "step": 1}})
    for child in Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split():
        if "wandb-core" in Path(f"/proc/{{child}}/cmdline").read_text():
            os.kill(int(child), {int(signal.SIGKILL)})
            os.waitpid(int(child), 0)
    for step in range(5):
        log({{"loss": 2.0, "step": step}})
with tracker.run("rl", "aa") as log:
    log({{"reward": 1.0, "step": 1}})
print("done")
"""
    found = in_new_process(script)
    assert found.returncode == 0
    assert found.stdout.count("Weights & Biases") == 1, found.stdout
    assert len(found.stdout.splitlines()) == 2, found.stdout
    run = next(run for run in read_runs(tmp_path, wait=0) if run.job_type == "rl")
    assert run.is_finished
    assert run.history[0]["reward"] == 1


@pytest.mark.parametrize(("mode", "said"), [(None, 0), ("offline", 0), ("online", 1)])
def test_without_a_key_nothing_is_asked(tmp_path: Path, mode: str | None, said: int):
    script = f"""
from pathlib import Path
from genclspp.settings import TrackingSettings
from genclspp.runs.tracking import Tracker
tracker = Tracker(TrackingSettings("wandb", mode={mode!r}), Path({str(tmp_path)!r}), "dev", {{}}, {{}})
for key in ("aa", "bb"):
    with tracker.run("sft", key) as log:
        log({{"loss": 1.0, "step": 1}})
print("done")
"""
    found = in_new_process(script)
    assert found.returncode == 0
    assert len(found.stdout.splitlines()) == 1 + said, found.stdout
    assert found.stdout.count("no API key") == said
    assert [run.is_finished for run in read_runs(tmp_path)] == [True, True]


def test_an_outage_is_said_once_and_runs_stay_offline(tmp_path: Path):
    script = f"""
from pathlib import Path
from genclspp.runs import tracking, wandb_content
from genclspp.settings import TrackingSettings
tracking.QUIET["init_timeout"] = 1.0
tracker = tracking.Tracker(TrackingSettings("wandb"), Path({str(tmp_path)!r}), "dev", {{}}, {{}})
for key in ("aa", "bb"):
    with tracker.run("sft", key) as log:
        log({{"loss": 1.0, "step": 1}})
print("done")
"""
    found = in_new_process(script, WANDB_API_KEY="a" * 40, WANDB_BASE_URL="http://127.0.0.1:9")
    assert found.returncode == 0
    assert found.stdout.count("not reachable") == 1, found.stdout
    assert len(found.stdout.splitlines()) == 2, found.stdout
    runs = read_runs(tmp_path)
    assert [run.folder.name.startswith("offline-run") for run in runs] == [True, True]
    assert all(run.is_finished and run.history for run in runs)


def test_files_hold_no_secrets_and_nothing_about_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET + "x" * 20)
    config = {"model": {"hub_token": SECRET, "apiKey": [SECRET]}, "login": {"password": {"value": SECRET}}}
    chosen = tracker(tmp_path, config, mode="offline")
    with chosen.run("sft", "aa") as log:
        log({"loss": 1.0, "step": 1})
    chosen.result("cell", {"accuracy": 0.5}, PREDICTIONS, ["no", "no match"])
    files = [file for file in (tmp_path / "wandb").rglob("*") if file.is_file()]
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
    assert not {"requirements.txt", "wandb-metadata.json", "output.log"} & {file.name for file in files}
    assert [run.host for run in read_runs(tmp_path)] == ["", ""]
    for file in (tmp_path / "wandb").rglob("*.wandb"):
        assert not [told for told in (str(ROOT), sys.executable) if told.encode() in file.read_bytes()]


def test_wandb_writes_nothing_into_the_home_folder_but_a_log(tmp_path: Path):
    home, root = tmp_path / "home", tmp_path / "outputs"
    home.mkdir()
    script = f"""
from pathlib import Path
from tests.integration.test_tracking import HEATMAP, PREDICTIONS, one_run, tracker
root = Path({str(root)!r})
one_run(root)
tracker(root).aggregate("cell", "name", {{}}, [HEATMAP])
tracker(root).result("cell", {{}}, PREDICTIONS, ["no", "no match"])
"""
    found = in_new_process(script, HOME=str(home), XDG_DATA_HOME=str(home / "data"), NETRC=str(home / "netrc"))
    assert found.returncode == 0, found.stdout
    assert {file.suffix for file in home.rglob("*") if file.is_file()} <= {".log"}
    assert len(read_runs(root)) == 3


def test_without_a_backend_nothing_is_imported_or_written(tmp_path: Path):
    script = f"""
import sys
from pathlib import Path
from genclspp.settings import TrackingSettings
from genclspp.runs.tracking import Tracker
tracker = Tracker(TrackingSettings("none"), Path({str(tmp_path)!r}), "dev", {{}}, {{}})
with tracker.run("sft", "aa") as log:
    log({{"loss": 1.0, "step": 1}})
tracker.result("cell", {{}}, [], [])
assert "wandb" not in sys.modules
"""
    assert in_new_process(script).returncode == 0
    assert not list(tmp_path.iterdir())


def test_secret_names_are_known():
    secret = ["token", "hub_token", "api_key", "apiKey", "OPENAI_API_KEY", "model.secret.name", "password"]
    assert all(map(is_secret, [*secret, "a.0.access-key", "APIKey"]))


def test_harmless_names_are_kept():
    settings = ["pad_token", "sft.args.eos_token", "max_tokens", "max_new_tokens", "tokenizer", "monkey", "author"]
    labels = ["dataset.definitions.lost_key", "dataset.names.reset password"]
    assert not any(map(is_secret, [*settings, *labels]))


def test_flat_masks_secrets_at_any_depth():
    config = {"a": {"parts": [{"token": "x"}, {"size": 1}], "token": None}, "xs": (1, Path("b")), "none": {}}
    assert flatten(config) == {"a.parts.0.token": "***", "a.parts.1.size": 1, "a.token": None, "xs": [1, "b"]}


def test_run_ids_are_stable_valid_and_distinct():
    keys = ["aa", "a/b", "a-b", "a b", "表", "x" * 300, "x" * 301]
    parts = [(stage, key) for stage in ("sft", "rl", "result") for key in keys]
    ids = [run_id(*each) for each in parts]
    assert ids == [run_id(*each) for each in parts]
    assert len(set(ids)) == len(ids)
    assert all(len(id_) <= 64 and not set(id_) & set(":;,#?/' ") for id_ in ids)


def test_long_tags_are_shortened_and_stay_apart():
    found = tags({"train": "icl+" + "x" * 80, "infer": "", "rl": "none"}) + tags({"train": "icl+" + "x" * 81})
    assert all(1 <= len(tag) <= 64 for tag in found)
    assert len(set(found)) == 3
