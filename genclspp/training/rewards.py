"""Rewards for reinforcement learning: plain functions of lists.

A reward takes the completions and columns with one entry per completion: `prompts`, `answer` (the right surface),
`surfaces` (all surfaces that may be answered) and `uncertain` (the surface of an abstention, or None). With
reasoning=think, a completion begins with "<think>", and the answer is read after "</think>". Any function of this
form can be a reward; a YAML in conf/reward names it by `_target_` and gives it a `weight`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any, TypeVar

from genclspp.prompts import thoughts
from genclspp.prompts.draft import Prompts
from genclspp.prompts.surfaces import parse
from genclspp.settings import Reward
from genclspp.suggest import UserError, blame
from genclspp.task import UNCERTAIN

Function = TypeVar("Function", bound=Callable[..., list[float]])

COLUMNS = ("completions", "prompts", "answer", "surfaces", "uncertain")  # all other arguments come from the YAML


def needs(*what: str) -> Callable[[Function], Function]:
    """Declare what a reward can never pay without: "thoughts", or "uncertain" (the answer of that name)."""

    def mark(function: Function) -> Function:
        vars(function)["needs"] = what
        return function

    return mark


def correct(completions: list[str], answer: list[str], surfaces: list[list[str]], **_: Any) -> list[float]:
    """1 if the completion reads back as the right answer, else 0."""
    return [
        float(_read(written, known) == wanted)
        for written, wanted, known in zip(completions, answer, surfaces, strict=True)
    ]


def parsed(completions: list[str], surfaces: list[list[str]], **_: Any) -> list[float]:
    """1 if the completion reads back as any answer, else 0."""
    return [float(_read(written, known) is not None) for written, known in zip(completions, surfaces, strict=True)]


@needs("uncertain")
def abstained(
    completions: list[str],
    answer: list[str],
    surfaces: list[list[str]],
    uncertain: list[str | None],
    **_: Any,
) -> list[float]:
    """1 if the completion is "uncertain" but the answer is a label; the weight is the value of abstaining."""
    return [
        float(sign is not None and wanted != sign and _read(written, known) == sign)
        for written, wanted, known, sign in zip(completions, answer, surfaces, uncertain, strict=True)
    ]


@needs("thoughts")
def thought_format(completions: list[str], surfaces: list[list[str]], **_: Any) -> list[float]:
    """1 if the completion is one closed, non-empty thought followed by any valid answer, else 0."""
    return [
        float(thoughts.is_formed(written) and _read(written, known) is not None)
        for written, known in zip(completions, surfaces, strict=True)
    ]


def _read(completion: str, surfaces: Sequence[str]) -> str | None:
    return parse(completion, {surface: surface for surface in surfaces})


def reward_rows(prompts: Prompts) -> list[dict[str, Any]]:
    """One row per prompt, with the columns that rewards read.

    opening: the tag at the end of the prompt that counts as the beginning of the completion; empty without
             thoughts
    """
    surfaces = list(prompts.surfaces.values())
    sign = prompts.surfaces.get(UNCERTAIN)
    shared = {"surfaces": surfaces, "uncertain": sign, "opening": thoughts.OPEN if prompts.thought_tokens else ""}
    return [{"prompt": item.text, "answer": item.answer, **shared} for item in prompts.items]


def gold_places(prompts: Prompts) -> list[int]:
    """Index of the right answer of each prompt among the surfaces: (prompts,)."""
    places = {surface: place for place, surface in enumerate(prompts.surfaces.values())}
    return [places[item.answer] for item in prompts.items]


def reward_table(prompts: Prompts, rewards: Sequence[Reward]) -> list[list[float]]:
    """Weighted reward of each answer to each prompt, and of anything else: (prompts, surfaces + 1)."""
    written = [*prompts.surfaces.values(), ""]  # the empty completion stands for all that no reward reads back
    sums = total_reward(
        rewards, written * len(prompts.items), [row for row in reward_rows(prompts) for _ in written]
    )
    return [sums[k : k + len(written)] for k in range(0, len(sums), len(written))]


def total_reward(
    rewards: Sequence[Reward], completions: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> list[float]:
    """Weighted sum of rewards per completion; `rows` holds, for each, the row of its prompt (`reward_rows`)."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["prompts"] = columns.pop("prompt")  # TRL's names: "prompt" in the data set, "prompts" for rewards
    sums = [0.0] * len(rows)
    for reward in rewards:
        given = bind(reward)(completions=list(completions), **columns)
        sums = [so_far + reward.weight * value for so_far, value in zip(sums, given, strict=True)]
    return sums


def bind(reward: Reward) -> Any:
    """The function of `reward` with its own arguments bound, under the name that TRL logs it by.

    The bound function passes whole completions on, with the tag that the prompt has opened for them. What TRL
    passes besides `COLUMNS` is left out, so that a reward gets the same from every learner.

    raises: UserError that names the reward, if it does not return one finite number per completion
    """
    bound = partial(reward.function, **reward.args)

    def pay(completions: Sequence[str], opening: Sequence[str], **columns: Any) -> list[float]:
        whole = [start + written for start, written in zip(opening, completions, strict=True)]
        known = {name: values for name, values in columns.items() if name in COLUMNS}
        return _require_numbers(bound(completions=whole, **known), whole, reward)

    pay.__name__ = reward.name
    return pay


def check(prompts: Prompts, rewards: Sequence[Reward]) -> None:
    """Try each reward on completions of the first prompt: the right answer, an invalid text and an empty one.

    raises: UserError with the reward's name, file and line, if it raises an error or returns other than finite
            numbers
    """
    first = replace(prompts, items=prompts.items[:1])
    thought = thoughts.SAMPLE.removeprefix(thoughts.OPEN) if prompts.thought_tokens else ""
    written = [thought + prompts.joint + first.items[0].answer, "no such answer", ""]
    for reward in rewards:
        try:
            total_reward([reward], written, reward_rows(first) * len(written))
        except BadReward:
            raise
        except Exception as error:
            code = reward.function.__code__
            told = blame(error, code.co_filename, code.co_firstlineno)
            raise BadReward(f"reward.{reward.name} raised {told}") from error


class BadReward(UserError):
    """A reward does not return one finite number per completion."""


def _require_numbers(given: Any, completions: Sequence[str], reward: Reward) -> list[float]:
    """What a reward has returned, if that is one finite number per completion."""
    code = reward.function.__code__
    told = f"reward.{reward.name} ({code.co_filename}:{code.co_firstlineno}) returned"
    if isinstance(given, str) or not hasattr(given, "__len__"):
        raise BadReward(f"{told} {given!r}; expected a list with one number per completion")
    if len(given) != len(completions):
        raise BadReward(
            f"{told} a list of {len(given)} for {len(completions)} completions; expected one number for each"
        )
    for value, written in zip(given, completions, strict=True):
        if not isinstance(value, Real) or not math.isfinite(value):
            wanted = "a finite number" if isinstance(value, Real) else "a number"
            raise BadReward(f"{told} {value!r} for the completion {written[:80]!r}; expected {wanted}")
    return [float(value) for value in given]
