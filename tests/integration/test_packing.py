"""Training over token trees against `SFTTrainer` on padded sequences."""

import random

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, BertConfig, GPTNeoConfig, PreTrainedTokenizerFast, Qwen2Config
from trl import SFTConfig, SFTTrainer

from genclspp.training import sft_trainer
from genclspp.training.sft_trainer import IGNORED, TreeSFTTrainer, count_targets, group_rows
from genclspp.trees.tree import path

VOCABULARY = 60
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
QWEN = Qwen2Config(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    **ENDS,
)
BERT = BertConfig(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    is_decoder=True,
    **ENDS,
)
LOCAL = GPTNeoConfig(
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_layers=2,
    num_heads=4,
    attention_types=[[["global", "local"], 1]],
    window_size=8,
    **ENDS,
)


def rows(count=24, seed=0):
    """Prompts with a shared beginning; some examples occur twice, some differ only in the completion."""
    rng = random.Random(seed)
    stem = [rng.randrange(3, VOCABULARY) for _ in range(12)]
    made = []
    for _ in range(count):
        prompt = stem[: rng.choice((3, 12))] + [rng.randrange(3, 6) for _ in range(rng.randint(1, 3))]
        answer = [rng.randrange(6, 9) for _ in range(rng.randint(1, 3))] + [2]
        made.append({"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)})
    return made


def tokenizer():
    words = {f"<{k}>": k for k in range(VOCABULARY)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<3>"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<0>", bos_token="<1>", eos_token="<2>")


def make(kind, config, folder, *, lora=False, **settings):
    torch.manual_seed(0)
    names = {"packing"} & set(settings)
    args = {
        "per_device_train_batch_size": 4,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "completion_only_loss": True,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
    } | {name: value for name, value in settings.items() if name not in names}
    return kind(
        AutoModelForCausalLM.from_config(config),
        SFTConfig(str(folder), **args),
        train_dataset=Dataset.from_list(rows()),
        eval_dataset=Dataset.from_list(rows(6, seed=1)),
        processing_class=tokenizer(),
        peft_config=LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False) if lora else None,
        **{name: settings[name] for name in names},
    )


def train(*args, **settings):
    trainer = make(*args, **settings)
    trainer.train()
    return trainer


def curve(trainer, name="loss"):
    return [row[name] for row in trainer.state.log_history if name in row]


def weights(trainer):
    return torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])


