"""From an error to one sentence: what was found, where, what was expected, and the nearest known name.

What a user can mend is a `UserError`, an error of the file system, or one of Hydra about the command line. All
else is a bug, of ours or of a part that a user has added: its sentence says so, and names the log with the
traceback.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from genclspp.cli import disk, help, suggestions
from genclspp.cli.compose import CONF
from genclspp.cli.words import NUMBER
from genclspp.suggest import Skipped, UserError, hint

NO_CHOICE = "override must be a string or a list"  # what Hydra says of sft=null, reasoning=true or precision=16


def stop(error: Exception) -> SystemExit:
    """An exit with one sentence, or with the traceback if the user asked for it."""
    sentence = report(error)
    return SystemExit("".join(traceback.format_exception(error)) if wants_traceback() else f"error: {sentence}")


def report(error: Exception) -> str:
    """One sentence about an error; the log receives its traceback."""
    if not is_told(error):  # a cell tells it first, and what ends the program may tell it again
        sentence, log = explain(error), _log_file()
        is_bug = _what_to_mend(error) is None
        if is_bug:
            sentence += f"; a bug in genclspp or in a part that was added to it: the traceback is in {log}"
        _write_traceback(log, sentence, error, is_bug)
        vars(error)["told"] = sentence
    return vars(error)["told"]


def is_told(error: Exception) -> bool:
    """Whether `report` has been called for an error."""
    return hasattr(error, "told")


def state(error: Exception) -> Literal["failed", "skipped"]:
    """What an error makes of its cell."""
    return "skipped" if isinstance(error, Skipped) else "failed"


def _log_file() -> Path:
    """The file that log messages go to; before there is one, `errors.log` among the logs, whose folder is made."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            return Path(handler.baseFilename)
    log = _outputs() / "logs" / "errors.log"
    with suppress(OSError):  # which may be what is to be told
        log.parent.mkdir(parents=True, exist_ok=True)
    return log


def _outputs() -> Path:
    """The root of all results that the command line names."""
    typed = [word.partition("=")[2].strip("'\" ") for word in sys.argv[1:] if word.startswith("outputs=")]
    return Path((typed[-1] if typed else "") or "outputs")


def _write_traceback(log: Path, sentence: str, error: Exception, is_bug: bool) -> None:
    text = f"{sentence}\n{''.join(traceback.format_exception(error))}"
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as failed:  # which may be what the error is about; a bug must not get lost with it
        if is_bug:
            print(f"the traceback cannot be written to {log}: {failed.strerror}\n{text}", file=sys.stderr)


def wants_traceback() -> bool:
    """Whether the user asked for tracebacks (see `main.main`)."""
    return os.environ.get("GENCLSPP_TRACEBACK") == "1"


def explain(error: BaseException) -> str:
    """What explains an error: one sentence, or several faults, a line each."""
    sentence = _what_to_mend(error)
    if sentence is not None:
        return sentence
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 2:  # a worker's message holds its whole traceback: its first line and its last say enough
        lines = [lines[0], lines[-1]]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"


