"""From files, the hub or the generator to a `Task`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from genclspp.data import examples, labels, notes, overlap, readers, sampling, splits, tickets
from genclspp.data.examples import Checked
from genclspp.data.overlap import Splits
from genclspp.settings import DatasetSettings
from genclspp.suggest import UserError
from genclspp.task import SPLITS, Example, Task

INSTRUCTIONS = {
    "en": "Classify the text. Answer with one label only.",
    "zh": "请对文本进行分类，只回答一个类别名称。",
}


@dataclass(frozen=True)
class Source:
    """What a source provides: its splits under our names, and whatever else it says about the task.

    labels: in order, found at `origin`; None where it says nothing about them
    unread: sentences that name what was found there and not read
    """

    name: str
    rows: Checked
    labels: tuple[str, ...] | None = None
    origin: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)
    instruction: str | None = None
    unread: tuple[str, ...] = ()


def load(settings: DatasetSettings) -> Task:
    """Read, check and split a data set.

    Raises UserError with one sentence: what was found, where, and what was expected.
    """
    source = {"tickets": _from_tickets, "local": _from_files, "hub": _from_hub}[settings.source](settings)
    rows = source.rows
    order = labels.choose_order(source.name, rows.splits["train"], source.labels, settings, source.origin)
    names = labels.choose_names(order, settings)
    definitions = labels.merge_definitions(order, source.definitions, settings)
    whole, origins = _complete(source.name, rows.splits, settings)
    settled, repeated = overlap.settle(whole, origins, rows.places, settings)
    drawn = _draw(settled, settings)
    told = notes.describe(drawn, origins, order, rows.dropped, repeated)
    return Task(
        name=source.name,
        labels=order,
        instruction=_instruction(settings, source),
        names=names,
        definitions=definitions,
        splits=drawn,
        language=settings.language,
        list_labels=settings.list_labels,
        notes=(f"{source.name}: {told}", *source.unread),
    )


def _instruction(settings: DatasetSettings, source: Source) -> str:
    if settings.instruction is not None:  # it may be empty, which asks for none
        return settings.instruction
    return source.instruction or INSTRUCTIONS[settings.language]


def _from_tickets(settings: DatasetSettings) -> Source:
    sizes = {split: max(size, getattr(settings, f"{split}_size") or 0) for split, size in tickets.SIZES.items()}
    return Source(
        name="tickets",
        rows=Checked(tickets.generate(sizes, settings.seed)),
        labels=tickets.LABELS,
        definitions=tickets.DEFINITIONS,
        instruction=tickets.INSTRUCTIONS.get(settings.language),
    )


def _from_files(settings: DatasetSettings) -> Source:
    path = Path(settings.path).expanduser()
    unread: tuple[str, ...] = ()
    if path.is_dir():
        files, unread = splits.find_files(path, settings)
        tables = {split: readers.read_file(file) for split, file in files.items()}
        order, definitions = labels.read_order(path), labels.read_definitions(path)
    elif path.exists() or (path.suffix.lower() in readers.ENDINGS and "://" not in settings.path):
        tables = {"train": readers.read_file(path)}
        order, definitions = None, {}
    elif "://" in settings.path:
        raise UserError(f"dataset.path={settings.path} is an address; expected a file or folder on this machine")
    else:
        raise UserError(f"dataset.path={settings.path}: no such file or folder{readers.near(path)}")
    rows, origin = examples.build(tables, settings), str(path / "labels.json")
    if order is None:
        order, origin = labels.class_names(tables, settings)
    return Source(path.stem, rows, order, origin, definitions, unread=notes.list_unread(str(path), unread))


def _from_hub(settings: DatasetSettings) -> Source:
    found = readers.read_hub(settings.path, settings.subset, settings.revision)
    named = splits.choose_names(settings.path, {name: name for name in found}, settings)
    tables = {split: found[name]() for split, name in named.items() if name in found}
    splits.require(settings.path, tables, list(found), settings)
    name = Path(settings.path).name + (f"-{settings.subset}" if settings.subset else "")
    unread = [name for name in found if name not in named.values()]
    rows, (order, origin) = examples.build(tables, settings), labels.class_names(tables, settings)
    return Source(name, rows, order, origin, unread=notes.list_unread(settings.path, unread))


def _complete(name: str, found: Splits, settings: DatasetSettings) -> tuple[Splits, dict[str, str]]:
    """All three splits: a missing test is taken as `test_from` says, a missing validation carved from train.

    Returns also, for those that were missing, split -> the split that it was taken from.
    """
    whole, origins = dict(found), dict[str, str]()
    if "test" not in whole:
        origin = settings.test_from
        if origin is None:
            raise UserError(
                f"{name} has no test split (found: {', '.join(found)}); name it with dataset.splits.test, or "
                "choose dataset.test_from=validation or dataset.test_from=train"
            )
        if origin not in whole:
            raise UserError(
                f"dataset.test_from={origin}, but {name} has no such split (found: {', '.join(found)})"
            )
        origins["test"] = origin
        if origin == "validation":
            whole["test"] = whole.pop("validation")
        else:
            whole["train"], whole["test"] = _carve(whole["train"], "test", settings)
    if "validation" not in whole:
        origins["validation"] = "train"
        whole["train"], whole["validation"] = _carve(whole["train"], "validation", settings)
    return {split: whole[split] for split in SPLITS}, origins


def _carve(
    train: tuple[Example, ...], split: str, settings: DatasetSettings
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    # A seed per split: with the same one, test and validation would draw by the same order.
    rest, part = sampling.carve(train, settings.validation_fraction, settings.seed + SPLITS.index(split))
    if not part:
        labels = ", ".join(repr(example.label) for example in train[:3]) + (", …" if len(train) > 3 else "")
        raise UserError(
            f"no two of the {len(train)} training examples have the same label ({labels}), so none can be taken "
            f"for {split}; is {settings.label!r} (dataset.label) the column of labels?"
        )
    return rest, part


def _draw(whole: Splits, settings: DatasetSettings) -> Splits:
    """Reduce splits to their sizes; shuffle train, as many files are sorted by class."""
    ordered = {**whole, "train": sampling.shuffle(whole["train"], settings.seed)}
    return {
        split: sampling.subsample(examples, getattr(settings, f"{split}_size"), settings.seed)
        for split, examples in ordered.items()
    }
