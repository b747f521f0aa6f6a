"""The edge: from Hydra's configuration to a checked `Cell`."""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from genclspp.cli import typed
from genclspp.settings import (
    Cell,
    DatasetSettings,
    ModelSettings,
    PredictSettings,
    ReasoningSettings,
    Reward,
    RlSettings,
    SftSettings,
    TrackingSettings,
)
from genclspp.suggest import hint
from genclspp.training.rewards import COLUMNS

SECTIONS: dict[str, type] = {
    "dataset": DatasetSettings,
    "model": ModelSettings,
    "sft": SftSettings,
    "rl": RlSettings,
    "reasoning": ReasoningSettings,
    "predict": PredictSettings,
    "tracking": TrackingSettings,
}
# group on the command line -> its name in records and tables
CHOICES = {
    "dataset": "dataset",
    "model": "model",
    "strategy@train": "train",
    "strategy@infer": "infer",
    "decode": "decode",
    "sft": "sft",
    "rl": "rl",
    "reward": "reward",
    "reasoning": "reasoning",
}
AT_LEAST = {
    "model.max_length": 1,
    "sft.extra_examples": 0,
    "sft.extra_epochs": 0,
    "rl.examples": 1,
    "rl.held_out": 0,
    "rl.checks": 1,
    "rl.stop_invalid": 0,
    "rl.stop_kl": 0,
    "predict.batch_size": 1,
    "predict.max_new_tokens": 1,
    "predict.calibration": 0,
}
OPEN = ("sft.args", "rl.args", "dataset.names", "dataset.definitions", "model.chat_args", "model.overrides")
CONF = str(Path(__file__).resolve().parents[2] / "conf")


def register() -> None:
    """Tell Hydra the defaults that the dataclasses hold, so that every key is known and a typo is not."""
    sections: Any = OmegaConf.create({name: typed.defaults(kind) for name, kind in SECTIONS.items()})
    for place in OPEN:  # keys of a library's own, which need no "+" to be added
        OmegaConf.set_struct(OmegaConf.select(sections, place), False)
    ConfigStore.instance().store(name="defaults", node=sections)


def cell(config: DictConfig) -> Cell:
    """The checked cell of a composed configuration; raises ValueError with the full key of what is wrong."""
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    plain.pop("hydra", None)
    known = {*SECTIONS, "strategy", "train", "infer", "decode", "reward", "name", "outputs", "seed"}
    for name in plain:
        if name not in known:
            raise ValueError(f"unknown key {name!r} at the top of the configuration; {hint(name, sorted(known))}")
    sections: dict[str, Any] = {
        name: typed.build(kind, plain.get(name) or {}, name) for name, kind in SECTIONS.items()
    }
    _check_bounds(sections)
    both = plain.get("strategy") or {}
    train, infer = (plain.get("train"), plain.get("infer"))
    name = typed.check(plain.get("name"), str, "name")
    outputs = typed.check(plain.get("outputs"), str, "outputs")
    if not outputs.strip():
        raise ValueError(f"outputs={outputs!r}; expected a folder")
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
        raise ValueError(f"name={name!r} would be a folder; expected letters, digits, '_', '.', '+' or '-'")
    return Cell(
        sweep=name,
        outputs=outputs,
        seed=typed.check(plain.get("seed"), int, "seed"),
        choices=_choices(config, plain),
        overrides=_overrides(config),
        train=_strategies(both if train is None else train, "strategy" if train is None else "train"),
        infer=_strategies(both if infer is None else infer, "strategy" if infer is None else "infer"),
        decoder=_part(plain.get("decode"), "decode"),
        rewards=tuple(_reward(name, part) for name, part in (plain.get("reward") or {}).items()),
        config=plain,
        **sections,
    )


