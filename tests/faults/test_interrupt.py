"""A run that is stopped leaves nothing half-adopted, and the same command goes on from there."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from genclspp.runs.wandb_files import read_runs
from genclspp.training.checkpoints import last_checkpoint, seal
from tests.cli import SAVING, Done, artifacts, finish, records, run, start, timeless

STEPS = 60
WORDS = (
    "model=tiny",
    "tracking=none",
    "rl=none",
    "dataset.train_size=24",
    "dataset.validation_size=8",
    "dataset.test_size=400",
    "predict.batch_size=1",
    "decode=ppl",
    f"sft.args.max_steps={STEPS}",
    "sft.args.logging_steps=1",
)


RL_WORDS = (
    *(word for word in WORDS if not word.startswith(("rl=", "sft.args.max_steps=", "dataset.test_size="))),
    "sft.args.max_steps=2",
    "dataset.test_size=8",
    "rl.examples=24",
    "rl.checks=6",
    "rl.args.num_train_epochs=2",
)
SAMPLING = ("rl.args.num_generations=2", "rl.args.per_device_train_batch_size=4")
LEARNERS = {
    "cycle": ("rl=grpo", *SAMPLING, "rl.args.num_iterations=2"),
    "grpo": ("rl=grpo", *SAMPLING),
    "rloo": ("rl=rloo", *SAMPLING),
    "expected": ("rl=expected", "rl.focus=unsolved", "rl.args.per_device_train_batch_size=4"),
}


def stop(
    outputs: Path,
    reached: Callable[[Path], Any],
    number: signal.Signals,
    *more: str,
    words: tuple[str, ...] = WORDS,
) -> Done:
    """Start the command, which saves at every step, and send a signal as soon as `reached` says so."""
    process = start(*words, *more, outputs=outputs, program=("-c", SAVING))
    until = time.monotonic() + 90
    while not reached(outputs):
        assert process.poll() is None, finish(process)
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(number)
    return finish(process)


def is_training(outputs: Path) -> bool:
    """Whether a checkpoint of SFT is whole."""
    return any(map(last_checkpoint, outputs.glob("artifacts/sft/*.partial/checkpoints")))


def is_reinforcing(outputs: Path) -> bool:
    """Whether a checkpoint of RL is whole."""
    return any(map(last_checkpoint, outputs.glob("artifacts/rl/*.partial/checkpoints")))


def is_scoring(outputs: Path) -> bool:
    """Whether some of the test prompts are scored, but by far not all."""
    found = list(outputs.glob("artifacts/score/*.partial/scores.jsonl"))
    return any(path.read_bytes().count(b"\n") > 20 for path in found)


def curve(outputs: Path) -> list[dict[str, float]]:
    """The rows of SFT's learning curve."""
    (sft,) = artifacts(outputs, "sft")
    rows = [json.loads(line) for line in (sft / "training.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row]


def mark_checkpoints(outputs: Path) -> None:
    """Write into the curves of the checkpoints that they are theirs: these rows will not be computed again."""
    for folder in outputs.glob("artifacts/sft/*.partial/checkpoints"):
        checkpoint = last_checkpoint(folder)
        assert checkpoint is not None
        path = checkpoint / "trainer_state.json"
        state = json.loads(path.read_text())
        state["log_history"] = [{**row, "kept": 1.0} for row in state["log_history"]]
        path.write_text(json.dumps(state))
        seal(checkpoint)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("undisturbed")
    run(*WORDS, outputs=outputs).require()
    return outputs


def require_clean_stop(done: Done, outputs: Path, stage: str) -> None:
    assert done.code == 130
    told = re.fullmatch(r"interrupted(.*); run the same command again to resume", done.err.strip())
    assert told, done.err
    if stage == "sft":
        require_account(told[1], outputs)
    else:
        assert not told[1]
    assert "Traceback" not in done.out
    require_nothing_adopted(outputs, stage)


def require_account(told: str, outputs: Path) -> None:
    """It says truly what will be computed again."""
    found = re.fullmatch(
        rf" at step (\d+) of {STEPS}, checkpoint of step (\d+): (\d+) steps? will be computed again", told
    )
    assert found, told
    step, kept, again = map(int, found.groups())
    assert step == kept + again
    (folder,) = outputs.glob("artifacts/sft/*.partial/checkpoints")
    last = last_checkpoint(folder)
    assert last is not None
    assert last.name == f"checkpoint-{kept}"


def require_nothing_adopted(outputs: Path, stage: str) -> None:
    assert records(outputs) == []
    finished = {path.parent.name for path in artifacts(outputs)}
    assert finished == ({"base"} if stage == "sft" else {"base", "sft"})


def require_same_result(outputs: Path, undisturbed: Path) -> None:
    (record,), (expected,) = records(outputs), records(undisturbed)
    assert timeless(record) == timeless(expected)
    losses, wanted = ([row["loss"] for row in curve(folder)] for folder in (outputs, undisturbed))
    assert losses == pytest.approx(wanted, abs=1e-6)
    assert [row["step"] for row in curve(outputs)] == list(range(1, STEPS + 1))
    assert not list((outputs / "artifacts").rglob("*.partial"))
    assert not list((outputs / "artifacts").rglob("checkpoint-*"))


def test_a_sweep_stops_as_a_whole(tmp_path: Path):
    process = stop(tmp_path, is_training, signal.SIGINT, "-m", "seed=0,1")
    require_clean_stop(process, tmp_path, "sft")


SLOW_TERM = pytest.param(signal.SIGTERM, marks=pytest.mark.slow)  # handled as SIGINT is


@pytest.mark.parametrize("number", [signal.SIGINT, SLOW_TERM, signal.SIGKILL])
def test_training_goes_on_from_its_checkpoint(tmp_path: Path, undisturbed: Path, number: signal.Signals):
    stopped = stop(tmp_path, is_training, number)
    if number == signal.SIGKILL:
        assert stopped.code == -signal.SIGKILL
        require_nothing_adopted(tmp_path, "sft")
    else:
        require_clean_stop(stopped, tmp_path, "sft")
    mark_checkpoints(tmp_path)
    assert run(*WORDS, outputs=tmp_path).require().computed()["sft"] == 1
    kept = [row["step"] for row in curve(tmp_path) if "kept" in row]
    assert 1 <= len(kept) < STEPS
    require_same_result(tmp_path, undisturbed)


@pytest.mark.slow  # test_health.py interrupts every learner, within one process
@pytest.mark.parametrize("learner", ["cycle", "expected"])
def test_reinforcement_learning_goes_on_after_a_kill(tmp_path: Path, learner: str):
    words = (*RL_WORDS, *LEARNERS[learner])
    run(*words, outputs=tmp_path / "whole").require()
    stopped = stop(tmp_path / "killed", is_reinforcing, signal.SIGKILL, words=words)
    assert stopped.code == -signal.SIGKILL
    assert records(tmp_path / "killed") == []
    again = run(*words, outputs=tmp_path / "killed").require()
    assert (again.reused()["sft"], again.computed()["rl"]) == (1, 1)
    require_same_policy(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
def test_reinforcement_learning_survives_kills_at_any_moment(tmp_path: Path, learner: str):
    words = (*RL_WORDS, *LEARNERS[learner])
    begun = time.monotonic()
    run(*words, outputs=tmp_path / "whole").require()
    undisturbed_seconds = time.monotonic() - begun
    random, kills = Random(0), 0
    while not records(tmp_path / "killed"):
        process = start(*words, outputs=tmp_path / "killed", program=("-c", SAVING))
        try:
            process.wait(timeout=random.uniform(0.5, 0.95) * undisturbed_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        finish(process)
        assert kills < 30
        if not kills:  # faster than the undisturbed one: the machine was busier then
            shutil.rmtree(tmp_path / "killed")
            undisturbed_seconds *= 0.7
    require_same_policy(tmp_path / "killed", tmp_path / "whole")


def steps(folder: Path) -> list[float]:
    """Those of the rows of a learning curve."""
    return [json.loads(line)["step"] for line in (folder / "training.jsonl").read_text().splitlines()]


def require_same_policy(outputs: Path, undisturbed: Path) -> None:
    (record,), (expected,) = records(outputs), records(undisturbed)
    assert timeless(record) == timeless(expected)
    (ours,), (theirs,) = (artifacts(folder, "rl") for folder in (outputs, undisturbed))
    weights = "policy/model.safetensors"
    assert (ours / weights).read_bytes() == (theirs / weights).read_bytes()
    assert steps(ours) == steps(theirs)
    assert not list((outputs / "artifacts").rglob("*.partial"))


@pytest.mark.parametrize("number", [signal.SIGINT, SLOW_TERM])
def test_scoring_goes_on_behind_its_last_row(tmp_path: Path, undisturbed: Path, number: signal.Signals):
    require_clean_stop(stop(tmp_path, is_scoring, number), tmp_path, "score")
    (partial,) = tmp_path.glob("artifacts/score/*.partial/scores.jsonl")
    written = partial.read_bytes()
    again = run(*WORDS, outputs=tmp_path).require()
    assert again.reused()["sft"] == 1
    (whole,) = [
        path for path in tmp_path.glob("artifacts/score/*/scores.jsonl") if path.read_bytes().startswith(written)
    ]
    assert whole.read_bytes().count(b"\n") > written.count(b"\n")
    require_same_result(tmp_path, undisturbed)


def test_two_equal_commands_share_one_computation(tmp_path: Path):
    words = (*WORDS, "tracking=wandb")
    both = [start(*words, outputs=tmp_path) for _ in range(2)]
    done = [finish(process).require() for process in both]
    assert done[0].computed() + done[1].computed() == {"sft": 1, "score": 1, "score_validation": 1, "predict": 1}
    assert len(records(tmp_path)) == 1
    assert not list((tmp_path / "artifacts").rglob("*.partial"))
    # The one that waits must leave the mirror of the one that works alone.
    (sft,) = [one for one in read_runs(tmp_path / "wandb") if one.job_type == "sft"]
    assert sum("loss" in row for row in sft.history) == STEPS
