"""A key that was typed and changes nothing is an error, which names the choice under which it would count.

Defaults never break a rule: only keys that somebody typed, or wrote into an experiment, are looked up. In a sweep,
a key has to count in one of the cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from genclspp.cli.cells import learns, shows, sides
from genclspp.cli.compose import CHOICES
from genclspp.cli.rules import RULES
from genclspp.cli.words import key_of
from genclspp.settings import Cell
from genclspp.strategies.icl import Icl
from genclspp.strategies.uncertainty import Uncertainty
from genclspp.suggest import UserError


def check(hydra: Any, cells: Sequence[Cell]) -> None:
    """Raise UserError for a key that was typed, or that the experiment sets, and changes nothing in any cell.

    hydra: Hydra's own configuration, of the one cell or of the whole sweep
    """
    typed = [key_of(word) for word in hydra.overrides.task if not word.startswith("~") and not _is_off(word)]
    for key in typed:
        _require_effect(key, cells, "")
    chosen = hydra.runtime.choices.get("experiment")
    if isinstance(chosen, str) and not _changes_choices(typed):
        for key in _keys_of_experiment(chosen):
            _require_effect(key, cells, f" (set by experiment={chosen})")


def without_idle_words(cell: Cell) -> Cell:
    """A cell whose words are those that count in it: typed for it alone, the others would be refused."""

    def counts(word: str) -> bool:
        return word.startswith(("~", "--")) or _is_off(word) or not _broken(cell, key_of(word))

    return replace(cell, words=tuple(filter(counts, cell.words)))


def _is_off(word: str) -> bool:
    """Whether a word switches a group off, as rl=none does: a method without that group agrees."""
    return word.endswith("=none") and "." not in key_of(word)


def _require_effect(key: str, cells: Sequence[Cell], origin: str) -> None:
    broken = [_broken(cell, key) for cell in cells if _has(cell, key)]
    if broken and broken[0] and all(broken):
        raise UserError(broken[0] + origin)


def _broken(cell: Cell, key: str) -> str | None:
    sentences = (rule.broken(cell, key) for rule in RULES)
    return next((sentence for sentence in sentences if sentence), None) or _broken_knob(cell, key)


def _has(cell: Cell, key: str) -> bool:
    """Whether a cell has a key; every cell has a choice of each group."""
    found: Any = cell.config
    for name in key.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return "." not in key
        found = found[name]
    return True


def _changes_choices(typed: Sequence[str]) -> bool:
    """Whether the command line makes other choices than the experiment, whose keys then need not fit them."""
    return bool({"strategy", "hydra.mode", *CHOICES}.intersection(typed))


def _keys_of_experiment(name: str) -> list[str]:
    """The keys that an experiment sets or sweeps over."""
    found = GlobalHydra.instance().config_loader().repository.load_config(f"experiment/{name}")
    values: Any = OmegaConf.to_container(found.config) if found else {}
    swept = values.pop("hydra", {}).get("sweeper", {}).get("params") or {}
    own = [name for grid in values.pop("grids", []) for name in grid]
    return [*_leaves(values), *swept, *own]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _broken_knob(cell: Cell, key: str) -> str | None:
    """The sentence about a field of a strategy, such as `train.icl.seed`, that counts on no side."""
    place, _, rest = key.partition(".")
    name, _, field = rest.partition(".")
    if place not in ("strategy", "train", "infer") or not field:
        return None
    used = [side for side in sides(cell, place) if side == "infer" or learns(cell)]
    names = [name for name, part in cell.config[place].items() if part is not None]
    broken = [_why(getattr(cell, side)[names.index(name)], field, cell, side) for side in used]
    return f"{broken[0]}".format(key=key, name=f"{place}.{name}") if broken and all(broken) else None


def _why(part: Any, field: str, cell: Cell, side: str) -> str | None:
    """Why a field of a strategy does not count on a side; None if it does."""
    from genclspp.selection.scorers import OUT_OF_FOLD

    if isinstance(part, Icl) and field == "embedder" and part.select != "similar":
        return "all prompts show the same demonstrations: {key} needs {name}.select=similar"
    if isinstance(part, Icl) and field == "seed" and part.select != "fixed":
        return "each prompt shows the most similar demonstrations: {key} needs {name}.select=fixed"
    if not isinstance(part, Uncertainty) or field == "surface":
        return None
    if side == "infer" and not shows(cell.infer):
        return "no prompt has a training example as its answer or demonstration: {key} needs SFT, RL or icl"
    if field == "folds" and not set(part.scorers) & set(OUT_OF_FOLD):
        return f"no scorer is trained out of fold: {{key}} needs one of {', '.join(OUT_OF_FOLD)}"
    return None