def _check_bounds(sections: Mapping[str, Any]) -> None:
    for key, least in AT_LEAST.items():
        section, _, name = key.partition(".")
        value = getattr(sections[section], name)
        if value is not None and value < least:
            raise ValueError(f"{key}={value}; expected {least} or more")
    for name in ("solved", "warmup"):
        share = getattr(sections["rl"], name)
        if not 0 < share < 1:
            raise ValueError(f"rl.{name}={share}; expected a share between 0 and 1")
    extra = sections["sft"].extra_examples
    if extra == 0:
        return
    steps = sections["rl"].args.get("max_steps")
    if isinstance(steps, int) and steps > 0:
        raise ValueError(
            f"rl.args.max_steps={steps} beside sft.extra_examples={extra} (rl=matched), which counts examples; "
            "expected rl.examples and rl.args.num_train_epochs to say how long to train"
        )
    if not sections["sft"].enabled:
        raise ValueError(f"sft.extra_examples={extra} beside sft=none; expected an SFT that goes on")
    if sections["rl"].learner != "none":
        learner = sections["rl"].learner
        raise ValueError(
            f"sft.extra_examples={extra} beside rl.learner={learner}; expected no RL, whose control it is "
            "(rl=matched takes the number from rl.examples)"
        )


def _choices(config: DictConfig, plain: Mapping[str, Any]) -> dict[str, str]:
    """What was chosen in each group. A list choice has no name of its own: its parts, joined by "+"."""
    chosen = (
        OmegaConf.select(config, "hydra.runtime.choices")
        if "hydra" in config
        else HydraConfig.get().runtime.choices
    )

    def name(group: str, section: str) -> str:
        chose = chosen.get(group)
        if not isinstance(chose, str) and section in ("dataset", "model", "decode", "sft", "rl", "reasoning"):
            raise ValueError(f"{group} takes one choice, found a list; only strategies and rewards combine")
        return chose if isinstance(chose, str) else "+".join(plain.get(section) or {}) or "zero_shot"

    both = name("strategy", "strategy")
    sides = {
        side: name(f"strategy@{side}", side) if plain.get(side) is not None else both
        for side in ("train", "infer")
    }
    return {word: sides.get(word) or name(group, group) for group, word in CHOICES.items()}


def _overrides(config: DictConfig) -> str:
    """What was typed beside choices of groups: it tells apart the rows of a sweep over a knob."""
    hydra = config.hydra if "hydra" in config else HydraConfig.get()
    silent = {*CHOICES, "strategy", "experiment", "tracking", "name", "outputs", "seed"}
    last = {word.lstrip("+~").partition("=")[0]: word for word in hydra.overrides.task}
    return " ".join(
        word for key, word in sorted(last.items()) if key not in silent and not key.startswith("tracking.")
    )


def _strategies(parts: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(parts, Mapping):
        raise ValueError(f"{key}={parts!r}; expected a mapping of strategies")
    made = [_part(part, f"{key}.{name}") for name, part in parts.items() if part is not None]
    kinds = [type(part).__name__ for part in made]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(
                f"{key} names the strategy {kind} twice ({', '.join(parts)}); a prompt can follow one"
            )
    return tuple(made)


def _part(values: Any, key: str) -> Any:
    """An instance of a plug point: the class at `_target_`, called with the other values."""
    if not isinstance(values, Mapping) or "_target_" not in values:
        raise ValueError(f"{key}={values!r}; expected a mapping with a _target_")
    kind = _resolve(values["_target_"], key)
    given = {name: value for name, value in values.items() if name != "_target_"}
    if dataclasses.is_dataclass(kind):
        return typed.build(cast(type, kind), given, key)
    return kind(**given)


def _reward(name: str, values: Any) -> Reward:
    if not isinstance(values, Mapping) or "_target_" not in values:
        raise ValueError(f"reward.{name}={values!r}; expected a mapping with a _target_")
    args = {key: value for key, value in values.items() if key not in ("_target_", "weight")}
    function = _resolve(values["_target_"], f"reward.{name}")
    if not callable(function):
        raise ValueError(f"reward.{name}._target_={values['_target_']!r} is no function")
    known = [argument for argument in _arguments(function) if argument not in COLUMNS]
    for key in args:
        if key not in known:
            raise ValueError(f"unknown key reward.{name}.{key}; {hint(key, ['weight', *known])}")
    weight = typed.check(values.get("weight", 1.0), float, f"reward.{name}.weight")
    return Reward(name, values["_target_"], weight, args)


def _arguments(function: Any) -> list[str]:
    """What a function takes by name; a reward takes whatever columns there are besides (`**_`)."""
    catch_all = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    given = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in given if parameter.kind not in catch_all]


def _resolve(target: str, key: str) -> Any:
    from pkgutil import resolve_name

    try:
        return resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{key}._target_={target!r} cannot be imported: {error}") from error