def _what_to_mend(error: BaseException) -> str | None:
    """What a user can mend; None for a bug. Messages of Hydra and OmegaConf are recognised and rewritten."""
    if refused := disk.explain(error, _outputs()):
        return refused
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines)
    if isinstance(error, OverrideParseException):
        wanted = "expected key=value, key=[a,b] for a list, 'key=\"a b\"' for spaces or special characters"
        if "=" not in str(error.override):
            wanted = "expected key=value, or key=a,b for several values, without spaces"
        return f"cannot read {error.override!r}; {wanted}"
    if mark := getattr(error, "problem_mark", None):
        return f"{mark.name}, line {mark.line + 1} is not valid YAML: {vars(error)['problem']}"
    if NO_CHOICE in text:
        return _no_choice()
    several = re.match(r"Ambiguous value for argument '(.+?)=(.+?)' 1\.", text)
    if several:
        wanted = f"sweep over them: {suggestions.command_of(sys.argv[1:])}"
        if several[1].startswith(("strategy", "reward")):
            wanted = f"combine them with {several[1]}=[{several[2]}], or {wanted}"
        return f"{several[1]}={several[2]} names several values; {wanted}"
    choice = re.match(r"In '[^']*': Could not find '([^']+)'", text) or re.match(r"Could not find '([^']+)'", text)
    if choice and "Available options" in text:
        is_hydra = choice[1].startswith("hydra/")  # whose groups have groups; a name of ours may be a path
        group, _, name = choice[1].rpartition("/") if is_hydra else choice[1].partition("/")
        known = [line for line in lines[lines.index(_line(lines, "Available options")) + 1 :] if " " not in line]
        return f"unknown choice {group}={name}; {suggestions.own(group, name) or hint(name, known)}"
    if "BasicSweeper does not support sweep type" in text:
        return "a grid takes key=A,B,…; an interval(…) needs hydra/sweeper=optuna"
    missing = re.search(r"Could not override '([^']+)'", text)
    if missing:
        at_home = suggestions.unknown_key(missing[1], sys.argv[1:])
        return at_home or f"unknown key {missing[1]}; {_near_key(missing[1])}"
    if isinstance(error, UserError):  # one sentence, or the faults of a file, a line each
        return str(error).strip()
    if type(error).__module__.split(".")[0] in ("hydra", "omegaconf", "yaml"):
        return text or type(error).__name__
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return None


def _no_choice() -> str:
    """Name the group that null, a number or a truth was chosen for, as Hydra's message does not."""
    for word in sys.argv[1:]:
        group, _, typed = word.partition("=")
        known = sorted(path.stem for path in (Path(CONF) / group.partition("@")[0]).glob("*.yaml"))
        wrong = [value for value in typed.split(",") if NUMBER.fullmatch(value)]
        if known and wrong:
            return f"unknown choice {group}={wrong[0]}; known: {', '.join(known)}"
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
            # Of the alternatives of a sweep, the first one is enough; intervals have none.
            words = [suggestions.first_alternative(word) for word in typed if not suggestions.is_interval(word)]
            config = compose_again("config", words, return_hydra_config=key.startswith("hydra."))
    except Exception:  # another word is wrong too, so there is no configuration to compare with
        return "--cfg job lists the known keys"
    if key.startswith("strategy@"):
        return hint(key, ["strategy@train", "strategy@infer"])
    side, _, knob = key.partition(".")
    choice = knob.split(".")[0]
    is_there = (Path(CONF) / "strategy" / f"{choice}.yaml").is_file()
    if side in ("strategy", "train", "infer") and is_there and not OmegaConf.select(config, side):
        group = "strategy" if side == "strategy" else f"strategy@{side}"
        return f"it exists once {group}={choice} is chosen"
    section, _, name = key.rpartition(".")
    while section and not OmegaConf.is_dict(OmegaConf.select(config, section)):
        section, _, name = section.rpartition(".")
    if OmegaConf.select(config, key) is not None:
        return "some cells of the sweep have it, others do not"
    elsewhere = _in_another_choice(key, config)
    if elsewhere:
        return elsewhere
    if not section:
        return hint(name, list(dict.fromkeys([*help.groups(), *map(str, config)])))
    return hint(f"{section}.{name}", [f"{section}.{known}" for known in OmegaConf.select(config, section)])


def _in_another_choice(key: str, config: Any) -> str | None:
    """Name a choice of the group that `key` begins with whose YAML has a key of the same name.

    config: what is chosen now, and does not have it
    """
    group, _, name = key.partition(".")
    if group == "hydra" and "." in name:
        sub, _, name = name.partition(".")
        group = f"hydra/{sub}"
    for path in sorted((Path(CONF) / group).glob("*.yaml")):
        for found in suggestions.keys(OmegaConf.to_container(OmegaConf.load(path))):
            full = f"{group.replace('/', '.')}.{found}"
            if found.rpartition(".")[2] == name.rpartition(".")[2] and OmegaConf.select(config, full) is None:
                return f"{full} exists once {group}={path.stem} is chosen"
    return None


def _line(lines: Sequence[str], beginning: str) -> str:
    return next(line for line in lines if line.startswith(beginning))
