"""Reinforcement learning with rule-based rewards, from the SFT policy or from the base model."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from random import Random
from typing import Any

from datasets import Dataset
from peft import PeftModel
from trl import GRPOConfig

from genclspp import models
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
    """Raise ValueError where TRL refuses the settings."""
    training.arguments(GRPOConfig, settings.args, "rl.args", 0, out)


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
    """Raise the expected reward on `prompts` with GRPO; leave the policy and its curves in `out`.

    A policy that is an adapter goes on as that adapter; a base model gets a new one where `lora` is given.
    """
    given = {"max_completion_length": longest_answer(policy, prompts) + 4, **settings.args}
    given["reward_weights"] = [reward.weight for reward in rewards]
    args = training.arguments(GRPOConfig, given, "rl.args", seed, out)
    model = models.load(policy, train=True)
    adapted = isinstance(model, PeftModel)
    if not adapted:
        # TRL loads the reference model from the policy's own folder, so the start must lie in one.
        model.save_pretrained(out / "start")
        model.name_or_path = model.config._name_or_path = str(out / "start")
    trainer = TreeGRPOTrainer(
        model=model,
        args=args,
        reward_funcs=[function(reward) for reward in rewards],
        train_dataset=Dataset.from_list(rows(prompts, settings.examples, seed)),
        processing_class=models.tokenizer(policy),
        peft_config=adapter(lora) if lora is not None and not adapted else None,
        callbacks=[training.Listener(watch)],
    )
    if trainer.ref_model is not None:
        models.straighten_head(trainer.ref_model)
    summary = training.train(trainer, out)
    models.save(trainer.model, policy, out)
    tokens = trainer.state.num_input_tokens_seen
    write_json(out / "summary.json", {**summary, "tokens": tokens})
    training.forget_checkpoints(out)
    shutil.rmtree(out / "start", ignore_errors=True)


def rows(prompts: Prompts, examples: int | None, seed: int) -> list[dict[str, Any]]:
    """One row per prompt, with the columns that rewards read."""
    items = list(prompts.items)
    if examples is not None and examples < len(items):
        items = Random(seed).sample(items, examples)
    surfaces = list(prompts.surfaces.values())
    sign = prompts.surfaces.get(UNCERTAIN)
    return [
        {"prompt": item.text, "answer": item.answer, "surfaces": surfaces, "uncertain": sign} for item in items
    ]


def function(reward: Reward) -> Any:
    """The reward's function with its own arguments; TRL calls it by name and logs it under that name."""
    bound = partial(resolve_name(reward.target), **reward.args)
    bound.__name__ = reward.name  # type: ignore[attr-defined]
    return bound


def longest_answer(policy: Policy, prompts: Prompts) -> int:
    """Tokens of the longest answer, end token included."""
    ids = models.tokenizer(policy)(prompts.completions(), add_special_tokens=False)["input_ids"]
    return max(len(answer) for answer in ids) + 1
