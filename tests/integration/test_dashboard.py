"""The command that makes the page: same bytes, running sweeps, and what is missing or damaged."""

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks import synthetic
from genclspp.report import page, results
from genclspp.report.page.blocks import unpack
from genclspp.runs.ledger import Entry, Ledger
from tests.cli import ROOT, environment

SMALL = synthetic.Size(cells=4, seeds=2, examples=20, labels=4)
COMMAND = (sys.executable, "scripts/dashboard.py")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    synthetic.write(tmp_path, "small", SMALL)
    return tmp_path


def make(outputs: Path, *names: str) -> str:
    return page.make(names, results.read(names, outputs), [])


def block(made: str, name: str) -> Any:
    found = re.search(f'id="block-{name}">([^<]*)<', made)
    assert found, f"no block {name}"
    return json.loads(unpack(found[1]))


def run(outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--outputs", str(outputs), *words]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)


def test_the_same_records_make_the_same_bytes(outputs: Path, tmp_path: Path) -> None:
    done = run(outputs, "small")
    assert done.returncode == 0, done.stderr
    written = outputs / "report" / "small" / "index.html"
    assert f"{written}: 8 records" in done.stdout
    assert written.read_text(encoding="utf-8") == make(outputs, "small")


def test_an_unknown_sweep_stops_with_one_sentence(outputs: Path) -> None:
    done = run(outputs, "smal")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "did you mean 'small'?" in done.stderr


def test_a_damaged_record_stops_with_one_sentence(outputs: Path) -> None:
    (record, *_) = (outputs / "results" / "small").glob("*.json")
    record.write_text('{"accuracy": 0.', encoding="utf-8")
    done = run(outputs, "small")
    assert done.returncode == 1
    assert "is not a record" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_sweep_that_has_only_begun_has_a_page_that_says_what_is_to_come(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "results" / "new")
    ledger.note(Entry(2, "train=numeric", "two"), "pending")
    ledger.note(Entry(1, "train=icl", "one"), "failed", "CUDA is out of memory")
    done = run(tmp_path, "new")
    assert done.returncode == 0, done.stderr
    assert "0 records; 2 cells have no result: 1 failed, 1 pending" in done.stdout
    made = (tmp_path / "report" / "new" / "index.html").read_text(encoding="utf-8")
    for told in (
        "There are no records yet",
        "2 cells have no result: 1 failed, 1 pending",
        "CUDA is out of memory",
    ):
        assert told in made


def test_one_record_makes_a_page_without_gains(outputs: Path) -> None:
    _, *others = sorted((outputs / "results" / "small").glob("*.json"))
    for path in others:
        path.unlink()
    made = make(outputs, "small")
    assert block(made, "page")["baselines"] == []
    assert "one seed says nothing about retraining" in made


def test_without_predictions_levels_come_from_the_records(outputs: Path) -> None:
    for path in (outputs / "artifacts" / "predict").glob("*/*.parquet"):
        path.unlink()
    made = make(outputs, "small")
    cells = block(made, "page")["cells"]
    assert all(cell["set"] is None and set(cell["accuracy"]) == {"mean"} for cell in cells)
    assert "No intervals: its predictions are not there." in made


def test_sweeps_on_other_examples_are_not_compared(outputs: Path) -> None:
    synthetic.write(outputs, "other", synthetic.Size(cells=4, seeds=1, examples=24, labels=4))
    made = make(outputs, "small", "other")
    told = block(made, "page")
    assert [one["examples"] for one in told["sets"]] == [20, 24]
    for place, _ in enumerate(told["baselines"]):
        for cell, gain in zip(told["cells"], block(made, f"gains-{place}"), strict=True):
            assert gain is None or told["cells"][gain[0]]["set"] == cell["set"]


def test_gains_over_every_cell_are_antisymmetric(outputs: Path) -> None:
    made = make(outputs, "small")
    told = block(made, "page")
    names = [cell["name"] for cell in told["cells"]]
    cells = [(k, one["name"]) for k, one in enumerate(told["baselines"]) if one["kind"] == "cell"]
    of = {names.index(name): block(made, f"gains-{k}") for k, name in cells}
    assert sorted(of) == list(range(len(names)))
    for one in of:
        for two in of:
            if one != two:
                assert of[one][two][1] == pytest.approx(-of[two][one][1])
                assert of[one][two][2] == pytest.approx(-of[two][one][3])


def test_watching_makes_the_page_again_until_it_is_interrupted(outputs: Path) -> None:
    written = outputs / "report" / "small" / "index.html"
    command = [*COMMAND, "small", "--watch", "--outputs", str(outputs)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        stop = threading.Timer(60, process.kill)  # else a page that is not made again would hang the test
        stop.start()
        assert process.stdout is not None
        assert "8 records" in process.stdout.readline()
        before = written.read_text(encoding="utf-8")
        (path, *_) = (outputs / "results" / "small").glob("*.json")
        path.unlink()
        assert "7 records" in process.stdout.readline()
        assert written.read_text(encoding="utf-8") != before
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        stop.cancel()
