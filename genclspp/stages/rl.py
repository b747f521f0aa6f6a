"""Reinforcement learning with rule-based rewards, from the SFT policy or from the base model."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from random import Random
from typing import Any

from datasets import Dataset
from peft import PeftModel, get_peft_model
from transformers import TrainingArguments
from trl import GRPOConfig
from trl.trainer.utils import disable_dropout_in_model

from genclspp import models, scoring, thoughts
from genclspp.expected import ExpectedTrainer
from genclspp.groups import TreeGRPOTrainer
from genclspp.models import Policy
from genclspp.prompts import Prompts
from genclspp.settings import Reward, RlSettings
from genclspp.stages import training
from genclspp.stages.sft import adapter
from genclspp.store import write_json
from genclspp.task import UNCERTAIN
from genclspp.watch import Watch


def check(settings: RlSettings, rewards: Sequence[Reward], out: Path) -> None:
    """Raise ValueError where the library refuses the settings."""
    training.arguments(ARGUMENTS[settings.learner], settings.args, "rl.args", 0, out)


def fit(
    policy: Policy,
    prompts: Prompts,
    rewards: Sequence[Reward],
    settings: RlSettings,
    lora: Mapping[str, Any] | None,
    seed: int,
    watch: Watch,
    out: Path,
) -> None:
    """Raise the expected reward on `prompts`; leave the policy and its curves in `out`.

    A policy that is an adapter goes on as that adapter; a base model gets a new one where `lora` is given.
    """
    if settings.examples is not None and settings.examples < len(prompts.items):
        prompts = replace(prompts, items=tuple(Random(seed).sample(prompts.items, settings.examples)))
    model = models.load(policy, train=True)
    if lora is not None and not isinstance(model, PeftModel):
        model = get_peft_model(model, adapter(lora))
    learners: dict[str, Callable[..., Any]] = {"grpo": grpo, "expected": expected}
    trainer = learners[settings.learner](model, policy, prompts, rewards, settings, seed, out)
    trainer.add_callback(training.Listener(watch))
    summary = training.train(trainer, out)
    models.save(trainer.model, policy, out)
    write_json(out / "summary.json", {**summary, "tokens": trainer.state.num_input_tokens_seen})
    training.forget_checkpoints(out)
    shutil.rmtree(out / "start", ignore_errors=True)


def grpo(
    model: Any,
    policy: Policy,
    prompts: Prompts,
    rewards: Sequence[Reward],
    settings: RlSettings,
    seed: int,
    out: Path,
) -> TreeGRPOTrainer:
    """TRL's GRPO: groups of sampled completions."""
    given = {"max_completion_length": longest_answer(policy, prompts) + 4, **settings.args}
    given["reward_weights"] = [reward.weight for reward in rewards]
    if not isinstance(model, PeftModel):
        # TRL loads the reference model from the policy's own folder, so the start must lie in one.
        model.save_pretrained(out / "start")
        model.name_or_path = model.config._name_or_path = str(out / "start")
    trainer = TreeGRPOTrainer(
        model=model,
        args=training.arguments(GRPOConfig, given, "rl.args", seed, out),
        reward_funcs=[function(reward) for reward in rewards],
        train_dataset=Dataset.from_list(rows(prompts)),
        processing_class=models.tokenizer(policy),
    )
    if trainer.ref_model is not None:
        models.straighten_head(trainer.ref_model)
    return trainer


def expected(
    model: Any,
    policy: Policy,
    prompts: Prompts,
    rewards: Sequence[Reward],
    settings: RlSettings,
    seed: int,
    out: Path,
) -> ExpectedTrainer:
    """The exact expected reward over all answers."""
    disable_dropout_in_model(model)
    tokens, texts = models.tokenizer(policy), [item.text for item in prompts.items]
    start = scoring.label_logprobs(model, tokens, texts, prompts.completions())
    columns = {"prompt": texts, "rewards": table(prompts, rewards), "start": start.tolist()}
    return ExpectedTrainer(
        model,
        training.arguments(TrainingArguments, settings.args, "rl.args", seed, out),
        answers=prompts.completions(),
        beta=settings.beta,
        entropy=settings.entropy,
        normalise=settings.normalise,
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokens,
    )


ARGUMENTS = {"grpo": GRPOConfig, "expected": TrainingArguments}


def table(prompts: Prompts, rewards: Sequence[Reward]) -> list[list[float]]:
    """The weighted reward of each answer to each prompt, and of anything else in a last column."""
    written = [*prompts.surfaces.values(), ""]
    asked = [row for row in rows(prompts) for _ in written]
    columns = {name: [row[name] for row in asked] for name in asked[0] if name != "prompt"}
    completions = written * len(prompts.items)
    sums = [0.0] * len(asked)
    for reward in rewards:
        given = function(reward)(completions=completions, **columns)
        sums = [total + reward.weight * value for total, value in zip(sums, given, strict=True)]
    return [sums[k : k + len(written)] for k in range(0, len(sums), len(written))]


def rows(prompts: Prompts) -> list[dict[str, Any]]:
    """One row per prompt, with the columns that rewards read.

    opening: the end of the prompt that belongs to what is written
    """
    surfaces = list(prompts.surfaces.values())
    sign = prompts.surfaces.get(UNCERTAIN)
    shared = {"surfaces": surfaces, "uncertain": sign, "opening": thoughts.OPEN if prompts.thought_tokens else ""}
    return [{"prompt": item.text, "answer": item.answer, **shared} for item in prompts.items]


def function(reward: Reward) -> Any:
    """The reward's function with its own arguments; TRL calls it by name and logs it under that name.

    It is handed whole completions: with the tag that a prompt has opened for them.
    """
    bound = partial(resolve_name(reward.target), **reward.args)

    def pay(completions: Sequence[str], opening: Sequence[str], **columns: Any) -> list[float]:
        whole = [start + written for start, written in zip(opening, completions, strict=True)]
        return bound(completions=whole, **columns)

    pay.__name__ = reward.name
    return pay


def longest_answer(policy: Policy, prompts: Prompts) -> int:
    """Tokens of the longest answer, end token included, and of the thought before it."""
    ids = models.tokenizer(policy)(prompts.completions(), add_special_tokens=False)["input_ids"]
    return max(len(answer) for answer in ids) + 1 + prompts.thought_tokens
