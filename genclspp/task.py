"""What is classified: examples, and a data set made ready as a task."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache

from genclspp.store.keys import key

UNCERTAIN = "uncertain"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """One text and its gold label.

    rationale: a short thought that leads to the label; empty where the data set has none
    ambiguous: whether the example is ambiguous by construction; None where the data set does not say
    """

    id: str
    text: str
    label: str
    rationale: str = ""
    ambiguous: bool | None = None


@dataclass(frozen=True)
class Task:
    """A data set made ready.

    labels:      in the order in which prompts list them
    names:       label -> its name in prompts (the label's surface, unless a strategy changes it)
    definitions: label -> one sentence; empty where the data set has none
    splits:      "train", "validation", "test" -> examples
    list_labels: whether prompts list the surfaces
    notes:       what a person should know about it, a sentence each; what a task is does not depend on them

    Two facts, filled in before prompts are built, and only if a strategy requires them:

    neighbours:  example id -> training examples to demonstrate, nearest first
    uncertain:   ids of the training examples whose answer becomes "uncertain"
    """

    name: str
    labels: tuple[str, ...]
    instruction: str
    splits: Mapping[str, tuple[Example, ...]]
    names: Mapping[str, str]
    definitions: Mapping[str, str] = field(default_factory=dict)
    language: str = "en"
    list_labels: bool = True
    notes: tuple[str, ...] = field(default=(), compare=False)
    neighbours: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    uncertain: frozenset[str] = frozenset()

    @cached_property
    def key(self) -> str:
        """Hash of all fields that tasks are compared by, computed once."""
        splits = {split: _key_of(examples) for split, examples in self.splits.items()}
        others = [field.name for field in fields(self) if field.compare and field.name != "splits"]
        return key(splits, *(getattr(self, name) for name in others))


@lru_cache(maxsize=16)
def _key_of(examples: tuple[Example, ...]) -> str:
    """Tasks that differ in one split share the others, and hashing these takes most of the time."""
    return key(examples)


def normalise(text: str) -> str:
    """NFKC, lower case, letters and digits only; a text without any keeps its other visible characters.

    >>> normalise("Where's my  PARCEL?!") == normalise("where s my parcel")
    True
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    # ":-)" and ":-(" have no letters, but are different texts.
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())
