"""Reinforcement learning is watched on held-out prompts: the best policy goes on, a collapse is stopped."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from genclspp.models import folders, tokenizers, weights
from genclspp.models.policy import POLICY, Policy
from genclspp.progress import Silent
from genclspp.prompts.draft import Prompt, Prompts
from genclspp.settings import ModelSettings, Reward, RlSettings
from genclspp.store.artifacts import Artifact, Store
from genclspp.training import focus, learners, rewards, rl
from genclspp.training.checkpoints import CHECKPOINTS, last_checkpoint
from genclspp.training.early_stopping import EarlyStopping
from genclspp.training.trainer import CURVES
from genclspp.trees import scoring
from tests.tiny import TINY as SMALL

TINY = {**SMALL, "vocab_size": 300, "initializer_range": 0.3}
ANSWERS = ("a", "ab", "b c")
TEXTS = ("<|start|>a parcel", "<|start|>an invoice, twice", "<|start|>where?")
SIDE = Prompts(
    {answer: answer for answer in ANSWERS},
    "",
    tuple(Prompt(f"train-{k}", f"{TEXTS[k % 3]}{'!' * (k // 3)}", ANSWERS[k % 3]) for k in range(12)),
    answer_tokens=3,
)
CORRECT = Reward("correct", rewards.correct, 1.0)
PARSED = Reward("parsed", rewards.parsed, -1.0)  # rewards invalid text
ARGS = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 4,
    "learning_rate": 0.01,
    "lr_scheduler_type": "constant",
    "logging_steps": 1,
    "gradient_checkpointing": False,
}
SAMPLED = {**ARGS, "num_generations": 2, "beta": 0.02}
SETTINGS = {
    "expected": RlSettings(learner=learners.Expected(beta=0.001, normalise=True), args=ARGS),
    "grpo": RlSettings(learner=learners.Grpo(), args=SAMPLED),
    "rloo": RlSettings(learner=learners.Rloo(), args=SAMPLED),
    # Completions that serve for four steps, and for three halves of one.
    "cycle": RlSettings(learner=learners.Grpo(), args={**SAMPLED, "num_iterations": 2, "steps_per_generation": 2}),
    "straddling": RlSettings(
        learner=learners.Rloo(), args={**SAMPLED, "steps_per_generation": 3, "gradient_accumulation_steps": 2}
    ),
    "unsolved": RlSettings(learner=learners.Expected(), args=ARGS, examples=8, focus="unsolved", solved=0.5),
}


class Stops(Silent):
    """Interrupts after a share of the steps."""

    def __init__(self, after: float) -> None:
        self._after = after

    def advance(self, done: int, total: int) -> None:
        if done >= self._after * total:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """Writes answers most of the time, the right one more often than not."""
    start = folders.resolve(
        ModelSettings(config=TINY, precision="float32"), Store(tmp_path_factory.mktemp("artifacts"))
    )
    args = {**ARGS, "num_train_epochs": 3}
    warm = RlSettings(learner=learners.Expected(normalise=True), args=args)
    out = tmp_path_factory.mktemp("warm")
    rl.fit(start, SIDE, None, [CORRECT], warm, None, 0, Silent(), out)
    return start.after(Artifact("rl", "0" * 16, out))


def fit(policy: Policy, settings: RlSettings, out: Path, reward: Reward = CORRECT, watch: Any = None) -> dict:
    rl.fit(policy, SIDE, SIDE, [reward], settings, None, 0, watch or Silent(), out)
    return json.loads((out / "summary.json").read_text())


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / POLICY / "model.safetensors")


def curve(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / CURVES).read_text().splitlines()]


def accuracy(policy: Policy, out: Path) -> float:
    learned = weights.load(policy.after(Artifact("rl", "1" * 16, out)))
    texts = [item.text for item in SIDE.items]
    logprobs = scoring.label_logprobs(learned, tokenizers.tokenizer(policy), texts, list(ANSWERS))
    return (logprobs.argmax(1) == torch.tensor(rewards.gold_places(SIDE))).float().mean().item()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_policy_of_the_best_check_goes_on(policy: Policy, name: str, tmp_path: Path) -> None:
    told = fit(policy, SETTINGS[name], tmp_path)
    checks = [row for row in curve(tmp_path) if "held_out/accuracy" in row]
    assert checks[0]["step"] == 0
    assert checks[-1]["step"] == told["rl/steps"]
    assert len(checks) <= 1 + SETTINGS[name].checks
    best = max(checks, key=lambda row: (row["held_out/accuracy"], row["held_out/reward"], -row["step"]))
    assert told["rl/best_step"] == best["step"]
    assert told["rl/accuracy"] == best["held_out/accuracy"] == pytest.approx(accuracy(policy, tmp_path))
    assert told["rl/accuracy_start"] == checks[0]["held_out/accuracy"]
    assert checks[0]["held_out/kl"] == pytest.approx(0, abs=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {POLICY, CURVES, "summary.json"}
    if name == "expected":
        assert told["rl/accuracy"] > told["rl/accuracy_start"]


def test_the_start_knows_something_but_not_all(policy: Policy, tmp_path: Path) -> None:
    told = fit(policy, RlSettings(learner=learners.Expected(), args={**ARGS, "max_steps": 1}), tmp_path)
    assert 1 / 3 < told["rl/accuracy_start"] < 1
    assert told["rl/invalid_start"] < 0.6


def test_learning_that_does_harm_leaves_the_start(policy: Policy, tmp_path: Path) -> None:
    wrong = Reward("correct", rewards.correct, -1.0)
    told = fit(policy, RlSettings(learner=learners.Expected(), args=ARGS), tmp_path, wrong)
    assert told["rl/best_step"] == 0
    assert told["rl/accuracy"] == told["rl/accuracy_start"]
    assert policy.trained is not None
    start, left = tensors(policy.trained.path), tensors(tmp_path)
    assert all(torch.equal(start[name], left[name]) for name in start)


def test_a_collapse_is_stopped_and_said(policy: Policy, tmp_path: Path) -> None:
    settings = RlSettings(
        learner=learners.Expected(), args={**ARGS, "learning_rate": 0.05}, checks=9, stop_invalid=0.3
    )
    with pytest.warns(
        UserWarning, match=r"RL collapsed at step \d of 9 .*here with the policy of step \d, the best"
    ):
        told = fit(policy, settings, tmp_path, PARSED)
    assert told["rl/steps"] < 9
    assert "invalid text rose" in told["rl/collapse"]
    assert told["rl/invalid"] < 0.3 + told["rl/invalid_start"]
    assert accuracy(policy, tmp_path) == pytest.approx(told["rl/accuracy"])


@pytest.mark.parametrize("name", ["expected", "grpo", "rloo"])
@pytest.mark.filterwarnings("ignore:RL collapsed")
@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_a_policy_that_is_no_longer_a_number_is_a_collapse(
    policy: Policy, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and again where the run was killed behind the checkpoint of that step."""
    args = {**SETTINGS[name].args, "learning_rate": 1e25, "max_grad_norm": 1e9}
    settings = replace(SETTINGS[name], args=args, checks=1)
    whole = fit(policy, settings, tmp_path / "whole")
    assert (whole["rl/best_step"], whole["rl/collapse"]) == (0, "the policy gives NaN or infinite probabilities")
    assert whole["rl/steps"] < 9  # the check is to come at the end
    with monkeypatch.context() as patch:
        patch.setattr(EarlyStopping, "adopt", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(policy, settings, tmp_path / "halted")
    assert fit(policy, settings, tmp_path / "halted") == whole


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["expected", "grpo"])
def test_without_checks_a_policy_that_is_no_longer_a_number_stops(
    policy: Policy, name: str, tmp_path: Path
) -> None:
    args = {**SETTINGS[name].args, "learning_rate": 1e25, "max_grad_norm": 1e9}
    with pytest.raises(ValueError, match=r"training diverged: .* a learning_rate below 1e\+25"):
        rl.fit(policy, SIDE, None, [CORRECT], replace(SETTINGS[name], args=args), None, 0, Silent(), tmp_path)


