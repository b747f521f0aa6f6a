"""Reinforcement learning with rule-based rewards, from the SFT policy or from the base model."""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genclspp.models import tokenizers, weights
from genclspp.models.policy import POLICY, Policy
from genclspp.models.precision import autocast
from genclspp.progress import Watch
from genclspp.prompts.draft import Prompts
from genclspp.settings import Reward, RlSettings
from genclspp.store.artifacts import Work, stage
from genclspp.store.files import write_json
from genclspp.training import learners
from genclspp.training import rewards as rewarding
from genclspp.training.learners import Problem

if TYPE_CHECKING:
    from datasets import Dataset

    from genclspp.training.early_stopping import Check, EarlyStopping
    from genclspp.training.focus import Focus

SUMMARY = "summary.json"


def check(settings: RlSettings, count: int) -> None:
    """Raise UserError if the learner or its library rejects the settings for `count` training prompts."""
    from genclspp.training.trainer import build_arguments, check_names

    learner = settings.learner
    if learner is None:  # rl=none in a sweep over learners, whose settings reach this cell too
        check_names([ours.arguments() for ours in learners.OURS], settings.args, "rl.args")
    else:
        learner.check(build_arguments(learner.arguments(), settings.args, "rl.args", 0, Path()), count)


def _learning(policy: Policy, prompts: Prompts, settings: RlSettings, **_: Any) -> Work:
    share = min(settings.examples or math.inf, len(prompts.items)) / len(prompts.items)
    amount = prompts.length * share * settings.args.get("num_train_epochs", 1.0)
    return Work(amount, f"{policy.kind} {type(settings.learner).__name__}")


@stage("rl", version=3, work=_learning)
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
    """Train on the rewards of `prompts`; leave the policy that does best on `held_out`, and curves, in `out`.

    A policy with an adapter trains that adapter further; a base model gets a new one if `lora` is given.
    Without `held_out`, the last policy is left.

    raises: UserError if the policy gives NaN: at the start with `held_out`, at the end without
    """
    from genclspp.training.checkpoints import FOCUS, forget_checkpoints
    from genclspp.training.trainer import Listener, check_finite, count_trained, train

    model = weights.load(policy, train=True, lora=lora, seed=seed)
    # TRL's `disable_dropout` misses the dropout inside attention.
    if settings.learner.disables_dropout or settings.args.get("disable_dropout"):
        weights.disable_dropout(model)
    problem = Problem(policy, prompts, rewards, settings, seed, out)
    data, focus = select_rows(model, problem)
    trainer = settings.learner.trainer(model, problem, data)
    stopping = build_early_stopping(model, problem, held_out, watch) if held_out else None
    for callback in (Listener(watch), *focus, *([stopping] if stopping else [])):
        trainer.add_callback(callback)
    train(trainer, out)
    if stopping:
        stopping.adopt(POLICY)
    else:
        check_finite(trainer)
        weights.save(trainer.model, policy, out)
    learnt = {"parameters/trained": count_trained(trainer.model)}
    write_json(out / SUMMARY, summary(trainer.state) | learnt | (stopping.summary() if stopping else {}))
    # The checkpoints go first: a run that resumes from one needs the policies that `forget` removes.
    forget_checkpoints(out)
    if stopping:
        stopping.forget()
    for name in ("start", FOCUS):
        shutil.rmtree(out / name, ignore_errors=True)


def describe(folder: Path) -> str | None:
    """The gain on held-out prompts, in one line; None if RL ran without checks."""
    found = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    if "rl/best_step" not in found:
        return None
    start, best = (100 * found[name] for name in ("rl/accuracy_start", "rl/accuracy"))
    step = f"step {found['rl/best_step']} of {found['rl/steps']}"
    return f"held-out accuracy {start:.1f} → {best:.1f} %, best at {step}"


