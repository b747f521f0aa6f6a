"""Rewards for reinforcement learning: plain functions of lists.

Each takes what was written, and one column entry per completion: `prompts`, `answer` (the surface it should be),
`surfaces` (all that may be answered) and `uncertain` (the surface of an abstention, or None). With
reasoning=think, what was written begins with "<think>", and the answer is read behind "</think>". A reward of
one's own is any function of this form; a YAML in conf/reward names it by `_target_` and gives it a `weight`.
"""

from collections.abc import Sequence
from typing import Any

from genclspp.prompts import thoughts
from genclspp.prompts.surfaces import parse

COLUMNS = ("completions", "prompts", "answer", "surfaces", "uncertain")  # all other arguments come from the YAML


def correct(completions: list[str], answer: list[str], surfaces: list[list[str]], **_: Any) -> list[float]:
    """1 where the completion reads back as the answer, else 0."""
    return [
        float(_read(written, known) == wanted)
        for written, wanted, known in zip(completions, answer, surfaces, strict=True)
    ]


def parsed(completions: list[str], surfaces: list[list[str]], **_: Any) -> list[float]:
    """1 where the completion reads back as any answer, else 0."""
    return [float(_read(written, known) is not None) for written, known in zip(completions, surfaces, strict=True)]


def abstained(
    completions: list[str],
    answer: list[str],
    surfaces: list[list[str]],
    uncertain: list[str | None],
    **_: Any,
) -> list[float]:
    """1 where the completion is "uncertain" though a label is wanted: its weight is the value of not answering."""
    return [
        float(sign is not None and wanted != sign and _read(written, known) == sign)
        for written, wanted, known, sign in zip(completions, answer, surfaces, uncertain, strict=True)
    ]


def thought_format(completions: list[str], surfaces: list[list[str]], **_: Any) -> list[float]:
    """1 where the completion is one closed thought that says something, then anything that reads as an answer."""
    return [
        float(thoughts.is_formed(written) and _read(written, known) is not None)
        for written, known in zip(completions, surfaces, strict=True)
    ]


def _read(completion: str, surfaces: Sequence[str]) -> str | None:
    return parse(completion, {surface: surface for surface in surfaces})