def test_a_start_without_numbers_is_refused(policy: Policy, tmp_path: Path) -> None:
    model = weights.load(policy)
    torch.nn.init.constant_(model.get_output_embeddings().weight, torch.nan)
    weights.save(model, policy, tmp_path / "broken")
    broken = policy.after(Artifact("rl", "1" * 16, tmp_path / "broken"))
    with pytest.raises(ValueError, match="the policy that RL starts from gives NaN"):
        fit(broken, SETTINGS["expected"], tmp_path / "out")


def test_the_best_check_may_be_that_of_the_highest_reward(policy: Policy, tmp_path: Path) -> None:
    """A reward that pays for other than right answers: the policy grows worse at these, and goes on."""
    settings = replace(SETTINGS["expected"], best="reward", stop_invalid=1.0)
    told = fit(policy, settings, tmp_path, PARSED)
    checks = [row for row in curve(tmp_path) if "held_out/accuracy" in row]
    assert told["rl/reward"] == max(row["held_out/reward"] for row in checks) > told["rl/reward_start"]


def test_what_an_earlier_try_left_of_later_steps_is_forgotten(policy: Policy, tmp_path: Path) -> None:
    whole = fit(policy, SETTINGS["expected"], tmp_path / "whole")
    stale = tmp_path / "again" / "best-3"
    (stale / POLICY).mkdir(parents=True)
    check = {"step": 3, "accuracy": 1.0, "reward": 2.0, "invalid": 0.0}
    (stale / "check.json").write_text(json.dumps(check))
    assert fit(policy, SETTINGS["expected"], tmp_path / "again") == whole


@pytest.mark.usefixtures("checkpoint_at_every_step")
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("after", [0.1, 0.5, 0.9])
def test_an_interrupted_learner_goes_on_to_the_same_policy(
    policy: Policy, name: str, after: float, tmp_path: Path
) -> None:
    whole = fit(policy, SETTINGS[name], tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(policy, SETTINGS[name], tmp_path / "halted", watch=Stops(after))
    assert last_checkpoint(tmp_path / "halted" / CHECKPOINTS) or after < 0.5
    assert len(list((tmp_path / "halted").glob("best-*"))) <= 2
    assert fit(policy, SETTINGS[name], tmp_path / "halted") == whole
    one, other = tensors(tmp_path / "whole"), tensors(tmp_path / "halted")
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_every_epoch_is_drawn_among_the_unsolved(policy: Policy, tmp_path: Path) -> None:
    seen: list[list[str]] = []

    class Notes(focus.Focus):
        def _look_up(self, batch: Any) -> Any:
            found = super()._look_up(batch)
            seen.append(found["prompt"])
            return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(focus, "Focus", Notes)
        fit(policy, SETTINGS["unsolved"], tmp_path)
    drawn = [text for texts in seen for text in texts]
    assert len(drawn) >= 3 * 8
    assert set(drawn) <= {item.text for item in SIDE.items}
