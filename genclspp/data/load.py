"""From files, the hub or the generator to a `Task`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genclspp.data import examples, labels, readers, sampling, tickets
from genclspp.settings import DatasetSettings
from genclspp.suggest import hint
from genclspp.task import SPLITS, Example, Task

INSTRUCTIONS = {
    "en": "Classify the text. Answer with one label only.",
    "zh": "请对文本进行分类，只回答一个类别名称。",
}


@dataclass(frozen=True)
class Source:
    """What a source provides: its splits under our names, and whatever else it says about the task.

    labels: in order, found at `origin`; None where it says nothing about them
    """

    name: str
    splits: Mapping[str, tuple[Example, ...]]
    labels: tuple[str, ...] | None = None
    origin: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None


def load(settings: DatasetSettings) -> Task:
    """Read, check and split a data set.

    Raises ValueError or FileNotFoundError with one sentence: what was found, where, and what was expected.
    """
    source = {"tickets": _from_tickets, "local": _from_files, "hub": _from_hub}[settings.source](settings)
    order = labels.choose_order(source.name, source.splits["train"], source.labels, settings, source.origin)
    return Task(
        name=source.name,
        labels=order,
        instruction=settings.instruction or source.instruction or INSTRUCTIONS[settings.language],
        names=labels.choose_names(order, settings),
        definitions=labels.merge_definitions(order, source.definitions, settings),
        splits=_draw(_complete(source, settings), settings),
        language=settings.language,
        list_labels=settings.list_labels,
    )


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
        order, definitions = labels.read_order(path), labels.read_definitions(path)
    elif path.exists() or path.suffix.lower() in readers.ENDINGS:
        tables = {"train": readers.read_file(path)}
        order, definitions = None, {}
    else:
        raise FileNotFoundError(f"dataset.path={settings.path}: no such file or folder")
    splits = examples.build(tables, settings)
    if order is not None:
        return Source(path.stem, splits, order, str(path / "labels.json"), definitions)
    return Source(path.stem, splits, *labels.class_names(tables, settings), definitions)


def _split_files(folder: Path, settings: DatasetSettings) -> dict[str, Path]:
    """Split -> its file in the folder."""
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


def _from_hub(settings: DatasetSettings) -> Source:
    found = readers.read_hub(settings.path, settings.subset, settings.revision)
    tables = {split: found[name]() for split, name in settings.splits.items() if name in found}
    _require_splits(settings.path, tables, list(found), settings)
    name = Path(settings.path).name + (f"-{settings.subset}" if settings.subset else "")
    return Source(name, examples.build(tables, settings), *labels.class_names(tables, settings))


def _require_splits(where: str, found: Mapping[str, Any], known: Sequence[str], settings: DatasetSettings) -> None:
    """Raise where train is missing, or another split that the settings name explicitly."""
    for split, name in settings.splits.items():
        if split not in found and name and (split == "train" or name != split):
            raise FileNotFoundError(f"{where} has no split {name!r} (dataset.splits.{split}); {hint(name, known)}")
    if "train" not in found:
        raise ValueError(f"dataset.splits names no split for 'train'; {hint('train', known)}")


def _complete(source: Source, settings: DatasetSettings) -> dict[str, tuple[Example, ...]]:
    """All three splits: a missing test is taken as `test_from` says, a missing validation carved from train."""
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
    # A seed per split: with the same one, test and validation would draw by the same order.
    rest, part = sampling.carve(train, settings.validation_fraction, settings.seed + SPLITS.index(split))
    if not part:
        raise ValueError(
            f"the train split ({len(train)} examples) is too small to carve {split} from; expected a label with "
            "more than one example"
        )
    return rest, part


def _draw(splits: Mapping[str, tuple[Example, ...]], settings: DatasetSettings) -> dict[str, tuple[Example, ...]]:
    """Reduce splits to their sizes; shuffle train, as many files are sorted by class."""
    ordered = {**splits, "train": sampling.shuffle(splits["train"], settings.seed)}
    return {
        split: sampling.subsample(examples, getattr(settings, f"{split}_size"), settings.seed)
        for split, examples in ordered.items()
    }
