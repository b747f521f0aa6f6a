"""Seeded, stratified sampling of examples."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from genclspp.task import Example, normalise


def stratified_order(labels: Sequence[str], seed: int) -> list[int]:
    """Order the positions of `labels` so that every prefix is a stratified sample.

    One of each label comes first (frequent labels before rare ones), then labels in proportion. So samples of
    different sizes are nested, and no class is lost while there is room for it.
    """
    random = Random(seed)
    ranked = []
    for positions in _by_label(labels, random):
        for rank, position in enumerate(positions):
            share = (rank + 0.5) / len(positions)
            # False sorts before True: the first of each label, then all others; ties are broken at random.
            ranked.append((rank > 0, share, random.random(), position))
    return [position for *_, position in sorted(ranked)]


def even_order(labels: Sequence[int], random: Random) -> list[int]:
    """Order the positions of `labels` so that every stretch holds each label in proportion.

    Systematic sampling: each label recurs at equal distances, from a random offset of its own.
    """
    placed = []
    for positions in _by_label(labels, random):
        start = random.random()
        placed += [((rank + start) / len(positions), position) for rank, position in enumerate(positions)]
    return [position for _, position in sorted(placed)]


def _by_label(labels: Sequence[str] | Sequence[int], random: Random) -> Iterator[list[int]]:
    """The positions of each label, label by label; shuffled just before they are yielded."""
    by_label: dict[Any, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        by_label[label].append(position)
    for label in sorted(by_label):
        random.shuffle(by_label[label])
        yield by_label[label]


def subsample(examples: Sequence[Example], size: int | None, seed: int) -> tuple[Example, ...]:
    """At most `size` examples, stratified by label, in their given order; all if `size` is None."""
    if size is None or size >= len(examples):
        return tuple(examples)
    chosen = stratified_order([example.label for example in examples], seed)[:size]
    return tuple(examples[position] for position in sorted(chosen))


def carve(
    examples: Sequence[Example], fraction: float, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Take out a stratified `fraction` of the examples, at least one; returns (rest, part).

    The last example of a label always stays in the rest, so `part` may be smaller, or empty.
    """
    left = Counter(example.label for example in examples)
    wanted = max(1, round(fraction * len(examples)))
    part: set[int] = set()
    for position in stratified_order([example.label for example in examples], seed):
        label = examples[position].label
        if len(part) < wanted and left[label] > 1:
            part.add(position)
            left[label] -= 1
    return (
        tuple(example for position, example in enumerate(examples) if position not in part),
        tuple(example for position, example in enumerate(examples) if position in part),
    )


def split_validation(
    examples: Sequence[Example], checks: int, compared: int, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Two disjoint stratified parts: one for RL's checks, one to compare cells on, with at most so many examples.

    A policy that RL has chosen by its checks has no advantage on the second part. The first takes half of the
    examples at most. Cells without RL leave it out as well, so all cells are compared on the same examples.
    """
    order = stratified_order([example.label for example in examples], seed)
    cut = min(checks, len(examples) // 2)
    first, second = order[:cut], order[cut : cut + compared]
    return tuple(examples[k] for k in sorted(first)), tuple(examples[k] for k in sorted(second))


def split_folds(examples: Sequence[Example], count: int, seed: int = 0) -> list[list[int]]:
    """Split the positions of the examples into at most `count` folds of similar size and label distribution.

    Examples with the same normalised text share a fold, so that no text is in two folds.
    """
    twins: dict[str, list[int]] = defaultdict(list)
    for position, example in enumerate(examples):
        twins[normalise(example.text)].append(position)
    groups = list(twins.values())
    Random(seed).shuffle(groups)
    groups.sort(key=lambda group: examples[group[0]].label)
    # Dealt like cards, label after label: the folds' counts of a label differ by one group of twins at most.
    parts = (groups[turn::count] for turn in range(count))
    return [sorted(position for group in part for position in group) for part in parts if part]


def shuffle(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    """The examples in a seeded random order."""
    order = list(examples)
    Random(seed).shuffle(order)
    return tuple(order)
