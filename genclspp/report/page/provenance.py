"""Where the figures of a cell come from: configuration, versions, keys, and the command that makes it again."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from genclspp.report.records import CHOICES, Record
from genclspp.report.series import Series

SETTLED = ("weights",)  # found while planning, not typed


def of(series: Series) -> dict[str, Any]:
    """As JSON; versions and keys by seed, in the order of the records."""
    first = series.records[0]
    return {
        "command": command(series),
        "choices": {word: str(choice) for word, choice in series.words.items() if choice not in (None, "")},
        "seeds": [_of_seed(record) for record in series.records],
        "examples": {
            "test examples": first.get("examples"),
            "validation examples": first.get("validation/examples"),
            "digest of the test examples": first.get("digest/test"),
        },
    }


def _of_seed(record: Record) -> dict[str, str]:
    """What may differ between the records of a series."""
    told = {"seed": record["seed"], "commit": record.get("commit"), "device": record.get("device")}
    told |= {"threads": record.get("threads"), "policy": record.get("policy")}
    told |= {name: value for name, value in record.items() if name.startswith(("version/", "artifact/"))}
    return {name: str(value) for name, value in told.items() if value not in (None, "")}


def command(series: Series) -> str:
    """The command that makes the records of a series again; with their artifacts there, it computes nothing."""
    seeds = ",".join(str(record["seed"]) for record in series.records)
    typed = [f"{word}={_value(choice)}" for word, choice in _typed(series.words).items()]
    several = ["-m"] if len(series.records) > 1 else []
    return shlex.join(["python", "run.py", *several, *typed, f"seed={seeds}"])


def _typed(words: Mapping[str, Any]) -> dict[str, Any]:
    """Word -> choice as it is typed: one word for two equal sides, knobs after choices."""
    told = {word: choice for word, choice in words.items() if choice not in (None, "") and word not in SETTLED}
    if told.get("rl") in ("none", "matched"):  # the command line refuses what changes nothing
        told.pop("reward", None)
    if "dataset.path" in told:  # records name the folder
        told["dataset"] = "local"
    train, infer = told.pop("train", None), told.pop("infer", None)
    sides = {"strategy": train} if train == infer else {"strategy@train": train, "strategy@infer": infer}
    knobs = {word: choice for word, choice in told.items() if word not in (*CHOICES, "name")}
    choices = {word: choice for word, choice in told.items() if word not in knobs}
    return choices | {word: choice for word, choice in sides.items() if choice} | knobs


def _value(choice: Any) -> str:
    """A choice or value as Hydra reads it: combinations as lists, text with other characters in quotes."""
    text = json.dumps(choice) if isinstance(choice, bool) else str(choice)
    if re.fullmatch(r"\w+(\+\w+)+", text):
        return f"[{text.replace('+', ',')}]"
    if re.fullmatch(r"[\w./:@%-]*|\[.*\]|\{.*\}", text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
