"""The grid of a sweep: the jobs that Hydra's basic sweeper would launch, trimmed, and handed back to it."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig

from genclspp.cli.compose import ASIDE, CONF
from genclspp.cli.words import MANY, key_of
from genclspp.suggest import UserError

Words = tuple[str, ...]  # what is typed for one job


def free_knobs(words: Sequence[str]) -> list[str]:
    """The words of a command line, with the knobs of a sweep as sweeps over one value.

    Hydra composes the configuration of a sweep without what is swept, and would refuse `strategy.icl.shots=5`
    beside `strategy=icl,icl_similar`, because the default has no such key.
    """
    if not _is_sweep(words):
        return list(words)
    parser = OverridesParser.create()

    def free(word: str) -> str:
        key, _, value = word.partition("=")
        if key.partition(".")[0] not in GROUPS or "." not in key:
            return word
        try:
            as_sweep = f"{key}=choice({value})"
            is_plain = not parser.parse_override(word).is_sweep_override()
            return as_sweep if is_plain and parser.parse_override(as_sweep).is_discrete_sweep() else word
        except HydraException:  # the word is wrong, and Hydra will say how; or the value does not fit into a list
            return word

    return [free(word) for word in words]


VALUES = {*ASIDE, "seed"} - {"tracking"}  # keys without a dot that are no groups
# Groups whose choices have keys of their own.
GROUPS = {"method", "strategy", "train", "infer", "decode", "sft", "rl", "reward", "reasoning"}


def _is_sweep(words: Sequence[str]) -> bool:
    if {*MANY, "hydra.mode=MULTIRUN"} & {*words}:
        return True
    chosen = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    paths = [Path(CONF) / "experiment" / f"{name}.yaml" for name in chosen]
    wants = any(path.is_file() and "mode: MULTIRUN" in path.read_text(encoding="utf-8") for path in paths)
    return wants and "hydra.mode=RUN" not in words


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its words, and the configuration that they compose to."""

    words: Words
    config: DictConfig


def is_grid(hydra: Any) -> bool:
    """Whether the sweep is a grid, known beforehand; other sweepers choose jobs by the results of earlier ones."""
    return hydra.sweeper._target_.endswith("BasicSweeper")


def jobs(config: DictConfig) -> list[Job]:
    """The distinct jobs of a sweep, each without the knobs that its choices do not have; empty if it is no grid.

    An experiment may have several `grids`, each combined with what the sweeper and the command line say. Raises
    Hydra's own exception for a key that no job has.
    """
    if not is_grid(config.hydra):
        return []
    loader = GlobalHydra.instance().config_loader()
    parser = OverridesParser.create(config_loader=loader)
    product: list[Words] = []
    for own in config.get("grids") or [{}]:
        if not isinstance(own, Mapping):
            raise UserError(f"grids holds {own!r}; expected mappings such as {{rl: 'none,grpo'}}")
        params = [f"{name}={value}" for name, value in {**(config.hydra.sweeper.params or {}), **own}.items()]
        overrides = parser.parse_overrides([*params, *config.hydra.overrides.task])
        product += [tuple(words) for batch in BasicSweeper.split_arguments(overrides, None) for words in batch]
    found: dict[Words, DictConfig] = {}
    missing: dict[Words, list[str]] = {}  # the choices of a job -> keys that it does not have
    errors: dict[str, Exception] = {}  # key that a job does not have -> what Hydra says
    load = composer(config)
    for words in product:
        lacking = missing.setdefault(tuple(word for word in words if _is_choice(word)), [])
        left = _without(words, lacking)
        if left not in found:
            job, lost = fit(left, load)
            found.setdefault(job.words, job.config)
            lacking += lost
            errors |= lost
    for name, why in errors.items():
        if not any(key_of(word) == name for words in found for word in words):
            raise why
    return [Job(words, composed) for words, composed in found.items()]


def fit(words: Words, load: Callable[[Words], DictConfig]) -> tuple[Job, dict[str, Exception]]:
    """A job without the knobs that its choices do not have; these, with what Hydra says of each."""
    lacking: dict[str, Exception] = {}
    while True:
        try:
            return Job(words, load(words)), lacking
        except ConfigCompositionException as error:
            key = re.search(r"Could not override '([^']+)'", str(error))
            if key is None:
                raise
            lacking[key[1]] = error
            words = _without(words, [key[1]])


def composer(master: DictConfig) -> Callable[[Words], DictConfig]:
    """What Hydra's `load_sweep_config` does, in a tenth of its time: it composes once per combination of choices.

    Jobs that differ in values alone (a seed, a knob) share what choices compose to; values are set in a copy.
    """
    loader = GlobalHydra.instance().config_loader()
    parser = OverridesParser.create(config_loader=loader)
    composed: dict[Words, DictConfig] = {}

    def load(words: Words) -> DictConfig:
        values = [word for word in words if _is_value(word)]
        choices = tuple(word for word in words if not _is_value(word))
        if choices not in composed:
            composed[choices] = loader.load_sweep_config(master, list(choices))
        config = copy.deepcopy(composed[choices])
        ConfigLoaderImpl._apply_overrides_to_config(parser.parse_overrides(values), config)
        job, overrides = config.hydra.job, parser.parse_overrides(list(words))
        config.hydra.overrides.task = list(words)
        how = job.config.override_dirname
        job.override_dirname = get_overrides_dirname(overrides, how.exclude_keys, how.item_sep, how.kv_sep)
        return config

    return load


def _is_value(word: str) -> bool:
    """Whether a word sets a value; if not, it may choose in a group."""
    return "." in key_of(word) or key_of(word) in VALUES


def hand_over(jobs: Sequence[Job]) -> None:
    """Make Hydra's sweeper launch these jobs, and its launcher in this process use what is composed already."""
    loader = GlobalHydra.instance().config_loader()

    def split(_: Any, most: int | None) -> list[list[list[str]]]:
        return list(BasicSweeper.split_overrides_to_chunks([list(job.words) for job in jobs], most))

    # Hydra loads its plugins anew, so its sweeper is another class than the one that an import gives.
    sweeper: Any = Plugins.instance().class_name_to_class[f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"]
    sweeper.split_arguments = staticmethod(split)
    loader.load_sweep_config = Composed(loader, {job.words: job.config for job in jobs})


@dataclass
class Composed:
    """Stands for the `load_sweep_config` of a loader, but for jobs that are composed already."""

    loader: Any
    jobs: dict[Words, DictConfig]

    def __call__(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        again = type(self.loader).load_sweep_config
        found = self.jobs.pop(tuple(sweep_overrides), None)  # each is run once, and is large
        return found or again(self.loader, master_config, sweep_overrides)

    def __getstate__(self) -> dict[str, Any]:
        return {"loader": self.loader, "jobs": {}}  # a launcher sends the loader with each job to another process


def _without(words: Words, keys: Sequence[str]) -> Words:
    return tuple(word for word in words if key_of(word) not in keys)


def _is_choice(word: str) -> bool:
    return "." not in key_of(word)
