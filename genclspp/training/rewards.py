"""Rewards for reinforcement learning: plain functions of lists.

Each takes what was written, and one column entry per completion: `prompts`, `answer` (the surface it should be),
`surfaces` (all that may be answered) and `uncertain` (the surface of an abstention, or None). With
reasoning=think, what was written begins with "<think>", and the answer is read behind "</think>". A reward of
one's own is any function of this form; a YAML in conf/reward names it by `_target_` and gives it a `weight`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from genclspp.prompts import thoughts
from genclspp.prompts.draft import Prompts
from genclspp.prompts.surfaces import parse
from genclspp.settings import Reward
from genclspp.task import UNCERTAIN

Function = TypeVar("Function", bound=Callable[..., list[float]])

COLUMNS = ("completions", "prompts", "answer", "surfaces", "uncertain")  # all other arguments come from the YAML


def needs(*what: str) -> Callable[[Function], Function]:
    """Declare what a reward could never pay without: "thoughts", or "uncertain" (that answer)."""

    def mark(function: Function) -> Function:
        vars(function)["needs"] = what
        return function

    return mark


def correct(completions: list[str], answer: list[str], surfaces: list[list[str]], **_: Any) -> list[float]:
    """1 where the completion reads back as the answer, else 0."""
    return [
        float(_read(written, known) == wanted)
        for written, wanted, known in zip(completions, answer, surfaces, strict=True)
    ]


def parsed(completions: list[str], surfaces: list[list[str]], **_: Any) -> list[float]:
    """1 where the completion reads back as any answer, else 0."""
    return [float(_read(written, known) is not None) for written, known in zip(completions, surfaces, strict=True)]


@needs("uncertain")
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


@needs("thoughts")
def thought_format(completions: list[str], surfaces: list[list[str]], **_: Any) -> list[float]:
    """1 where the completion is one closed thought that says something, then anything that reads as an answer."""
    return [
        float(thoughts.is_formed(written) and _read(written, known) is not None)
        for written, known in zip(completions, surfaces, strict=True)
    ]


def _read(completion: str, surfaces: Sequence[str]) -> str | None:
    return parse(completion, {surface: surface for surface in surfaces})


def rows(prompts: Prompts) -> list[dict[str, Any]]:
    """One row per prompt, with the columns that rewards read.

    opening: the end of the prompt that belongs to what is written
    """
    surfaces = list(prompts.surfaces.values())
    sign = prompts.surfaces.get(UNCERTAIN)
    shared = {"surfaces": surfaces, "uncertain": sign, "opening": thoughts.OPEN if prompts.thought_tokens else ""}
    return [{"prompt": item.text, "answer": item.answer, **shared} for item in prompts.items]


def right(prompts: Prompts) -> list[int]:
    """Place of the right answer of each prompt among the surfaces."""
    places = {surface: place for place, surface in enumerate(prompts.surfaces.values())}
    return [places[item.answer] for item in prompts.items]


def table(prompts: Prompts, rewards: Sequence[Reward]) -> list[list[float]]:
    """The weighted reward of each answer to each prompt, and of anything else in a last column."""
    written = [*prompts.surfaces.values(), ""]
    sums = total(rewards, written * len(prompts.items), [row for row in rows(prompts) for _ in written])
    return [sums[k : k + len(written)] for k in range(0, len(sums), len(written))]


def total(
    rewards: Sequence[Reward], completions: Sequence[str], asked: Sequence[Mapping[str, Any]]
) -> list[float]:
    """The weighted reward of each completion; `asked` holds its row of `rows`."""
    columns = {name: [row[name] for row in asked] for name in asked[0]}
    columns["prompts"] = columns.pop("prompt")  # as TRL names it
    sums = [0.0] * len(asked)
    for reward in rewards:
        given = function(reward)(completions=list(completions), **columns)
        sums = [so_far + reward.weight * value for so_far, value in zip(sums, given, strict=True)]
    return sums


def function(reward: Reward) -> Any:
    """The reward's function with its own arguments; TRL calls it by name and logs it under that name.

    It is handed whole completions: with the tag that a prompt has opened for them.
    """
    bound = partial(reward.function, **reward.args)

    def pay(completions: Sequence[str], opening: Sequence[str], **columns: Any) -> list[float]:
        whole = [start + written for start, written in zip(opening, completions, strict=True)]
        return bound(completions=whole, **columns)

    pay.__name__ = reward.name
    return pay
