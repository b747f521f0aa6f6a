"""A thought before the answer: what prompts say, what should be written, and how it is read."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from genclspp.prompts import thoughts
from genclspp.prompts.draft import Budget, Frame, Prompt, Prompts
from genclspp.prompts.render import build, shorten, sketch
from genclspp.prompts.surfaces import parse
from genclspp.prompts.thoughts import CLOSE, OPEN
from genclspp.strategies.icl import Icl
from genclspp.strategies.numeric import Numeric
from genclspp.strategies.reasoning import Think
from genclspp.strategies.uncertainty import Uncertainty
from genclspp.task import Example, Task
from genclspp.training.rewards import correct, parsed, thought_format
from tests.generated import combinations, examples, quick, tasks, with_demonstrations

ROOMY = Budget(len, 100_000)
RESERVED = ("<|end|>", "[SEP]", "</s>")
THINK = Think(10_000)
# Of what thoughts are made: tags in every form, special tokens, surfaces of the awkward tasks, layout.
PIECES = (
    *(OPEN, CLOSE, "< think >", "< / THINK >", "</think", "think>", "<", ">", "/", "<think<think>>"),
    *(*RESERVED, "\n", "\n\n", " ", "Label: no", "no match", "1", "体育", "“", "refund"),
)
ideas = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def with_rationales(task: Task, idea: str = "") -> Task:
    """`task` with a rationale for every example, which names its id and its label."""
    return replace(
        task,
        splits={
            split: tuple(replace(e, rationale=f"{idea}because of {e.id}: {e.label}") for e in members)
            for split, members in task.splits.items()
        },
    )


@pytest.fixture
def task() -> Task:
    train = (
        Example("train-0", "Where is my parcel?", "delivery", rationale="A parcel is missed."),
        Example("train-1", "Hello", "refund"),
        Example("train-2", "The parcel is broken", "refund", rationale="It fits both; refund is taken."),
        Example("train-3", "Good morning", "refund"),
    )
    return Task(
        name="shop",
        labels=("refund", "delivery"),
        instruction="Classify the text.",
        splits={
            "train": train,
            "test": (Example("test-0", "No parcel yet", "delivery", rationale="It is late."),),
        },
        names={"refund": "refund", "delivery": "delivery"},
        neighbours={"test-0": train[:3]},
        uncertain=frozenset({"train-2"}),
    )


# What prompts say


def test_a_prompt_that_asks_for_a_thought_reads_like_this(task):
    prompts = build(task.splits["test"], task, [Think(99), Uncertainty(), Icl(3)], Frame("<s>"), ROOMY)
    assert prompts.items[0].text == (
        "<s>Classify the text.\n"
        "Labels: refund, delivery\n"
        'If the text fits more than one label, answer "uncertain".\n'
        "First think between <think> and </think>, then write the label.\n"
        "\n"
        "Text: The parcel is broken\n"
        "Label: <think> The text fits more than one label. </think> uncertain\n"
        "\n"
        "Text: Hello\n"
        "Label: refund\n"  # no rationale is known
        "\n"
        "Text: Where is my parcel?\n"
        "Label: <think> A parcel is missed. </think> delivery\n"
        "\n"
        "Text: No parcel yet\n"
        "Label: <think>"
    )
    assert prompts.items[0].written == "It is late. </think> delivery"
    assert (prompts.items[0].answer, prompts.joint, prompts.thought_tokens) == ("delivery", " ", 99)
    (told,) = prompts.inputs.after(["Too late."])
    assert told == prompts.items[0].text + " Too late. </think>"


def test_chinese_tasks_think_in_chinese(task):
    chinese = replace(task, language="zh", instruction="请分类。")
    (prompt,) = build(task.splits["test"], chinese, [THINK], Frame(), ROOMY).items
    assert prompt.text == (
        "请分类。\n标签：refund、delivery\n请先在 <think> 与 </think> 之间思考，再写出标签。\n\n"
        "文本：No parcel yet\n标签： <think>"
    )


@pytest.mark.parametrize("own", ["", "<think>\n", "<think>\n\n</think>\n\n"])
def test_the_thought_of_a_chat_template_makes_room_for_ours(task, own):
    prompts = build(task.splits["test"], task, [THINK], Frame("<user>", f"<end><bot>\n{own}", joint=""), ROOMY)
    assert prompts.items[0].text.endswith("Label:<end><bot>\n<think>")
    assert prompts.joint + prompts.items[0].written == " It is late. </think> delivery"


@quick
@given(tasks(), ideas)
def test_the_order_of_strategies_does_not_matter(task, idea):
    task = with_demonstrations(with_rationales(task, idea))
    query = task.splits["test"][:1]
    seen = {}
    for strategies in combinations():
        for order in ((THINK, *strategies), (*strategies, THINK)):
            built = build(query, task, order, Frame(reserved=RESERVED), ROOMY)
            assert seen.setdefault(frozenset(order), built) == built
    assert len(seen) == 16


@quick
@given(tasks(), st.data())
def test_a_prompt_depends_neither_on_its_own_label_nor_on_its_rationale(task, data):
    task = with_rationales(task)
    query = data.draw(st.sampled_from(examples(task)))
    other = data.draw(st.sampled_from([label for label in task.labels if label != query.label]))
    changed = replace(query, label=other, rationale="quite another thought")
    splits = {
        split: tuple(changed if e.id == query.id else e for e in members) for split, members in task.splits.items()
    }
    before, after = with_demonstrations(task), with_demonstrations(replace(task, splits=splits))
    for strategies in combinations():
        (first,) = build([query], before, (*strategies, THINK), Frame(), ROOMY).items
        (second,) = build([changed], after, (*strategies, THINK), Frame(), ROOMY).items
        assert first.text == second.text
        assert f"because of {query.id}:" not in first.text


@quick
@given(tasks(), ideas)
def test_special_tokens_and_tags_in_a_rationale_are_mere_text(task, idea):
    assume(not [token for name in task.names.values() for token in (*RESERVED, "think") if token in name])
    task = with_demonstrations(with_rationales(task, idea))
    frame = Frame(reserved=RESERVED)
    for item in build(task.splits["test"], task, [Icl(3), THINK], frame, ROOMY).items:
        assert not [token for token in RESERVED if token in item.text + item.thought]
        assert thoughts.is_formed(f"{OPEN} {item.written}")
        shown = item.text.partition("\n\n")[2]
        assert (shown.count(OPEN), shown.count(CLOSE)) == (4, 3)


def test_prompts_without_thoughts_are_what_they_were(task):
    prompts = build(task.splits["test"], task, [Icl(3)], Frame(), ROOMY)
    assert "think" not in str(prompts).replace("thought", "")
    assert prompts.taught is prompts
    assert prompts.items[0].written == prompts.items[0].answer
    assert not any(item.thought for item in prompts.items)


# Reading back


@quick
@given(tasks(), ideas, st.booleans())
def test_every_surface_reads_back_behind_a_thought(task, idea, as_bert):
    task = with_demonstrations(with_rationales(task, idea))
    for strategies in ((THINK,), (Numeric(), THINK), (Uncertainty("uncertain?"), THINK)):
        prompts = build(task.splits["test"][:2], task, strategies, Frame(), ROOMY)
        for thought in [item.thought for item in prompts.items]:
            for label, surface in prompts.surfaces.items():
                written = f"{OPEN} {thought} {surface}\nmore </think> {surface}"
                if as_bert:
                    written = written.replace(OPEN, "< think >").replace(CLOSE, "< / think >")
                assert parse(written, prompts.surfaces) == label
        for item, example in zip(prompts.items, task.splits["test"], strict=False):
            assert parse(f"{OPEN} {item.written}", prompts.surfaces) == example.label


SURFACES = ["no", "no match", "uncertain"]
# what stands behind the opening tag, the answer read, whether the form is kept
TABLE = [
    (" It is new. </think> no match", "no match", 1),
    ("It is new.</think>No.", "no", 1),
    (" it is new. < / think > no match", "no match", 1),
    ("\nTwo\n\nlines\n</think>\n\nno", "no", 1),
    (" 体育 </THINK> no", "no", 1),
    (" no </think> no match\nmore", "no match", 1),
    (" no", None, 0),  # never closed: no answer, only a thought
    (" no </think>", None, 0),
    (" no </think> perhaps", None, 0),
    (" </think> no", "no", 0),
    (" ?! </think> no", "no", 0),
    (" one </think> no </think> no", None, 0),
    (" <think> one </think> no", "no", 0),
    (" one </think> <think> two </think> no", "no", 0),
    (" one </think> <think> two", None, 0),
    ("", None, 0),
]


@pytest.mark.parametrize(("written", "answer", "is_formed"), TABLE)
def test_rewards_read_what_stands_behind_the_thought(written, answer, is_formed):
    given = {"completions": [OPEN + written], "surfaces": [SURFACES], "uncertain": ["uncertain"]}
    assert parse(OPEN + written, {surface: surface for surface in SURFACES}) == answer
    assert [correct(**given, answer=[one])[0] for one in SURFACES] == [float(one == answer) for one in SURFACES]
    assert parsed(**given) == [float(answer is not None)]
    assert thought_format(**given) == [is_formed]


@pytest.mark.parametrize("written", ["no", " no match", "It is new. </think> no"])
def test_without_an_opening_tag_there_is_no_thought(written):
    given = {"completions": [written], "surfaces": [SURFACES]}
    assert thought_format(**given) == [0]
    assert thoughts.strip(written) == written


@quick
@given(ideas)
def test_a_plain_thought_has_no_tags_and_stays_so(idea):
    once = thoughts.plain(Frame(reserved=RESERVED).plain(idea))
    assert thoughts.plain(once) == once
    thought, is_closed = thoughts.split(thoughts.closed(once))
    assert (thought.strip(), is_closed) == (once, True)
    assert thoughts.split(once) == (once, False)


# Room


@quick
@given(ideas, st.integers(11, 80))
def test_a_thought_is_cut_to_its_room(idea, room):
    whole = thoughts.plain(idea)
    short = shorten(whole, room, len)
    assert whole.startswith(short)
    assert len(" " + thoughts.closed(short)) <= room
    assert (short == whole) == (len(" " + thoughts.closed(whole)) <= room)


def test_a_gold_thought_is_cut_without_a_trace_in_the_prompt(task):
    room = len(" It is </think>")
    (prompt,) = build(task.splits["test"], task, [Think(room)], Frame(), ROOMY).items
    assert prompt.written == "It is </think> delivery"
    (whole,) = build(task.splits["test"], task, [THINK], Frame(), ROOMY).items
    assert (prompt.text, prompt.truncated) == (whole.text, False)  # not even here does a gold thought show


def test_too_little_room_names_the_setting(task):
    with pytest.raises(ValueError, match=r"reduce reasoning\.max_thought_tokens, which is 10000"):
        build(task.splits["test"], task, [THINK], Frame(), Budget(len, 50))


def test_thoughts_and_prompts_come_in_pairs(task):
    prompts = Prompts({"a": "a"}, " ", (Prompt("x", "Label: <think>", "a"),), 9)
    with pytest.raises(ValueError, match="zip"):
        prompts.inputs.after([])
    assert prompts.inputs.after([""]) == ["Label: <think> </think>"]


def test_think_fills_a_field_of_its_own(task):
    query = task.splits["test"][0]
    assert sketch(query, task, [Think(7)]) == replace(sketch(query, task, []), thought_tokens=7)
