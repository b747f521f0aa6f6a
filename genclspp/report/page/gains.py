"""What cells can be compared with, and their gains over that.

A baseline is either a choice, such as rl=none: each cell is compared with the one that has it and equals it in all
else; or it is one cell, for all others. The page computes no statistics: gains over every choice and over the
`CELLS` best cells (on validation examples) are all computed here, so that there is one implementation of them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genclspp.report.records import STRATEGY, split_words
from genclspp.report.results import Results
from genclspp.report.statistics import Gain, benjamini_hochberg

CELLS = 40  # 200 cells x 40 gains take seconds; all pairs would take most of a minute
CHOICES = 12  # of a word with more choices, none is a baseline: shots, learning rates
METRIC = "accuracy"
NAIVE = "zero_shot"  # on both sides: the baseline to begin with
Row = list[float | None]


@dataclass(frozen=True)
class Baseline:
    """What cells are compared with.

    name:  in the address of the page: WORD=CHOICE, or the name of a cell
    title: in its menu
    kind:  "choice" or "cell"
    of:    place of the baseline of each series; None where it has none, or is its own
    """

    name: str
    title: str
    kind: str
    of: tuple[int | None, ...]


def baselines(
    results: Results, names: Sequence[str], titles: Sequence[str], best: Sequence[int]
) -> list[Baseline]:
    """All baselines that some series has, the one to begin with first.

    names, titles: of the series
    best:          places of series, best first
    """
    every = range(len(results.series))
    of_cells = [
        Baseline(names[one], titles[one], "cell", tuple(None if place == one else one for place in every))
        for one in best[:CELLS]
    ]
    return [found for found in (*_choices(results), *of_cells) if any(place is not None for place in found.of)]


def gains(results: Results, baseline: Baseline) -> list[Row | None]:
    """Of each series: place of its baseline, mean, low, high, corrected p, detectable; None without a gain."""
    found = [
        None if of is None else results.gain(series, results.series[of], METRIC)
        for series, of in zip(results.series, baseline.of, strict=True)
    ]
    corrected = iter(benjamini_hochberg([gain.p for gain in found if gain]))
    return [
        None if gain is None else _row(of, gain, float(next(corrected)))
        for of, gain in zip(baseline.of, found, strict=True)
    ]


def _row(of: int | None, gain: Gain, corrected: float) -> Row:
    values = (gain.mean, gain.low, gain.high, corrected, gain.detectable)
    return [of, *(round(value, 6) if math.isfinite(value) else None for value in values)]


def _choices(results: Results) -> list[Baseline]:
    """The baselines that are a choice; what switches something off comes first, zero-shot prompts before all."""
    places = {id(series): place for place, series in enumerate(results.series)}
    found: dict[str, Baseline] = {}
    for wanted in sorted(_wanted(results), key=_importance):
        own = [results.baseline_of(series, wanted) for series in results.series]
        of = [places[id(one)] if one is not None else None for one in own]
        others = tuple(None if one == place else one for place, one in enumerate(of))
        name = " ".join(f"{word}={choice}" for word, choice in _shown(wanted).items())
        found.setdefault(name, Baseline(name, f"{name}, all else equal", "choice", others))
    return list(found.values())


def _wanted(results: Results) -> Iterator[Mapping[str, Any]]:
    """Word -> choice of each baseline that is a choice."""
    words = split_words(results.records)[0] if results.records else []
    method = {"method": "generative"} if "method" in words else {}  # other methods have no prompts
    for word in words:
        sides = ("train", "infer") if word == STRATEGY else (word,)
        choices = dict.fromkeys(series.words.get(sides[0]) for series in results.series)
        if word in ("train", STRATEGY) and NAIVE in choices:
            yield {"train": NAIVE, "infer": NAIVE, **method}
        if word not in ("seed", "name") and len(choices) <= CHOICES:
            yield from (dict.fromkeys(sides, choice) for choice in choices if choice not in (None, ""))


def _importance(wanted: Mapping[str, Any]) -> int:
    """Sort key: zero-shot on both sides, then what is off or naive, then the rest."""
    if [wanted.get(side) for side in ("train", "infer")] == [NAIVE, NAIVE]:
        return 0
    return 1 if set(wanted.values()) <= {"none", NAIVE} else 2


def _shown(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """One word for both sides."""
    if "train" not in wanted or wanted["train"] != wanted.get("infer"):
        return wanted
    rest = {word: choice for word, choice in wanted.items() if word not in ("train", "infer")}
    return {STRATEGY: wanted["train"], **rest}
