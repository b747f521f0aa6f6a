"""The edge: from Hydra's configuration to a checked `Cell`, and from errors to one clear sentence."""

import dataclasses
import os
import re
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from genclspp.nearest import hint
from genclspp.settings import (
    Cell,
    DatasetSettings,
    ModelSettings,
    PredictSettings,
    Reward,
    RlSettings,
    SftSettings,
    TrackingSettings,
)

SECTIONS: dict[str, type] = {
    "dataset": DatasetSettings,
    "model": ModelSettings,
    "sft": SftSettings,
    "rl": RlSettings,
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
}
AT_LEAST = {
    "model.max_length": 1,
    "rl.examples": 1,
    "predict.batch_size": 1,
    "predict.max_new_tokens": 1,
    "predict.calibration": 0,
}
OPEN = ("sft.args", "rl.args", "dataset.names", "dataset.definitions", "model.chat_args")
CONF = str(Path(__file__).resolve().parent.parent / "conf")
T = TypeVar("T")


def register() -> None:
    """Tell Hydra the defaults that the dataclasses hold, so that every key is known and a typo is not."""
    sections: Any = OmegaConf.create({name: _defaults(kind) for name, kind in SECTIONS.items()})
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
    sections: dict[str, Any] = {name: build(kind, plain.get(name) or {}, name) for name, kind in SECTIONS.items()}
    _check_bounds(sections)
    both = plain.get("strategy") or {}
    train, infer = (plain.get("train"), plain.get("infer"))
    name = _value(plain.get("name"), str, "name")
    outputs = _value(plain.get("outputs"), str, "outputs")
    if not outputs.strip():
        raise ValueError(f"outputs={outputs!r}; expected a folder")
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
        raise ValueError(f"name={name!r} would be a folder; expected letters, digits, '_', '.', '+' or '-'")
    return Cell(
        sweep=name,
        outputs=outputs,
        seed=_value(plain.get("seed"), int, "seed"),
        choices=_choices(config, plain),
        overrides=_overrides(config),
        train=_strategies(both if train is None else train, "strategy" if train is None else "train"),
        infer=_strategies(both if infer is None else infer, "strategy" if infer is None else "infer"),
        decoder=_part(plain.get("decode"), "decode"),
        rewards=tuple(_reward(name, part) for name, part in (plain.get("reward") or {}).items()),
        config=plain,
        **sections,
    )


