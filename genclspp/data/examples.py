"""From rows to examples; whatever is wrong with one is reported with its place in the source."""

from collections.abc import Mapping
from typing import Any

from genclspp.data.readers import Table, kind
from genclspp.settings import DatasetSettings
from genclspp.suggest import hint
from genclspp.task import Example


def build(tables: Mapping[str, Table], settings: DatasetSettings) -> dict[str, tuple[Example, ...]]:
    """The examples of each split, checked one by one and across splits.

    Raises ValueError for a missing column, a value of the wrong type, an id that is not unique, a label that train
    does not have, and splits with the same rows.
    """
    splits: dict[str, tuple[Example, ...]] = {}
    places: dict[str, str] = {}
    for split, table in tables.items():
        _require_columns(table, settings)
        places_of = _read_rows(split, table, settings)
        if not places_of:
            raise ValueError(f"{table.source} (split {split!r}) is empty; expected at least one row")
        for example, place in places_of:
            if example.id in places:
                raise ValueError(
                    f"id {example.id!r} occurs twice, at {places[example.id]} and {place}; expected ids that "
                    "are unique across all splits (dataset.id=null numbers the rows)"
                )
            places[example.id] = place
        splits[split] = tuple(example for example, _ in places_of)
    _compare_splits(tables, splits, places)
    return splits


def _require_columns(table: Table, settings: DatasetSettings) -> None:
    for key in ("text", "label", "rationale", "id", "ambiguous"):
        column = getattr(settings, key)
        if table.rows and column is not None and column not in table.columns:
            raise ValueError(
                f"{table.source} has no column {column!r} (dataset.{key}); {hint(column, table.columns)}"
            )


def _read_rows(split: str, table: Table, settings: DatasetSettings) -> list[tuple[Example, str]]:
    """Each example of a split, with its place in the source."""
    classes = table.classes.get(settings.label)
    found = []
    for number, row in enumerate(table.rows):
        place = table.place(number)
        label = _label(row.get(settings.label), classes, place, settings)
        if label is not None:
            found.append((_example(f"{split}-{number}", label, row, place, settings), place))
    return found


def _example(default_id: str, label: str, row: dict, place: str, settings: DatasetSettings) -> Example:
    text = row.get(settings.text)
    if not isinstance(text, str):
        raise ValueError(f"{place}: {settings.text!r} is {kind(text)}; expected a string")
    if not text.strip():
        raise ValueError(f"{place}: {settings.text!r} is empty ({text!r}); expected a text to classify")
    return Example(
        id=_id(row.get(settings.id), place, settings) if settings.id else default_id,
        text=text,
        label=label,
        rationale=str(row.get(settings.rationale) or "") if settings.rationale else "",
        ambiguous=_truth(row.get(settings.ambiguous), place, settings) if settings.ambiguous else None,
    )


def _label(value: Any, classes: tuple[str, ...] | None, place: str, settings: DatasetSettings) -> str | None:
    """The label as a string; None for a row that is to be dropped, as it has several labels or none."""
    if isinstance(value, list | tuple):
        if len(value) != 1 and settings.several_labels == "drop":
            return None
        if len(value) != 1:
            raise ValueError(
                f"{place}: {settings.label!r} holds {len(value)} labels ({value}); expected one "
                "(dataset.several_labels=drop leaves such rows out)"
            )
        value = value[0]
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"{place}: {settings.label!r} is {value!r}; expected a label")
    if classes is not None and isinstance(value, int):
        if not 0 <= value < len(classes):
            raise ValueError(
                f"{place}: {settings.label!r} is {value}; expected 0 to {len(classes) - 1} (is the split "
                "unlabelled? dataset.splits.<split>='' leaves it out)"
            )
        return classes[value].strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise ValueError(f"{place}: {settings.label!r} is {kind(value)} ({value}); expected a name or number")
    return str(value).strip()


def _id(value: Any, place: str, settings: DatasetSettings) -> str:
    if not isinstance(value, str | int) or value == "":
        raise ValueError(f"{place}: {settings.id!r} is {value!r}; expected an id (a string or a number)")
    return str(value)


def _truth(value: Any, place: str, settings: DatasetSettings) -> bool | None:
    known = {"true": True, "1": True, "false": False, "0": False, "": None, "none": None}
    key = str(value).strip().lower()
    if key not in known:
        raise ValueError(f"{place}: {settings.ambiguous!r} is {value!r}; expected true, false or an empty value")
    return known[key]


def _compare_splits(
    tables: Mapping[str, Table], splits: Mapping[str, tuple[Example, ...]], places: Mapping[str, str]
) -> None:
    """Raise ValueError for labels that train does not have, and for splits that are copies of each other."""
    known = {example.label for example in splits["train"]}
    contents: dict[tuple, str] = {}
    for split, examples in splits.items():
        for example in examples:
            if example.label not in known:
                problem = f"label {example.label!r} in split {split!r} is not in train"
                raise ValueError(f"{places[example.id]}: {problem}; {hint(example.label, sorted(known))}")
        content = tuple((example.text, example.label) for example in examples)
        other = contents.setdefault(content, split)
        if other != split:
            files = f"{tables[other].source} and {tables[split].source}"
            raise ValueError(f"splits {other!r} and {split!r} hold the same rows: {files}")
