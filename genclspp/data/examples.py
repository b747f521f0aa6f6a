"""From rows to examples; whatever is wrong with one is reported with its place in the source."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from genclspp.data.faults import SHOWN, Fault, refuse
from genclspp.data.readers import Table, kind
from genclspp.settings import DatasetSettings
from genclspp.suggest import UserError, hint
from genclspp.task import SPLITS, Example


@dataclass(frozen=True)
class Checked:
    """The rows of a source as examples.

    splits:  split -> its examples
    places:  id -> where the example is: "train.csv, line 3"
    dropped: "without a text", say -> how many such rows were left out, as the settings ask
    """

    splits: dict[str, tuple[Example, ...]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


class Dropped(Exception):
    """A row is to be left out; the message is a key of `Checked.dropped`."""


def build(tables: Mapping[str, Table], settings: DatasetSettings) -> Checked:
    """The examples of each split, checked one by one and across splits.

    Raises UserError for a missing column, for splits with the same rows, and with all faults of a source at once:
    values of the wrong type, empty texts, ids that are not unique, labels that train does not have.
    """
    checked = Checked()
    for split in (split for split in SPLITS if split in tables):  # train first, as it has the labels
        table = tables[split]
        _require_columns(table, settings)
        checked.splits[split] = _read_split(split, table, settings, checked)
        if not checked.splits[split]:
            left = "has no rows left, all are dropped" if table.rows else "is empty"
            raise UserError(f"{table.source} (split {split!r}) {left}; expected at least one row")
    _compare_splits(tables, checked.splits)
    return checked


def _require_columns(table: Table, settings: DatasetSettings) -> None:
    keys = ("text", "label", "rationale", "id", "ambiguous")
    wanted = {key: column for key in keys if (column := getattr(settings, key)) is not None}
    missing = {key: column for key, column in wanted.items() if column not in table.columns}
    if table.rows and missing:
        # A csv file without a header shows its first row as what is known.
        where = ", line 1 names" if table.source.lower().endswith((".csv", ".tsv")) else " has"
        told = " and ".join(f"no column {column!r} (dataset.{key})" for key, column in missing.items())
        raise UserError(f"{table.source}{where} {told}; {hint(next(iter(missing.values())), table.columns)}")


def _read_split(split: str, table: Table, settings: DatasetSettings, checked: Checked) -> tuple[Example, ...]:
    """The examples of a split; adds to the places and dropped rows of `checked`."""
    columns = _columns(table, settings)
    labels = sorted({example.label for example in checked.splits.get("train", ())})
    found, faults = [], []

    def blame(number: int, problem: str) -> None:
        faults.append(Fault(table.number(number), f"{table.place(number)}: {problem}"))

    for number, row in enumerate(table.rows):
        try:
            values, problems = _read_row(row, columns)
        except Dropped as reason:
            checked.dropped[str(reason)] += 1
            continue
        for problem in problems:
            blame(number, problem)
        if problems:
            continue
        example = Example(**{"id": f"{split}-{number}", **values})
        if example.id in checked.places:
            wanted = "ids that are unique across all splits (dataset.id=null numbers the rows)"
            blame(number, f"id {example.id!r} is also at {checked.places[example.id]}; expected {wanted}")
        if labels and example.label not in labels:
            known = hint(example.label, labels) if len(faults) < SHOWN else ""  # slow, and the others do not show
            blame(number, f"label {example.label[:60]!r} in split {split!r} is not in train; {known}")
        checked.places.setdefault(example.id, f"{table.source}, {table.place(number)}")
        found.append(example)
    refuse(table.source, [*table.faults, *faults])
    return tuple(found)


def _columns(table: Table, settings: DatasetSettings) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    """Field of an example -> its column, and the function that reads a value of it."""
    readers: dict[str, Callable[[Any], Any]] = {
        "text": partial(_text, drops=settings.empty == "drop"),
        "label": partial(
            _label, classes=table.classes.get(settings.label), drops=settings.several_labels == "drop"
        ),
        "rationale": lambda value: str(value or ""),
        "id": _id,
        "ambiguous": _truth,
    }
    return {name: (column, read) for name, read in readers.items() if (column := getattr(settings, name))}


def _read_row(
    row: Mapping[str, Any], columns: Mapping[str, tuple[str, Callable[[Any], Any]]]
) -> tuple[dict[str, Any], list[str]]:
    """The fields of an example, and what is wrong with the others; raises `Dropped` whatever else is wrong."""
    values, problems = {}, []
    for name, (column, read) in columns.items():
        try:
            values[name] = read(row.get(column))
        except ValueError as problem:
            problems.append(f"{column!r} {problem}")
    return values, problems


def _text(value: Any, drops: bool) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        if drops:
            raise Dropped("without a text")
        found = "null" if value is None else f"empty ({value!r})"
        raise UserError(f"is {found}; expected a text to classify (dataset.empty=drop leaves such rows out)")
    if not isinstance(value, str):
        raise UserError(f"is {kind(value)}; expected a string")
    return value


def _label(value: Any, classes: tuple[str, ...] | None, drops: bool) -> str:
    """The label as a string."""
    if isinstance(value, list | tuple):
        if len(value) != 1 and drops:
            raise Dropped("with several labels or none")
        if len(value) != 1:
            raise UserError(
                f"holds {len(value)} labels ({value}); expected one (dataset.several_labels=drop leaves such rows "
                "out)"
            )
        value = value[0]
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UserError(f"is {value!r}; expected a label")
    if classes is not None and isinstance(value, int):
        if not 0 <= value < len(classes):
            raise UserError(
                f"is {value}; expected 0 to {len(classes) - 1} (is the split unlabelled? "
                "dataset.splits.<split>='' leaves it out)"
            )
        return classes[value].strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        found = value if isinstance(value, float) else kind(value)
        raise UserError(f"is {found}; expected a name or a whole number")
    return str(value).strip()


def _id(value: Any) -> str:
    if not isinstance(value, str | int) or value == "":
        raise UserError(f"is {value!r}; expected an id (a string or a number)")
    return str(value)


def _truth(value: Any) -> bool | None:
    known = {"true": True, "1": True, "false": False, "0": False, "": None, "none": None}
    key = str(value).strip().lower()
    if key not in known:
        raise UserError(f"is {value!r}; expected true, false or an empty value")
    return known[key]


def _compare_splits(tables: Mapping[str, Table], splits: Mapping[str, tuple[Example, ...]]) -> None:
    """Raise UserError for splits that are copies of each other."""
    contents: dict[tuple, str] = {}
    for split, examples in splits.items():
        content = tuple((example.text, example.label) for example in examples)
        other = contents.setdefault(content, split)
        if other != split:
            files = f"{tables[other].source} and {tables[split].source}"
            raise UserError(f"splits {other!r} and {split!r} hold the same rows: {files}")