def build(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    """A settings record from plain data; raises ValueError with the full key, the value and what was expected."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{prefix}={values!r}; expected a mapping of settings")
    fields = dataclasses.fields(cast(Any, kind))
    hints = {field.name: get_type_hints(kind)[field.name] for field in fields}
    for name in values:
        if name not in hints:
            raise ValueError(f"unknown key {prefix}.{name}; {hint(name, hints)}")
    missing = [field.name for field in fields if _is_required(field, values)]
    if missing:
        raise ValueError(f"{prefix}.{missing[0]} is missing")
    return kind(**{name: _value(value, hints[name], f"{prefix}.{name}") for name, value in values.items()})


def _check_bounds(sections: Mapping[str, Any]) -> None:
    for key, least in AT_LEAST.items():
        section, _, name = key.partition(".")
        value = getattr(sections[section], name)
        if value is not None and value < least:
            raise ValueError(f"{key}={value}; expected {least} or more")


class Sweep(Callback):
    """Checks all cells of a sweep before the first one starts; shows what came out at the end."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.ended = 0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        from rich.console import Console

        from genclspp import pipeline
        from genclspp.terminal import quiet

        try:
            quiet(Path(config.outputs) / "logs" / str(config.name) / "sweep.log", Console())
            cells = [cell(one) for one in _expand(config)]
            for one in cells:
                pipeline.check(one)
        except Exception as error:  # Hydra turns a callback's exceptions into warnings; SystemExit passes
            raise stop(error) from error
        self.cells = cells
        if cells:
            Console(highlight=False).print(f"sweep [bold]{cells[0].sweep}[/]: {len(cells)} cells, all checked")

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        from rich.console import Console
        from rich.markup import escape

        if not self.cells:
            return
        self.ended += 1
        error = getattr(job_return, "_return_value", None)
        if isinstance(error, Exception):
            Console(stderr=True, highlight=False).print(
                f"  [red]cell failed:[/] {escape(explain(error))}", soft_wrap=True
            )
        if self.ended == len(self.cells):
            show_records(self.cells)


def show_records(cells: Sequence[Cell]) -> None:
    """The table of what the cells left, and where it lies."""
    import json

    from rich.console import Console

    from genclspp import pipeline
    from genclspp.report import summary

    console = Console(highlight=False)
    paths = [path for path in map(pipeline.record_path, cells) if path.exists()]
    if paths:
        summary.show([json.loads(path.read_text(encoding="utf-8")) for path in paths], console)
        console.print(f"records: {paths[0].parent}", soft_wrap=True)


def is_checked_sweep() -> bool:
    """Whether this job belongs to a sweep whose cells `Sweep` has checked."""
    config = HydraConfig.get()
    return config.mode is RunMode.MULTIRUN and _is_grid(config)


def wants_traceback() -> bool:
    """Whether the person at the terminal asked for tracebacks (see `main.main`)."""
    return os.environ.get("GENCLSPP_TRACEBACK") == "1"


def stop(error: Exception) -> SystemExit:
    """The end of the program, with one sentence (or the traceback, where it was asked for)."""
    return SystemExit(_traceback(error) if wants_traceback() else f"error: {explain(error)}")


def explain(error: BaseException) -> str:
    """One sentence for an error: what was found, where, what was expected, the nearest known name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines)
    if isinstance(error, OverrideParseException):
        wanted = "expected key=value, key=[a,b] for a list, 'key=\"a b\"' for what holds spaces or signs"
        return f"cannot read {error.override!r}; {wanted}"
    if "override must be a string or a list" in text:
        return _null_choice()
    several = re.match(r"Ambiguous value for argument '(.+?)=(.+?)' 1\.", text)
    if several:
        wanted = f"-m before it sweeps over them, {several[1]}=[{several[2]}] combines them"
        return f"{several[1]}={several[2]} names several values; {wanted}"
    choice = re.match(r"In '[^']*': Could not find '([^']+)'", text) or re.match(r"Could not find '([^']+)'", text)
    if choice and "Available options" in text:
        group, _, name = choice[1].rpartition("/")
        known = [line for line in lines[lines.index(_line(lines, "Available options")) + 1 :] if " " not in line]
        return f"unknown choice {group}={name}; {hint(name, known)}"
    missing = re.search(r"Could not override '([^']+)'", text)
    if missing:
        return f"unknown key {missing[1]}; {_near_key(missing[1])}"
    if isinstance(
        error, PermissionError | FileNotFoundError | NotADirectoryError | FileExistsError | IsADirectoryError
    ):
        return f"{error.filename}: {error.strerror}" if error.filename else text
    if isinstance(error, ValueError | OSError) or type(error).__module__.split(".")[0] in ("hydra", "omegaconf"):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text} (an error in the program; HYDRA_FULL_ERROR=1 shows where)"


def _expand(config: DictConfig) -> list[DictConfig]:
    """The composed configuration of every cell that Hydra's own sweeper would launch; none for another sweeper."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if not _is_grid(config.hydra):
        return []
    loader = GlobalHydra.instance().config_loader()
    params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(
        [*params, *config.hydra.overrides.task]
    )
    return [
        loader.load_sweep_config(config, list(one))
        for batch in BasicSweeper.split_arguments(overrides, None)
        for one in batch
    ]


def _is_grid(hydra: Any) -> bool:
    return hydra.sweeper._target_.endswith("BasicSweeper")


def _choices(config: DictConfig, plain: Mapping[str, Any]) -> dict[str, str]:
    """What was chosen in each group. A list choice has no name of its own: its parts, joined by "+"."""
    chosen = (
        OmegaConf.select(config, "hydra.runtime.choices")
        if "hydra" in config
        else HydraConfig.get().runtime.choices
    )

    def name(group: str, section: str) -> str:
        typed = chosen.get(group)
        return typed if isinstance(typed, str) else "+".join(plain.get(section) or {}) or "zero_shot"

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
    typed = [word for word in hydra.overrides.task if word.lstrip("+~").partition("=")[0] not in silent]
    return " ".join(sorted(word for word in typed if not word.startswith("tracking.")))


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
        return build(cast(type, kind), given, key)
    return kind(**given)


def _reward(name: str, values: Any) -> Reward:
    if not isinstance(values, Mapping) or "_target_" not in values:
        raise ValueError(f"reward.{name}={values!r}; expected a mapping with a _target_")
    _resolve(values["_target_"], f"reward.{name}")
    args = {key: value for key, value in values.items() if key not in ("_target_", "weight")}
    weight = _value(values.get("weight", 1.0), float, f"reward.{name}.weight")
    return Reward(name, values["_target_"], weight, args)


def _resolve(target: str, key: str) -> Any:
    from pkgutil import resolve_name

    try:
        return resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{key}._target_={target!r} cannot be imported: {error}") from error


def _defaults(kind: type) -> dict[str, Any]:
    """The defaults of a settings record; a field without one is None until a choice fills it."""
    made: dict[str, Any] = {}
    for field in dataclasses.fields(cast(Any, kind)):
        if field.default is not dataclasses.MISSING:
            made[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            made[field.name] = field.default_factory()
    return made


def _is_required(field: dataclasses.Field, values: Mapping[str, Any]) -> bool:
    bare = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    return bare and field.name not in values


def _value(value: Any, hint_: Any, key: str) -> Any:
    """`value` as the type of a settings field, or ValueError. Whole numbers pass as floats, lists as tuples."""
    origin, options = get_origin(hint_), get_args(hint_)
    if hint_ is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        rest = [option for option in options if option is not type(None)]
        return _value(value, rest[0], key)
    if origin is Literal:
        if value not in options:
            raise ValueError(f"{key}={value!r}; {hint(value, options)}")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(part, options[0], f"{key}[{place}]") for place, part in enumerate(value))
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {str(name): _value(part, options[1], f"{key}.{name}") for name, part in value.items()}
    if hint_ is float and type(value) is int:
        return float(value)
    if isinstance(hint_, type) and type(value) is hint_:
        return value
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list"}
    wanted = words.get(hint_) or words.get(cast(Any, origin)) or "a mapping"
    raise ValueError(f"{key}={value!r}; expected {wanted}")


def _null_choice() -> str:
    """A sentence on the group that null was chosen for, which Hydra does not name."""
    for word in sys.argv[1:]:
        found = re.fullmatch(r"([\w/]+)(@\w+)?=(?:.*,)?null(?:,.*)?", word)
        known = sorted(path.stem for path in (Path(CONF) / found[1]).glob("*.yaml")) if found else []
        if known:
            return f"{word}: null is not a choice; known: {', '.join(known)}"
    return "null is not a choice of a group"


def _near_key(key: str) -> str:
    """The known keys beside `key`, in what the command line composes to without it."""
    from hydra import compose as compose_again
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    typed = [word for word in sys.argv[1:] if "=" in word and word.lstrip("+~").partition("=")[0] != key]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(CONF, version_base="1.3"):
            # Of a sweep's alternatives, the first stands for all.
            config = compose_again("config", [_first_alternative(word) for word in typed])
    except Exception:  # something else is wrong as well: then there is nothing to compare with
        return "see --cfg job for the keys there are"
    side, _, knob = key.partition(".")
    if side in ("strategy", "train", "infer") and not OmegaConf.select(config, side):
        group = "strategy" if side == "strategy" else f"strategy@{side}"
        return f"it is there once {group}={knob.split('.')[0]} is chosen"
    section, _, name = key.rpartition(".")
    while section and not OmegaConf.is_dict(OmegaConf.select(config, section)):
        section, _, name = section.rpartition(".")
    if OmegaConf.select(config, key) is not None:
        return "some cells of the sweep have it, others not"
    beside = OmegaConf.select(config, section) if section else config
    return hint(
        f"{section}.{name}" if section else name, [f"{section}.{k}" if section else str(k) for k in beside]
    )


def _first_alternative(word: str) -> str:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(word)
    if not override.is_discrete_sweep():
        return word
    return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"


def _line(lines: Sequence[str], beginning: str) -> str:
    return next(line for line in lines if line.startswith(beginning))


def _traceback(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))
