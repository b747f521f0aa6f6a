"""A data set made ready: from files, the hub or the generator to a `Task`."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genclspp import readers, sampling, tickets
from genclspp.nearest import hint
from genclspp.readers import Table
from genclspp.settings import DatasetSettings
from genclspp.task import SPLITS, Example, Task

INSTRUCTIONS = {
    "en": "Classify the text. Answer with one label only.",
    "zh": "请对文本进行分类，只回答一个类别名称。",
}


@dataclass(frozen=True)
class Source:
    """What a source offers: its splits under our names, and what lies beside them."""

    name: str
    splits: Mapping[str, tuple[Example, ...]]
    labels: tuple[str, ...] | None = None
    definitions: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None


def load(settings: DatasetSettings) -> Task:
    """Read, check and split a data set.

    Raises ValueError or FileNotFoundError, with one sentence that says what was found, where, and what was
    expected.
    """
    check(settings)
    source = {"tickets": _from_tickets, "local": _from_files, "hub": _from_hub}[settings.source](settings)
    labels = _labels(source, settings)
    return Task(
        name=source.name,
        labels=labels,
        instruction=settings.instruction or source.instruction or INSTRUCTIONS[settings.language],
        names=_names(labels, settings),
        definitions=_definitions(labels, source, settings),
        splits=_draw(_complete(source, settings), settings),
        language=settings.language,
        list_labels=settings.list_labels,
    )


def check(settings: DatasetSettings) -> None:
    """Refuse settings that no data set can satisfy."""
    for split in SPLITS:
        size = getattr(settings, f"{split}_size")
        if size is not None and size <= 0:
            raise ValueError(f"dataset.{split}_size={size}; expected a number above 0, or null for all")
    if not 0 < settings.validation_fraction < 1:
        raise ValueError(f"dataset.validation_fraction={settings.validation_fraction}; expected 0 < x < 1")
    for split in settings.splits:
        if split not in SPLITS:
            raise ValueError(f"unknown split dataset.splits.{split}: {hint(split, SPLITS)}")
    if settings.language not in INSTRUCTIONS:
        raise ValueError(f"dataset.language={settings.language!r}: {hint(settings.language, INSTRUCTIONS)}")
    if settings.source not in ("tickets", "local", "hub"):
        raise ValueError(
            f"dataset.source={settings.source!r}: {hint(settings.source, ('tickets', 'local', 'hub'))}"
        )
    if settings.source != "tickets" and not settings.path:
        wanted = "a file or a folder" if settings.source == "local" else "a hub id"
        raise ValueError(f"dataset.path is empty; dataset.source={settings.source} needs {wanted}")
    if settings.labels is not None:
        _refuse_repeats("dataset.labels", settings.labels)


# --- sources ---------------------------------------------------------------------------------------------


def _from_tickets(settings: DatasetSettings) -> Source:
    sizes = {split: max(size, getattr(settings, f"{split}_size") or 0) for split, size in tickets.SIZES.items()}
    return Source(
        name="tickets",
        splits=tickets.generate(sizes, settings.seed),
        labels=tickets.LABELS,
        definitions=tickets.DEFINITIONS,
        instruction=tickets.INSTRUCTIONS.get(settings.language),
    )


def _from_files(settings: DatasetSettings) -> Source:
    path = Path(settings.path).expanduser()
    if path.is_dir():
        files = _split_files(path, settings)
        tables = {split: readers.read_file(file) for split, file in files.items()}
        labels, definitions = _labels_file(path), _definitions_file(path)
    elif path.exists() or path.suffix.lower() in readers.ENDINGS:
        tables = {"train": readers.read_file(path)}
        labels, definitions = None, {}
    else:
        raise FileNotFoundError(f"dataset.path={settings.path}: no such file or folder")
    return Source(path.stem, _examples(tables, settings), labels or _class_names(tables, settings), definitions)


def _split_files(folder: Path, settings: DatasetSettings) -> dict[str, Path]:
    """split -> its file in the folder."""
    files: dict[str, Path] = {}
    for split, name in settings.splits.items():
        found = [file for ending in readers.ENDINGS if (file := folder / f"{name}{ending}").is_file()]
        if len(found) > 1:
            shown = ", ".join(file.name for file in found)
            raise ValueError(f"{folder} holds several files for split {split!r}: {shown}; expected one")
        if found and name:
            files[split] = found[0]
    beside = ("labels.json", "definitions.json")
    known = sorted(
        f.stem for f in folder.iterdir() if f.suffix.lower() in readers.ENDINGS and f.name not in beside
    )
    _require_splits(str(folder), files, known, settings)
    seen: dict[Path, str] = {}
    for split, file in files.items():
        other = seen.setdefault(file.resolve(), split)
        if other != split:
            raise ValueError(f"splits {other!r} and {split!r} are the same file: {file}")
    return files


def _labels_file(folder: Path) -> tuple[str, ...] | None:
    path = folder / "labels.json"
    if not path.is_file():
        return None
    value = readers.read_json(path)
    if not isinstance(value, list) or not all(isinstance(label, str | int) for label in value):
        raise ValueError(f"{path} holds {_kind(value)}; expected a list of label names")
    labels = tuple(str(label).strip() for label in value)
    _refuse_repeats(str(path), labels)
    return labels


def _definitions_file(folder: Path) -> dict[str, str]:
    path = folder / "definitions.json"
    if not path.is_file():
        return {}
    value = readers.read_json(path)
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"{path} holds {_kind(value)}; expected an object: label -> definition")
    return value


def _from_hub(settings: DatasetSettings) -> Source:
    found = readers.read_hub(settings.path, settings.subset, settings.revision)
    tables = {split: found[name]() for split, name in settings.splits.items() if name in found}
    _require_splits(settings.path, tables, list(found), settings)
    name = Path(settings.path).name + (f"-{settings.subset}" if settings.subset else "")
    return Source(name, _examples(tables, settings), _class_names(tables, settings))


def _require_splits(where: str, found: Mapping[str, Any], known: Sequence[str], settings: DatasetSettings) -> None:
    """Stop where a split that was named is missing, or train."""
    for split, name in settings.splits.items():
        if split not in found and name and (split == "train" or name != split):
            raise FileNotFoundError(f"{where} has no split {name!r} (dataset.splits.{split}): {hint(name, known)}")
    if "train" not in found:
        raise ValueError(f"dataset.splits names no split for 'train': {hint('train', known)}")


# --- rows to examples ------------------------------------------------------------------------------------


def _examples(tables: Mapping[str, Table], settings: DatasetSettings) -> dict[str, tuple[Example, ...]]:
    """The examples of each split, checked against one another."""
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
                    f"id {example.id!r} stands twice, at {places[example.id]} and {place}; expected ids that "
                    "are unique over all splits (dataset.id=null numbers the rows)"
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
                f"{table.source} has no column {column!r} (dataset.{key}): {hint(column, table.columns)}"
            )


def _read_rows(split: str, table: Table, settings: DatasetSettings) -> list[tuple[Example, str]]:
    """Each example with its place."""
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
        raise ValueError(f"{place}: {settings.text!r} is {_kind(text)}; expected a text")
    if not text.strip():
        raise ValueError(f"{place}: {settings.text!r} is empty ({text!r}); expected a text")
    return Example(
        id=_id(row.get(settings.id), place, settings) if settings.id else default_id,
        text=text,
        label=label,
        rationale=str(row.get(settings.rationale) or "") if settings.rationale else "",
        ambiguous=_truth(row.get(settings.ambiguous), place, settings) if settings.ambiguous else None,
    )


def _label(value: Any, classes: tuple[str, ...] | None, place: str, settings: DatasetSettings) -> str | None:
    """The label as a string; None for a row with several labels that is to be left out."""
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
                f"{place}: {settings.label!r} is {value}; expected 0 to {len(classes) - 1} (is the split without "
                "labels? dataset.splits.<split>='' leaves it out)"
            )
        return classes[value].strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise ValueError(f"{place}: {settings.label!r} is {_kind(value)} ({value}); expected a name or number")
    return str(value).strip()


def _id(value: Any, place: str, settings: DatasetSettings) -> str:
    if not isinstance(value, str | int) or value == "":
        raise ValueError(f"{place}: {settings.id!r} is {value!r}; expected an id (a text or a number)")
    return str(value)


def _truth(value: Any, place: str, settings: DatasetSettings) -> bool | None:
    known = {"true": True, "1": True, "false": False, "0": False, "": None, "none": None}
    key = str(value).strip().lower()
    if key not in known:
        raise ValueError(f"{place}: {settings.ambiguous!r} is {value!r}; expected true, false or nothing")
    return known[key]


def _compare_splits(
    tables: Mapping[str, Table], splits: Mapping[str, tuple[Example, ...]], places: Mapping[str, str]
) -> None:
    """Refuse labels that training never shows, and splits that are copies of one another."""
    known = {example.label for example in splits["train"]}
    contents: dict[tuple, str] = {}
    for split, examples in splits.items():
        for example in examples:
            if example.label not in known:
                problem = f"label {example.label!r} in split {split!r} is not in train"
                raise ValueError(f"{places[example.id]}: {problem}: {hint(example.label, sorted(known))}")
        content = tuple((example.text, example.label) for example in examples)
        other = contents.setdefault(content, split)
        if other != split:
            files = f"{tables[other].source} and {tables[split].source}"
            raise ValueError(f"splits {other!r} and {split!r} hold the same rows: {files}")


# --- splits ----------------------------------------------------------------------------------------------


def _complete(source: Source, settings: DatasetSettings) -> dict[str, tuple[Example, ...]]:
    """All three splits: a missing test as `test_from` says, a missing validation carved from train."""
    splits = dict(source.splits)
    if "test" not in splits:
        origin = settings.test_from
        if origin is None:
            raise ValueError(
                f"{source.name} has no test split (found: {', '.join(splits)}); name it with "
                "dataset.splits.test, or choose dataset.test_from=validation or dataset.test_from=train"
            )
        if origin not in splits:
            raise ValueError(
                f"dataset.test_from={origin}, but {source.name} has no such split (found: {', '.join(splits)})"
            )
        if origin == "validation":
            splits["test"] = splits.pop("validation")
        else:
            splits["train"], splits["test"] = _carve(splits["train"], "test", settings)
    if "validation" not in splits:
        splits["train"], splits["validation"] = _carve(splits["train"], "validation", settings)
    return {split: splits[split] for split in SPLITS}


def _carve(
    train: tuple[Example, ...], split: str, settings: DatasetSettings
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    # Different seeds: with the same one, test and validation would prefer the same examples.
    rest, part = sampling.carve(train, settings.validation_fraction, settings.seed + SPLITS.index(split))
    if not part:
        raise ValueError(
            f"the train split ({len(train)} examples) is too small to take {split} from: expected a label "
            "with more than one example"
        )
    return rest, part


def _draw(splits: Mapping[str, tuple[Example, ...]], settings: DatasetSettings) -> dict[str, tuple[Example, ...]]:
    """The chosen sizes; train in a seeded order, because many files are sorted by class."""
    ordered = {**splits, "train": sampling.shuffled(splits["train"], settings.seed)}
    return {
        split: sampling.subsample(examples, getattr(settings, f"{split}_size"), settings.seed)
        for split, examples in ordered.items()
    }


# --- labels ----------------------------------------------------------------------------------------------


def _labels(source: Source, settings: DatasetSettings) -> tuple[str, ...]:
    """The labels in order, checked against those that occur."""
    counts = Counter(example.label for example in source.splits["train"])
    if len(counts) < 2:
        raise ValueError(
            f"{source.name} has one class only ({next(iter(counts))!r}, {counts.total()} training examples); "
            "expected at least two"
        )
    labels = settings.labels if settings.labels is not None else source.labels
    if labels is None:
        return tuple(sorted(counts, key=_natural))
    missing = sorted(set(counts) - set(labels))
    if missing:
        origin = "dataset.labels" if settings.labels is not None else "labels.json"
        raise ValueError(f"{origin} lacks the label {missing[0]!r}, which occurs: {hint(missing[0], labels)}")
    return tuple(labels)


def _natural(label: str) -> tuple[bool, int, str]:
    """Numbers by size, then names by alphabet."""
    is_number = label.lstrip("-").isdecimal()
    return (not is_number, int(label) if is_number else 0, label)


def _class_names(tables: Mapping[str, Table], settings: DatasetSettings) -> tuple[str, ...] | None:
    names = tables["train"].classes.get(settings.label)
    if names is None:
        return None
    _refuse_repeats(f"{tables['train'].source}, class names of {settings.label!r}", names)
    return tuple(name.strip() for name in names)


def _names(labels: Sequence[str], settings: DatasetSettings) -> dict[str, str]:
    """label -> the name that prompts show."""
    _refuse_unknown("dataset.names", settings.names, labels)
    readable: Callable[[str], str] = (lambda label: label.replace("_", " ").strip()) if settings.readable else str
    names = {label: settings.names.get(label, readable(label)) for label in labels}
    for label, name in names.items():
        if not name.strip() or "\n" in name:
            raise ValueError(f"label {label!r} has the name {name!r}; expected one line of text")
    first: dict[str, str] = {}
    for label, name in names.items():
        other = first.setdefault(name, label)
        if other != label:
            raise ValueError(
                f"labels {other!r} and {label!r} have the same name {name!r}; expected different ones"
            )
    return names


def _definitions(labels: Sequence[str], source: Source, settings: DatasetSettings) -> dict[str, str]:
    _refuse_unknown("definitions.json", source.definitions, labels)
    _refuse_unknown("dataset.definitions", settings.definitions, labels)
    merged = {**source.definitions, **settings.definitions}
    return {label: merged[label] for label in labels if label in merged}


def _refuse_unknown(where: str, found: Iterable[str], labels: Sequence[str]) -> None:
    for label in found:
        if label not in labels:
            raise ValueError(f"{where} names the unknown label {label!r}: {hint(label, labels)}")


def _refuse_repeats(where: str, labels: Sequence[str]) -> None:
    for label, count in Counter(labels).items():
        if count > 1:
            raise ValueError(f"{where} names {label!r} {count} times; expected each label once")


def _kind(value: Any) -> str:
    """What a value is, in the words of JSON.

    >>> _kind(None), _kind([])
    ('null', 'a list')
    """
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return "null" if value is None else kinds.get(type(value), f"a {type(value).__name__}")
