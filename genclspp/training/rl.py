"""Reinforcement learning with rule-based rewards, from the SFT policy or from the base model."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from random import Random
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model
from transformers import TrainingArguments
from trl import GRPOConfig, RLOOConfig

from genclspp.models import tokenizers, weights
from genclspp.models.policy import POLICY, Policy
from genclspp.progress import Watch
from genclspp.prompts import thoughts
from genclspp.prompts.draft import Prompt, Prompts
from genclspp.settings import Reward, RlSettings
from genclspp.store import write_json
from genclspp.task import UNCERTAIN
from genclspp.training.early_stopping import Check, Health, HeldOut
from genclspp.training.expected_trainer import ExpectedTrainer
from genclspp.training.focus import Focus
from genclspp.training.grpo_trainer import TreeGRPOTrainer, TreeRLOOTrainer
from genclspp.training.sft import adapter
from genclspp.training.trainer import Listener, arguments, check_names, check_numbers, forget_checkpoints, train
from genclspp.trees import scoring


def check(settings: RlSettings, count: int, out: Path) -> None:
    """Raise ValueError where the library refuses the settings, or the learner has no use for them.

    count: how many prompts there will be to learn from
    """
    if settings.learner == "none":  # beside learners in a sweep, whose settings reach this cell too
        check_names(list(ARGUMENTS.values()), settings.args, "rl.args")
        return
    for name in ("beta", "entropy", "normalise"):
        value = getattr(settings, name)
        if value and settings.learner != "expected":
            raise ValueError(
                f"rl.{name}={value} is a setting of rl=expected, which rl={settings.learner} would ignore; "
                "its own are in rl.args"
            )
    args: Any = arguments(ARGUMENTS[settings.learner], settings.args, "rl.args", 0, out)
    if settings.learner == "expected":
        if args.label_smoothing_factor:
            raise ValueError("rl.args.label_smoothing_factor has no meaning for rl=expected; leave it out")
        return
    _check_generation(args, count)


def _check_generation(args: Any, count: int) -> None:
    """Refuse what TRL's sampling ahead makes impossible.

    Of fewer prompts than it samples at once it would learn nothing, and completions that serve for several steps
    are in no checkpoint.
    """
    at_once = args.generation_batch_size // args.num_generations
    if count < at_once:
        raise ValueError(
            f"{count} prompts to learn from; expected {at_once} or more, as completions of so many are sampled at "
            "once, or a smaller rl.args.per_device_train_batch_size"
        )
    cycle = args.steps_per_generation * args.num_iterations // args.gradient_accumulation_steps
    if cycle > 1 and args.save_strategy == "steps" and args.save_steps % cycle:
        raise ValueError(
            f"rl.args.save_steps={args.save_steps:g}; expected a multiple of {cycle}, as completions serve for "
            f"{cycle} steps and learning that was interrupted can only go on between them"
        )


def fit(
    policy: Policy,
    prompts: Prompts,
    held_out: Prompts,
    rewards: Sequence[Reward],
    settings: RlSettings,
    lora: Mapping[str, Any] | None,
    seed: int,
    watch: Watch,
    out: Path,
) -> None:
    """Raise the expected reward on `prompts`; leave the best policy on `held_out`, and curves, in `out`.

    A policy that is an adapter goes on as that adapter; a base model gets a new one where `lora` is given.
    """
    model = weights.load(policy, train=True)
    if lora is not None and not isinstance(model, PeftModel):
        model = get_peft_model(model, adapter(lora))
    # TRL's `disable_dropout` leaves dropout in attention as it is.
    if settings.learner == "expected" or settings.args.get("disable_dropout"):
        weights.disable_dropout(model)
    course = Course(policy, prompts, rewards, settings, seed, out)
    data, focus = draws(model, course)
    trainer = LEARNERS[settings.learner](model, course, data)
    for callback in (Listener(watch), *focus):
        trainer.add_callback(callback)
    health = guard(model, course, held_out, watch)
    if health:
        trainer.add_callback(health)
    train(trainer, out)
    if health:
        health.adopt(POLICY)
    else:
        check_numbers(trainer)
        weights.save(trainer.model, policy, out)
    write_json(out / "summary.json", summary(trainer.state) | (health.summary() if health else {}))
    forget_checkpoints(out)
    if health:  # after the checkpoints, which may need it
        health.forget()
    for name in ("start", "focus"):
        shutil.rmtree(out / name, ignore_errors=True)


@dataclass(frozen=True)
class Course:
    """What a learner is given besides the model."""

    policy: Policy
    prompts: Prompts
    rewards: Sequence[Reward]
    settings: RlSettings
    seed: int
    out: Path


def draws(model: Any, course: Course) -> tuple[Dataset, list[Focus]]:
    """The rows to learn from, and what chooses them anew in every epoch, if anything does."""
    settings, prompts = course.settings, course.prompts
    some = replace(prompts, items=drawn(prompts, settings, course.seed))
    if settings.focus != "unsolved":
        return Dataset.from_list(columns(model, course, some)), []
    tokens, texts = tokenizers.tokenizer(course.policy), [item.text for item in prompts.items]
    golds = torch.tensor(right(prompts))[:, None]

    def chances(model: Any) -> list[float]:
        logprobs = scoring.label_logprobs(model, tokens, texts, prompts.completions())
        return logprobs.gather(1, golds)[:, 0].exp().tolist()

    rows = columns(model, course, prompts)
    focus = Focus(rows, len(some.items), chances, settings.solved, course.seed, course.out / "focus")
    return focus.dataset(), [focus]


def drawn(prompts: Prompts, settings: RlSettings, seed: int) -> tuple[Prompt, ...]:
    """At most `settings.examples` of the prompts."""
    if settings.examples is None or settings.examples >= len(prompts.items):
        return prompts.items
    return tuple(Random(seed).sample(prompts.items, settings.examples))


def columns(model: Any, course: Course, prompts: Prompts) -> list[dict[str, Any]]:
    """One row per prompt, with what the learner reads."""
    if course.settings.learner != "expected":
        return rows(prompts)
    texts = [item.text for item in prompts.items]
    given = [
        {"prompt": text, "rewards": rewards}
        for text, rewards in zip(texts, table(prompts, course.rewards), strict=True)
    ]
    if not course.settings.beta:
        return given
    start = scoring.label_logprobs(
        model, tokenizers.tokenizer(course.policy), texts, prompts.completions()
    ).tolist()
    return [{**row, "start": logprobs} for row, logprobs in zip(given, start, strict=True)]


def sampled(trainer: type, model: Any, course: Course, data: Dataset) -> Any:
    """TRL's GRPO or RLOO: groups of sampled completions."""
    settings, out = course.settings, course.out
    given = {"max_completion_length": longest_completion(course.policy, course.prompts), **settings.args}
    args: Any = arguments(ARGUMENTS[settings.learner], given, "rl.args", course.seed, out)
    args.reward_weights = [reward.weight for reward in course.rewards]
    if not isinstance(model, PeftModel):
        # TRL loads the reference model from the policy's own folder, so the start must lie in one.
        model.save_pretrained(out / "start")
        model.name_or_path = model.config._name_or_path = str(out / "start")
    made = trainer(
        model=model,
        args=args,
        reward_funcs=[function(reward) for reward in course.rewards],
        train_dataset=data,
        processing_class=tokenizers.tokenizer(course.policy),
    )
    if made.ref_model is not None:
        weights.straighten_head(made.ref_model)
    return made


