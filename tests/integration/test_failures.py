"""What fails can be traced: one sentence, the traceback in a log, the other cells done, a table at the end."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genclspp.cli.sweep import timings
from genclspp.runs.ledger import Entry, Ledger
from genclspp.store.manifests import manifest
from tests.cli import ROOT, TINY, TINY_RL, Done, Warm, artifacts, finish, records, run, start

PARTS = """
from dataclasses import dataclass

from torch.utils.data import Dataset

from genclspp.inference.decode import Constrained
from genclspp.training.learners import Grpo
from genclspp.training.rewards import correct


def reward(completions, answer, **columns):
    if len(completions) > 3:  # in training, not when it is tried out
        raise KeyError("nowhere")
    return correct(completions, answer, **columns)


@dataclass(frozen=True)
class Decoder(Constrained):
    def scores(self, said):
        raise KeyError("nowhere")


@dataclass(frozen=True)
class Learner(Grpo):
    def trainer(self, model, problem, data):
        made = super().trainer(model, problem, data)

        def step(*given, **named):
            raise KeyError("nowhere")

        made.training_step = step
        return made


class Rows(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, place):
        raise KeyError("nowhere")


@dataclass(frozen=True)
class Worker(Grpo):
    def trainer(self, model, problem, data):
        made = super().trainer(model, problem, data)
        made.train_dataset = Rows()
        return made
