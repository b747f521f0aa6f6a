"""Artifacts that nothing needs can go, and no others."""

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from genclspp.runs import prune
from genclspp.runs.ledger import Entry, Ledger
from genclspp.store.files import write_json
from tests.cli import ROOT, TINY, Warm, artifacts, environment, records


def run(outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "prune.py", "--outputs", outputs, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT)


def made(outputs: Path) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in artifacts(outputs)}


def test_what_a_deleted_sweep_alone_needed_goes_and_what_others_share_stays(warm: Warm, tmp_path: Path):
    warm.run(*TINY, "name=kept", outputs=tmp_path).require()
    kept = made(tmp_path)
    warm.run("-m", *TINY, "strategy=zero_shot,icl", "decode=ppl,greedy", "name=gone", outputs=tmp_path).require()
    assert "everything in the store is needed" in run(tmp_path).stdout
    for path in (tmp_path / "results" / "gone").rglob("*.json"):
        path.unlink()
    shown = run(tmp_path)
    assert shown.returncode == 0
    assert made(tmp_path) > kept  # shown only
    assert {leftover.stage for leftover in prune.find(tmp_path)} == {"sft", "score", "complete", "predict"}
    done = run(tmp_path, "--delete")
    assert "deleted" in done.stdout
    assert made(tmp_path) == kept
    assert "everything in the store is needed" in run(tmp_path).stdout
    again = warm.run(*TINY, "name=kept", outputs=tmp_path).require()
    assert not again.computed()
    assert len(records(tmp_path, "kept")) == 1


def leave(outputs: Path, name: str) -> Path:
    folder = outputs / "artifacts" / "sft" / name
    write_json(folder / "manifest.json", {})
    return folder


def test_what_a_cell_still_needs_stays(tmp_path: Path):
    ledger = Ledger(tmp_path / "results" / "dev")
    for state, key in (("pending", "a"), ("failed", "b"), ("skipped", "c")):
        leave(tmp_path, key)
        ledger.note(Entry(1, "", f"cell-{key}", steps=(("sft", f"sft/{key}"),)), state)  # type: ignore[arg-type]
    leave(tmp_path, "a.partial")  # its training goes on from a checkpoint
    gone = leave(tmp_path, "d"), leave(tmp_path, "e.partial")
    assert [leftover.folder for leftover in prune.find(tmp_path)] == [*gone]


def test_what_was_damaged_goes_and_what_took_its_place_stays(tmp_path: Path):
    ledger = Ledger(tmp_path / "results" / "dev")
    ledger.note(Entry(1, "", "cell", steps=(("sft", "sft/a"),)), "pending")
    kept = leave(tmp_path, "a")
    waste = [leave(tmp_path, "a.damaged"), leave(tmp_path, "a.deleted")]
    assert [leftover.folder for leftover in prune.find(tmp_path)] == waste
    with FileLock(kept.with_name("a.lock")):
        assert not any(leftover.delete() for leftover in prune.find(tmp_path))
    assert all(leftover.delete() for leftover in prune.find(tmp_path))
    assert sorted(path.name for path in kept.parent.iterdir()) == ["a", "a.lock"]


def test_what_a_process_is_computing_stays(tmp_path: Path):
    folder = leave(tmp_path, "a.partial")
    with FileLock(folder.with_name("a.lock")):
        (found,) = prune.find(tmp_path)
        assert not found.delete()
    assert folder.exists()
    assert found.delete()
    assert [path.name for path in folder.parent.iterdir()] == ["a.lock"]


def test_a_running_cell_that_does_not_know_its_stages_keeps_what_is_new(tmp_path: Path):
    ledger, entry = (
        Ledger(tmp_path / "results" / "dev"),
        Entry(1, "", "cell", steps=(("mine", "mine/m"), ("sft", ""))),
    )
    with ledger.running(entry):
        leave(tmp_path, "new")
        assert prune.find(tmp_path) == []
    assert [leftover.folder.name for leftover in prune.find(tmp_path)] == ["new"]


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_record_stops_everything(content: str, tmp_path: Path):
    folder = leave(tmp_path, "a")
    (tmp_path / "results" / "dev").mkdir(parents=True)
    (tmp_path / "results" / "dev" / "cell.json").write_text(content)
    refused = run(tmp_path, "--delete")
    assert refused.returncode == 1
    assert "cell.json is not a record" in refused.stderr
    assert folder.exists()


def test_a_folder_without_artifacts_is_told(tmp_path: Path):
    refused = run(tmp_path / "elsewhere")
    assert refused.returncode == 1
    assert "holds no artifacts" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not refused.stdout