def exact(model: Any, course: Course, data: Dataset) -> ExpectedTrainer:
    """The exact expected reward over all answers."""
    settings = course.settings
    return ExpectedTrainer(
        model,
        arguments(TrainingArguments, settings.args, "rl.args", course.seed, course.out),
        answers=course.prompts.completions(),
        beta=settings.beta,
        entropy=settings.entropy,
        normalise=settings.normalise,
        train_dataset=data,
        processing_class=tokenizers.tokenizer(course.policy),
    )


ARGUMENTS: dict[str, type] = {"grpo": GRPOConfig, "rloo": RLOOConfig, "expected": TrainingArguments}
LEARNERS: dict[str, Callable[[Any, Course, Dataset], Any]] = {
    "grpo": partial(sampled, TreeGRPOTrainer),
    "rloo": partial(sampled, TreeRLOOTrainer),
    "expected": exact,
}


def guard(model: Any, course: Course, held_out: Prompts, watch: Watch) -> Health | None:
    """What checks the policy on `held_out` while it learns; None without held-out prompts."""
    if not held_out.items:
        return None
    return Health(
        examine=(listened if held_out.thought_tokens else scored)(model, course, held_out),
        save=lambda model, folder: weights.save(model, course.policy, folder),
        settings=course.settings,
        watch=watch,
        out=course.out,
    )


