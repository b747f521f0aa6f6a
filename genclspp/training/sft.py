"""Supervised fine-tuning: learn to write the answers."""

from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig

from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.progress import Watch
from genclspp.prompts.draft import Prompts
from genclspp.settings import SftSettings
from genclspp.store import write_json
from genclspp.training.sft_trainer import TreeSFTTrainer, check_arguments
from genclspp.training.trainer import Listener, arguments, check_numbers, forget_checkpoints, train


def check(settings: SftSettings, out: Path) -> None:
    """Raise ValueError where TRL or PEFT refuse the settings."""
    check_arguments(arguments(SFTConfig, settings.args, "sft.args", 0, out))
    if settings.extra_examples != 0 and (settings.args.get("max_steps") or 0) > 0:
        raise ValueError(
            f"sft.extra_examples={settings.extra_examples} beside sft.args.max_steps, which alone decides how "
            "long to train; expected num_train_epochs"
        )
    if settings.lora is not None:
        adapter(settings.lora)


def fit(policy: Policy, prompts: Prompts, settings: SftSettings, seed: int, watch: Watch, out: Path) -> None:
    """Fine-tune on the answers (and thoughts) of `prompts`; leave the policy and its curves in `out`."""
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
    """`input_ids` of prompt, answer and end token; `completion_mask` is 1 on the last two.

    The joined text is tokenised, as in scoring, so that training and inference see the same tokens; the border
    lies behind the last token that the prompt alone begins with too.
    """
    tokens = tokenizers.tokenizer(policy)
    ids = tokens.encode(prompt + joint + answer, add_special_tokens=False)
    alone = tokens.encode(prompt, add_special_tokens=False)
    border = next((k for k, (a, b) in enumerate(zip(ids, alone, strict=False)) if a != b), len(alone))
    return {
        "input_ids": [*ids, tokens.eos_token_id],
        "completion_mask": [0] * border + [1] * (len(ids) + 1 - border),
    }


def adapter(lora: object) -> LoraConfig:
    """LoRA settings for a causal language model, under PEFT's own names."""
    try:
        return LoraConfig(task_type="CAUSAL_LM", **dict(lora))  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise ValueError(f"peft.LoraConfig refuses sft.lora: {' '.join(str(error).split())}") from error