"""
GRPO = (ROOT / "conf" / "rl" / "grpo.yaml").read_text(encoding="utf-8")
YAML = {
    "reward/broken": "broken:\n  _target_: parts.reward\n",
    "decode/broken": "_target_: parts.Decoder\n",
    "rl/broken": GRPO.replace("genclspp.training.learners.Grpo", "parts.Learner"),
    "rl/worker": GRPO.replace("genclspp.training.learners.Grpo", "parts.Worker"),
}
RL = ("rl=grpo", *TINY_RL[1:])


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with parts that break, and their choices."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "parts.py").write_text(PARTS, encoding="utf-8")
    for name, text in YAML.items():
        path = folder / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        (*RL, "reward=correct,broken"),
        ("decode=ppl,broken",),
        (*TINY_RL[1:], "rl=none,broken"),
        (*TINY_RL[1:], "rl=none,worker", "rl.args.dataloader_num_workers=1"),
    ],
    ids=["reward", "decoder", "trainer", "worker"],
)
def test_a_bug_costs_its_cell_and_can_be_traced(parts: Path, tmp_path: Path, words: tuple[str, ...]):
    done = run("-m", f"--config-dir={parts / 'conf'}", *TINY, *words, outputs=tmp_path, PYTHONPATH=str(parts))
    assert done.code == 1
    assert done.err == ""
    assert "Traceback" not in done.out
    assert "Error executing job" not in done.out
    assert len(records(tmp_path)) == 1  # the other cell is done
    table = done.out.partition("1 of 2 cells has failed")[2]
    assert "broken" in table or "worker" in table
    assert "KeyError" in table
    assert "nowhere" in table
    assert "a bug in genclspp or in a part that was added" in table
    (log,) = re.findall(r"log: (\S+)", table)
    assert "Traceback" in Path(log).read_text(encoding="utf-8")
    assert 'raise KeyError("nowhere")' in Path(log).read_text(encoding="utf-8")
    states = [entry.state for entry in Ledger(tmp_path / "results" / "dev").read()]
    assert states == ["done", "failed"]


def test_a_single_cell_names_the_log_too(parts: Path, tmp_path: Path):
    words = (f"--config-dir={parts / 'conf'}", *TINY, "decode=broken")
    done = run(*words, outputs=tmp_path, PYTHONPATH=str(parts))
    assert done.code == 1
    assert done.err.count("\n") == 1
    (log,) = re.findall(r"the traceback is in (\S+)", done.err)
    assert 'raise KeyError("nowhere")' in Path(log).read_text(encoding="utf-8")
    done = run(*words, outputs=tmp_path, PYTHONPATH=str(parts), HYDRA_FULL_ERROR="1")
    assert "Traceback" in done.err


DIVERGES = ("sft.args.max_steps=3", "sft.args.learning_rate=1e-4,1e30")


def status(outputs: Path, *names: str) -> Done:
    words = [sys.executable, "scripts/status.py", *names, "--outputs", str(outputs)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return Done(done.returncode, done.stdout, done.stderr)


def test_what_needs_a_failed_stage_is_skipped_and_the_same_command_tries_again(warm: Warm, tmp_path: Path):
    words = ("-m", *TINY, *DIVERGES, "decode=ppl,ppl_sum")
    done = warm.run(*words, outputs=tmp_path)
    assert done.code == 1
    assert "2 of 4 cells have failed" in done.out
    assert done.computed()["sft"] == 1
    entries = Ledger(tmp_path / "results" / "dev").read()
    assert [entry.state for entry in entries] == ["done", "done", "failed", "skipped"]
    assert "training diverged" in entries[2].sentence
    assert "needs the stage sft" in entries[3].sentence
    assert "training diverged" in entries[3].sentence
    shown = status(tmp_path, "dev").require().out
    assert "4 cells, 2 done, 1 failed, 1 skipped" in " ".join(shown.split())
    again = warm.run(*words, outputs=tmp_path)
    assert again.code == 1
    assert "training diverged" in again.out  # tried again
    assert again.computed()["score"] == 0


def test_the_ledger_says_what_became_of_an_interrupted_sweep(tmp_path: Path):
    words = ("-m", *TINY, "sft.args.max_steps=400", "strategy=zero_shot,icl")
    for end in (signal.SIGINT, signal.SIGKILL):
        process = start(*words, outputs=tmp_path)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("cell 1/2"):
                break
        shown = status(tmp_path, "dev").require().out
        assert "1 running, 1 pending" in shown
        running = r"^ *1 +zero_shot +running +\S+ +sft \d+ s(?: on \S+ \(\d+\))?, 0/6 *$"
        assert re.search(running, shown, re.MULTILINE), shown
        process.send_signal(end)
        finish(process)
        first, second = Ledger(tmp_path / "results" / "dev").read()
        assert first.state == second.state == "pending"
        assert first.sentence == "interrupted" if end == signal.SIGINT else "its process died" in first.sentence
    assert not records(tmp_path)


def test_an_unknown_sweep_is_named(tmp_path: Path):
    Ledger(tmp_path / "results" / "pilot").note(Entry(1, "", "cell"), "done")
    done = status(tmp_path, "pilott")
    assert done.code == 1
    assert "no sweep 'pilott'" in done.err
    assert "did you mean 'pilot'" in done.err


def test_a_cell_that_another_process_runs_stays_as_it_is(tmp_path: Path):
    ledger, entry = Ledger(tmp_path), Entry(1, "rl=grpo", "cell")
    with ledger.running(entry):
        ledger.expect(entry)
        assert [one.state for one in ledger.read()] == ["running"]
        with ledger.running(entry):
            assert [one.state for one in ledger.read()] == ["running"]
    assert [one.state for one in ledger.read()] == ["done"]


def test_a_knob_concerns_only_cells_with_its_choice(warm: Warm, tmp_path: Path):
    knobs = ("strategy.icl.shots=1,3", "strategy.icl_similar.embedder=tfidf")
    done = warm.run("-m", *TINY, "strategy=zero_shot,icl,icl_similar", *knobs, outputs=tmp_path).require()
    assert "4 cells, all checked" in done.out
    found = [(record["train"], record.get("strategy.icl.shots")) for record in records(tmp_path)]
    assert sorted(found, key=str) == [("icl", 1), ("icl", 3), ("icl_similar", None), ("zero_shot", None)]
    similar = [record for record in records(tmp_path) if "strategy.icl_similar.embedder" in record]
    assert [record["train"] for record in similar] == ["icl_similar"]


@pytest.mark.parametrize("key", ["strategy.icl.shotss", "strategy.numeric.start", "rl.learner.entropy"])
def test_a_knob_that_no_cell_has_is_an_error(warm: Warm, tmp_path: Path, key: str):
    done = warm.run("-m", *TINY, "strategy=zero_shot,icl", f"{key}=1,2", outputs=tmp_path)
    assert done.code == 1
    assert f"unknown key {key}" in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_seeds_of_a_cell_in_which_nothing_is_random_are_one_cell(warm: Warm, tmp_path: Path):
    done = warm.run("-m", *TINY, "sft=none,full", "seed=0,1,2", "decode=ppl", outputs=tmp_path).require()
    assert "4 cells, all checked" in done.out
    found = {(record["sft"], record["seed"]): record["is_random"] for record in records(tmp_path)}
    assert found == {("none", 0): False, ("full", 0): True, ("full", 1): True, ("full", 2): True}


def test_a_sweep_says_once_what_its_cells_share_and_how_far_it_is(warm: Warm, tmp_path: Path):
    done = warm.run("-m", *TINY, "strategy=icl,numeric", "decode=ppl,ppl_sum", outputs=tmp_path).require()
    assert re.findall(r"^cell .*?(?= ·|$)", done.out, re.MULTILINE) == [
        "cell 1/4 strategy=icl decode=ppl",
        "cell 2/4 strategy=icl decode=ppl_sum",
        "cell 3/4 strategy=numeric decode=ppl",
        "cell 4/4 strategy=numeric decode=ppl_sum",
    ]
    assert done.out.count("all: dataset tickets · method generative · model tiny") == 1
    assert timings({"sft": [70.0, 3.4], "score": [2.0], "predict": [0.1, 0.2]}) == "sft 1m13 (2) · score 2 s (1)"


def test_a_single_run_says_where_its_record_lies_and_what_comes_next(warm: Warm, tmp_path: Path):
    done = warm.run(*TINY, "decode=ppl", outputs=tmp_path).require()
    (path,) = (tmp_path / "results" / "dev").glob("*.json")
    assert f"record:   {path}" in done.out
    (predicted,) = artifacts(tmp_path, "predict")
    assert str(predicted / "predictions.parquet") in done.out
    assert json.loads(path.read_text(encoding="utf-8"))["artifact/predict"] == predicted.name
    assert "python scripts/make_tables.py dev" in done.out


def test_what_fails_before_its_cell_begins_is_told_too(warm: Warm, tmp_path: Path):
    words = ("-m", *TINY, "decode=ppl,ppl_sum")
    warm.run(*words, outputs=tmp_path).require()
    record, _ = sorted((tmp_path / "results" / "dev").glob("*.json"))
    log = tmp_path / "logs" / "dev" / f"{record.stem}.log"
    record.unlink()
    log.unlink()
    log.mkdir()  # the cell cannot open its log
    done = warm.run(*words, outputs=tmp_path)
    assert done.code == 1
    assert done.err == f"error: {log}: Is a directory\n"
    assert "1 of 2 cells has failed" in done.out
    assert "pending: it did not begin" in done.out


def test_a_sweep_expects_a_stage_to_take_as_long_as_it_has_taken(warm: Warm, tmp_path: Path):
    words = ("-m", *TINY, "decode=ppl", "seed=0,1")
    warm.run(*words, outputs=tmp_path).require()
    kept, lost = artifacts(tmp_path, "sft")
    (kept / "manifest.json").write_text(json.dumps({**manifest(kept), "seconds": 100}), encoding="utf-8")
    shutil.rmtree(lost)
    done = warm.run(*words, outputs=tmp_path).require()
    assert "cell 1/2 seed=0 · about 1m40 left" in done.out
    assert done.computed()["sft"] == 1


def test_a_sweep_ends_at_its_first_failed_cell_if_asked(warm: Warm, tmp_path: Path):
    words = ("-m", *TINY, "sft.args.max_steps=3", "sft.args.learning_rate=1e-4,1e30,1e-5", "decode=ppl")
    done = warm.run(*words, "failures=stop", outputs=tmp_path)
    assert done.code == 1
    assert "1 of 3 cells has failed" in done.out
    assert "training diverged" in done.out
    assert "failures=stop: the sweep ended there, 1 of 3 to come; the same command goes on" in done.out
    assert "records: " in done.out
    entries = Ledger(tmp_path / "results" / "dev").read()
    assert [entry.state for entry in entries] == ["done", "failed", "pending"]
    assert str(entries[1].log) in done.out
    again = warm.run(*words, outputs=tmp_path)  # the key is no part of what the cells are
    assert [entry.state for entry in Ledger(tmp_path / "results" / "dev").read()] == ["done", "failed", "done"]
    assert again.computed()["predict"] == 1
    assert not any("failures" in record["typed/words"] for record in records(tmp_path))


def test_what_a_failure_does_is_one_of_two(warm: Warm, tmp_path: Path):
    done = warm.run("-m", *TINY, "seed=0,1", "failures=stopp", outputs=tmp_path)
    assert done.code == 1
    assert done.err == "error: failures='stopp'; did you mean 'stop'? (known: continue, stop)\n"