def scored(start: Any, course: Course, held_out: Prompts) -> Callable[[Any, int], Check]:
    """Checks by the probabilities of all answers."""
    tokens, texts = tokenizers.tokenizer(course.policy), [item.text for item in held_out.items]
    known = HeldOut(
        texts=texts,
        answers=held_out.completions(),
        rewards=torch.tensor(table(held_out, course.rewards)),
        golds=torch.tensor(right(held_out)),
        start=scoring.label_logprobs(start, tokens, texts, held_out.completions()),
    )
    return lambda model, step: known.check(model, tokens, step)


def listened(start: Any, course: Course, held_out: Prompts) -> Callable[[Any, int], Check]:
    """Checks by what is written greedily, where thoughts come first and answers alone have no probabilities."""
    tokens, texts = tokenizers.tokenizer(course.policy), [item.text for item in held_out.items]
    asked, room = rows(held_out), longest_completion(course.policy, held_out)

    def check(model: Any, step: int) -> Check:
        ids = scoring.generate(model, tokens, texts, max_new_tokens=room)
        written = [tokens.decode(row, skip_special_tokens=True) for row in ids]

        def mean(rewards: Sequence[Reward]) -> float:
            return sum(total(rewards, written, asked)) / len(asked)

        correct, parsed = (
            mean([Reward(name, f"genclspp.training.rewards.{name}")]) for name in ("correct", "parsed")
        )
        return Check(step, accuracy=correct, reward=mean(course.rewards), invalid=1 - parsed)

    return check


def summary(state: Any) -> dict[str, float]:
    """For the record: tokens read, and what the curves say of the whole of learning."""
    found: dict[str, float] = {"tokens": state.num_input_tokens_seen, "rl/steps": state.global_step}
    for name in ("grad_norm", "frac_reward_zero_std"):
        values = [row[name] for row in state.log_history if name in row and math.isfinite(row[name])]
        if values:
            found[f"rl/{name}"] = sum(values) / len(values)
    return found


def right(prompts: Prompts) -> list[int]:
    """Place of the right answer of each prompt among the surfaces."""
    places = {surface: place for place, surface in enumerate(prompts.surfaces.values())}
    return [places[item.answer] for item in prompts.items]


def table(prompts: Prompts, rewards: Sequence[Reward]) -> list[list[float]]:
    """The weighted reward of each answer to each prompt, and of anything else in a last column."""
    written = [*prompts.surfaces.values(), ""]
    sums = total(rewards, written * len(prompts.items), [row for row in rows(prompts) for _ in written])
    return [sums[k : k + len(written)] for k in range(0, len(sums), len(written))]


def total(
    rewards: Sequence[Reward], completions: Sequence[str], asked: Sequence[Mapping[str, Any]]
) -> list[float]:
    """The weighted reward of each completion; `asked` holds its row of `rows`."""
    columns = {name: [row[name] for row in asked] for name in asked[0]}
    columns["prompts"] = columns.pop("prompt")  # as TRL names it
    sums = [0.0] * len(asked)
    for reward in rewards:
        given = function(reward)(completions=list(completions), **columns)
        sums = [so_far + reward.weight * value for so_far, value in zip(sums, given, strict=True)]
    return sums


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


def longest_completion(policy: Policy, prompts: Prompts) -> int:
    """Tokens that may be written: a thought, and what comes behind it."""
    return prompts.thought_tokens + tokenizers.longest_completion(policy, prompts.completions())
