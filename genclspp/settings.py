"""Settings as plain records: what the edge hands to everything below it.

Each section checks itself: choices and bounds are part of a field's type. Checks that span several sections are
in `cli/agreement.py`; what the data and the model allow is checked while a cell is planned.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from genclspp.section import Count, NotNegative, Positive, Section, Seed, Share
from genclspp.suggest import UserError, hint
from genclspp.task import SPLITS


@dataclass(frozen=True)
class DatasetSettings(Section, name="dataset"):
    """Where examples come from and how they become a task.

    source:      "tickets" (generated here), "local" (`path` is a file or a folder of splits) or "hub"
    text, label: column names; `rationale`, `id` and `ambiguous` may name further columns
    several_labels: what to do with a row that has several labels or none: "stop", or "drop" the row
    empty:       what to do with a row whose text is empty: "stop", or "drop" the row
    splits:      our split -> its name in the source (for files, without the ending); an empty name leaves it out;
                 for "validation", dev, val, valid and eval will do as well
    overlap:     what to do with texts of validation and test that are also in train, case and punctuation aside:
                 "keep", "drop" or "stop"; train stays as it is
    *_size:      maximum number of examples of a split, stratified by label; null keeps all
    validation_fraction: share of train that becomes validation (or test, see `test_from`) where it is missing
    test_from:   the split that a missing test split is taken from; null raises an error
    labels:      label order; null takes `labels.json` of the folder, else ClassLabel names, else sorted order
    names:       label -> the name that prompts show; `readable` turns underscores into spaces in all others
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
    empty: Literal["stop", "drop"] = "stop"
    overlap: Literal["keep", "drop", "stop"] = "keep"
    splits: Mapping[str, str] = field(default_factory=lambda: dict(zip(SPLITS, SPLITS, strict=True)))
    train_size: Positive | None = None
    validation_size: Positive | None = None
    test_size: Positive | None = None
    validation_fraction: Share = 0.1
    test_from: Literal["validation", "train"] | None = None
    labels: tuple[str, ...] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    readable: bool = False
    definitions: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None
    language: Literal["en", "zh"] = "en"
    list_labels: bool = True
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for split in self.splits:
            if split not in SPLITS:
                raise UserError(f"unknown split dataset.splits.{split}; {hint(split, SPLITS)}")
        if self.source != "tickets" and not self.path:
            wanted = "a file or a folder" if self.source == "local" else "a hub id"
            raise UserError(f"dataset.path is empty; dataset.source={self.source} needs {wanted}")
        for label, count in Counter(self.labels or ()).items():
            if count > 1:
                raise UserError(f"dataset.labels names {label!r} {count} times; expected each label once")


@dataclass(frozen=True)
class ModelSettings(Section, name="model"):
    """A causal language model.

    path:       a folder in hub format, a GGUF file, or a hub id; an installed `package` with the model comes first
    gguf:       GGUF file in `path` or, as PACKAGE/FILE, in packages; several are pieces of one, with this `sha256`
    config:     a transformers configuration, to build a model with random weights drawn from `seed`
    overrides:  entries of the model's own configuration to change, such as {attention_dropout: 0.1}
    as_decoder: load an encoder (BERT) as a causal decoder
    layout:     docs/layouts.md; null takes turns if there is a chat template, else plain. `chat_args` go to it
    max_length: context length to use; null takes the model's own
    advice:     kind of training -> argument -> what suits the model; the groups sft and rl take it from here
    precision:  of matrix products; null takes bfloat16 where the machine is fast at it (`models/precision.py`)
    attention:  "sdpa", "eager" or "flex_attention" (block masks, compiled: for accelerators and large trees)
    """

    path: str = ""
    package: str | None = None
    gguf: tuple[str, ...] = ()
    sha256: str | None = None
    revision: str | None = None
    config: Mapping[str, Any] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: Seed = 0
    as_decoder: bool = False
    bos: str | None = None
    eos: str | None = None
    layout: Literal["turns", "single", "plain"] | None = None
    chat_args: Mapping[str, Any] = field(default_factory=dict)
    max_length: Positive | None = None
    advice: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    precision: Literal["float32", "bfloat16"] | None = None
    attention: Literal["sdpa", "eager", "flex_attention"] = "sdpa"
    trust_remote_code: bool = False


@dataclass(frozen=True)
class SftSettings(Section, name="sft"):
    """Fine-tuning. `args` go to `trl.SFTConfig`, `lora` (null: full) to `peft.LoraConfig`, unchanged.

    packing: "tree" computes each prefix of a batch once, "none" pads sequences; the gradients are the same
    extra_examples, extra_epochs: how many examples to train on beyond `args.num_train_epochs` (null: all), and
             for how many epochs: the control that sees as many examples as RL does
    """

    enabled: bool = True
    packing: Literal["tree", "none"] = "tree"
    args: Mapping[str, Any] = field(default_factory=dict)
    lora: Mapping[str, Any] | None = None
    extra_examples: Count | None = 0
    extra_epochs: NotNegative = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extra_examples != 0 and (self.args.get("max_steps") or 0) > 0:
            raise UserError(
                f"sft.extra_examples={self.extra_examples} conflicts with sft.args.max_steps, which alone sets "
                "how long to train; expected num_train_epochs"
            )


