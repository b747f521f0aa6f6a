"""Supervised fine-tuning: learn to write the answers."""

from pathlib import Path
from typing import Any

from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.progress import Watch
from genclspp.prompts.draft import Prompts
from genclspp.settings import SftSettings
from genclspp.store.artifacts import Work, stage
from genclspp.store.files import write_json


def check(settings: SftSettings) -> None:
    """Raise UserError if TRL, PEFT or our trainer rejects the settings."""
    from trl import SFTConfig

    from genclspp.training.sft_trainer import check_arguments
    from genclspp.training.trainer import build_arguments

    check_arguments(build_arguments(SFTConfig, settings.args, "sft.args", 0, Path()))
    if settings.lora is not None:
        weights.lora_config(settings.lora)


def _learning(policy: Policy, prompts: Prompts, settings: SftSettings, **_: Any) -> Work:
    args, count = settings.args, len(prompts.items)
    epochs = args.get("num_train_epochs", 3.0) + settings.extra_epochs * _extra(settings, count) / count
    if (args.get("max_steps") or 0) > 0:
        batch = args.get("per_device_train_batch_size", 8) * args.get("gradient_accumulation_steps", 1)
        epochs = args["max_steps"] * batch / count
    return Work(prompts.length * epochs, f"{policy.kind} {'full' if settings.lora is None else 'lora'}")


@stage("sft", version=3, work=_learning)
def fit(policy: Policy, prompts: Prompts, settings: SftSettings, seed: int, watch: Watch, out: Path) -> None:
    """Fine-tune on the answers (and thoughts) of `prompts`; leave the policy and its curves in `out`.

    raises: UserError if training ends with a NaN or infinite gradient
    """
    from datasets import Dataset
    from trl import SFTConfig

    from genclspp.training.checkpoints import forget_checkpoints
    from genclspp.training.sft_trainer import TreeSFTTrainer
    from genclspp.training.trainer import Listener, build_arguments, check_finite, count_trained, train

    given = {"max_length": None, **settings.args}
    args = build_arguments(SFTConfig, given, "sft.args", seed, out, policy.settings.precision)
    count = len(prompts.items)
    args.num_train_epochs += settings.extra_epochs * _extra(settings, count) / count
    rows = [tokenise(policy, prompts.joint, item.text, item.written) for item in prompts.items]
    trainer = TreeSFTTrainer(
        weights.load(policy, train=True, lora=settings.lora, seed=seed),
        args,
        packing=settings.packing,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizers.tokenizer(policy),
        callbacks=[Listener(watch)],
    )
    summary = train(trainer, out)
    check_finite(trainer)
    weights.save(trainer.model, policy, out)
    tokens = sum(len(row["input_ids"]) for row in rows) * trainer.state.epoch  # a fraction if max_steps ends it
    trained = {"tokens": round(tokens), "parameters/trained": count_trained(trainer.model)}
    write_json(out / "summary.json", {**summary, **trained})
    forget_checkpoints(out)


def tokenise(policy: Policy, joint: str, prompt: str, answer: str) -> dict[str, list[int]]:
    """The row of a data set: `input_ids` of prompt, answer and EOS; `completion_mask`, 1 on the last two."""
    from genclspp.trees.questions import tokenise

    tokens = tokenizers.tokenizer(policy)
    (question,) = tokenise(tokens, [prompt], [joint + answer])
    learned = [*question.answers[0], tokens.eos_token_id]
    return {
        "input_ids": [*question.context, *learned],
        "completion_mask": [0] * len(question.context) + [1] * len(learned),
    }


def _extra(settings: SftSettings, count: int) -> int:
    """As a control of RL (rl=matched), train on as many examples more as RL would see: it sees at most all."""
    return count if settings.extra_examples is None else min(settings.extra_examples, count)
