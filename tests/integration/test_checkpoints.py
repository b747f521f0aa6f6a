"""Checkpoints are written by the clock: seldom enough to cost little, and often enough to lose little."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import Trainer

from genclspp.models import folders
from genclspp.progress import Silent
from genclspp.prompts.draft import Prompt, Prompts
from genclspp.settings import ModelSettings, SftSettings
from genclspp.store.artifacts import Store
from genclspp.training import checkpoints, sft
from genclspp.training.checkpoints import CHECKPOINTS, SECONDS, TIMES, Checkpoints, describe_interruption, seal
from tests.tiny import TINY

ITEMS = tuple(Prompt(f"train-{k}", f"<|start|>{k}", "ab"[k % 2]) for k in range(8))
SIDE = Prompts({"a": "a", "b": "b"}, "", ITEMS, answer_tokens=1)


class Clock:
    """Goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(checkpoints, "clock", made)
    return made


def fit(clock: Clock, out: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, **args: Any) -> list[int]:
    """Fine-tune for 20 steps of so many seconds; the steps whose checkpoints, of 10 s, were written."""
    written = []
    save = Trainer._save_checkpoint

    def slowly(trainer: Trainer, *rest: Any) -> None:
        save(trainer, *rest)
        clock.now += 10
        written.append(trainer.state.global_step)

    class Ticks(Silent):
        def advance(self, done: int, total: int) -> None:
            clock.now += seconds

    monkeypatch.setattr(Trainer, "_save_checkpoint", slowly)
    policy = folders.resolve(ModelSettings(config=TINY, precision="float32"), Store(out / "artifacts"))
    given = {"max_steps": 20, "per_device_train_batch_size": 2, "gradient_checkpointing": False, **args}
    sft.fit(policy, SIDE, SftSettings(args=given), 0, Ticks(), out)
    return written


def test_a_training_saves_when_the_time_has_come(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # First after 120 s, then after 20 times the 10 s of writing; and not at the end.
    assert fit(clock, tmp_path, monkeypatch, 50, logging_steps=1) == [3, 7, 11, 15, 19]


def test_a_checkpoint_waits_for_a_logged_step(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert fit(clock, tmp_path, monkeypatch, 50, logging_steps=5) == [5, 10, 15]


def test_a_short_training_saves_nothing(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert fit(clock, tmp_path, monkeypatch, 5, logging_steps=1) == []


def test_an_interrupted_short_training_says_that_it_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By the true clock."""

    class Stops(Silent):
        def advance(self, done: int, total: int) -> None:
            if done == 3:
                raise KeyboardInterrupt

    policy = folders.resolve(ModelSettings(config=TINY, precision="float32"), Store(tmp_path / "artifacts"))
    args = {"max_steps": 20, "per_device_train_batch_size": 2, "logging_steps": 1, "gradient_checkpointing": False}
    with pytest.raises(KeyboardInterrupt) as stopped:
        sft.fit(policy, SIDE, SftSettings(args=args), 0, Stops(), tmp_path)
    assert str(stopped.value) == "interrupted at step 3 of 20, no checkpoint yet: 3 steps will be computed again"


@given(st.lists(st.tuples(st.floats(0.1, 500), st.floats(0.01, 100), st.booleans(), st.booleans()), min_size=1))
def test_writing_takes_a_twentieth_at_most_and_comes_as_soon_as_it_may(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, float, bool, bool]]
):
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "clock", clock)
        may_save = [True]
        asks = Checkpoints(lambda: may_save[0])
        control = SimpleNamespace(should_log=True, should_save=False, should_training_stop=False)
        args, state = SimpleNamespace(output_dir=tmp_path_factory.mktemp("out")), SimpleNamespace(global_step=1)
        asks.on_train_begin(args, state, control)
        last, least = clock.now, SECONDS
        for seconds, writing, is_logged, is_whole in steps:
            clock.now += seconds
            control.should_log, control.should_save, may_save[0] = is_logged, False, is_whole
            asks.on_step_end(args, state, control)
            assert control.should_save == (is_logged and is_whole and clock.now - last >= least)
            if control.should_save:
                begun = clock.now
                clock.now += writing
                asks.on_save(args, state, control)
                last, least = clock.now, max(SECONDS, TIMES * (clock.now - begun))


def test_an_interruption_tells_what_it_costs(tmp_path: Path):
    folder = tmp_path / CHECKPOINTS
    assert "no checkpoint yet: 1 step will be computed again" in describe_interruption(1, 120, folder)
    for step in (40, 50):  # the second was cut off while it was written
        place = folder / f"checkpoint-{step}"
        place.mkdir(parents=True)
        (place / "model.safetensors").touch()
        if step == 40:
            seal(place)
    told = describe_interruption(57, 120, folder)
    assert told == "interrupted at step 57 of 120, checkpoint of step 40: 17 steps will be computed again"
