"""From Hydra's configuration to a checked `Cell`."""

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from genclspp.cli import agreement, methods, typed
from genclspp.cli.words import key_of
from genclspp.section import SEEDS
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
from genclspp.suggest import UserError, hint
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
# Group on the command line -> its name in records and tables.
CHOICES = {
    "dataset": "dataset",
    "method": "method",
    "model": "model",
    "strategy@train": "train",
    "strategy@infer": "infer",
    "layout": "layout",
    "precision": "precision",
    "decode": "decode",
    "sft": "sft",
    "rl": "rl",
    "reward": "reward",
    "reasoning": "reasoning",
}
OPEN = (
    "sft.args",
    "rl.args",
    "dataset.names",
    "dataset.definitions",
    "model.chat_args",
    "model.overrides",
    "model.advice",
)
# Keys that decide no numbers: where results go, and how a sweep runs.
ASIDE = ("name", "outputs", "threads", "failures", "objective", "tracking")
VALIDATION = "validation/"  # what figures of validation examples begin with, in records
CONF = str(Path(__file__).resolve().parents[2] / "conf")


def register() -> None:
    """Register the defaults of the dataclasses with Hydra, so that it knows every key and rejects typos."""
    sections: Any = OmegaConf.create({name: typed.defaults(kind) for name, kind in SECTIONS.items()})
    for place in OPEN:  # keys that a library or the data defines can be added without "+"
        OmegaConf.set_struct(OmegaConf.select(sections, place), False)
    store = ConfigStore.instance()
    store.store(name="defaults", node=sections)
    Plugins.instance()  # loads them; then a choice of ours replaces theirs, else Hydra would want both to agree
    for path in (Path(CONF) / "hydra").glob("*/*.yaml"):
        store.repo["hydra"].get(path.parent.name, {}).pop(path.name, None)


def cell(config: DictConfig) -> Cell:
    """Check a composed configuration and build its cell; raises UserError with the full key of what is wrong."""
    plain = {str(name): _plain(config, name) for name in config if name not in ("hydra", "grids")}
    _require_finite(plain, "")
    known = {*SECTIONS, "method", "strategy", "train", "infer", "decode", "reward", "metric"}
    known |= {*ASIDE, "seed"}
    for name in plain:
        if name not in known:
            raise UserError(f"unknown key {name!r} at the top level; {hint(name, sorted(known))}")
    sections: dict[str, Any] = {
        name: typed.build(kind, plain.get(name) or {}, name) for name, kind in SECTIONS.items()
    }
    agreement.check_advice(sections["model"].advice)
    sections["model"] = replace(sections["model"], advice={})  # the groups sft and rl have taken it
    both = plain.get("strategy") or {}
    train, infer = (plain.get("train"), plain.get("infer"))
    made = Cell(
        **_top_level(plain),
        choices=_choices(config, plain),
        knobs=_knobs(config),
        words=_words(config),
        train=_strategies(both if train is None else train, "strategy" if train is None else "train"),
        infer=_strategies(both if infer is None else infer, "strategy" if infer is None else "infer"),
        decoder=_with(typed.part(plain.get("decode"), "decode"), "decode", ("needs", "scores", "choose")),
        rewards=tuple(_reward(name, part) for name, part in (plain.get("reward") or {}).items()),
        metrics=tuple(_metric(name, part) for name, part in (plain.get("metric") or {}).items()),
        method=_method(plain.get("method")),
        config=plain,
        **sections,
    )
    made = methods.reduce(made)
    agreement.check(made)
    return made


