"""Uploading offline runs: against a server on this machine, by wandb's own process and over HTTP."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from genclspp.runs import uploads
from genclspp.runs.tracking import Tracker
from genclspp.runs.wandb_files import read_runs
from genclspp.settings import TrackingSettings
from tests.cli import ROOT, Done, environment
from tests.wandb_server import Server


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two sweeps in the order in which sweeps write them: results before the stages of the next cell."""
    outputs = tmp_path_factory.mktemp("made")
    settings = TrackingSettings("wandb", mode="offline")
    for sweep, cells in (("first", ("aa", "bb")), ("second", ("cc",))):
        tracker = Tracker(settings, outputs, sweep, {"model": "tiny"}, {})
        for cell in cells:
            with tracker.run("sft", cell) as log:
                for step in range(3):
                    log({"loss": 1 / (1 + step), "step": step})
            tracker.result(cell, {"accuracy": 0.5, "seed": 0}, [], ["no", "yes"])
        tracker.aggregate("cell", "aggregate", {"accuracy/mean": 0.5})
    assert all(run.is_finished for run in read_runs(outputs))
    return outputs


@pytest.fixture
def outputs(made: Path, tmp_path: Path) -> Path:
    """A copy of those runs, none of them uploaded."""
    subprocess.run(["cp", "-r", str(made), str(tmp_path / "outputs")], check=True)
    return tmp_path / "outputs"


def command(outputs: Path, *words: str) -> list[str]:
    return [sys.executable, "scripts/wandb_sync.py", *words, "--outputs", str(outputs)]


def sync(outputs: Path, *words: str, **env: str) -> Done:
    home = {"HOME": str(outputs.parent), "WANDB_CACHE_DIR": str(outputs.parent)}
    done = subprocess.run(
        command(outputs, *words),
        cwd=ROOT,
        env=environment(**home, **env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def kinds(ids: list[str]) -> list[str]:
    return [id_.split("-")[0] for id_ in ids]


def test_runs_are_uploaded_in_order_and_once(outputs: Path):
    with Server() as server:
        planned = sync(outputs, "--dry-run", **server.environment).require()
        assert (server.requests, list(outputs.rglob("*.synced"))) == ([], [])
        first = sync(outputs, "first", **server.environment).require()
        assert "uploaded before: 0" in first.out
        assert server.runs()[:2] == ["sft-aa", "sft-bb"]
        assert kinds(server.runs()) == ["sft", "sft", "result", "result", "aggregate"]
        assert [row["loss"] for row in server.history["sft-bb"]] == [1, 1 / 2, 1 / 3]
        sync(outputs, **server.environment).require()
        assert kinds(server.runs()[5:]) == ["sft", "result", "aggregate"]
        asked = len(server.requests)
        again = sync(outputs, **server.environment).require()
        assert "to upload: nothing; uploaded before: 8" in again.out
        assert len(server.requests) == asked
    assert not (ROOT / "wandb").exists()
    listed = [line.split()[1] for line in planned.out.splitlines() if line.startswith("  ")]
    assert listed == ["sft", "sft", "sft", "result", "result", "result", "aggregate", "aggregate"]


def test_after_an_error_the_same_command_goes_on(outputs: Path):
    broken = [True]

    def refuses(operation: str, asked: Any) -> bool:
        return broken[0] and operation == "UpsertBucket" and asked["name"] == "sft-bb"

    with Server(refuses) as server:
        stopped = sync(outputs, "first", **server.environment)
        assert (stopped.code, server.runs()) == (1, ["sft-aa"])
        assert stopped.err == (
            "error: 'sft tiny bb' was not uploaded: refused; 1 of 5 were uploaded, the same command goes on\n"
        )
        broken[0] = False
        sync(outputs, "first", **server.environment).require()
        assert kinds(server.runs()) == ["sft", "sft", "result", "result", "aggregate"]
        assert len(server.history["sft-aa"]) == len(server.history["sft-bb"]) == 3


def test_after_an_interruption_the_same_command_goes_on(outputs: Path):
    reached, goes_on = threading.Event(), threading.Event()

    def waits(operation: str, asked: Any) -> bool:
        if operation == "UpsertBucket" and asked["name"] == "sft-bb":
            reached.set()
            goes_on.wait(30)
        return False

    with Server(waits) as server:
        env = environment(HOME=str(outputs.parent), **server.environment)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command(outputs, "first"), cwd=ROOT, env=env, start_new_session=True, **pipes)
        assert reached.wait(30)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=30)
        goes_on.set()
        assert (process.returncode, err.strip()) == (
            130,
            "interrupted: 1 of 5 were uploaded, the same command goes on",
        )
        sync(outputs, "first", **server.environment).require()
        assert len(server.history["sft-bb"]) == 3
    assert len(list(outputs.rglob("*.synced"))) == 5


def test_a_run_that_is_being_written_is_left_out(outputs: Path):
    (log,) = outputs.rglob("run-sft-cc.wandb")
    whole = log.read_bytes()
    for rest in (-60, 20, 2, 0):  # without its last record, the exit; without any record; without a header
        log.write_bytes(whole[:rest])
        found = uploads.find(outputs)
        assert ([run.id for run in found.waiting if run.id == "sft-cc"], found.unfinished) == ([], 1)
    done = sync(outputs, "first", "--dry-run").require()
    assert "to upload: 2 stages, 2 results, 1 aggregate" in done.out
    assert "left out: 1 that" in sync(outputs, "--dry-run").require().out


def test_what_is_missing_is_said_in_a_sentence(outputs: Path, tmp_path: Path):
    assert sync(tmp_path / "none").require().out == f"no offline runs in {tmp_path / 'none' / 'wandb'}\n"
    unknown = sync(outputs, "frist")
    assert (unknown.code, "did you mean 'first'?" in unknown.err) == (1, True)
    without = sync(outputs)
    assert (without.code, without.err.count("\n")) == (1, 1)
    assert "no API key for" in without.err
    with Server(lambda operation, asked: True) as server:
        refused = sync(outputs, **server.environment)
    assert (
        refused.err == f"error: cannot log in to {server.url}: Failed to authenticate with {server.url}: refused\n"
    )
    assert not list(outputs.rglob("*.synced"))
