"""Learners: how the expected reward is raised. A new one is a class of this form and a YAML in conf/rl."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.prompts.draft import Prompts
from genclspp.settings import Reward, RlSettings
from genclspp.training import rewards

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer


@dataclass(frozen=True)
class Problem:
    """What a learner is given besides the model: prompts, what pays, and a folder to work in."""

    policy: Policy
    prompts: Prompts
    rewards: Sequence[Reward]
    settings: RlSettings
    seed: int
    out: Path

    def arguments(self, **defaults: Any) -> Any:
        """The learner's own arguments: `rl.args`, and `defaults` where these are silent."""
        from genclspp.training.trainer import arguments

        kind = self.settings.learner.arguments()
        return arguments(kind, {**defaults, **self.settings.args}, "rl.args", self.seed, self.out)


class Learner(Protocol):
    """A frozen dataclass; its fields are its own settings, set as `rl.learner.NAME`.

    lists_answers:    whether it needs a list of all that may be written, which thoughts do not have
    disables_dropout: whether it always learns without dropout (else `rl.args.disable_dropout` decides)
    """

    lists_answers: ClassVar[bool]
    disables_dropout: ClassVar[bool]

    def arguments(self) -> type:
        """The class of a library that `rl.args` go to, as they are."""
        ...

    def check(self, args: Any, count: int) -> None:
        """Raise ValueError where `count` prompts cannot be learned from with these arguments."""

    def rows(self, model: Any, problem: Problem, prompts: Prompts) -> list[dict[str, Any]]:
        """One row per prompt, as the trainer's data set holds it."""
        ...

    def trainer(self, model: Any, problem: Problem, data: "Dataset") -> "Trainer":
        """What trains `model` on `data`, made of `rows`."""
        ...


@dataclass(frozen=True)
class Grpo:
    """GRPO (Shao et al. 2024, arXiv 2402.03300): groups of sampled completions, over token trees."""

    lists_answers: ClassVar[bool] = False
    disables_dropout: ClassVar[bool] = False

    def arguments(self) -> type:
        from trl import GRPOConfig

        return GRPOConfig

    def check(self, args: Any, count: int) -> None:
        _check_generation(args, count)

    def rows(self, model: Any, problem: Problem, prompts: Prompts) -> list[dict[str, Any]]:
        return rewards.rows(prompts)

    def trainer(self, model: Any, problem: Problem, data: "Dataset") -> "Trainer":
        from genclspp.training.grpo_trainer import TreeGRPOTrainer

        return _sampling(TreeGRPOTrainer, model, problem, data)


@dataclass(frozen=True)
class Rloo:
    """RLOO (Ahmadian et al. 2024, arXiv 2402.14740): the mean reward of the other samples is the baseline."""

    lists_answers: ClassVar[bool] = False
    disables_dropout: ClassVar[bool] = False

    def arguments(self) -> type:
        from trl import RLOOConfig

        return RLOOConfig

    def check(self, args: Any, count: int) -> None:
        _check_generation(args, count)

    def rows(self, model: Any, problem: Problem, prompts: Prompts) -> list[dict[str, Any]]:
        return rewards.rows(prompts)

    def trainer(self, model: Any, problem: Problem, data: "Dataset") -> "Trainer":
        from genclspp.training.grpo_trainer import TreeRLOOTrainer

        return _sampling(TreeRLOOTrainer, model, problem, data)


@dataclass(frozen=True)
class Expected:
    """The exact expected reward over all answers, without sampling (docs/expected.md).

    beta:      weight of the divergence from the starting policy
    entropy:   weight of the entropy of the answers
    normalise: divide by the spread of each prompt's reward, as GRPO does
    """

    lists_answers: ClassVar[bool] = True
    disables_dropout: ClassVar[bool] = True

    beta: float = 0.0
    entropy: float = 0.0
    normalise: bool = False

    def arguments(self) -> type:
        from transformers import TrainingArguments

        return TrainingArguments

    def check(self, args: Any, count: int) -> None:
        if args.label_smoothing_factor:
            raise ValueError("rl.args.label_smoothing_factor has no meaning for rl=expected; leave it out")

    def rows(self, model: Any, problem: Problem, prompts: Prompts) -> list[dict[str, Any]]:
        from genclspp.trees.scoring import label_logprobs

        texts, paid = [item.text for item in prompts.items], rewards.table(prompts, problem.rewards)
        rows = [{"prompt": text, "rewards": pays} for text, pays in zip(texts, paid, strict=True)]
        if not self.beta:
            return rows
        tokens = tokenizers.tokenizer(problem.policy)
        start = label_logprobs(model, tokens, texts, prompts.completions()).tolist()
        return [{**row, "start": logprobs} for row, logprobs in zip(rows, start, strict=True)]

    def trainer(self, model: Any, problem: Problem, data: "Dataset") -> "Trainer":
        from genclspp.training.expected_trainer import ExpectedTrainer

        return ExpectedTrainer(
            model,
            problem.arguments(),
            answers=problem.prompts.completions(),
            beta=self.beta,
            entropy=self.entropy,
            normalise=self.normalise,
            train_dataset=data,
            processing_class=tokenizers.tokenizer(problem.policy),
        )


OURS = (Grpo(), Rloo(), Expected())


def drawn(prompts: Prompts, examples: int | None, seed: int) -> Prompts:
    """At most `examples` of the prompts; all for None."""
    if examples is None or examples >= len(prompts.items):
        return prompts
    return replace(prompts, items=tuple(Random(seed).sample(prompts.items, examples)))


def _sampling(trainer: type, model: Any, problem: Problem, data: "Dataset") -> Any:
    """A trainer of TRL that samples groups of completions."""
    from peft import PeftModel

    args = problem.arguments(max_completion_length=problem.prompts.most_tokens)
    args.reward_weights = [reward.weight for reward in problem.rewards]
    if not isinstance(model, PeftModel):
        # TRL loads the reference model from the policy's own folder, so the start must lie in one.
        start = problem.out / "start"
        model.save_pretrained(start)
        model.name_or_path = model.config._name_or_path = str(start)
    made = trainer(
        model=model,
        args=args,
        reward_funcs=[rewards.function(reward) for reward in problem.rewards],
        train_dataset=data,
        processing_class=tokenizers.tokenizer(problem.policy),
    )
    if made.ref_model is not None:
        weights.straighten_head(made.ref_model)
    return made


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
