"""Where the figures of a cell come from: configuration, versions, keys, and the commands that make it again."""

import shlex
from typing import Any

from genclspp.report.records import CHOICES, WORDS, Record
from genclspp.report.series import Series


def of(series: Series) -> dict[str, Any]:
    """As JSON; what may differ between seeds in the order of the records."""
    first = series.records[0]
    return {
        "commands": [command(record) for record in series.records if WORDS in record],
        "choices": {word: str(choice) for word, choice in _configuration(first).items()},
        "seeds": [_of_seed(record) for record in series.records],
        "examples": {
            "test examples": first.get("examples"),
            "validation examples": first.get("validation/examples"),
            "digest of the test examples": first.get("digest/test"),
        },
    }


def command(record: Record) -> str:
    """The command that makes a record again: with its artifacts there, it computes nothing."""
    name = shlex.quote(f"name={record['name']}")
    return f"python run.py hydra.mode=RUN {name} {record[WORDS]}"


def _configuration(record: Record) -> dict[str, Any]:
    """The name of the sweep, choices and knobs of a record."""
    words = ["name", *CHOICES, "weights", *sorted(name for name in record if "." in name and "/" not in name)]
    return {word: record[word] for word in words if word != "seed" and record.get(word) not in (None, "")}


def _of_seed(record: Record) -> dict[str, str]:
    """What may differ between the records of a series."""
    told = {name: record.get(name) for name in ("seed", "commit", "device", "threads", "policy")}
    told |= {name: value for name, value in record.items() if name.startswith(("version/", "artifact/"))}
    return {name: str(value) for name, value in told.items() if value not in (None, "")}
