"""From an error to one sentence: what was found, where, what was expected, and the nearest known name."""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from genclspp.cli import suggestions
from genclspp.cli.compose import CONF
from genclspp.suggest import hint


def stop(error: Exception) -> SystemExit:
    """An exit with one sentence, or with the traceback if the user asked for it."""
    return SystemExit(
        "".join(traceback.format_exception(error)) if wants_traceback() else f"error: {explain(error)}"
    )


def wants_traceback() -> bool:
    """Whether the user asked for tracebacks (see `main.main`)."""
    return os.environ.get("GENCLSPP_TRACEBACK") == "1"


def explain(error: BaseException) -> str:
    """One sentence that explains an error; messages of Hydra and OmegaConf are recognised and rewritten."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines)
    if isinstance(error, OverrideParseException):
        wanted = "expected key=value, key=[a,b] for a list, 'key=\"a b\"' for spaces or special characters"
        return f"cannot read {error.override!r}; {wanted}"
    if "override must be a string or a list" in text:
        return _null_choice()
    several = re.match(r"Ambiguous value for argument '(.+?)=(.+?)' 1\.", text)
    if several:
        wanted = f"sweep over them: {suggestions.command_of(sys.argv[1:])}"
        if several[1].startswith(("strategy", "reward")):
            wanted = f"combine them with {several[1]}=[{several[2]}], or {wanted}"
        return f"{several[1]}={several[2]} names several values; {wanted}"
    choice = re.match(r"In '[^']*': Could not find '([^']+)'", text) or re.match(r"Could not find '([^']+)'", text)
    if choice and "Available options" in text:
        group, _, name = choice[1].rpartition("/")
        known = [line for line in lines[lines.index(_line(lines, "Available options")) + 1 :] if " " not in line]
        return f"unknown choice {group}={name}; {hint(name, known)}"
    missing = re.search(r"Could not override '([^']+)'", text)
    if missing:
        at_home = suggestions.unknown_key(missing[1], sys.argv[1:])
        return at_home or f"unknown key {missing[1]}; {_near_key(missing[1])}"
    if isinstance(
        error, PermissionError | FileNotFoundError | NotADirectoryError | FileExistsError | IsADirectoryError
    ):
        return f"{error.filename}: {error.strerror}" if error.filename else text
    if isinstance(error, ValueError | OSError) or type(error).__module__.split(".")[0] in ("hydra", "omegaconf"):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text} (a bug in genclspp; HYDRA_FULL_ERROR=1 shows the traceback)"


def _null_choice() -> str:
    """Name the group that null was chosen for, as Hydra's message does not."""
    for word in sys.argv[1:]:
        found = re.fullmatch(r"([\w/]+)(@\w+)?=(?:.*,)?null(?:,.*)?", word)
        known = sorted(path.stem for path in (Path(CONF) / found[1]).glob("*.yaml")) if found else []
        if known:
            return f"{word}: null is not a choice; known: {', '.join(known)}"
    return "null is not a choice of any group"


def _near_key(key: str) -> str:
    """Suggest a known key near `key`, from what the command line composes to without it."""
    from hydra import compose as compose_again
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    typed = [word for word in sys.argv[1:] if "=" in word and word.lstrip("+~").partition("=")[0] != key]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(CONF, version_base="1.3"):
            # Of the alternatives of a sweep, the first one is enough.
            config = compose_again("config", [suggestions.first_alternative(word) for word in typed])
    except Exception:  # another word is wrong too, so there is no configuration to compare with
        return "--cfg job lists the known keys"
    side, _, knob = key.partition(".")
    if side in ("strategy", "train", "infer") and not OmegaConf.select(config, side):
        group = "strategy" if side == "strategy" else f"strategy@{side}"
        return f"it exists once {group}={knob.split('.')[0]} is chosen"
    section, _, name = key.rpartition(".")
    while section and not OmegaConf.is_dict(OmegaConf.select(config, section)):
        section, _, name = section.rpartition(".")
    if OmegaConf.select(config, key) is not None:
        return "some cells of the sweep have it, others do not"
    elsewhere = _in_another_choice(key)
    if elsewhere:
        return elsewhere
    beside = OmegaConf.select(config, section) if section else config
    return hint(
        f"{section}.{name}" if section else name, [f"{section}.{k}" if section else str(k) for k in beside]
    )


def _in_another_choice(key: str) -> str | None:
    """Name a choice of the group that `key` begins with whose YAML has a key of the same name."""
    group, _, name = key.partition(".")
    for path in sorted((Path(CONF) / group).glob("*.yaml")):
        for found in suggestions.keys(OmegaConf.to_container(OmegaConf.load(path))):
            if found.rpartition(".")[2] == name.rpartition(".")[2]:
                return f"{group}.{found} exists once {group}={path.stem} is chosen"
    return None


def _line(lines: Sequence[str], beginning: str) -> str:
    return next(line for line in lines if line.startswith(beginning))
