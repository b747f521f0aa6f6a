"""A saved view: the request that wandb's own process sends is caught by a server on this machine, and compared."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genclspp.report import measures
from genclspp.runs import workspace
from genclspp.store.files import write_json
from tests.cli import ROOT, Done, environment
from tests.wandb_server import Server

RECORD = {
    **{"name": "pilot", "dataset": "trec6", "model": "tiny", "infer": "icl", "accuracy": 0.5, "macro_f1": 0.4},
    **{"ece": 0.1, "seconds": 3.0, "seconds/sft": 2.0, "memory/sft": 2**30, "tokens/sft": 5, "artifact/sft": "aa"},
}
RECORDS = [{**RECORD, "train": train, "seed": seed} for train in ("icl", "zero_shot") for seed in (0, 1)]
RL = {"artifact/rl": "bb", "rl/reward": 0.5}


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for number, record in enumerate(RECORDS):
        write_json(tmp_path / "results" / "pilot" / f"{number}.json", record)
    return tmp_path


def save(outputs: Path, *words: str, **env: str) -> Done:
    done = subprocess.run(
        [sys.executable, "scripts/wandb_workspace.py", "pilot", *words, "--outputs", str(outputs)],
        cwd=ROOT,
        env=environment(HOME=str(outputs), **env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def panels(section: dict[str, Any]) -> dict[str, list[str]]:
    """Title -> what a panel shows."""
    told = {}
    for panel in section["panels"]:
        config = panel["config"]
        told[config["chartTitle"]] = config.get("metrics") or config.get("mediaKeys")
    return told


def test_the_view_that_is_saved(outputs: Path):
    with Server() as server:
        done = save(outputs, **server.environment).require()
        (asked,) = [asked for operation, asked in server.requests if operation == "UpsertView2"]
    assert f"{server.url}/someone/genclspp?nw=" in done.out
    assert (asked["entityName"], asked["projectName"], asked["displayName"]) == (
        *("someone", "genclspp"),
        "genclspp pilot",
    )
    section = json.loads(asked["spec"])["section"]
    (runs,) = section["runSets"]
    assert '"value":["pilot"]' in json.dumps(runs["filters"], separators=(",", ":"))
    assert [(key["key"]["name"], key["ascending"]) for key in runs["sort"]["keys"]] == [
        ("accuracy/mean", False),
        ("accuracy", False),
    ]
    feed = runs["runFeed"]
    assert feed["columnOrder"][:5] == [
        *("run:displayName", "run:jobType", "config:train.value", "config:seed.value"),
        "summary:seeds",
    ]
    assert "summary:accuracy/p_holm" in feed["columnOrder"]
    hidden = {name for name, is_visible in feed["columnVisible"].items() if not is_visible}
    assert {"run:tags", "config:dataset.value", "config:model.value"} <= hidden
    assert not hidden & {*feed["columnOrder"]}
    sections = {one["name"]: one for one in section["panelBankConfig"]["sections"]}
    assert list(sections) == ["Result", "Calibration", "Training curves", "Cost"]  # no RL, no section
    assert panels(sections["Result"]) == {
        "reliability": ["reliability"],
        "accuracy ↑": ["accuracy/mean"],
        "macro-F1 ↑": ["macro_f1/mean"],
        "gain in accuracy ↑": ["accuracy/gain"],
        "gain in macro-F1 ↑": ["macro_f1/gain"],
    }
    assert panels(sections["Training curves"])["loss ↓"] == ["loss"]
    assert {panel["config"]["xAxis"] for panel in sections["Training curves"]["panels"]} == {"step"}
    assert list(panels(sections["Cost"])) == ["time ↓", "time of sft ↓", "tokens of sft ↓", "peak memory of sft ↓"]


def test_made_again_the_view_is_replaced_by_the_same(outputs: Path):
    with Server() as server:
        save(outputs, **server.environment).require()
        save(outputs, **server.environment).require()
        first, second = (asked for operation, asked in server.requests if operation == "UpsertView2")
    assert "id" not in first
    assert second.pop("id") == "Vmlldw=="
    assert first == second


def test_a_dry_run_says_what_would_be_saved_and_asks_nothing(outputs: Path):
    with Server() as server:
        done = save(outputs, "--dry-run", **server.environment).require()
        assert not server.requests
    assert "would save the view 'genclspp pilot' in your entity/genclspp" in done.out
    assert "  Calibration: ECE ↓\n" in done.out


def test_what_is_missing_is_said_in_a_sentence(outputs: Path):
    def told(done: Done) -> str:
        assert (done.code, done.err.count("\n")) == (1, 1)
        return done.err

    assert "no API key for" in told(save(outputs))
    assert "no sweep 'pilott'" in told(save(outputs, "pilott"))
    with Server() as server:
        server.project = None
        assert "no project 'genclspp' of 'someone'" in told(save(outputs, **server.environment))
    with Server(lambda operation, asked: operation == "UpsertView2") as server:
        assert "did not save the view: " in told(save(outputs, **server.environment))
    (outputs / "wandb_workspaces.py").write_text("raise ImportError")
    with Server() as server:
        missing = save(outputs, **server.environment, PYTHONPATH=str(outputs))
    assert "wandb-workspaces is not installed; pip install -e '.[workspace]'" in told(missing)


def test_a_matrix_of_prompts_has_its_panel():
    sides = [{"train": trained, "infer": asked} for trained in ("icl", "numeric") for asked in ("icl", "numeric")]
    view = workspace.plan(["pilot"], [{**RECORD, "sft": "full", "seed": 0, **side} for side in sides])
    assert view.sections["Result"][0] == workspace.Panel("chart", "pairings", "pairing-1")


def test_every_measure_has_its_place_in_a_view_with_rl():
    everything = [{**record, **RL, **{one.name: 0.5 for one in measures.MEASURES}} for record in RECORDS]
    shown = [panel.name for panels in workspace.plan(["pilot"], everything).sections.values() for panel in panels]
    for measure in [measure for measure in measures.MEASURES if measure.topic != "reference"]:
        assert {measure.name, f"{measure.name}/mean"} & {*shown}
    assert len(set(shown)) == len(shown)
