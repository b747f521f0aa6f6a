"""When keys count: one table, from keys to what a cell must do for them to change anything."""

from collections.abc import Callable
from dataclasses import dataclass

from genclspp.cli import cells, methods
from genclspp.cli.methods import is_below
from genclspp.settings import Cell

LEARNERS = "rl=grpo, rl=rloo or rl=expected"


@dataclass(frozen=True)
class Rule:
    """When some keys count.

    keys:   the keys, and all below them
    counts: whether they change what a cell computes
    why:    what the cell does instead; {rl} is its choice of a group, {cell} the cell
    needs:  the choice under which they count
    but:    keys below `keys` that the rule is not about
    """

    keys: tuple[str, ...]
    counts: Callable[[Cell], bool]
    why: str
    needs: str
    but: tuple[str, ...] = ()

    def broken(self, cell: Cell, key: str) -> str | None:
        """The sentence about a key that does not count in a cell; None for one that does."""
        if not is_below(key, self.keys) or is_below(key, self.but) or self.counts(cell):
            return None
        return f"{self.why.format(cell=cell, **cell.choices)}: {key} needs {self.needs}"


RULES = (
    # The method comes first: what another one reads has no choice in the cell that the other rules could name.
    Rule(
        methods.GENERATIVE,
        lambda cell: cell.method is None,
        "method={method} reads no prompt and writes no label",
        "method=generative",
        but=methods.SHARED,
    ),
    Rule(methods.MODEL, methods.reads_model, "method={method} reads no model", "method=generative or method=head"),
    Rule(
        methods.TRAINING,
        methods.fine_tunes,
        "method={method} fine-tunes nothing",
        "method=generative or method=head",
    ),
    Rule(
        ("dataset.language",),
        cells.depends_on_language,
        "method={method} treats all languages alike",
        "method=generative, or TF-IDF",
    ),
    # Data.
    Rule(
        (
            *("dataset.path", "dataset.text", "dataset.label", "dataset.rationale", "dataset.id"),
            *("dataset.ambiguous", "dataset.several_labels", "dataset.splits"),
            *("dataset.validation_fraction", "dataset.test_from"),
        ),
        lambda cell: cell.dataset.source != "tickets",
        "dataset={dataset} reads no file",
        "dataset=local",
    ),
    Rule(
        ("dataset.splits",),
        lambda cell: not cells.is_file(cell),
        "dataset.path={cell.dataset.path} is one file",
        "a folder, or a data set of the hub",
    ),
    Rule(
        ("dataset.readable",), cells.may_read_better, "no label of dataset={dataset} has an underscore", "others"
    ),
    Rule(
        ("dataset.subset", "dataset.revision"),
        lambda cell: cell.dataset.source == "hub",
        "dataset={dataset} is not on the hub",
        "dataset=hub",
    ),
    Rule(
        ("dataset.subset", "dataset.revision"),
        lambda cell: not cells.is_saved(cell),
        "{cell.dataset.path} is one data set, saved on this machine",
        "a hub id as dataset.path",
    ),
    Rule(
        ("dataset.rationale",),
        lambda cell: cell.reasoning.enabled,
        "reasoning={reasoning} reads no thoughts",
        "reasoning=think",
    ),
    Rule(("dataset.ambiguous",), cells.mines, "no training example is marked uncertain", "strategy=uncertainty"),
    Rule(("dataset.definitions",), cells.defines, "no prompt shows definitions", "strategy=definition"),
    Rule(
        ("dataset.train_size",),
        cells.reads_training_examples,
        "nothing learns from training examples or shows them",
        "SFT, RL or strategy=icl",
    ),
    Rule(
        ("dataset.validation_size", "rl.held_out"),
        cells.reads_validation,
        "predict.validation=0 leaves validation examples to the checks of RL, and there are none",
        f"predict.validation=N, or rl.held_out=N with {LEARNERS}",
    ),
    # The model.
    Rule(
        ("model.path", "model.package", "model.gguf", "model.sha256", "model.revision"),
        lambda cell: cell.model.config is None,
        "model={model} has random weights",
        "model=local or model=hub",
    ),
    Rule(
        ("model.path", "model.revision"),
        lambda cell: not cells.is_installed(cell),
        "model={model} takes its weights from the installed package {cell.model.package}",
        "model=local or model=hub",
    ),
    Rule(
        ("model.package", "model.gguf"),
        lambda cell: not cell.model.package or cells.is_installed(cell),
        "the package {cell.model.package} is not installed, so the weights come from the hub",
        "that package",
    ),
    Rule(
        ("model.revision",),
        lambda cell: not cells.is_here(cell),
        "{cell.model.path} is on this machine",
        "a hub id as model.path",
    ),
    Rule(
        ("model.gguf",),
        lambda cell: cells.is_installed(cell) or not cells.is_gguf_file(cell),
        "model.path={cell.model.path} names the GGUF file",
        "a folder or a hub id as model.path",
    ),
    Rule(
        ("model.sha256",),
        lambda cell: bool(cell.model.gguf) or (cells.is_gguf_file(cell) and not cells.is_installed(cell)),
        "model={model} reads no GGUF file",
        "model.gguf, or a GGUF file as model.path",
    ),
    Rule(
        ("model.seed",),
        lambda cell: cell.model.config is not None or cell.model.as_decoder,
        "model={model} has no random weights",
        "model.config or model.as_decoder=true (seed=N is the seed of training)",
    ),
    Rule(
        ("model.chat_args",),
        lambda cell: cell.model.layout != "plain",
        "layout=plain uses no chat template",
        "layout=turns or layout=single",
    ),
    Rule(
        ("model.advice.full",),
        lambda cell: cell.sft.enabled and cell.sft.lora is None,
        "sft={sft} takes other advice",
        "sft=full",
    ),
    Rule(
        ("model.advice.lora",),
        lambda cell: cell.sft.enabled and cell.sft.lora is not None,
        "sft={sft} takes other advice",
        "sft=lora",
    ),
    Rule(
        ("model.advice.grpo",),
        lambda cell: cells.learner_is(cell, "Grpo", "Rloo"),
        "rl={rl} takes other advice",
        "rl=grpo or rl=rloo",
    ),
    Rule(
        ("model.advice.expected",),
        lambda cell: cells.learner_is(cell, "Expected"),
        "rl={rl} takes other advice",
        "rl=expected",
    ),
    # Training.
    Rule(
        ("sft.packing", "sft.args", "sft.extra_examples", "sft.extra_epochs"),
        lambda cell: cell.sft.enabled,
        "sft={sft} fine-tunes nothing",
        "sft=full or sft=lora",
    ),
    Rule(("sft.lora",), cells.learns, "sft={sft} and rl={rl} train nothing", "SFT or RL"),
    Rule(
        ("sft.extra_epochs",),
        lambda cell: cell.sft.extra_examples != 0,
        "sft.extra_examples=0 adds no examples",
        "rl=matched",
    ),
    Rule(
        ("sft.args.num_train_epochs",),
        lambda cell: (cell.sft.args.get("max_steps") or 0) <= 0,
        "sft.args.max_steps alone sets how long to train",
        "sft.args.max_steps=-1",
    ),
    Rule(
        ("rl.args.num_train_epochs",),
        lambda cell: (cell.rl.args.get("max_steps") or 0) <= 0,
        "rl.args.max_steps alone sets how long to train",
        "rl.args.max_steps=-1",
    ),
    Rule(
        ("rl.examples", "rl.args.num_train_epochs"),
        lambda cell: cells.reinforces(cell) or cells.is_matched(cell),
        "rl={rl} learns nothing",
        f"{LEARNERS}, or rl=matched",
    ),
    Rule(
        (
            *("rl.args", "rl.focus", "rl.solved", "rl.warmup", "rl.checks", "rl.best"),
            *("rl.stop_invalid", "rl.stop_kl", "reward"),
        ),
        cells.reinforces,
        "rl={rl} is no reinforcement learning",
        LEARNERS,
        but=("rl.args.num_train_epochs",),
    ),
    Rule(
        ("rl.solved",),
        lambda cell: cell.rl.focus == "unsolved",
        "rl.focus={cell.rl.focus} leaves out no solved example",
        "rl.focus=unsolved",
    ),
    Rule(
        ("rl.warmup",),
        lambda cell: cell.rl.focus == "rest",
        "rl.focus={cell.rl.focus} lets SFT see all training examples",
        "rl.focus=rest",
    ),
    Rule(
        ("rl.checks", "rl.best", "rl.stop_invalid", "rl.stop_kl"),
        lambda cell: cell.rl.held_out > 0,
        "rl.held_out=0 checks nothing",
        "rl.held_out=N",
    ),
    Rule(
        ("rl.stop_kl",),
        lambda cell: not cell.reasoning.enabled,
        "reasoning={reasoning} leaves no KL divergence to check",
        "reasoning=none",
    ),
    # Prompts and inference.
    Rule(("strategy@train", "train"), cells.learns, "sft={sft} and rl={rl} read no training prompt", "SFT or RL"),
    Rule(
        ("strategy",),
        lambda cell: bool(cells.sides(cell, "strategy")),
        "strategy@train and strategy@infer choose for both sides",
        "a side without a choice of its own",
    ),
    Rule(
        ("reasoning.max_thought_tokens",),
        lambda cell: cell.reasoning.enabled,
        "reasoning={reasoning} writes no thought",
        "reasoning=think",
    ),
    Rule(
        ("predict.max_new_tokens",),
        lambda cell: "completion" in cell.decoder.needs,
        "decode={decode} writes no completion",
        "decode=greedy",
    ),
    Rule(
        ("tracking.project", "tracking.entity", "tracking.mode"),
        lambda cell: cell.tracking.backend != "none",
        "tracking=none mirrors nothing",
        "tracking=wandb",
    ),
)
