"""The labels of a task: their order, names and definitions."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from genclspp.data import readers
from genclspp.data.readers import Table, kind
from genclspp.settings import DatasetSettings
from genclspp.suggest import UserError, hint
from genclspp.task import Example


def choose_order(
    name: str, train: Sequence[Example], given: tuple[str, ...] | None, settings: DatasetSettings, origin: str = ""
) -> tuple[str, ...]:
    """The labels in order, checked against those in train. `given`: the order that the source has at `origin`."""
    counts = Counter(example.label for example in train)
    if len(counts) < 2:
        raise UserError(
            f"{name} has only one class ({next(iter(counts))!r}, {counts.total()} training examples); "
            "expected at least two"
        )
    labels = settings.labels if settings.labels is not None else given
    if labels is None:
        return tuple(sorted(counts, key=_natural))
    missing = sorted(set(counts) - set(labels))
    if missing:
        place = "dataset.labels" if settings.labels is not None else origin
        raise UserError(f"{place} lacks the label {missing[0]!r} of train; {hint(missing[0], labels)}")
    return tuple(labels)


def _natural(label: str) -> tuple[bool, int, str]:
    """Sort key: numbers by value, then names in alphabetical order."""
    is_number = re.fullmatch(r"-?\d+", label) is not None
    return (not is_number, int(label) if is_number else 0, label)


def class_names(tables: Mapping[str, Table], settings: DatasetSettings) -> tuple[tuple[str, ...] | None, str]:
    """The class names, None unless the label column of train holds class indices; and where they stand."""
    names = tables["train"].classes.get(settings.label)
    origin = f"{tables['train'].source}, class names of {settings.label!r},"
    if names is None:
        return None, origin
    refuse_repeats(origin, names)
    return tuple(name.strip() for name in names), origin


def choose_names(labels: Sequence[str], settings: DatasetSettings) -> dict[str, str]:
    """Label -> the name that prompts show; raises UserError unless each is one line and unique."""
    _refuse_unknown("dataset.names", settings.names, labels)
    readable: Callable[[str], str] = (lambda label: label.replace("_", " ").strip()) if settings.readable else str
    shown = {label: settings.names.get(label, readable(label)) for label in labels}
    for label, name in shown.items():
        if not name.strip() or "\n" in name:
            raise UserError(f"label {label!r} has the name {name!r}; expected one line of text")
    first: dict[str, str] = {}
    for label, name in shown.items():
        other = first.setdefault(name, label)
        if other != label:
            raise UserError(
                f"labels {other!r} and {label!r} have the same name {name!r}; expected different names"
            )
    return shown


def merge_definitions(
    labels: Sequence[str], given: Mapping[str, str], settings: DatasetSettings
) -> dict[str, str]:
    """Label -> definition. `given`: those of the source; the settings take precedence."""
    _refuse_unknown("definitions.json", given, labels)
    _refuse_unknown("dataset.definitions", settings.definitions, labels)
    merged = {**given, **settings.definitions}
    return {label: merged[label] for label in labels if label in merged}


def _refuse_unknown(where: str, found: Iterable[str], labels: Sequence[str]) -> None:
    for label in found:
        if label not in labels:
            raise UserError(f"{where} names the unknown label {label!r}; {hint(label, labels)}")


def refuse_repeats(where: str, labels: Sequence[str]) -> None:
    """Raise UserError if a list names a label more than once."""
    for label, count in Counter(labels).items():
        if count > 1:
            raise UserError(f"{where} names {label!r} {count} times; expected each label once")


def read_order(folder: Path) -> tuple[str, ...] | None:
    """The label order in labels.json of the folder, if it has one."""
    path = folder / "labels.json"
    if not path.is_file():
        return None
    value = readers.read_json(path)
    if not isinstance(value, list) or not all(isinstance(label, str | int) for label in value):
        raise UserError(f"{path} holds {kind(value)}; expected a list of label names")
    labels = tuple(str(label).strip() for label in value)
    refuse_repeats(str(path), labels)
    return labels


def read_definitions(folder: Path) -> dict[str, str]:
    """Label -> definition in definitions.json of the folder; empty if it has none."""
    path = folder / "definitions.json"
    if not path.is_file():
        return {}
    value = readers.read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path} holds {kind(value)}; expected an object: label -> definition")
    for label, text in value.items():
        if not isinstance(text, str):
            raise UserError(f"the definition of {label!r} in {path} is {kind(text)}; expected a text")
    return value
