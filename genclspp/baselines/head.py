"""A classification head on the model: what fine-tuning the same backbone gives without writing labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genclspp.baselines.method import Problem
from genclspp.models import tokenizers, weights
from genclspp.models.policy import POLICY, Policy
from genclspp.models.precision import autocast
from genclspp.progress import Watch
from genclspp.prompts.draft import Frame
from genclspp.settings import SftSettings
from genclspp.store.artifacts import Work, stage
from genclspp.store.files import write_json
from genclspp.task import Example, Task

if TYPE_CHECKING:
    import numpy
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Head:
    """`AutoModelForSequenceClassification`: it reads the bare text, as the model's own tokenizer writes it.

    The stage `fit` has trained what `problem.policy` names.
    """

    is_random: ClassVar[bool] = False  # the stage is; what it has trained is not
    reads_model: ClassVar[bool] = True

    def check(self, task: Task) -> None: ...

    def scores(self, problem: Problem) -> "numpy.ndarray":
        """The logits."""
        import numpy
        import torch

        assert problem.policy is not None
        model = weights.load(problem.policy, labels=problem.labels)
        tokens, limit = tokenizer(problem.policy), tokenizers.max_length(problem.policy)
        rows = encode(problem.policy, problem.queries, limit)
        scores = numpy.empty((len(rows), len(problem.labels)))
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))  # similar lengths: little padding
        with torch.inference_mode(), autocast(model, problem.policy.settings.precision):
            for start in range(0, len(order), problem.batch_size):
                places = order[start : start + problem.batch_size]
                batch = tokens.pad({"input_ids": [rows[place] for place in places]}, return_tensors="pt")
                scores[places] = model(**batch.to(model.device)).logits.float().cpu().numpy()
                problem.watch.advance(start + len(places), len(order))
        return scores


def check(settings: SftSettings) -> None:
    """Raise UserError if transformers or PEFT rejects the settings."""
    from transformers import TrainingArguments

    from genclspp.training.trainer import build_arguments

    build_arguments(TrainingArguments, settings.args, "sft.args", 0, Path())
    if settings.lora is not None:
        weights.lora_config(settings.lora, "SEQ_CLS")


def _learning(policy: Policy, train: Sequence[Example], settings: SftSettings, **_: Any) -> Work:
    read = sum(len(example.text) for example in train)
    kind = f"{policy.kind} {'full' if settings.lora is None else 'lora'}"
    return Work(read * settings.args.get("num_train_epochs", 3.0), kind)


@stage("head", version=1, work=_learning)
def fit(
    policy: Policy,
    train: Sequence[Example],
    labels: Sequence[str],
    max_length: int,
    settings: SftSettings,
    seed: int,
    watch: Watch,
    out: Path,
) -> None:
    """Train a classification head with the model below it, or with an adapter; leave both, and curves, in `out`.

    max_length: tokens of a text that are read
    raises:     UserError if training ends with a NaN or infinite weight
    """
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    from genclspp.training import trainer as training
    from genclspp.training.checkpoints import forget_checkpoints

    places = {label: place for place, label in enumerate(labels)}
    rows: list[dict[str, Any]] = [
        {"input_ids": ids, "labels": places[example.label]}
        for ids, example in zip(encode(policy, train, max_length), train, strict=True)
    ]
    tokens = tokenizer(policy)
    trainer = Trainer(
        weights.load(policy, train=True, lora=settings.lora, seed=seed, labels=labels),
        training.build_arguments(
            TrainingArguments, settings.args, "sft.args", seed, out, policy.settings.precision
        ),
        data_collator=DataCollatorWithPadding(tokens),
        train_dataset=Dataset.from_list(rows),
        callbacks=[training.Listener(watch)],
    )
    summary = training.train(trainer, out)
    training.check_finite(trainer)
    model: Any = trainer.model
    model.save_pretrained(out / POLICY)
    tokens.save_pretrained(out / POLICY)
    read = round(sum(len(row["input_ids"]) for row in rows) * (trainer.state.epoch or 0))
    trained = {"tokens": read, "parameters/trained": training.count_trained(model)}
    write_json(out / "summary.json", {**summary, **trained})
    forget_checkpoints(out)


def truncated(policy: Policy, examples: Sequence[Example]) -> tuple[str, ...]:
    """The ids of the examples whose text does not fit into the model."""
    limit = tokenizers.max_length(policy)
    # A token covers at least one byte, so that few texts have to be tokenised; some tokens stand around it.
    long = [example for example in examples if len(example.text.encode()) > limit // 2]
    return tuple(
        example.id
        for example, ids in zip(long, _ids(policy, long, truncation=False), strict=True)
        if len(ids) > limit
    )


def encode(policy: Policy, examples: Sequence[Example], max_length: int) -> list[list[int]]:
    """The first tokens of each text, with those that the tokenizer itself puts around it."""
    return list(_ids(policy, examples, truncation=True, max_length=max_length))


def _ids(policy: Policy, examples: Sequence[Example], **how: Any) -> Iterator[list[int]]:
    # What looks like a special token in a text must not be one.
    plain = Frame(reserved=tokenizers.special(tokenizers.tokenizer(policy))).plain
    tokens = tokenizer(policy)
    for example in examples:
        yield tokens(plain(example.text), **how)["input_ids"]


def tokenizer(policy: Policy) -> "PreTrainedTokenizerBase":
    """The model's tokenizer as it comes, with the special tokens that it adds; it pads on the right."""
    return _tokenizer(replace(policy, trained=None))


@cache
def _tokenizer(policy: Policy) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    ours = tokenizers.tokenizer(policy)  # which says what is wrong with a broken one
    tokens = AutoTokenizer.from_pretrained(policy.folder, trust_remote_code=policy.settings.trust_remote_code)
    tokens.pad_token, tokens.padding_side, tokens.model_max_length = ours.pad_token, "right", int(1e9)
    return tokens
