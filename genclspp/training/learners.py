"""Learners: kinds of reinforcement learning. A new one is a class of this form and a YAML in conf/rl."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.models.precision import autocast
from genclspp.prompts.draft import Prompts
from genclspp.settings import Reward, RlSettings
from genclspp.suggest import UserError
from genclspp.training import rewards

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer


@dataclass(frozen=True)
class Problem:
    """What a learner gets besides the model: the prompts, the rewards, and a folder to work in."""

    policy: Policy
    prompts: Prompts
    rewards: Sequence[Reward]
    settings: RlSettings
    seed: int
    out: Path

    def arguments(self, **defaults: Any) -> Any:
        """The learner's library arguments: `rl.args`, with `defaults` for those that are not set."""
        from genclspp.training.trainer import build_arguments

        kind = self.settings.learner.arguments()
        given = {**defaults, **self.settings.args}
        return build_arguments(kind, given, "rl.args", self.seed, self.out, self.policy.settings.precision)


class Learner(Protocol):
    """A frozen dataclass; its fields are its own settings, set as `rl.learner.NAME`.

    lists_answers:    whether it enumerates all possible completions, which rules out thoughts
    disables_dropout: whether it always trains without dropout (else `rl.args.disable_dropout` decides)
    """

    lists_answers: ClassVar[bool]
    disables_dropout: ClassVar[bool]

    def arguments(self) -> type:
        """The library class that takes `rl.args` as they are."""
        ...

    def check(self, args: Any, count: int) -> None:
        """Raise UserError if these arguments do not allow training on `count` prompts."""

    def rows(self, model: Any, problem: Problem, prompts: Prompts) -> list[dict[str, Any]]:
        """The training data: one row per prompt, with the columns that the trainer reads."""
        ...

    def trainer(self, model: Any, problem: Problem, data: "Dataset") -> "Trainer":
        """The trainer of `model` on `data`, which holds rows of `rows`."""
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
        return rewards.reward_rows(prompts)

    def trainer(self, model: Any, problem: Problem, data: "Dataset") -> "Trainer":
        from genclspp.training.grpo_trainer import TreeGRPOTrainer

        return _build_sampling_trainer(TreeGRPOTrainer, model, problem, data)


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
        return rewards.reward_rows(prompts)

    def trainer(self, model: Any, problem: Problem, data: "Dataset") -> "Trainer":
        from genclspp.training.grpo_trainer import TreeRLOOTrainer

        return _build_sampling_trainer(TreeRLOOTrainer, model, problem, data)


@dataclass(frozen=True)
class Expected:
    """The exact expected reward over all answers, without sampling (docs/expected.md).

    beta:      weight of the KL divergence from the starting policy
    entropy:   weight of the entropy of the distribution over answers
    normalise: divide the reward of each prompt by its standard deviation, as GRPO does
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
            raise UserError(
                f"rl.args.label_smoothing_factor={args.label_smoothing_factor:g}; expected 0, "
                "as rl=expected has no target tokens to smooth"
            )

    def rows(self, model: Any, problem: Problem, prompts: Prompts) -> list[dict[str, Any]]:
        from genclspp.trees.scoring import label_logprobs

        texts, table = [item.text for item in prompts.items], rewards.reward_table(prompts, problem.rewards)
        rows = [{"prompt": text, "rewards": values} for text, values in zip(texts, table, strict=True)]
        if not self.beta:
            return rows
        # The starting policy does not change, so its log-probabilities are computed once, before training.
        tokens = tokenizers.tokenizer(problem.policy)
        with autocast(model, problem.policy.settings.precision):
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


def sample_prompts(prompts: Prompts, examples: int | None, seed: int) -> Prompts:
    """A seeded random sample of at most `examples` prompts; all of them for None."""
    if examples is None or examples >= len(prompts.items):
        return prompts
    return replace(prompts, items=tuple(Random(seed).sample(prompts.items, examples)))


def _build_sampling_trainer(trainer: type, model: Any, problem: Problem, data: "Dataset") -> Any:
    """A trainer of TRL that samples groups of completions."""
    from peft import PeftModel

    args = problem.arguments(max_completion_length=problem.prompts.most_tokens)
    args.reward_weights = [reward.weight for reward in problem.rewards]
    if not isinstance(model, PeftModel):
        # TRL loads the reference model from the folder that the model names, so the start has to be saved in one.
        start = problem.out / "start"
        model.save_pretrained(start)
        model.name_or_path = model.config._name_or_path = str(start)
    made = trainer(
        model=model,
        args=args,
        reward_funcs=[rewards.bind(reward) for reward in problem.rewards],
        train_dataset=data,
        processing_class=tokenizers.tokenizer(problem.policy),
    )
    if made.ref_model is not None:
        weights.move_head_transform(made.ref_model)  # as `weights.load` did to the policy
    return made


def _check_generation(args: Any, count: int) -> None:
    """Refuse arguments that do not go with sampling completions for several batches at once, as TRL does.

    It drops prompts that do not fill a generation, so too few of them leave nothing to train on.
    """
    at_once = args.generation_batch_size // args.num_generations
    if count < at_once:
        raise UserError(
            f"RL would learn from {count} prompt{'s' * (count != 1)}; expected {at_once} or more, as it samples "
            "completions of that many at once (a smaller rl.args.per_device_train_batch_size needs fewer)"
        )
