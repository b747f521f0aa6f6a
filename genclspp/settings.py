"""Settings as plain records: what the edge hands to everything below it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# A field that came later is part of a stage's key only where it is set: the artifacts from before stay known.
LATER = {"keyed": "where set"}


@dataclass(frozen=True)
class DatasetSettings:
    """Where examples come from and how they become a task.

    source:      "tickets" (generated here), "local" (`path` is a file or a folder of splits) or "hub"
    text, label: column names; `rationale`, `id` and `ambiguous` may name further columns
    several_labels: what to do with a row whose label is a list of none or several: "stop", or "drop" the row
    splits:      our split -> the name of the split (or of the file, without its ending) in the source; an empty
                 name leaves the source's split out
    *_size:      how many examples to keep of a split at most, stratified by label; null keeps all
    validation_fraction: share of train that becomes validation where the source has none
    test_from:   the split to take a missing test split from ("validation" or "train"); null stops
    labels:      label order; null takes `labels.json` of the folder, else ClassLabel names, else sorted order
    names:       label -> the name that prompts show; `readable` turns underscores into spaces in the rest
    """

    source: Literal["tickets", "local", "hub"]
    path: str = ""
    subset: str | None = None
    revision: str | None = None
    text: str = "text"
    label: str = "label"
    rationale: str | None = None
    id: str | None = None
    ambiguous: str | None = None
    several_labels: Literal["stop", "drop"] = "stop"
    splits: Mapping[str, str] = field(
        default_factory=lambda: {"train": "train", "validation": "validation", "test": "test"}
    )
    train_size: int | None = None
    validation_size: int | None = None
    test_size: int | None = None
    validation_fraction: float = 0.1
    test_from: Literal["validation", "train"] | None = None
    labels: tuple[str, ...] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    readable: bool = False
    definitions: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None
    language: Literal["en", "zh"] = "en"
    list_labels: bool = True
    seed: int = 0


@dataclass(frozen=True)
class ModelSettings:
    """A causal language model.

    path:       a local folder in hub format, or a hub id; `package` names an installed package that carries it
    config:     a transformers configuration: the model is then made of random weights, seeded
    overrides:  entries of the model's own configuration to change, such as {attention_dropout: 0.1}
    as_decoder: load an encoder (BERT) as a causal decoder
    chat:       use the tokenizer's chat template where it has one; `chat_args` go to the template
    max_length: positions to use; null takes the model's own limit
    attention:  "sdpa", "eager" or "flex_attention" (block masks, compiled: for accelerators and large trees)
    """

    path: str = ""
    package: str | None = None
    revision: str | None = None
    config: Mapping[str, Any] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    as_decoder: bool = False
    bos: str | None = None
    eos: str | None = None
    chat: bool = True
    chat_args: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: str = "sdpa"
    trust_remote_code: bool = False


@dataclass(frozen=True)
class SftSettings:
    """Fine-tuning. `args` go to `trl.SFTConfig`, `lora` (null: full) to `peft.LoraConfig`, as they are.

    packing: "tree" computes each prefix of a batch once, "none" pads sequences; the gradients are the same
    extra_examples, extra_epochs: how many examples to see beyond `args.num_train_epochs` (null takes all), and
             how often, as a control of what RL sees
    """

    enabled: bool = True
    packing: Literal["tree", "none"] = "tree"
    args: Mapping[str, Any] = field(default_factory=dict)
    lora: Mapping[str, Any] | None = None
    extra_examples: int | None = field(default=0, metadata=LATER)
    extra_epochs: float = field(default=1.0, metadata=LATER)


@dataclass(frozen=True)
class RlSettings:
    """Reinforcement learning.

    learner:  "grpo" and "rloo" sample groups of completions (TRL); "expected" climbs the exact expected reward
    args:     go, as they are, to `trl.GRPOConfig`, `trl.RLOOConfig` or, for "expected",
              `transformers.TrainingArguments`
    examples: how many training examples to learn from in an epoch (seeded draw); null takes all
    focus:    which ones: "all" draws once among all; "unsolved" draws anew for every epoch among those that the
              policy answers rightly with a probability below `solved`; "rest" among those that SFT did not see
    warmup:   for focus "rest": share of the training examples that SFT sees
    held_out: validation examples to check the policy on; 0 checks nothing, and the last policy goes on
    checks:   how often at most, beside the start; the policy of the best check goes on
    best:     by what a check is the best: the "accuracy" of the most likely answer, or the "reward", where that
              pays for more than right answers; the other decides between equal ones
    stop_invalid, stop_kl: collapse; RL stops where the probability of invalid text has risen by more, or the
              divergence from the start, in nats, is larger

    Of "expected" alone (the others have their own in `args`):

    beta:      weight of the divergence from the starting policy
    entropy:   weight of the entropy of the answers
    normalise: divide by the spread of each prompt's reward, as GRPO does
    """

    learner: Literal["none", "grpo", "rloo", "expected"] = "none"
    args: Mapping[str, Any] = field(default_factory=dict)
    examples: int | None = None
    focus: Literal["all", "unsolved", "rest"] = "all"
    solved: float = 0.9
    warmup: float = 0.5
    held_out: int = 200
    checks: int = 5
    best: Literal["accuracy", "reward"] = field(default="accuracy", metadata=LATER)
    stop_invalid: float = 0.5
    stop_kl: float = 30.0
    beta: float = 0.0
    entropy: float = 0.0
    normalise: bool = False


@dataclass(frozen=True)
class ReasoningSettings:
    """A thought before the answer, in training and inference.

    max_thought_tokens: its length at most, closing tag included; null takes the longest training rationale and
                        eight more, 128 where there are none, and half of the model's positions at most;
                        a longer rationale is cut before SFT learns it
    """

    enabled: bool = False
    max_thought_tokens: int | None = None


@dataclass(frozen=True)
class PredictSettings:
    """Inference.

    batch_size:     prompts read at once; it changes speed, never results
    max_new_tokens: of greedy decoding; null takes the longest answer and four more
    calibration:    at most so many validation examples are read to calibrate probabilities
    """

    batch_size: int = 32
    max_new_tokens: int | None = None
    calibration: int = 500


@dataclass(frozen=True)
class TrackingSettings:
    """Where runs are mirrored to. `mode`: null goes online where an API key is at hand, else offline."""

    backend: Literal["wandb", "none"] = "none"
    project: str = "genclspp"
    entity: str | None = None
    mode: Literal["online", "offline"] | None = None


@dataclass(frozen=True)
class Reward:
    """One reward: the function at `target` (dotted path), its weight and its own arguments."""

    name: str
    target: str
    weight: float = 1.0
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One configuration of a sweep, whole and checked: what the pipeline runs.

    sweep:   its name; `choices`: group -> the name typed on the command line, lists joined by "+"
    overrides: the other words typed, sorted: knobs, which no choice names
    train, infer: the strategies of each side (`prompts.Strategy`); `decoder`: a `decode.Decoder`
    config:  the composed configuration as plain data, for the tracker
    """

    sweep: str
    outputs: str
    seed: int
    choices: Mapping[str, str]
    overrides: str
    dataset: DatasetSettings
    model: ModelSettings
    train: tuple[Any, ...]
    infer: tuple[Any, ...]
    decoder: Any
    sft: SftSettings
    rl: RlSettings
    rewards: tuple[Reward, ...]
    predict: PredictSettings
    tracking: TrackingSettings
    reasoning: ReasoningSettings = ReasoningSettings()
    config: Mapping[str, Any] = field(default_factory=dict)
