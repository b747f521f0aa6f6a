"""The exact learner: its objective is the expected reward, its gradient what REINFORCE estimates."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genclspp.inference.decode import best
from genclspp.models import folders, tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.progress import Silent
from genclspp.prompts.draft import Prompt, Prompts
from genclspp.prompts.surfaces import parse
from genclspp.settings import ModelSettings, Reward, RlSettings
from genclspp.store.artifacts import Artifact, Store
from genclspp.task import UNCERTAIN
from genclspp.training import learners, rewards, rl
from genclspp.training.expected_trainer import (
    Stratified,
    answer_logprobs,
    objective,
    objective_terms,
    outcome_logprobs,
)
from genclspp.training.grpo_trainer import sample
from genclspp.trees import scoring
from tests.tiny import TINY as SMALL

TINY = {**SMALL, "vocab_size": 300, "initializer_range": 0.3}  # a policy with opinions
PROMPTS = ["<|start|>a parcel", "<|start|>an invoice, twice"]
ANSWERS = ["a", "ab", "b c"]  # one is a prefix of another
REWARDS_OF_CORRECT = torch.eye(2, 3)
REWARDS = torch.tensor([[1.0, 0.0, 0.0, -0.5], [0.0, 1.0, 0.2, 0.0]])


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return folders.resolve(
        ModelSettings(config=TINY, precision="float32"), Store(tmp_path_factory.mktemp("artifacts"))
    )


def taught(policy: Policy) -> torch.nn.Module:
    """A policy that writes an answer often enough for samples to meet it."""
    model, tokens = weights.load(policy), tokenizers.tokenizer(policy)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(40):
        loss = -answer_logprobs(model, tokens, PROMPTS, ANSWERS).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def gradient(model: torch.nn.Module, value: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    value.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_probabilities_are_those_of_scoring(policy: Policy) -> None:
    model, tokens = weights.load(policy), tokenizers.tokenizer(policy)
    ours = answer_logprobs(model, tokens, PROMPTS, ANSWERS)
    assert torch.allclose(ours, scoring.label_logprobs(model, tokens, PROMPTS, ANSWERS), atol=1e-4)


def test_probabilities_are_the_same_in_one_call_and_without_trees(policy: Policy, monkeypatch) -> None:
    model, tokens = weights.load(policy), tokenizers.tokenizer(policy)
    ours = answer_logprobs(model, tokens, PROMPTS, ANSWERS)
    one = gradient(model, ours.sum())
    at_once = answer_logprobs(model, tokens, PROMPTS, ANSWERS, at_once=True)
    monkeypatch.setattr("genclspp.training.expected_trainer.supports", lambda model: False)
    plain = answer_logprobs(model, tokens, PROMPTS, ANSWERS)
    for other in (at_once, plain):
        assert torch.allclose(ours, other, atol=1e-4)
        assert torch.allclose(one, gradient(model, other.sum()), atol=1e-3)


def test_checkpointed_gradients_learn_too(policy: Policy, tmp_path: Path) -> None:
    args = {"max_steps": 2, "per_device_train_batch_size": 8, "logging_steps": 1, "gradient_checkpointing": True}
    settings = RlSettings(learner=learners.Expected(), args=args)
    paying = [Reward("correct", rewards.correct)]
    rl.fit(policy, side(), side(), paying, settings, None, 0, Silent(), tmp_path)
    assert (tmp_path / "summary.json").exists()


def test_gradient_equals_finite_differences(policy: Policy) -> None:
    model, tokens = taught(policy).double(), tokenizers.tokenizer(policy)
    start = answer_logprobs(model, tokens, PROMPTS, ANSWERS).detach() + torch.tensor([0.0, -0.3, 0.2])

    def value() -> torch.Tensor:
        parts = objective_terms(answer_logprobs(model, tokens, PROMPTS, ANSWERS), REWARDS, start)
        return objective(parts, beta=0.1, entropy=0.05, normalise=False)

    exact = gradient(model, value())
    direction = torch.randn(exact.shape, generator=torch.Generator().manual_seed(0), dtype=exact.dtype)
    direction *= exact.norm() / direction.norm()
    direction += exact  # mostly uphill, so that the difference is not lost in rounding
    step = 1e-3 / direction.norm()
    ends = []
    for sign in (1, -1):
        place = 0
        with torch.no_grad():
            moved = [parameter for parameter in model.parameters() if parameter.grad is not None]
            kept = [parameter.clone() for parameter in moved]
            for parameter in moved:
                part = direction[place : place + parameter.numel()].view_as(parameter)
                parameter += sign * step * part
                place += parameter.numel()
            ends.append(value())
            for parameter, old in zip(moved, kept, strict=True):
                parameter.copy_(old)
    difference = (ends[0] - ends[1]) / (2 * step)
    assert abs(difference / (exact @ direction) - 1) < 1e-3


def test_gradient_is_what_reinforce_estimates(policy: Policy) -> None:
    """20,000 samples, written token by token and read back like any completion."""
    model, tokens = taught(policy), tokenizers.tokenizer(policy)
    logprobs = answer_logprobs(model, tokens, PROMPTS[:1], ANSWERS)
    assert 0.3 < float(logprobs.exp().sum()) < 1  # some answers are invalid, some are not
    rewards = REWARDS[:1]
    parts = objective_terms(logprobs, rewards, logprobs.detach())
    exact = gradient(model, objective(parts, 0.0, 0.0, normalise=False))

    torch.manual_seed(0)
    ids = tokens.encode(PROMPTS[0], add_special_tokens=False)
    stops = {tokens.eos_token_id}
    with torch.no_grad():
        drawn = sample(model, [ids] * 20_000, 6, 1.0, stops)
    counts: dict[tuple[int, ...], int] = {}
    for row in drawn:
        counts[tuple(row)] = counts.get(tuple(row), 0) + 1
    surfaces = {answer: answer for answer in ANSWERS}
    total, mean = torch.zeros(()), 0.0
    for row, count in counts.items():
        ends = row[-1] in stops
        label = parse(tokens.decode(row, skip_special_tokens=True), surfaces) if ends else None
        known = label is not None and tokens.encode(label, add_special_tokens=False) == list(row[:-1])
        reward = float(rewards[0, ANSWERS.index(label) if known and label else -1])
        logits = model(torch.tensor([[*ids, *row]])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
        written = logits[range(len(row)), list(row)].sum()
        total = total + count / 20_000 * reward * written
        mean += count / 20_000 * reward
    estimate = gradient(model, total)
    assert abs(mean - float(parts.reward)) < 0.02
    assert torch.cosine_similarity(exact, estimate, dim=0) > 0.99


@given(
    st.lists(st.floats(-6, -1.2), min_size=2, max_size=3), st.lists(st.floats(-6, -1.2), min_size=3, max_size=3)
)
def test_divergence_and_entropy_are_those_of_the_outcomes(ours: list[float], theirs: list[float]) -> None:
    logprobs, start = torch.tensor([ours]), torch.tensor([theirs[: len(ours)]])
    parts = objective_terms(logprobs, torch.zeros(1, len(ours) + 1), start)
    p, q = (torch.distributions.Categorical(logits=outcome_logprobs(x)[0]) for x in (logprobs, start))
    assert torch.allclose(parts.kl[0], torch.distributions.kl_divergence(p, q), atol=1e-4)
    assert torch.allclose(parts.entropy[0], p.entropy(), atol=1e-4)
    assert torch.allclose(outcome_logprobs(logprobs).exp().sum(), torch.ones(()), atol=1e-5)


def test_what_is_written_beside_the_answers_counts_as_anything_else() -> None:
    parts = objective_terms(
        torch.log(torch.tensor([[0.2, 0.3]])), torch.tensor([[1.0, 0.0, -1.0]]), torch.zeros(1, 2)
    )
    assert torch.allclose(parts.invalid, torch.tensor([0.5]))
    assert torch.allclose(parts.reward, torch.tensor([0.2 - 0.5]))


def test_normalised_prompts_weigh_by_their_spread() -> None:
    """As GRPO does: the gradient of a prompt is divided by the standard deviation of its reward."""
    logprobs = torch.log(torch.tensor([[0.9, 0.05], [0.5, 0.4]])).requires_grad_()
    rewards = torch.tensor([[1.0, 0.0, 0.0]] * 2)
    parts = objective_terms(logprobs, rewards, logprobs.detach())
    (plain,) = torch.autograd.grad(objective(parts, 0, 0, normalise=False), logprobs, retain_graph=True)
    (normalised,) = torch.autograd.grad(objective(parts, 0, 0, normalise=True), logprobs)
    assert torch.allclose(normalised, plain / (parts.spread + 1e-4)[:, None])


def side(uncertain: str | None = None) -> Prompts:
    surfaces = {answer: answer for answer in ANSWERS} | ({UNCERTAIN: uncertain} if uncertain else {})
    items = tuple(Prompt(f"train-{k}", text, ANSWERS[k % 2]) for k, text in enumerate(PROMPTS * 4))
    return Prompts(surfaces, "", items)


def test_each_answer_and_anything_else_have_the_reward_of_their_text() -> None:
    paying = [
        Reward("correct", rewards.correct, 1.0),
        Reward("parsed", rewards.parsed, 0.1),
        Reward("abstained", rewards.abstained, 0.3),
    ]
    rows = rewards.reward_table(side(uncertain="unsure"), paying)
    # answers "a", "ab", "b c", "unsure", then anything else; right are "a" and "ab"
    assert rows[0] == pytest.approx([1.1, 0.1, 0.1, 0.4, 0.0])
    assert rows[1] == pytest.approx([0.1, 1.1, 0.1, 0.4, 0.0])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=90), st.integers(1, 16), st.integers(0, 3))
def test_batches_hold_each_label_in_proportion(labels: list[int], size: int, epoch: int) -> None:
    sampler = Stratified(labels, int, seed=0)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert order == list(sampler)
    assert sorted(order) == list(range(len(labels)))
    for begin in range(0, len(labels) - size + 1, size):
        batch = [labels[position] for position in order[begin : begin + size]]
        for label in set(labels):
            share = labels.count(label) / len(labels)
            # A stretch of the epoch holds each label in proportion, give or take one; so does its length.
            assert abs(batch.count(label) - size * share) <= 1 + share * len(set(labels)) + 1e-9


def test_every_epoch_has_an_order_of_its_own() -> None:
    sampler = Stratified([0, 1, 2] * 20, int, seed=0)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[2] != orders[1]


def test_the_trainer_learns_from_stratified_batches(policy: Policy, tmp_path: Path) -> None:
    settings = RlSettings(learner=learners.Expected(), args={"per_device_train_batch_size": 2})
    problem = learners.Problem(policy, side(), [Reward("correct", rewards.correct, 1.0)], settings, 0, tmp_path)
    model = weights.load(policy, train=True)
    trainer = settings.learner.trainer(model, problem, rl.select_rows(model, problem)[0])
    loader = trainer.get_train_dataloader()
    assert [sorted(map(best, batch["rewards"])) for batch in loader] == [[0, 1]] * 4
    loader.set_epoch(3)  # as the trainer tells every epoch
    assert loader.batch_sampler.sampler._epoch == 3


@pytest.mark.parametrize("lora", [None, {"r": 4, "target_modules": "all-linear"}])
def test_the_reward_rises_and_the_policy_can_be_loaded(policy: Policy, tmp_path: Path, lora: dict | None) -> None:
    args = {"max_steps": 12, "per_device_train_batch_size": 8, "learning_rate": 0.01, "logging_steps": 1}
    settings = RlSettings(learner=learners.Expected(beta=0.001, normalise=True), args=args)
    paying = [Reward("correct", rewards.correct, 1.0)]
    rl.fit(policy, side(), side(), paying, settings, lora, 0, Silent(), tmp_path)
    curves = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    rows = [row for row in curves if "reward" in row]
    assert rows[0].keys() >= {
        "reward",
        "kl",
        "entropy",
        "invalid",
        "frac_reward_zero_std",
        "grad_norm",
        "learning_rate",
    }
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert rows[-1]["reward"] > rows[0]["reward"] + 0.1
    assert rows[-1]["kl"] > 0.05
    learned = policy.after(Artifact("rl", "0" * 16, tmp_path))
    logprobs = scoring.label_logprobs(weights.load(learned), tokenizers.tokenizer(policy), PROMPTS, ANSWERS)
    assert float((logprobs.exp() * REWARDS_OF_CORRECT).sum(1).mean()) == pytest.approx(rows[-1]["reward"], abs=0.3)
    assert json.loads((tmp_path / "summary.json").read_text())["tokens"] > 0
