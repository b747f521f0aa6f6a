"""Seeded, stratified choices among examples."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from genclspp.task import Example, normalise


def stratified_order(labels: Sequence[str], seed: int) -> list[int]:
    """An order of the positions of `labels` in which every prefix is a stratified sample.

    One of each label comes first (frequent labels before rare ones), then labels in proportion. So samples
    of different sizes are nested, and every class stays as long as there is room for it.
    """
    random = Random(seed)
    ranked = []
    for positions in _by_label(labels, random):
        for rank, position in enumerate(positions):
            share = (rank + 0.5) / len(positions)
            ranked.append((rank > 0, share, random.random(), position))
    return [position for *_, position in sorted(ranked)]


def even_order(labels: Sequence[int], random: Random) -> list[int]:
    """An order of the positions of `labels` in which every stretch holds each label in proportion.

    Systematic sampling: each label comes at equal distances, from a start of its own.
    """
    placed = []
    for positions in _by_label(labels, random):
        start = random.random()
        placed += [((rank + start) / len(positions), position) for rank, position in enumerate(positions)]
    return [position for _, position in sorted(placed)]


def _by_label(labels: Sequence[str] | Sequence[int], random: Random) -> Iterator[list[int]]:
    """The positions of each label, shuffled when it is its turn."""
    by_label: dict[Any, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        by_label[label].append(position)
    for label in sorted(by_label):
        random.shuffle(by_label[label])
        yield by_label[label]


def subsample(examples: Sequence[Example], size: int | None, seed: int) -> tuple[Example, ...]:
    """At most `size` examples, stratified, in their given order; all where `size` is None."""
    if size is None or size >= len(examples):
        return tuple(examples)
    chosen = stratified_order([example.label for example in examples], seed)[:size]
    return tuple(examples[position] for position in sorted(chosen))


def carve(
    examples: Sequence[Example], fraction: float, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(rest, part): a stratified `fraction` of the examples, at least one, taken out.

    The last example of a label is never taken out.
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


def folds(examples: Sequence[Example], count: int, seed: int = 0) -> list[list[int]]:
    """Positions of the examples in at most `count` parts that are alike in size and in labels; each is in one.

    Examples of the same normalised text stay together, so that no part repeats what another holds.
    """
    twins: dict[str, list[int]] = defaultdict(list)
    for position, example in enumerate(examples):
        twins[normalise(example.text)].append(position)
    groups = list(twins.values())
    Random(seed).shuffle(groups)
    groups.sort(key=lambda group: examples[group[0]].label)
    # Dealt out like cards, one label after the other: no part gets two more of a label than another.
    parts = (groups[turn::count] for turn in range(count))
    return [sorted(position for group in part for position in group) for part in parts if part]


def shuffled(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    """The examples in a seeded order."""
    order = list(examples)
    Random(seed).shuffle(order)
    return tuple(order)
