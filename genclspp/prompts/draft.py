"""What a prompt will say, before it is text, and what becomes of it.

    example ─▶ Draft ─▶ strategy ─▶ strategy ─▶ … ─▶ render ─▶ Prompt

A strategy fills a field of the draft that is its own and writes no text, so the order of strategies does not
matter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from genclspp.prompts import thoughts
from genclspp.store.keys import key
from genclspp.task import Example, Task

BEYOND = 4  # tokens that may be written beyond the longest answer: text that is no answer must not look like one


@dataclass(frozen=True)
class Draft:
    """What a prompt will say, before it is text. Each strategy fills one field.

    surfaces:       label -> the text that stands for it
    uncertain:      surface of the extra answer "uncertain"; None where it is not offered
    definitions:    label -> one sentence
    demonstrations: best first; the best stands nearest to the query
    thought_tokens: tokens that a thought before the answer may take, closing tag included; 0 where none is wanted
    """

    surfaces: Mapping[str, str]
    uncertain: str | None = None
    definitions: Mapping[str, str] = field(default_factory=dict)
    demonstrations: tuple[Example, ...] = ()
    thought_tokens: int = 0


class Strategy(Protocol):
    """One edit of the draft."""

    def check(self, task: Task) -> None:
        """Raise ValueError where the task cannot serve this strategy."""

    def requires(self) -> Mapping[str, Mapping[str, object]]:
        """Facts to compute beforehand: the fact's name -> its settings."""
        ...

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft: ...


@dataclass(frozen=True)
class Frame:
    """What stands around the content of every prompt: the turns of a chat template, or a start token.

    joint:    stands between prompt and answer; it belongs to the answer, so that no token spans the border
    reserved: special tokens; where a text contains one, it is broken up so that it stays mere text
    """

    before: str = ""
    after: str = ""
    joint: str = " "
    reserved: tuple[str, ...] = ()

    def plain(self, text: str) -> str:
        """`text` without the power of special tokens: "[SEP]" becomes "[ SEP]"."""
        for token in self.reserved:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text.strip()


@dataclass(frozen=True)
class Budget:
    """How many tokens a prompt may take, and how to count them.

    answer_tokens: tokens of the longest answer, without an end token
    """

    count: Callable[[str], int]
    limit: int
    answer_tokens: int = 0

    def fits(self, text: str) -> bool:
        # A token stands for at least one byte: short texts need no tokenizer.
        return len(text.encode()) <= self.limit or self.count(text) <= self.limit


@dataclass(frozen=True)
class Prompt:
    """One rendered prompt.

    text:      what the model reads, special tokens included
    answer:    what it should write: the surface of the gold label, or of "uncertain"
    truncated: whether demonstrations or a part of the text had to go
    thought:   what it should write before the answer, closed; empty where nothing is known or wanted
    gold:      the label of the example
    """

    id: str
    text: str
    answer: str
    truncated: bool = False
    thought: str = ""
    gold: str = ""

    @property
    def written(self) -> str:
        """Thought and answer: what training teaches to write."""
        return f"{self.thought} {self.answer}" if self.thought else self.answer


@dataclass(frozen=True)
class ModelInputs:
    """Of prompts, what a model gets to see, and what keys of stages that read them are made of: no ids, no golds.

    texts:          of the prompts
    completions:    what may be written behind each of them
    joint:          stands between a thought and what follows it
    thought_tokens: of the thought that has to be written first; 0 where none is wanted
    is_known:       see `Prompts`
    """

    texts: tuple[str, ...]
    completions: tuple[str, ...]
    joint: str
    thought_tokens: int = 0
    is_known: bool = True

    @cached_property
    def key(self) -> str | None:
        """Of all this, hashed once; None while it is not known."""
        return key(self.texts, self.completions, self.joint, self.thought_tokens) if self.is_known else None

    def after(self, thought_of: Sequence[str]) -> list[str]:
        """The texts, each with its thought, closed, as its end."""
        return [
            f"{text}{self.joint}{thoughts.closed(thought)}"
            for text, thought in zip(self.texts, thought_of, strict=True)
        ]


@dataclass(frozen=True)
class Prompts:
    """The prompts of one side, with what may be answered.

    surfaces: label -> surface, in label order; UNCERTAIN last where it is offered
    joint:    stands before what is written (see `Frame`), and between thought and answer
    thought_tokens: see `Draft`; where they are not 0, the texts end with the opening tag
    answer_tokens: see `Budget`
    is_known: False where stand-ins take the place of facts that a stage has yet to establish
    """

    surfaces: Mapping[str, str]
    joint: str
    items: tuple[Prompt, ...]
    thought_tokens: int = 0
    answer_tokens: int = 0
    is_known: bool = True

    @cached_property
    def key(self) -> str | None:
        """Of all this, hashed once; None while it is not known."""
        surfaces = list(self.surfaces.items())  # in their order, which a mapping's key leaves out
        if not self.is_known:
            return None
        return key(surfaces, self.joint, self.items, self.thought_tokens, self.answer_tokens)

    @cached_property
    def inputs(self) -> ModelInputs:
        """What a model gets to see of the prompts."""
        texts, completions = tuple(item.text for item in self.items), tuple(self.completions())
        return ModelInputs(texts, completions, self.joint, self.thought_tokens, self.is_known)

    @cached_property
    def taught(self) -> "Prompts":
        """The same for SFT, to which it does not matter how long a thought may become."""
        return replace(self, thought_tokens=0) if self.thought_tokens else self

    @cached_property
    def truncated(self) -> int:
        """How many had to be truncated."""
        return sum(item.truncated for item in self.items)

    def completions(self) -> list[str]:
        """What the model may write, in the order of `surfaces`."""
        return [self.joint + surface for surface in self.surfaces.values()]

    @property
    def most_tokens(self) -> int:
        """Tokens that may be written: a thought, the longest answer, the end token, and `BEYOND` others."""
        return self.thought_tokens + self.answer_tokens + 1 + BEYOND
