"""What a prompt will say, before it is text, and what becomes of it.

    example ─▶ Draft ─▶ strategy ─▶ strategy ─▶ … ─▶ render ─▶ Prompt

A strategy fills a field of the draft that is its own and writes no text, so the order of strategies does not
matter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from genclspp.prompts import thoughts
from genclspp.settings import LATER
from genclspp.task import Example, Task


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
    """How many tokens a prompt may take, and how to count them."""

    count: Callable[[str], int]
    limit: int

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
    """

    id: str
    text: str
    answer: str
    truncated: bool = False
    thought: str = field(default="", metadata=LATER)

    @property
    def written(self) -> str:
        """Thought and answer: what training teaches to write."""
        return f"{self.thought} {self.answer}" if self.thought else self.answer


@dataclass(frozen=True)
class Prompts:
    """The prompts of one side, with what may be answered.

    surfaces: label -> surface, in label order; UNCERTAIN last where it is offered
    joint:    stands before what is written (see `Frame`), and between thought and answer
    thought_tokens: see `Draft`; where they are not 0, the texts end with the opening tag
    """

    surfaces: Mapping[str, str]
    joint: str
    items: tuple[Prompt, ...]
    thought_tokens: int = field(default=0, metadata=LATER)

    def completions(self) -> list[str]:
        """What the model may write, in the order of `surfaces`."""
        return [self.joint + surface for surface in self.surfaces.values()]

    def after(self, thought_of: Sequence[str]) -> "Prompts":
        """The same prompts, each with a thought, closed, as its end; themselves where they want none."""
        if not self.thought_tokens:
            return self
        items = tuple(
            replace(item, text=f"{item.text}{self.joint}{thoughts.closed(thought)}")
            for item, thought in zip(self.items, thought_of, strict=True)
        )
        return replace(self, items=items, thought_tokens=0)
