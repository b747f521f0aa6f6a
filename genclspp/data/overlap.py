"""Evaluation texts that stand in train too: kept, dropped or refused."""

from collections.abc import Iterable, Mapping, Sequence

from genclspp.settings import DatasetSettings
from genclspp.suggest import UserError
from genclspp.task import Example, normalise

Splits = Mapping[str, tuple[Example, ...]]
EVALUATION = ("validation", "test")


def find(examples: Sequence[Example], train: Iterable[Example]) -> dict[str, Example]:
    """Id of each example whose normalised text stands in train -> the first training example that has it."""
    first: dict[str, Example] = {}
    for example in train:
        first.setdefault(normalise(example.text), example)
    return {example.id: first[text] for example in examples if (text := normalise(example.text)) in first}


def settle(
    splits: Splits, origins: Mapping[str, str], places: Mapping[str, str], settings: DatasetSettings
) -> tuple[dict[str, tuple[Example, ...]], dict[str, int]]:
    """The splits without what `dataset.overlap` drops, and split -> how many texts that were.

    All of the source's train counts, whatever train_size and the seed leave of it, so that all cells of a sweep
    are tested on the same examples.

    origins: split -> the split that it was taken from; places: id -> where the example is
    Raises UserError for overlap "stop", and for a split of which nothing would be left.
    """
    if settings.overlap == "keep":
        return dict(splits), {}
    settled, dropped = dict(splits), {}
    for split in EVALUATION:
        carved = splits["validation"] if split == "test" and origins.get("validation") == "train" else ()
        found = find(splits[split], [*splits["train"], *carved])
        if found and settings.overlap == "stop":
            raise UserError(_explain(split, found, places))
        settled[split] = tuple(example for example in splits[split] if example.id not in found)
        dropped[split] = len(found)
        if not settled[split]:
            raise UserError(
                f"dataset.overlap=drop would leave nothing of the {split} split: all its {len(found)} texts are "
                "also in train"
            )
    return settled, dropped


def _explain(split: str, found: Mapping[str, Example], places: Mapping[str, str]) -> str:
    evaluated, trained = next(iter(found.items()))
    where = f"{places.get(evaluated, evaluated)} and {places.get(trained.id, trained.id)}"
    count = f"{len(found)} {split} texts are" if len(found) > 1 else f"1 {split} text is"
    return (
        f"dataset.overlap=stop, but {count} also in train (the first: {where}); dataset.overlap=drop leaves such "
        f"texts out of {split}"
    )