SETTINGS = {
    "plain": {},
    "accumulation": {"gradient_accumulation_steps": 3},
    "epochs, last batch short": {"max_steps": -1, "num_train_epochs": 2, "per_device_train_batch_size": 5},
    "lora": {"lora": True},
    "no checkpointing": {"gradient_checkpointing": False},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_training_equals_that_of_sft_trainer(settings, tmp_path):
    ours = train(TreeSFTTrainer, QWEN, tmp_path / "ours", **settings)
    theirs = train(SFTTrainer, QWEN, tmp_path / "theirs", **settings)
    for name in ("loss", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens", "learning_rate"):
        assert curve(ours, name) == pytest.approx(curve(theirs, name), rel=2e-4), name
    torch.testing.assert_close(weights(ours), weights(theirs), atol=2e-4, rtol=0)
    assert ours.evaluate()["eval_loss"] == pytest.approx(theirs.evaluate()["eval_loss"], rel=1e-4)


def test_bf16_training_stays_close(tmp_path):
    ours = train(TreeSFTTrainer, QWEN, tmp_path / "ours", bf16=True)
    theirs = train(SFTTrainer, QWEN, tmp_path / "theirs", bf16=True)
    assert curve(ours) == pytest.approx(curve(theirs), rel=5e-3)


def gradient(trainer, compute):
    trainer.model.zero_grad()
    batch = next(iter(trainer.get_train_dataloader()))
    compute(batch).backward()
    return torch.cat([weight.grad.flatten() for weight in trainer.model.parameters() if weight.grad is not None])


@pytest.mark.parametrize("config", [QWEN, BERT], ids=["qwen2", "bert"])
@pytest.mark.parametrize("packed", ["tree", "none"])
def test_gradient_is_that_of_the_model_s_own_loss(config, packed, tmp_path):
    trainer = make(TreeSFTTrainer, config, tmp_path, packing=packed)
    trainer.model.train()
    ours = gradient(trainer, lambda batch: trainer.compute_loss(trainer.model, dict(batch)))
    own = gradient(trainer, lambda batch: trainer.model(**batch).loss)
    assert (ours - own).norm() < 1e-5 * own.norm()


def test_apart_or_together_the_gradient_is_the_same(tmp_path, monkeypatch):
    trainer = make(TreeSFTTrainer, QWEN, tmp_path)
    together = gradient(trainer, lambda batch: trainer.compute_loss(trainer.model, dict(batch)))
    monkeypatch.setattr(sft_trainer, "MAX_NODES", 20)
    apart = gradient(trainer, lambda batch: trainer.compute_loss(trainer.model, dict(batch)))
    assert (together - apart).norm() < 1e-5 * together.norm()


def test_each_prefix_is_read_once(tmp_path):
    trainer = make(TreeSFTTrainer, QWEN, tmp_path, gradient_checkpointing=False)
    seen = []
    trainer.model.model.register_forward_hook(
        lambda module, args, out: seen.append(out.last_hidden_state.shape[1])
    )
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.compute_loss(trainer.model, batch)
    sequences = [
        ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    learned = {tuple(row[:k]) for row in sequences for k in range(1, len(row))}  # the last token predicts nothing
    assert sum(seen) == len(learned)


def test_architectures_that_cannot_read_trees_are_trained_all_the_same(tmp_path):
    with pytest.warns(UserWarning, match="cannot read token trees"):
        ours = train(TreeSFTTrainer, LOCAL, tmp_path / "ours")
    theirs = train(SFTTrainer, LOCAL, tmp_path / "theirs")
    assert curve(ours) == pytest.approx(curve(theirs), rel=2e-4)


def test_prompts_are_not_learned_although_the_data_set_is_tokenised(tmp_path):
    trainer = make(TreeSFTTrainer, QWEN, tmp_path, completion_only_loss=None)
    labels = [row["labels"] for row in trainer.train_dataset]
    assert all(row[0] == IGNORED != row[-1] for row in labels)


def test_training_resumes_from_a_checkpoint(tmp_path):
    whole = train(TreeSFTTrainer, QWEN, tmp_path / "whole", save_strategy="steps", save_steps=2)
    resumed = make(TreeSFTTrainer, QWEN, tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    torch.testing.assert_close(weights(resumed), weights(whole), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "settings", [{"packing": "bfd"}, {"loss_type": "dft"}, {"label_smoothing_factor": 0.1}], ids=str
)
def test_what_cannot_be_done_is_refused(settings, tmp_path):
    with pytest.raises(ValueError, match=r"expected 'tree' or 'none'|sft\.args\.\w+=.*; expected "):
        make(TreeSFTTrainer, QWEN, tmp_path, **settings)


SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=9)


@given(SEQUENCES, st.integers(1, 64))
def test_every_row_is_in_one_group(sequences, hidden):
    members = [k for group_ in group_rows(sequences, hidden, 32) for k in group_]
    assert sorted(members) == list(range(len(sequences)))


@given(SEQUENCES)
def test_wishes_are_counted_once_per_example(sequences):
    labels = [[IGNORED] * (len(row) // 2) + row[len(row) // 2 :] for row in sequences]
    tree, counts = count_targets(sequences, labels)
    assert sum(counts) == sum(label != IGNORED for row in labels for label in row[1:])
    for node, count in enumerate(counts):
        way = [tree.tokens[step] for step in path(tree, node)]
        wishing = [
            row
            for row, label in zip(sequences, labels, strict=True)
            if row[: len(way)] == way and label[len(way) - 1] != IGNORED
        ]
        assert count == (len(wishing) if len(way) > 1 else 0)


def test_long_strangers_are_read_apart_and_a_shared_beginning_holds_together():
    rng = random.Random(0)

    def draw(count):
        return [rng.randrange(1000) for _ in range(count)]

    assert len(group_rows([draw(400) for _ in range(8)], hidden=256, call=32)) == 8
    stem = draw(400)
    assert len(group_rows([stem + draw(20) for _ in range(8)], hidden=256, call=32)) == 1
    assert len(group_rows([draw(20) for _ in range(8)], hidden=256, call=32)) == 1
