"""What a prompt will say, before it is text, and what becomes of it.

    example ─▶ Draft ─▶ strategy ─▶ strategy ─▶ … ─▶ render ─▶ Prompt

A strategy fills its own field of the draft and renders no text, so the order of strategies does not matter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os.path import commonprefix
from typing import Protocol

from genclspp.prompts import thoughts
from genclspp.store.keys import key
from genclspp.task import Example, Task

TEXT = "{text}"  # where a text goes in the wording of a query
BEYOND = 4  # tokens generated beyond the longest answer, or text that starts like an answer would pass for one


@dataclass(frozen=True)
class Draft:
    """What a prompt will say, before it is text. Each strategy fills one field.

    instruction:    what to do, in the first lines; empty for none
    surfaces:       label -> the text that stands for it
    query:          how a text to classify is worded, with `TEXT` where the text itself goes; demonstrations are
                    worded alike
    uncertain:      surface of the extra answer "uncertain"; None if it is not offered
    definitions:    label -> one sentence
    demonstrations: best first; the best is placed nearest to the query
    thought_tokens: maximum length of a thought before the answer, closing tag included; 0 without reasoning
    """

    instruction: str
    surfaces: Mapping[str, str]
    query: str = TEXT
    uncertain: str | None = None
    definitions: Mapping[str, str] = field(default_factory=dict)
    demonstrations: tuple[Example, ...] = ()
    thought_tokens: int = 0


class Strategy(Protocol):
    """One edit of the draft: a frozen dataclass."""

    def check(self, task: Task) -> None:
        """Raise UserError if the task lacks what this strategy needs.

        A message that begins with a field ("shots=9 asks …") is shown with its full key ("train.icl.shots=9 …").
        """

    def requires(self) -> Mapping[str, Mapping[str, object]]:
        """Facts to compute beforehand: name of the fact -> its settings."""
        ...

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft: ...


@dataclass(frozen=True)
class Turns:
    """What a chat template writes between messages.

    query:  between the instruction and the first text
    answer: between a text and its answer, if another turn follows
    next:   between an answer and the next text
    """

    query: str
    answer: str
    next: str


@dataclass(frozen=True)
class Frame:
    """What surrounds the content of every prompt: a chat template's own text, or a start token.

    turns:    if demonstrations are earlier turns of a chat; None puts all content into one text
    joint:    separates prompt and answer; tokenised with the answer, so that no token spans the border
    reserved: special tokens, to be defused where a text contains them
    """

    before: str = ""
    after: str = ""
    joint: str = " "
    reserved: tuple[str, ...] = ()
    turns: Turns | None = None

    def plain(self, text: str) -> str:
        """`text` with special tokens defused: "[SEP]" becomes "[ SEP]"."""
        for token in self.reserved:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text.strip()


@dataclass(frozen=True)
class Budget:
    """How many tokens a prompt may take, and how to count them.

    answer_tokens: length of the longest answer, without an end token
    """

    count: Callable[[str], int]
    limit: int
    answer_tokens: int = 0

    def fits(self, text: str) -> bool:
        # A token covers at least one byte, so a short text fits without being tokenised.
        return len(text.encode()) <= self.limit or self.count(text) <= self.limit


@dataclass(frozen=True)
class Prompt:
    """One rendered prompt.

    text:      what the model reads, special tokens included
    answer:    what it should write: the surface of the gold label, or of "uncertain"
    truncated: whether demonstrations or part of the text were dropped
    thought:   what it should write before the answer, closing tag included; empty if unknown or not wanted
    gold:      the label of the example
    vote:      the most frequent label of its demonstrations, the best one's if several are; empty without any
    """

    id: str
    text: str
    answer: str
    truncated: bool = False
    thought: str = ""
    gold: str = ""
    vote: str = ""

    @property
    def written(self) -> str:
        """Thought and answer: the target of SFT."""
        return f"{self.thought} {self.answer}" if self.thought else self.answer


@dataclass(frozen=True)
class ModelInputs:
    """The part of prompts that a model sees at inference: no ids and no gold labels, so that keys ignore them.

    texts:          of the prompts
    completions:    the answers that may be written after each of them
    joint:          separates a thought from what follows it
    thought_tokens: maximum length of the thought that comes first; 0 without reasoning
    is_known:       see `Prompts`
    """

    texts: tuple[str, ...]
    completions: tuple[str, ...]
    joint: str
    thought_tokens: int = 0
    is_known: bool = True

    @cached_property
    def key(self) -> str | None:
        """Hash of all fields, computed once; None while they are not known."""
        return key(self.texts, self.completions, self.joint, self.thought_tokens) if self.is_known else None

    @cached_property
    def length(self) -> int:
        """What there is to read, in characters: what all texts begin with counts once, answers once per text."""
        return _length(self.texts) + len(self.texts) * sum(map(len, self.completions))

    def after(self, thought_of: Sequence[str]) -> list[str]:
        """The texts, each followed by its thought and the closing tag."""
        return [
            f"{text}{self.joint}{thoughts.closed(thought)}"
            for text, thought in zip(self.texts, thought_of, strict=True)
        ]


@dataclass(frozen=True)
class Prompts:
    """The prompts of one side, with the possible answers.

    surfaces: label -> surface, in label order; UNCERTAIN last if it is offered
    joint:    precedes what is written (see `Frame`), and separates thought and answer
    thought_tokens: see `Draft`; unless 0, the texts end with the opening tag
    answer_tokens: see `Budget`
    is_known: False while placeholders take the place of facts that a stage has yet to establish
    """

    surfaces: Mapping[str, str]
    joint: str
    items: tuple[Prompt, ...]
    thought_tokens: int = 0
    answer_tokens: int = 0
    is_known: bool = True

    @cached_property
    def key(self) -> str | None:
        """Hash of all fields, computed once; None while they are not known."""
        surfaces = list(self.surfaces.items())  # the key of a mapping would ignore their order
        if not self.is_known:
            return None
        return key(surfaces, self.joint, self.items, self.thought_tokens, self.answer_tokens)

    @cached_property
    def inputs(self) -> ModelInputs:
        """The part of the prompts that a model sees at inference."""
        texts, completions = tuple(item.text for item in self.items), tuple(self.completions())
        return ModelInputs(texts, completions, self.joint, self.thought_tokens, self.is_known)

    @cached_property
    def taught(self) -> "Prompts":
        """The same for SFT, whose key must not depend on the maximum length of a thought."""
        return replace(self, thought_tokens=0) if self.thought_tokens else self

    @cached_property
    def length(self) -> int:
        """What there is to learn from, in characters: what all prompts begin with counts once."""
        return _length([item.text for item in self.items]) + sum(len(item.written) for item in self.items)

    @cached_property
    def truncated(self) -> int:
        """How many were truncated."""
        return sum(item.truncated for item in self.items)

    def completions(self) -> list[str]:
        """What the model may write, in the order of `surfaces`."""
        return [self.joint + surface for surface in self.surfaces.values()]

    @property
    def most_tokens(self) -> int:
        """Maximum number of new tokens: a thought, the longest answer, the end token, and `BEYOND` others."""
        return self.thought_tokens + self.answer_tokens + 1 + BEYOND


def _length(texts: Sequence[str]) -> int:
    shared = len(commonprefix([min(texts), max(texts)])) if texts else 0  # noqa: RUF071
    return shared + sum(len(text) - shared for text in texts)