def select_rows(model: Any, problem: Problem) -> "tuple[Dataset, list[Focus]]":
    """The training data, and a callback that selects its rows anew in every epoch, if `rl.focus` asks for that."""
    from datasets import Dataset

    from genclspp.training.checkpoints import FOCUS
    from genclspp.training.focus import Focus

    settings, prompts, seed = problem.settings, problem.prompts, problem.seed
    some = learners.sample_prompts(prompts, settings.examples, seed)
    if settings.focus != "unsolved":
        return Dataset.from_list(settings.learner.rows(model, problem, some)), []
    assess = _build_assessment(problem.policy, prompts)
    rows = settings.learner.rows(model, problem, prompts)
    focus = Focus(rows, len(some.items), assess, settings.solved, seed, problem.out / FOCUS)
    return focus.dataset(), [focus]


def _build_assessment(policy: Policy, prompts: Prompts) -> Callable[[Any], list[float]]:
    """A function from a model to its probability of the right answer to each prompt."""
    import torch

    from genclspp.trees import scoring

    tokens, texts = tokenizers.tokenizer(policy), [item.text for item in prompts.items]
    golds = torch.tensor(rewarding.gold_places(prompts))[:, None]

    def assess(model: Any) -> list[float]:
        with autocast(model, policy.settings.precision):
            logprobs = scoring.label_logprobs(model, tokens, texts, prompts.completions())
        return logprobs.gather(1, golds)[:, 0].exp().tolist()

    return assess


def build_early_stopping(model: Any, problem: Problem, held_out: Prompts, watch: Watch) -> "EarlyStopping":
    """The callback that checks the policy on `held_out` while it trains; `model` is the starting policy."""
    from genclspp.training.early_stopping import EarlyStopping

    # With thoughts, an answer has a probability only after one particular thought, so completions are generated.
    build = build_generation_check if held_out.thought_tokens else build_probability_check
    return EarlyStopping(
        evaluate=build(model, problem, held_out),
        save=lambda model, folder: weights.save(model, problem.policy, folder),
        settings=problem.settings,
        watch=watch,
        out=problem.out,
    )


def build_probability_check(start: Any, problem: Problem, held_out: Prompts) -> "Callable[[Any, int], Check]":
    """A check by the probabilities of all answers: (model, step) -> `Check`."""
    import torch

    from genclspp.training.early_stopping import HeldOut
    from genclspp.trees import scoring

    tokens, texts = tokenizers.tokenizer(problem.policy), [item.text for item in held_out.items]
    precision = problem.policy.settings.precision
    with autocast(start, precision):
        logprobs = scoring.label_logprobs(start, tokens, texts, held_out.completions())
    known = HeldOut(
        texts=texts,
        answers=held_out.completions(),
        rewards=torch.tensor(rewarding.reward_table(held_out, problem.rewards)),
        golds=torch.tensor(rewarding.gold_places(held_out)),
        start=logprobs,
    )

    def check(model: Any, step: int) -> "Check":
        with autocast(model, precision):
            return known.check(model, tokens, step)

    return check


def build_generation_check(start: Any, problem: Problem, held_out: Prompts) -> "Callable[[Any, int], Check]":
    """A check by greedy completions: (model, step) -> `Check` without divergence and entropy."""
    from genclspp.training.early_stopping import Check
    from genclspp.trees import scoring

    tokens, texts = tokenizers.tokenizer(problem.policy), [item.text for item in held_out.items]
    rows, limit = rewarding.reward_rows(held_out), held_out.most_tokens

    def check(model: Any, step: int) -> Check:
        with autocast(model, problem.policy.settings.precision):
            ids = scoring.generate(model, tokens, texts, max_new_tokens=limit)
        written = [tokens.decode(row, skip_special_tokens=True) for row in ids]

        def mean(paid: Sequence[Reward]) -> float:
            return sum(rewarding.total_reward(paid, written, rows)) / len(rows)

        correct, parsed = (mean([Reward("", function)]) for function in (rewarding.correct, rewarding.parsed))
        return Check(step, accuracy=correct, reward=mean(problem.rewards), invalid=1 - parsed)

    return check


def summary(state: Any) -> dict[str, float]:
    """Entries of the record: tokens read, steps, and means over all finite values of some curves."""
    found: dict[str, float] = {"tokens": state.num_input_tokens_seen, "rl/steps": state.global_step}
    for name in ("grad_norm", "frac_reward_zero_std"):
        values = [row[name] for row in state.log_history if name in row and math.isfinite(row[name])]
        if values:
            found[f"rl/{name}"] = sum(values) / len(values)
    return found
