"""Where the figures of a cell come from: configuration, versions, keys, and the command that makes it again."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from genclspp.report.records import CHOICES, Record
from genclspp.report.series import Series


def of(series: Series) -> dict[str, Any]:
    """As JSON; versions and keys by seed, in the order of the records."""
    first = series.records[0]
    return {
        "command": command(series),
        "choices": {word: str(choice) for word, choice in _asked(first).items()},
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
    typed = [f"{word}={_value(choice)}" for word, choice in _typed(_asked(series.records[0])).items()]
    several = ["-m"] if len(series.records) > 1 else []
    return shlex.join(["python", "run.py", *several, *typed, f"seed={seeds}"])


def _asked(record: Record) -> dict[str, Any]:
    """The name of the sweep, choices and knobs of a record."""
    words = ["name", *CHOICES, *sorted(name for name in record if "." in name and "/" not in name)]
    return {word: record[word] for word in words if word != "seed" and record.get(word) not in (None, "")}


def _typed(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Word -> choice as it is typed: one word for two equal sides, and nothing that would change nothing."""
    told = dict(asked)
    if told.get("rl") in ("none", "matched"):
        told.pop("reward", None)
    if "dataset.path" in told:  # records name the folder
        told["dataset"] = "local"
    train, infer = told.pop("train", None), told.pop("infer", None)
    sides = {"strategy": train} if train == infer else {"strategy@train": train, "strategy@infer": infer}
    knobs = {word: told.pop(word) for word in [*told] if "." in word}
    return told | {word: choice for word, choice in sides.items() if choice} | knobs


def _value(choice: Any) -> str:
    """A choice or value as Hydra reads it: combinations as lists, text with other characters in quotes."""
    text = json.dumps(choice) if isinstance(choice, bool) else str(choice)
    if re.fullmatch(r"\w+(\+\w+)+", text):
        return f"[{text.replace('+', ',')}]"
    if re.fullmatch(r"[\w./:@%-]*|\[.*\]|\{.*\}", text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
