"""How charts name cells: by what tells them apart, in the words of the command line."""

from collections.abc import Sequence

from genclspp.report.records import STRATEGY, chosen, is_knob_of, split_words
from genclspp.report.series import Series

SIDES = ("train", "infer")


def telling(series: Sequence[Series]) -> list[str]:
    """The words in which cells differ; if sides are equal in all of them, "strategy" stands for both."""
    return split_words([each.words for each in series])[0] if series else []


def name(series: Series, words: Sequence[str]) -> str:
    """A cell by some of its words: "train=icl infer=numeric rl=none"."""
    found = ((word, chosen(series.words, word)) for word in words)
    return " ".join(f"{word}={choice}" for word, choice in found if choice is not None)


def side(series: Series, of: str) -> str:
    """The prompts of a side, with its knobs: "icl shots=3"."""
    choice = str(series.words.get(of))
    knobs = [
        f"{word.rpartition('.')[2]}={value}"
        for word, value in series.words.items()
        if value is not None and is_knob_of(word, (STRATEGY, of)) and word.split(".")[1] in choice.split("+")
    ]
    return " ".join([choice, *knobs])
