"""Tasks of every awkward kind, for properties that must hold for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from unicodedata import normalize

from hypothesis import settings
from hypothesis import strategies as st

from genclspp.prompts.draft import Draft, Strategy
from genclspp.selection import demonstrations
from genclspp.strategies.definition import Definition
from genclspp.strategies.icl import Icl
from genclspp.strategies.numeric import Numeric
from genclspp.strategies.uncertainty import Uncertainty
from genclspp.task import Example, Task

# Other seeds find more now and then; a test suite should say the same every time.
quick = settings(max_examples=30, deadline=None, derandomize=True)

# Prefixes of one another, other cases, spaces, punctuation, quotes, digits, Chinese, full-width forms.
AWKWARD = (
    ("no", "no match", "no match at all", "match"),
    ("1", "2", "10", "12", "one"),
    ("us", "US", "Us", "them"),
    ("U.S.", "U.S", "u.s..", "Mr."),
    ("refund", "refund status", "refund_status", "Refund!"),
    ('"quoted"', "quoted", "it's", "its"),
    ("体育", "体育新闻", "新闻。", "“新闻”"),
    ("ＡＢＣ", "abc", "ＡＢＣＤ", "１２"),
    ("C++", "C#", "c", "C"),
    ("...", "!", "a", "a."),
    ("ß", "ss", "ı", "I"),
    ("caf\u00e9", "cafe", "CAF\u00c9 noir", "e\u0301"),
)
WORDS = (
    "refund",
    "my parcel",
    "Text:",
    "Label: 1",
    "\n",
    "\n\n",
    "体育",
    "。",
    "?!",
    "ＡＢＣ",
    "[SEP]",
    "\u00a0",
    "é",
)


def form(name: str) -> str:
    """What two names must not share."""
    return normalize("NFKC", name).strip()


any_name = st.text(min_size=1, max_size=8).filter(lambda name: form(name) and "\n" not in form(name))
any_names = st.lists(any_name, min_size=2, max_size=5, unique_by=form)
awkward_names = st.sampled_from(AWKWARD).flatmap(lambda names: st.permutations(names)).map(lambda names: names[:4])
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """A task with definitions, twins among its texts, and examples marked uncertain."""
    names = draw(st.one_of(awkward_names, any_names))
    labels = tuple(f"label-{n}" for n in range(len(names))) if draw(st.booleans()) else tuple(names)
    written = draw(st.lists(texts, min_size=3, max_size=6))
    # At least six different texts, so that three demonstrations remain whatever the query.
    train = [
        Example(f"train-{n}", text, draw(st.sampled_from(labels)))
        for n, text in enumerate([*(f"word{n}" for n in range(6)), *written])
    ]
    twins = [
        Example(f"test-{n}", e.text.upper() + "!", draw(st.sampled_from(labels))) for n, e in enumerate(train)
    ]
    return Task(
        name="generated",
        labels=labels,
        instruction=draw(st.sampled_from(["Classify.", "请分类。"])),
        splits={"train": tuple(train), "validation": (), "test": tuple(twins)},
        names=dict(zip(labels, names, strict=True)),
        definitions={label: f"What is meant by {name}." for label, name in zip(labels, names, strict=True)},
        language=draw(st.sampled_from(["en", "zh"])),
        list_labels=draw(st.booleans()),
        uncertain=frozenset(draw(st.sets(st.sampled_from([e.id for e in train]), max_size=5))),
    )


def combinations(shuffle: int | None = None) -> list[tuple[Strategy, ...]]:
    """Every subset of the strategies, in every order."""
    every = (
        Icl(3),
        Definition(),
        Uncertainty(surface="uncertain?"),
        Numeric(shuffle=shuffle),
    )
    return [chosen for count in range(len(every) + 1) for chosen in permutations(every, count)]


@dataclass(frozen=True)
class Reworded:
    """Word the instruction."""

    instruction: str = "Which label?"

    def check(self, task: Task) -> None: ...

    def requires(self) -> Mapping[str, Mapping[str, object]]:
        return {}

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft:
        return replace(draft, instruction=self.instruction)


@dataclass(frozen=True)
class Quoted(Reworded):
    """Word the query."""

    query: str = 'Message: "{text}" End.'

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft:
        return replace(draft, query=self.query)


def with_demonstrations(task: Task, shots: int = 3) -> Task:
    """`task` with the same demonstrations for all, as the pipeline finds them."""
    queries = [*task.splits["train"], *task.splits["test"]]
    return replace(
        task, neighbours=demonstrations.choose_fixed(task.splits["train"], queries, task.labels, shots, 0)
    )


def examples(task: Task) -> Sequence[Example]:
    return [*task.splits["train"], *task.splits["test"]]
