"""In bfloat16, what is trained stays in float32, all else is bfloat16; the precision is in keys and records."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from trl import SFTConfig

from genclspp.models import folders, precision, tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Artifact, Store
from genclspp.training.sft_trainer import TreeSFTTrainer
from genclspp.training.trainer import build_arguments
from genclspp.trees import scoring
from tests.cli import TINY as CELL
from tests.cli import Warm, records
from tests.tiny import TINY

LORA = {"r": 4, "target_modules": "all-linear"}
TEXTS = ["The printer is on fire.", "Where is my parcel?", "I forgot my password."]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def low(store: Store) -> Policy:
    return folders.resolve(ModelSettings(config=TINY, precision="bfloat16"), store)


def kinds(model: torch.nn.Module, *, trained: bool) -> set[torch.dtype]:
    return {weight.dtype for weight in model.parameters() if weight.requires_grad is trained}


def test_trained_weights_are_float32_and_all_others_bfloat16(low: Policy):
    whole, adapted = weights.load(low, train=True), weights.load(low, train=True, lora=LORA)
    assert kinds(whole, trained=True) == {torch.float32}
    assert kinds(adapted, trained=True) == {torch.float32}
    assert kinds(adapted, trained=False) == {torch.bfloat16}
    assert {weight.dtype for weight in weights.load(low).parameters()} == {torch.bfloat16}


def test_a_saved_adapter_is_trained_in_float32_and_read_in_bfloat16(low: Policy, tmp_path: Path):
    weights.save(weights.load(low, train=True, lora=LORA), low, tmp_path)
    learned = low.after(Artifact("sft", "1" * 16, tmp_path))
    assert kinds(weights.load(learned, train=True), trained=True) == {torch.float32}
    assert {weight.dtype for weight in weights.load(learned).parameters()} == {torch.bfloat16}


def test_an_adapter_depends_on_the_seed_of_training(low: Policy):
    first, same, other = (weights.load(low, train=True, lora=LORA, seed=seed).state_dict() for seed in (0, 0, 1))
    (name, *_) = (name for name in first if "lora_A" in name)
    assert torch.equal(first[name], same[name])
    assert not torch.equal(first[name], other[name])


def test_the_precision_is_settled_with_the_model_and_counts(low: Policy, store: Store):
    full = folders.resolve(ModelSettings(config=TINY, precision="float32"), store)
    by_itself = folders.resolve(ModelSettings(config=TINY), store)
    assert low.key != full.key
    assert by_itself.settings.precision == precision.fastest()
    assert by_itself.key == (low if precision.fastest() == "bfloat16" else full).key


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({"amx_bf16"}, "bfloat16"),
        ({"avx512_bf16"}, "bfloat16"),
        ({"avx2", "avx512_f"}, "float32"),
        (set(), "float32"),
    ],
)
def test_a_processor_multiplies_bfloat16_fast_or_not(
    monkeypatch: pytest.MonkeyPatch, units: set[str], expected: str
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(units, True) | {"amx_int8": True})
    assert precision.fastest.__wrapped__() == expected


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_training_in_bfloat16_goes_the_way_of_float32(low: Policy, store: Store, tmp_path: Path, lora):
    losses = []
    for policy in (low, folders.resolve(ModelSettings(config=TINY, precision="float32"), store)):
        given = {"max_steps": 5, "per_device_train_batch_size": 3, "learning_rate": 1e-2, "logging_steps": 1}
        given |= {"gradient_checkpointing": False, "max_length": None}
        args = build_arguments(SFTConfig, given, "sft.args", 0, tmp_path, policy.settings.precision)
        tokens = tokenizers.tokenizer(policy)
        rows = [tokens(text)["input_ids"] for text in TEXTS]
        data = [{"input_ids": row, "completion_mask": [0] + [1] * (len(row) - 1)} for row in rows]
        model = weights.load(policy, train=True, lora=lora)
        trainer = TreeSFTTrainer(model, args, train_dataset=Dataset.from_list(data), processing_class=tokens)
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
    assert losses[0][-1] < losses[0][0]


def test_scores_in_bfloat16_are_those_of_float32_but_for_rounding(low: Policy, store: Store):
    full = folders.resolve(ModelSettings(config=TINY, precision="float32"), store)
    tokens = tokenizers.tokenizer(full)
    ours, exact = (
        scoring.label_logprobs(weights.load(policy), tokens, TEXTS, [" yes", " no, not at all"])
        for policy in (low, full)
    )
    assert torch.allclose(ours, exact, atol=0.1)
    assert not torch.equal(ours, exact)


def test_a_cell_in_bfloat16_trains_reinforces_and_says_so(warm: Warm, tmp_path: Path):
    done = warm.run(*CELL, "rl=expected", "rl.learner.beta=0.1", "precision=bfloat16", outputs=tmp_path).require()
    (record,) = records(tmp_path)
    assert record["precision"] == "bfloat16"
    assert done.computed()["rl"] == 1
    again = warm.run(*CELL, "rl=expected", "rl.learner.beta=0.1", "precision=float32", outputs=tmp_path).require()
    assert again.computed()["sft"] == 1  # another precision is another policy


@pytest.mark.parametrize("words", [("sft.args.bf16=true",), ("rl=grpo", "rl.args.fp16=true")])
def test_the_precision_is_set_in_one_place(warm: Warm, tmp_path: Path, words: tuple[str, ...]):
    done = warm.run(*CELL, *words, outputs=tmp_path)
    assert done.code == 1
    assert "cannot be set: it is determined by precision" in done.err
