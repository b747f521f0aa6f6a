"""What a person should know about a task before a cell starts."""

from collections.abc import Iterator, Mapping, Sequence

from genclspp.data.overlap import EVALUATION, Splits, find


def describe(
    splits: Splits,
    origins: Mapping[str, str],
    labels: Sequence[str],
    rows: Mapping[str, int],
    overlap: Mapping[str, int],
) -> str:
    """Sizes, and what was left out, on one line.

    train 90 · validation 10 (from train) · test 30 · 6 labels · 3 test texts also in train (left in)

    origins: split -> the split that it was taken from
    rows:    why rows were dropped -> how many
    overlap: split -> how many of its texts were dropped, being in train too
    """
    sizes = [f"{split} {len(examples)}{_origin(split, origins)}" for split, examples in splits.items()]
    dropped = [f"{_count(number, 'row')} {why} (dropped)" for why, number in rows.items()]
    return " · ".join([*sizes, _count(len(labels), "label"), *dropped, *_overlap(splits, overlap)])


def _origin(split: str, origins: Mapping[str, str]) -> str:
    return f" (from {origins[split]})" if split in origins else ""


def _overlap(splits: Splits, dropped: Mapping[str, int]) -> Iterator[str]:
    for split in reversed(EVALUATION):  # what concerns test matters most
        left = len(find(splits[split], splits["train"]))
        for number, what in ((dropped.get(split, 0), "dropped"), (left, "left in")):
            if number:
                yield f"{_count(number, f'{split} text')} also in train ({what})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def list_unread(where: str, names: Sequence[str]) -> tuple[str, ...]:
    """A sentence that names the files of a folder, or splits on the hub, that were not read; none without any."""
    rest = f", … and {len(names) - 10} more" if len(names) > 10 else ""
    return (f"not read in {where}: {', '.join(names[:10])}{rest}",) if names else ()
