"""What a method reads of a cell. All else is left out, so that cells that differ in nothing else are equal."""

from collections.abc import Iterable
from dataclasses import replace

from genclspp.baselines.head import Head
from genclspp.inference.decode import Perplexity
from genclspp.settings import Cell, ModelSettings, ReasoningSettings, RlSettings, SftSettings

# Groups and keys that are about prompts, the labels' names in them, RL and decoding: the generative method's own.
GENERATIVE = (
    *("strategy", "strategy@train", "strategy@infer", "train", "infer", "layout", "decode"),
    *("rl", "reward", "reasoning", "sft.packing", "sft.extra_examples", "sft.extra_epochs"),
    *("model.layout", "model.chat_args", "model.as_decoder", "predict.max_new_tokens"),
    *("dataset.names", "dataset.readable", "dataset.definitions", "dataset.instruction"),
    *("dataset.list_labels", "dataset.rationale", "dataset.ambiguous"),
)
MODEL, TRAINING = ("model", "precision"), ("sft",)
SHARED = ("rl.held_out",)  # RL's checks take examples from the validation split; all cells share the same rest


def reduce(cell: Cell) -> Cell:
    """A cell without the choices, knobs and settings that its method does not read."""
    if cell.method is None:
        return cell
    idle = [*GENERATIVE]
    idle += [] if reads_model(cell) else MODEL
    idle += [] if fine_tunes(cell) else TRAINING
    sft = SftSettings(enabled=cell.sft.enabled, args=cell.sft.args, lora=cell.sft.lora)
    model = replace(cell.model, layout=None, chat_args={}, as_decoder=False)
    return replace(
        cell,
        choices={word: choice for word, choice in cell.choices.items() if word not in idle},
        knobs={key: value for key, value in cell.knobs.items() if not is_below(key, idle) or key in SHARED},
        model=model if reads_model(cell) else ModelSettings(),
        train=(),
        infer=(),
        decoder=Perplexity("sum"),  # of the scores that a method gives to labels
        sft=sft if fine_tunes(cell) else SftSettings(enabled=False),
        rl=RlSettings(held_out=cell.rl.held_out),
        rewards=(),
        predict=replace(cell.predict, max_new_tokens=None),
        reasoning=ReasoningSettings(),
    )


def reads_model(cell: Cell) -> bool:
    return cell.method is None or cell.method.reads_model


def fine_tunes(cell: Cell) -> bool:
    """Whether the settings of SFT count."""
    return cell.method is None or isinstance(cell.method, Head)


def is_below(key: str, places: Iterable[str]) -> bool:
    """Whether a key is one of `places`, or below one."""
    return any(key == place or key.startswith(f"{place}.") for place in places)
