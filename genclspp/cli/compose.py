"""From Hydra's configuration to a checked `Cell`."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from genclspp.cli import agreement, typed
from genclspp.settings import (
    Cell,
    DatasetSettings,
    Metric,
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
    plain = {str(name): _plain(config, name) for name in config if name != "hydra"}
    known = {*SECTIONS, "strategy", "train", "infer", "decode", "reward", "metric", "name", "outputs", "seed"}
    for name in plain:
        if name not in known:
            raise ValueError(f"unknown key {name!r} at the top of the configuration; {hint(name, sorted(known))}")
    sections: dict[str, Any] = {
        name: typed.build(kind, plain.get(name) or {}, name) for name, kind in SECTIONS.items()
    }
    both = plain.get("strategy") or {}
    train, infer = (plain.get("train"), plain.get("infer"))
    name = typed.check(plain.get("name"), str, "name")
    outputs = typed.check(plain.get("outputs"), str, "outputs")
    if not outputs.strip():
        raise ValueError(f"outputs={outputs!r}; expected a folder")
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
        raise ValueError(f"name={name!r} would be a folder; expected letters, digits, '_', '.', '+' or '-'")
    made = Cell(
        sweep=name,
        outputs=outputs,
        seed=typed.check(plain.get("seed"), int, "seed"),
        choices=_choices(config, plain),
        overrides=_overrides(config),
        train=_strategies(both if train is None else train, "strategy" if train is None else "train"),
        infer=_strategies(both if infer is None else infer, "strategy" if infer is None else "infer"),
        decoder=typed.part(plain.get("decode"), "decode"),
        rewards=tuple(_reward(name, part) for name, part in (plain.get("reward") or {}).items()),
        metrics=tuple(_metric(name, part) for name, part in (plain.get("metric") or {}).items()),
        config=plain,
        **sections,
    )
    agreement.check(made)
    return made


def _plain(config: DictConfig, name: Any) -> Any:
    """What stands under `name`, resolved. Hydra's own part, the larger one, is left alone."""
    value = config[name]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


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
    silent = {*CHOICES, "strategy", "experiment", "tracking", "metric", "name", "outputs", "seed"}
    last = {word.lstrip("+~").partition("=")[0]: word for word in hydra.overrides.task}
    return " ".join(
        word for key, word in sorted(last.items()) if key not in silent and not key.startswith("tracking.")
    )


def _strategies(parts: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(parts, Mapping):
        raise ValueError(f"{key}={parts!r}; expected a mapping of strategies")
    made = [typed.part(part, f"{key}.{name}") for name, part in parts.items() if part is not None]
    kinds = [type(part).__name__ for part in made]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(
                f"{key} names the strategy {kind} twice ({', '.join(parts)}); a prompt can follow one"
            )
    return tuple(made)


def _reward(name: str, values: Any) -> Reward:
    function, args = _function(values, f"reward.{name}", COLUMNS, ("weight",))
    weight = typed.check(values.get("weight", 1.0), float, f"reward.{name}.weight")
    return Reward(name, function, weight, args)


def _metric(name: str, values: Any) -> Metric:
    function, args = _function(values, f"metric.{name}", ("predictions", "labels"))
    return Metric(name, function, args)


def _function(
    values: Any, key: str, passed: Sequence[str], ours: Sequence[str] = ()
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function that `_target_` names, with its own arguments.

    passed: what it is called with; all else that it takes comes from the YAML
    ours:   further values in the YAML, which are not the function's
    """
    function = typed.target(values, key)
    if not isinstance(function, FunctionType):
        raise ValueError(f"{key}._target_={values['_target_']!r} is no function")
    args = {name: value for name, value in values.items() if name not in ("_target_", *ours)}
    known = [argument for argument in _arguments(function) if argument not in passed]
    for name in args:
        if name not in known:
            raise ValueError(f"unknown key {key}.{name}; {hint(name, [*ours, *known])}")
    return function, args


def _arguments(function: Any) -> list[str]:
    """What a function takes by name; a reward takes whatever columns there are besides (`**_`)."""
    catch_all = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    given = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in given if parameter.kind not in catch_all]
