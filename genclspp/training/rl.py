"""Reinforcement learning with rule-based rewards, from the SFT policy or from the base model."""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genclspp.models import tokenizers, weights
from genclspp.models.policy import POLICY, Policy
from genclspp.progress import Watch
from genclspp.prompts.draft import Prompts
from genclspp.settings import Reward, RlSettings
from genclspp.store.artifacts import stage
from genclspp.store.files import write_json
from genclspp.training import learners
from genclspp.training import rewards as rewarding
from genclspp.training.learners import Problem
from genclspp.training.sft import adapter

if TYPE_CHECKING:
    from datasets import Dataset

    from genclspp.training.early_stopping import Check, Health
    from genclspp.training.focus import Focus

SUMMARY = "summary.json"


def check(settings: RlSettings, count: int) -> None:
    """Raise ValueError where the learner or its library refuses the settings.

    count: how many prompts there will be to learn from
    """
    from genclspp.training.trainer import arguments, check_names

    learner = settings.learner
    if learner is None:  # beside learners in a sweep, whose settings reach this cell too
        check_names([ours.arguments() for ours in learners.OURS], settings.args, "rl.args")
    else:
        learner.check(arguments(learner.arguments(), settings.args, "rl.args", 0, Path()), count)


@stage("rl", version=1)
def fit(
    policy: Policy,
    prompts: Prompts,
    held_out: Prompts | None,
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
    from peft import PeftModel, get_peft_model

    from genclspp.training.trainer import Listener, check_numbers, forget_checkpoints, train

    model = weights.load(policy, train=True)
    if lora is not None and not isinstance(model, PeftModel):
        model = get_peft_model(model, adapter(lora))
    # TRL's `disable_dropout` leaves dropout in attention as it is.
    if settings.learner.disables_dropout or settings.args.get("disable_dropout"):
        weights.disable_dropout(model)
    problem = Problem(policy, prompts, rewards, settings, seed, out)
    data, focus = draws(model, problem)
    trainer = settings.learner.trainer(model, problem, data)
    health = guard(model, problem, held_out, watch) if held_out else None
    for callback in (Listener(watch), *focus, *([health] if health else [])):
        trainer.add_callback(callback)
    train(trainer, out)
    if health:
        health.adopt(POLICY)
    else:
        check_numbers(trainer)
        weights.save(trainer.model, policy, out)
    write_json(out / SUMMARY, summary(trainer.state) | (health.summary() if health else {}))
    forget_checkpoints(out)
    if health:  # after the checkpoints, which may need it
        health.forget()
    for name in ("start", "focus"):
        shutil.rmtree(out / name, ignore_errors=True)


def told(folder: Path) -> str | None:
    """How RL fared on held-out prompts, in one line; None where it was not checked."""
    found = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    if "rl/best_step" not in found:
        return None
    start, best = (100 * found[name] for name in ("rl/accuracy_start", "rl/accuracy"))
    return (
        f"held-out accuracy {start:.1f} → {best:.1f} %, the best of {found['rl/steps']} steps: "
        f"step {found['rl/best_step']}"
    )


def draws(model: Any, problem: Problem) -> "tuple[Dataset, list[Focus]]":
    """The rows to learn from, and what chooses them anew in every epoch, if anything does."""
    from datasets import Dataset

    from genclspp.training.focus import Focus

    settings, prompts, seed = problem.settings, problem.prompts, problem.seed
    some = learners.drawn(prompts, settings.examples, seed)
    if settings.focus != "unsolved":
        return Dataset.from_list(settings.learner.rows(model, problem, some)), []
    chances = _chances(problem.policy, prompts)
    rows = settings.learner.rows(model, problem, prompts)
    focus = Focus(rows, len(some.items), chances, settings.solved, seed, problem.out / "focus")
    return focus.dataset(), [focus]


def _chances(policy: Policy, prompts: Prompts) -> Callable[[Any], list[float]]:
    """What tells a model's probability of the right answer to each prompt."""
    import torch

    from genclspp.trees import scoring

    tokens, texts = tokenizers.tokenizer(policy), [item.text for item in prompts.items]
    golds = torch.tensor(rewarding.right(prompts))[:, None]

    def chances(model: Any) -> list[float]:
        logprobs = scoring.label_logprobs(model, tokens, texts, prompts.completions())
        return logprobs.gather(1, golds)[:, 0].exp().tolist()

    return chances


def guard(model: Any, problem: Problem, held_out: Prompts, watch: Watch) -> "Health":
    """What checks the policy on `held_out` while it learns."""
    from genclspp.training.early_stopping import Health

    return Health(
        examine=(listened if held_out.thought_tokens else scored)(model, problem, held_out),
        save=lambda model, folder: weights.save(model, problem.policy, folder),
        settings=problem.settings,
        watch=watch,
        out=problem.out,
    )


def scored(start: Any, problem: Problem, held_out: Prompts) -> "Callable[[Any, int], Check]":
    """Checks by the probabilities of all answers."""
    import torch

    from genclspp.training.early_stopping import HeldOut
    from genclspp.trees import scoring

    tokens, texts = tokenizers.tokenizer(problem.policy), [item.text for item in held_out.items]
    known = HeldOut(
        texts=texts,
        answers=held_out.completions(),
        rewards=torch.tensor(rewarding.table(held_out, problem.rewards)),
        golds=torch.tensor(rewarding.right(held_out)),
        start=scoring.label_logprobs(start, tokens, texts, held_out.completions()),
    )
    return lambda model, step: known.check(model, tokens, step)


def listened(start: Any, problem: Problem, held_out: Prompts) -> "Callable[[Any, int], Check]":
    """Checks by what is written greedily, where thoughts come first and answers alone have no probabilities."""
    from genclspp.training.early_stopping import Check
    from genclspp.trees import scoring

    tokens, texts = tokenizers.tokenizer(problem.policy), [item.text for item in held_out.items]
    asked, room = rewarding.rows(held_out), held_out.most_tokens

    def check(model: Any, step: int) -> Check:
        ids = scoring.generate(model, tokens, texts, max_new_tokens=room)
        written = [tokens.decode(row, skip_special_tokens=True) for row in ids]

        def mean(paid: Sequence[Reward]) -> float:
            return sum(rewarding.total(paid, written, asked)) / len(asked)

        correct, parsed = (mean([Reward("", function)]) for function in (rewarding.correct, rewarding.parsed))
        return Check(step, accuracy=correct, reward=mean(problem.rewards), invalid=1 - parsed)

    return check


def summary(state: Any) -> dict[str, float]:
    """For the record: tokens read, and what the curves say of the whole of learning."""
    found: dict[str, float] = {"tokens": state.num_input_tokens_seen, "rl/steps": state.global_step}
    for name in ("grad_norm", "frac_reward_zero_std"):
        values = [row[name] for row in state.log_history if name in row and math.isfinite(row[name])]
        if values:
            found[f"rl/{name}"] = sum(values) / len(values)
    return found