@dataclass(frozen=True)
class RlSettings(Section, name="rl"):
    """Reinforcement learning.

    learner:  a `training.learners.Learner` with its own settings; None for no reinforcement learning
    args:     passed unchanged to the learner's own arguments: `trl.GRPOConfig`, `trl.RLOOConfig`, …
    examples: how many training examples to learn from per epoch (seeded draw); null takes all
    focus:    which ones: "all" draws once among all; "unsolved" draws anew every epoch among those whose right
              answer has a probability below `solved`; "rest" draws among those that SFT did not see
    warmup:   for focus "rest": share of the training examples that SFT sees
    held_out: validation examples to check the policy on; 0 checks nothing and keeps the last policy
    checks:   maximum number of checks, besides the one at the start; the policy of the best check is kept
    best:     what makes a check the best: the "accuracy" of the most likely answer, or the "reward" where that
              pays for more than right answers; the other one breaks ties
    stop_invalid, stop_kl: collapse; RL stops when the probability of invalid text has risen by more than
              `stop_invalid`, or the KL divergence from the starting policy, in nats, exceeds `stop_kl`
    """

    learner: Any = None
    args: Mapping[str, Any] = field(default_factory=dict)
    examples: Positive | None = None
    focus: Literal["all", "unsolved", "rest"] = "all"
    solved: Share = 0.9
    warmup: Share = 0.5
    held_out: Count = 200
    checks: Positive = 5
    best: Literal["accuracy", "reward"] = "accuracy"
    stop_invalid: NotNegative = 0.5
    stop_kl: NotNegative = 30.0


@dataclass(frozen=True)
class ReasoningSettings(Section, name="reasoning"):
    """A thought before the answer, in training and inference.

    max_thought_tokens: closing tag included; null takes the longest training rationale and eight more (128 without
                        any), at most half of the context; longer rationales are truncated before SFT
    """

    enabled: bool = False
    max_thought_tokens: int | None = None


@dataclass(frozen=True)
class PredictSettings(Section, name="predict"):
    """Inference.

    batch_size:     prompts per forward pass; changes speed, and results by rounding alone
    max_new_tokens: of greedy decoding; null takes the longest answer plus four
    validation:     maximum number of validation examples to predict on, to choose between cells and to calibrate
                    probabilities; RL's checks use others
    """

    batch_size: Positive = 32
    max_new_tokens: Positive | None = None
    validation: Count = 500


@dataclass(frozen=True)
class TrackingSettings(Section, name="tracking"):
    """Where runs are mirrored to. `mode`: null is online if an API key is found, else offline."""

    backend: Literal["wandb", "none"] = "none"
    project: str = "genclspp"
    entity: str | None = None
    mode: Literal["online", "offline"] | None = None


@dataclass(frozen=True)
class Reward:
    """A reward: a function (see `training/rewards.py`), its weight, and its own arguments."""

    name: str
    function: Callable[..., list[float]]
    weight: float = 1.0
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A metric on top of the usual ones: a function (see `inference/metrics.py`) and its own arguments."""

    name: str
    function: Callable[..., float | None]
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One configuration of a sweep, complete and checked: what the pipeline runs.

    sweep:   name of the sweep; choices: group -> the name typed on the command line, lists joined by "+"
    knobs:   the other keys typed -> their values
    method:  a `baselines.method.Method`; None for the generative one, which all but dataset and predict are about
    train, infer: the strategies of each side (`prompts.draft.Strategy`); `decoder`: an `inference.decode.Decoder`
    config:  the composed configuration as plain data, for the tracker
    threads: to compute with; None for one per physical core (`runs/threads.py`)
    failures: what a cell that fails does to its sweep: the others "continue", or all "stop" there
    objective: the figure of records that a search looks at (`cli/search.py`); of validation examples, never test
    words:   of the command line that runs it alone, without where it writes and how it computes
    """

    sweep: str
    outputs: str
    seed: int
    choices: Mapping[str, str]
    knobs: Mapping[str, Any]
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
    metrics: tuple[Metric, ...] = ()
    method: Any = None
    config: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    failures: Literal["continue", "stop"] = "continue"
    objective: str = "validation/accuracy"
    words: tuple[str, ...] = ()

    def strategies(self, side: str) -> list[tuple[str, Any]]:
        """The strategies of a side, each with its key in the configuration, such as "strategy.icl"."""
        if self.method:
            return []
        section = side if self.config.get(side) is not None else "strategy"
        names = [name for name, part in (self.config.get(section) or {}).items() if part is not None]
        return [(f"{section}.{name}", made) for name, made in zip(names, getattr(self, side), strict=True)]
