"""From a command that cannot be run to the one that was probably meant."""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genclspp.cli.compose import CONF
from genclspp.cli.words import MANY, key_of
from genclspp.data.readers import ENDINGS
from genclspp.suggest import SHORT


def command(words: Sequence[str]) -> str:
    """The command line, as it can be typed."""
    return shlex.join(["python", Path(sys.argv[0]).name, *words])


def command_of(words: Sequence[str]) -> str:
    """The command line with its keys at home, and with -m where a word has several values."""
    mended = [word for word in mend(words) if word not in MANY]
    is_many = set(MANY) & set(words)
    several = any("=" in word and _has_alternatives(word) for word in mended)
    return command([*(["-m"] if is_many or several else []), *mended])


def _has_alternatives(word: str) -> bool:
    return "," in re.sub(r"\[.*?\]|\{.*?\}|'.*?'|\".*?\"", "", word)


def unknown_key(key: str, words: Sequence[str]) -> str | None:
    """One line about an unknown key that has a home, with the mended command; None for any other."""
    found = homes(key, words)
    if not found:
        return None
    known = " or ".join(key + (f" (with {choice})" if choice else "") for key, choice in found)
    told = f"unknown key {key}; did you mean {known}?"
    return told if len(found) > 1 else f"{told} {command_of(words)}"


def own(group: str, name: str) -> str | None:
    """How to choose data or a model of one's own, or several choices, if that was typed as one choice."""
    if group in ("strategy", "reward", "metric") and "+" in name:
        return f"to combine choices, type {group}=[{name.replace('+', ',')}]"
    is_file = Path(name).suffix in (*ENDINGS, ".gguf")
    if group not in ("dataset", "model") or not ("/" in name or is_file):
        return None
    is_id = name.count("/") == 1 and not is_file and not Path(name).exists()
    place = "hub" if is_id else "local"
    what = {"dataset": "a data set", "model": "a model"}[group]
    whose = "from the hub" if is_id else "of your own"
    return f"for {what} {whose}, type {group}={place} {group}.path={name}"


def mend(words: Sequence[str]) -> list[str]:
    """The words with each key that has one home at home, and the choice that it needs beside it."""
    mended: list[str] = []
    for word in words:
        found = homes(key_of(word), words) if "=" in word and not word.startswith("-") else []
        if len(found) != 1:
            mended.append(word)
            continue
        (home, choice), (_, _, value) = found[0], word.partition("=")
        if choice and choice not in mended:
            mended = [other for other in mended if key_of(other) != key_of(choice)] + [choice]
        mended.append(f"{home}={value}")
    return mended


def homes(key: str, words: Sequence[str]) -> list[tuple[str, str]]:
    """The keys that an unknown one may mean, each with the choice that it takes (empty: it is there already).

    A bare name may be that of any key (of SFT's, if it is in `SHORT` and several have it); a longer one may lack
    its beginning or its middle: `icl.shots`, `sft.learning_rate`.
    """
    place, _, name = key.rpartition(".")
    if (Path(CONF) / key.partition("@")[0]).is_dir():
        return []
    config = _composed(tuple(word for word in words if _is_choice(word)))
    if OmegaConf.select(config, key) is not None:
        return []
    name = SHORT.get(name, name)
    there = [known for known in keys(OmegaConf.to_container(config)) if known.rpartition(".")[2] == name]
    there = [known for known in there if not known.startswith("model.advice.")]
    if place:
        inside = [(known, "") for known in there if known.startswith(f"{place}.")]
        return inside or [(known, choice) for known, choice in _in_other_choices(name) if f".{key}" in known][:1]
    if key in SHORT:
        there = [known for known in there if known.startswith("sft.")] or there
    return [(known, "") for known in there] or _in_other_choices(name)[:1]


def _is_choice(word: str) -> bool:
    return "=" in word and (Path(CONF) / re.split("[@=]", word)[0]).is_dir()


@cache
def _composed(choices: tuple[str, ...]) -> Any:
    """What choices compose to. Knobs among the words change no key, and one of them is wrong."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(CONF, version_base="1.3"):
        try:
            return compose("config", [first_alternative(word) for word in choices])
        except Exception:  # a choice is wrong as well; what the defaults compose to has most keys
            return compose("config", [])


def _in_other_choices(name: str) -> list[tuple[str, str]]:
    """The keys of this name that exist under some choice, each with that choice."""
    found = []
    for path in sorted(Path(CONF).glob("*/*.yaml")):
        group = path.parent.name
        values = OmegaConf.to_container(OmegaConf.load(path))
        for known in keys(values if group not in ("experiment", "table") else {}):
            if known.rpartition(".")[2] == name:
                found.append((f"{group}.{known}", f"{group}={path.stem}"))
    return found


def keys(values: Any, prefix: str = "") -> Iterator[str]:
    """The keys of nested mappings, joined by dots."""
    for name, value in values.items() if isinstance(values, dict) else ():
        yield f"{prefix}{name}"
        yield from keys(value, f"{prefix}{name}.")


def is_interval(word: str) -> bool:
    """Whether the value of a word is an interval, which a search draws from."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(word).is_interval_sweep()


def first_alternative(word: str) -> str:
    """A word with the first of its values, if it has several."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(word)
    if not override.is_discrete_sweep():
        return word
    return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