def _top_level(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a cell that have a key of their own at the top level, checked."""
    called = plain.get("name")
    name = typed.check(str(called) if type(called) is int else called, str, "name")
    outputs = typed.check(plain.get("outputs"), str, "outputs")
    seed = typed.check(plain.get("seed"), int, "seed")
    if not SEEDS.allow(seed):
        raise UserError(f"seed={seed}; expected {SEEDS}")
    if not outputs.strip():
        raise UserError(f"outputs={outputs!r}; expected a folder")
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
        raise UserError(f"name={name!r} is not a folder name; expected letters, digits, '_', '.', '+' or '-'")
    threads = typed.check(plain.get("threads"), int | None, "threads")
    if threads is not None and threads < 1:
        raise UserError(f"threads={threads}; expected 1 or more, or null for all physical cores")
    objective = typed.check(plain.get("objective"), str, "objective")
    if not objective.startswith(VALIDATION):
        wanted = f"a figure of validation examples, such as {VALIDATION}accuracy"
        raise UserError(f"objective={objective!r} looks at test examples; expected {wanted}")
    return {
        "sweep": name,
        "outputs": outputs,
        "seed": seed,
        "threads": threads,
        "objective": objective,
        "failures": typed.check(plain.get("failures"), Literal["continue", "stop"], "failures"),
    }


def _require_finite(value: Any, key: str) -> None:
    """Raise UserError for NaN and infinity, which no key of an artifact may hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{key}={value}; expected a finite number")
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        _require_finite(part, f"{key}.{name}".lstrip("."))


def _plain(config: DictConfig, name: Any) -> Any:
    """The value under `name` as plain data, resolved. Hydra's own node, by far the largest, is never converted."""
    value = config[name]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _choices(config: DictConfig, plain: Mapping[str, Any]) -> dict[str, str]:
    """The choice made in each group. Hydra has no name for a list choice; ours is its parts joined by "+"."""
    chosen = (
        OmegaConf.select(config, "hydra.runtime.choices")
        if "hydra" in config
        else HydraConfig.get().runtime.choices
    )

    def name(group: str, section: str) -> str:
        chose = chosen.get(group)
        if not isinstance(chose, str) and section in (
            *("dataset", "method", "model", "layout", "precision", "decode", "sft", "rl", "reasoning"),
        ):
            raise UserError(
                f"{group} takes one choice, found a list; only strategies, rewards and metrics can be combined"
            )
        return chose if isinstance(chose, str) else "+".join(plain.get(section) or {}) or "zero_shot"

    both = name("strategy", "strategy")
    sides = {
        side: name(f"strategy@{side}", side) if plain.get(side) is not None else both
        for side in ("train", "infer")
    }
    named = {word: sides.get(word) or name(group, group) for group, word in CHOICES.items()}
    if named["dataset"] in ("local", "hub"):  # the name of the folder says more
        named["dataset"] = Path(str(plain["dataset"].get("path"))).expanduser().resolve().stem or named["dataset"]
    # As a preset may have decided; what is still open is settled with the model.
    return named | {word: plain["model"].get(word) or "auto" for word in ("layout", "precision")}


def _words(config: DictConfig) -> tuple[str, ...]:
    """What was typed, or stands for this cell in the grid of an experiment, as far as it decides the numbers."""
    hydra = config.hydra if "hydra" in config else HydraConfig.get()
    typed = (word for word in hydra.overrides.task if key_of(word).partition(".")[0] not in ASIDE)
    folders = (source.path for source in hydra.runtime.config_sources if source.provider == "command-line")
    return (*(f"--config-dir={folder}" for folder in folders), *typed)


def _knobs(config: DictConfig) -> dict[str, Any]:
    """Key -> value of what was typed besides group choices; they tell the cells of a sweep over a knob apart."""
    hydra = config.hydra if "hydra" in config else HydraConfig.get()
    silent = {*CHOICES, *ASIDE, "strategy", "experiment", "metric", "seed"}
    found = {}
    for word in sorted(hydra.overrides.task, key=key_of):
        key, text = key_of(word), word.partition("=")[2]
        if key not in silent and not key.startswith("tracking."):
            value = OmegaConf.select(config, key)
            found[key] = value if isinstance(value, str | int | float) else text  # a list or mapping as typed
    return found


def _strategies(parts: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(parts, Mapping):
        raise UserError(f"{key}={parts!r}; expected a mapping of strategies")
    made = [
        _with(typed.part(part, f"{key}.{name}"), f"{key}.{name}", ("check", "requires", "__call__"))
        for name, part in parts.items()
        if part is not None
    ]
    kinds = [type(part).__name__ for part in made]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise UserError(
                f"{key} names the strategy {kind} twice ({', '.join(parts)}); expected each strategy once"
            )
    return tuple(made)


def _method(values: Any) -> Any:
    """The method of a cell; None for the generative one."""
    if not values:
        return None
    return _with(typed.part(values, "method"), "method", ("is_random", "reads_model", "check", "scores"))


def _with(part: Any, key: str, wanted: Sequence[str]) -> Any:
    """A part that has all that its kind needs; raises UserError if not."""
    lacking = [name for name in wanted if not hasattr(part, name)]
    if lacking:
        raise UserError(f"{key}: {type(part).__name__} lacks {lacking[0]}; expected {', '.join(wanted)}")
    return part


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
    """The function at `_target_`, and the arguments that the YAML gives it.

    passed: names of the arguments that the caller passes; the YAML may give all others
    ours:   keys of the YAML that are not arguments of the function
    """
    function = typed.target(values, key)
    if not isinstance(function, FunctionType):
        raise UserError(f"{key}._target_={values['_target_']!r} is not a function")
    args = {name: value for name, value in values.items() if name not in ("_target_", *ours)}
    _require_arguments(function, passed, key)
    known = [argument for argument in _arguments(function) if argument not in passed]
    for name in args:
        if name not in known:
            raise UserError(f"unknown key {key}.{name}; {hint(name, [*ours, *known])}")
    return function, args


def _require_arguments(function: Any, passed: Sequence[str], key: str) -> None:
    """Raise UserError if a function cannot take what it is passed, by name."""
    takes_all = any(
        given.kind is inspect.Parameter.VAR_KEYWORD for given in inspect.signature(function).parameters.values()
    )
    lacking = [name for name in passed if name not in _arguments(function)]
    if lacking and not takes_all:
        raise UserError(
            f"{key}: {function.__name__}({', '.join(_arguments(function))}) does not take {', '.join(lacking)}, "
            "which it is passed by name; expected **_ for those that it ignores"
        )


def _arguments(function: Any) -> list[str]:
    """Names of a function's parameters, without `**_`, in which a reward drops the columns it ignores."""
    catch_all = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    given = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in given if parameter.kind not in catch_all]
