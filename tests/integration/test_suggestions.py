"""What a person types almost right gets the right command in one line."""

import time
from pathlib import Path

import pytest

from tests.cli import TINY, Warm, records, run

COMMANDS = {
    ("lr=1e-4",): ("unknown key lr", "python run.py", " sft.args.learning_rate=1e-4"),
    ("rl.lr=1e-4", "rl=grpo"): ("unknown key rl.lr", " rl.args.learning_rate=1e-4"),
    ("train_size=9",): ("unknown key train_size", " dataset.train_size=9"),
    ("epochs=2", "lr=1"): (" sft.args.num_train_epochs=2 ", " sft.args.learning_rate=1"),
    ("batch_size=4",): (" sft.args.per_device_train_batch_size=4",),
    ("shots=5",): ("strategy.icl.shots (with strategy=icl)", " strategy=icl strategy.icl.shots=5"),
    ("strategy=icl_similar", "shots=5"): (" strategy.icl_similar.shots=5",),
    ("learning_rate=1", "rl=grpo"): ("sft.args.learning_rate or rl.args.learning_rate?",),
    ("--decode=ppl",): ("--decode=ppl is not a flag", " decode=ppl"),
    ("--decode=ppl", "strategy=icl,numeric"): ("python run.py -m ", " strategy=icl,numeric"),
    ("strategy=icl,numeric", "decode=ppl"): ("python run.py -m ", " strategy=icl,numeric decode=ppl"),
    ("laoyut=plain",): ("unknown key laoyut; did you mean 'layout'?",),
    ("-m", "seed=0,1", "precison=float32"): ("unknown key precison; did you mean 'precision'?",),
    ("-m", "seed=0,1", "hydra/launcher=ray", "hydra.launcher.resources.sftt.num_cpus=1"): (
        "did you mean 'hydra.launcher.resources.sft'?",
    ),
    ("-m", "seed=0,1", "objective=validation/nll"): ("expected hydra/sweeper=optuna beside it",),
    ("objective=validation/nll",): ("expected hydra/sweeper=optuna beside it",),
}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_one_line_shows_the_right_command(warm: Warm, tmp_path: Path, words: tuple[str, ...]):
    done = warm.run(*TINY, *words, outputs=tmp_path)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err
    for needle in COMMANDS[words]:
        assert needle in done.err, done.err


@pytest.mark.parametrize("name", ["2024", "1e3", "007", "true"])
def test_a_number_is_a_name(warm: Warm, tmp_path: Path, name: str):
    warm.run(*TINY, f"name={name}", outputs=tmp_path).require()
    (record,) = records(tmp_path, name)
    assert record["name"] == name


@pytest.mark.parametrize("place", [0, 1, 2])
def test_m_may_stand_anywhere(warm: Warm, tmp_path: Path, place: int):
    words = [*TINY, "seed=0,1"]
    words.insert(place * len(TINY) // 2, "-m")
    warm.run(*words, outputs=tmp_path).require()
    assert {record["seed"] for record in records(tmp_path)} == {0, 1}


@pytest.mark.parametrize("word", ["model=qwen3_0_6b", "dataset=trec"])
def test_a_download_that_fails_says_so_once_and_soon(tmp_path: Path, word: str):
    """Nothing answers at the address that stands in for the hub here, with and without a network."""
    start = time.monotonic()
    hub = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://localhost:9", "HF_HOME": str(tmp_path)}
    done = run("tracking=none", "model.max_length=512", word, outputs=tmp_path, **hub)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err
    assert "the hub cannot be reached" in done.err
    assert time.monotonic() - start < 20  # most of it starting Python
