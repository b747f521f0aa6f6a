"""Supervised fine-tuning: learn to write the answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.progress import Watch
from genclspp.prompts.draft import Prompts
from genclspp.settings import SftSettings
from genclspp.store.artifacts import stage
from genclspp.store.files import write_json


def check(settings: SftSettings) -> None:
    """Raise ValueError where TRL or PEFT refuse the settings."""
    from trl import SFTConfig

    from genclspp.training.sft_trainer import check_arguments
    from genclspp.training.trainer import arguments

    check_arguments(arguments(SFTConfig, settings.args, "sft.args", 0, Path()))
    if settings.lora is not None:
        adapter(settings.lora)


@stage("sft", version=1)
def fit(policy: Policy, prompts: Prompts, settings: SftSettings, seed: int, watch: Watch, out: Path) -> None:
    """Fine-tune on the answers (and thoughts) of `prompts`; leave the policy and its curves in `out`."""
    from datasets import Dataset
    from trl import SFTConfig

    from genclspp.training.sft_trainer import TreeSFTTrainer
    from genclspp.training.trainer import Listener, arguments, check_numbers, forget_checkpoints, train

    args = arguments(SFTConfig, {"max_length": None, **settings.args}, "sft.args", seed, out)
    there = len(prompts.items)  # RL sees no more than that
    extra = there if settings.extra_examples is None else min(settings.extra_examples, there)
    args.num_train_epochs += settings.extra_epochs * extra / there
    rows = [tokenise(policy, prompts.joint, item.text, item.written) for item in prompts.items]
    trainer = TreeSFTTrainer(
        weights.load(policy, train=True),
        args,
        packing=settings.packing,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizers.tokenizer(policy),
        peft_config=adapter(settings.lora) if settings.lora is not None else None,
        callbacks=[Listener(watch)],
    )
    summary = train(trainer, out)
    check_numbers(trainer)
    weights.save(trainer.model, policy, out)
    tokens = sum(len(row["input_ids"]) for row in rows) * trainer.state.epoch  # max_steps may stop in between
    write_json(out / "summary.json", {**summary, "tokens": round(tokens)})
    forget_checkpoints(out)


def tokenise(policy: Policy, joint: str, prompt: str, answer: str) -> dict[str, list[int]]:
    """`input_ids` of prompt, answer and end token; `completion_mask` is 1 on the last two."""
    from genclspp.trees.questions import tokenise

    tokens = tokenizers.tokenizer(policy)
    (question,) = tokenise(tokens, [prompt], [joint + answer])
    learned = [*question.answers[0], tokens.eos_token_id]
    return {
        "input_ids": [*question.context, *learned],
        "completion_mask": [0] * len(question.context) + [1] * len(learned),
    }


def adapter(lora: Mapping[str, Any]) -> Any:
    """PEFT's LoRA settings for a causal language model, under its own names."""
    from peft import LoraConfig

    try:
        return LoraConfig(task_type="CAUSAL_LM", **lora)
    except (TypeError, ValueError) as error:
        raise ValueError(f"peft.LoraConfig refuses sft.lora: {' '.join(str(error).split())}") from error
