"""Rendering, truncation and reading back."""

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from genclspp.prompts.draft import Budget, Frame
from genclspp.prompts.render import WORDS, build, check_room, render, sketch
from genclspp.prompts.surfaces import check_surfaces, list_surfaces, parse
from genclspp.strategies.definition import Definition
from genclspp.strategies.icl import Icl
from genclspp.strategies.numeric import Numeric
from genclspp.strategies.uncertainty import Uncertainty
from genclspp.task import UNCERTAIN, Example, Task
from tests.generated import (
    Quoted,
    any_name,
    any_names,
    awkward_names,
    form,
    quick,
    tasks,
    texts,
    with_demonstrations,
)

ROOMY = Budget(len, 100_000)


def bytes_of(text: str) -> int:
    return len(text.encode())


@pytest.fixture
def task() -> Task:
    train = (
        Example("train-0", "Where is my parcel?", "delivery"),
        Example("train-1", "I want money back", "refund"),
        Example("train-2", "The parcel is broken", "refund"),
        Example("train-3", "Hello", "refund"),
    )
    return Task(
        name="shop",
        labels=("refund", "delivery"),
        instruction="Classify the text.",
        splits={"train": train, "test": (Example("test-0", "  No parcel yet ", "delivery"),)},
        names={"refund": "refund", "delivery": "delivery"},
        definitions={"refund": "Money back.", "delivery": "Parcels."},
        neighbours={"test-0": train},
        uncertain=frozenset({"train-2"}),
    )


def test_zero_shot_reads_like_this(task):
    (prompt,) = build(task.splits["test"], task, [], Frame("<s>"), ROOMY).items
    assert prompt.text == "<s>Classify the text.\nLabels: refund, delivery\n\nText: No parcel yet\nLabel:"
    assert (prompt.answer, prompt.truncated) == ("delivery", False)


def test_all_strategies_together_read_like_this(task):
    everything = [Numeric(shuffle=1), Uncertainty(), Icl(3), Definition()]
    prompts = build(task.splits["test"], task, everything, Frame(), ROOMY)
    numbers = prompts.surfaces
    assert set(numbers.values()) == {"1", "2", "uncertain"}
    assert prompts.items[0].text == (
        "Classify the text.\n"
        "Labels:\n"
        f"- {numbers['refund']}: Money back.\n"
        f"- {numbers['delivery']}: Parcels.\n"
        'If the text fits more than one label, answer "uncertain".\n'
        "\n"
        "Text: The parcel is broken\n"
        "Label: uncertain\n"
        "\n"
        "Text: I want money back\n"
        f"Label: {numbers['refund']}\n"
        "\n"
        "Text: Where is my parcel?\n"  # the best demonstration stands nearest to the query
        f"Label: {numbers['delivery']}\n"
        "\n"
        "Text: No parcel yet\n"
        "Label:"
    )
    assert prompts.items[0].answer == numbers["delivery"]
    assert prompts.completions() == [" " + surface for surface in numbers.values()]


def test_chinese_tasks_speak_chinese(task):
    chinese = replace(task, language="zh", instruction="请分类。", names={"refund": "退款", "delivery": "物流"})
    (prompt,) = build(task.splits["test"], chinese, [Uncertainty("不确定"), Icl(1)], Frame(), ROOMY).items
    assert prompt.text == (
        "请分类。\n标签：退款、物流\n如果文本符合多个标签，请回答“不确定”。\n\n"
        "文本：Where is my parcel?\n标签： 物流\n\n文本：No parcel yet\n标签："
    )


def test_a_chat_frame_stands_around_and_leaves_no_joint(task):
    prompts = build(task.splits["test"], task, [], Frame("<user>", "<end><bot>", joint=""), ROOMY)
    assert prompts.items[0].text.startswith("<user>Classify the text.")
    assert prompts.items[0].text.endswith("Label:<end><bot>")
    assert prompts.completions() == ["refund", "delivery"]


def test_labels_are_not_listed_where_the_task_does_not_want_it(task):
    (prompt,) = build(task.splits["test"], replace(task, list_labels=False), [], Frame(), ROOMY).items
    assert prompt.text == "Classify the text.\n\nText: No parcel yet\nLabel:"


def read_list(line: str, comma: str, quoted: str) -> list[str]:
    """The surfaces that a list names, from its text alone."""
    opening, closing = quoted.split("{}")
    if not line.startswith(opening):
        return line.split(comma)
    inside = rf"{opening}((?:[^\\{closing}]|\\.)*){closing}"
    assert re.fullmatch(rf"{inside}(?:{comma}{inside})*", line)
    return [re.sub(r"\\(.)", r"\1", found) for found in re.findall(inside, line)]


clumsy = st.text("ab ,，、\"“”\\'", min_size=1, max_size=6)
languages = st.sampled_from(sorted(WORDS)).map(lambda language: WORDS[language])


@given(st.lists(st.one_of(any_name, clumsy, st.sampled_from(["yes", "yes, maybe"])), min_size=1), languages)
def test_labels_are_read_back_from_their_list(surfaces, words):
    comma, quoted = words["comma"], words["quoted"]
    listed = list_surfaces(surfaces, comma, quoted)
    assert read_list(listed, comma, quoted) == surfaces
    if not any(set(surface) & set(",，、") or surface.startswith(quoted[0]) for surface in surfaces):
        assert listed == comma.join(surfaces)


@pytest.mark.parametrize(
    ("language", "shown"), [("en", 'Labels: "yes", "yes, maybe"'), ("zh", "标签：“yes”、“yes, maybe”")]
)
def test_only_the_list_quotes_its_labels(task, language, shown):
    ambiguous = replace(task, names={"refund": "yes", "delivery": "yes, maybe"}, language=language)
    prompts = build(task.splits["test"], ambiguous, [Icl(2)], Frame(), ROOMY)
    text = prompts.items[0].text
    assert shown in text
    assert text.count(shown[-4:]) == 1
    assert prompts.items[0].answer == "yes, maybe"
    assert prompts.completions() == [" yes", " yes, maybe"]


RESERVED = ("<|end|>", "[SEP]", "<s>", "</s>")
pieces = st.lists(st.sampled_from([*RESERVED, "<", "|", ">", "[", "SEP]", " ", "word", "\n"]), max_size=8).map(
    "".join
)


@quick
@given(pieces)
def test_special_tokens_in_a_text_are_mere_text(text):
    plain = Frame(reserved=RESERVED).plain(text)
    assert not [token for token in RESERVED if token in plain]
    assert "".join(plain.split()) == "".join(text.split())


@quick
@given(tasks(), pieces)
def test_special_tokens_stand_in_a_prompt_only_where_the_frame_puts_them(task, text):
    train = tuple(replace(e, text=f"{text} {e.text}") for e in task.splits["train"])
    assume(not [token for name in task.names.values() for token in RESERVED if token in name])
    query = Example("q", text, task.labels[0])
    task = with_demonstrations(replace(task, splits={"train": train, "test": (query,)}))
    (prompt,) = build([query], task, [Icl(3)], Frame("[SEP]", reserved=RESERVED), ROOMY).items
    assert prompt.text.startswith("[SEP]")
    assert not [token for token in RESERVED if token in prompt.text.removeprefix("[SEP]")]


# Truncation


@quick
@given(tasks(), texts, st.integers(0, 400), st.booleans())
def test_the_budget_holds_or_is_refused(task, text, room, offers):
    task = with_demonstrations(task)
    strategies = [Icl(3), Definition(), *([Uncertainty()] if offers else [])]
    query = replace(task.splits["test"][0], text=text)
    draft = sketch(query, task, strategies)
    whole = render(draft, query, task, Frame("<s>"), ROOMY)
    fixed = render(replace(draft, demonstrations=()), replace(query, text=""), task, Frame("<s>"), ROOMY).text
    budget = Budget(bytes_of, room)
    if room < bytes_of(fixed) or (room == bytes_of(fixed) and text.strip()):
        with pytest.raises(ValueError, match="the fixed part of a prompt of 'generated' takes"):
            render(draft, query, task, Frame("<s>"), budget)
        return
    prompt = render(draft, query, task, Frame("<s>"), budget)
    assert bytes_of(prompt.text) <= room
    assert prompt.truncated == (prompt.text != whole.text)
    assert prompt.answer == whole.answer
    head = fixed[: fixed.rindex("\n\n")]  # instruction, labels, definitions
    assert prompt.text.startswith(head)


@quick
@given(tasks(), st.integers(0, 300))
def test_demonstrations_go_worst_first_and_the_query_goes_last(task, spare):
    """At every size, the prompt is that of fewer demonstrations, or of a shorter query and none."""
    task = with_demonstrations(task)
    query = replace(task.splits["test"][0], text="the query that stays whole while a demonstration is left")
    draft = sketch(query, task, [Icl(3)])
    fixed = render(replace(draft, demonstrations=()), replace(query, text=""), task, Frame(), ROOMY).text
    prompt = render(draft, query, task, Frame(), Budget(bytes_of, bytes_of(fixed) + 1 + spare))
    fewer = [
        render(replace(draft, demonstrations=draft.demonstrations[:kept]), query, task, Frame(), ROOMY).text
        for kept in range(4)
    ]
    fits = [text for text in fewer if bytes_of(text) <= bytes_of(fixed) + 1 + spare]
    if fits:
        assert prompt.text == fits[-1]
    else:
        written = re.search(r"(?:Text: |文本：)(.*)\n[^\n]*$", prompt.text).group(1)
        assert query.text.startswith(written)
        assert bytes_of(fixed) + spare <= bytes_of(prompt.text) + 1  # no more was cut than had to be


def test_a_cut_never_splits_a_character(task):
    query = replace(task.splits["test"][0], text="退款退款退款")
    draft = sketch(query, task, [])
    fixed = bytes_of(render(draft, replace(query, text=""), task, Frame(), ROOMY).text)
    for spare in range(1, 18):
        prompt = render(draft, query, task, Frame(), Budget(bytes_of, fixed + spare))
        assert f"Text: {'退款退款退款'[: spare // 3]}\n" in prompt.text
        assert prompt.truncated


def test_a_cut_leaves_the_words_around_the_text_whole(task):
    query = replace(task.splits["test"][0], text="0123456789")
    draft = sketch(query, task, [Quoted()])
    fixed = bytes_of(render(draft, replace(query, text=""), task, Frame(), ROOMY).text)
    for spare in range(1, 10):
        prompt = render(draft, query, task, Frame(), Budget(bytes_of, fixed + spare))
        assert f'Text: Message: "{"0123456789"[:spare]}" End.\n' in prompt.text
        assert prompt.truncated
    with pytest.raises(ValueError, match="shorten what strategies write as instruction and query"):
        check_room(draft, replace(task, list_labels=False), Frame(), Budget(bytes_of, 10))


def test_short_prompts_are_not_counted(task):
    def count(text: str) -> int:
        raise AssertionError("tokenised a prompt that has fewer bytes than there are tokens")

    assert not build(task.splits["test"], task, [Icl(3)], Frame(), Budget(count, 500)).items[0].truncated


@quick
@given(tasks(), st.integers(1, 60))
def test_the_refusal_says_how_many_tokens_and_what_to_switch_off(task, missing):
    for strategies in ([], [Definition()], [Definition(), Uncertainty()]):
        draft = sketch(task.splits["test"][0], task, strategies)
        fixed = bytes_of(render(draft, Example("q", "", task.labels[0]), task, Frame(), ROOMY).text)
        check_room(draft, task, Frame(), Budget(bytes_of, fixed + 1))
        with pytest.raises(ValueError, match=f"takes {fixed} tokens, {missing} too many") as refusal:
            check_room(draft, task, Frame(), Budget(bytes_of, fixed + 1 - missing))
        if strategies:
            thinner, switched = replace(draft, definitions={}), task
            assert "without the strategy definition" in str(refusal.value)
        elif task.list_labels:
            thinner, switched = draft, replace(task, list_labels=False)
            assert "with dataset.list_labels=false" in str(refusal.value)
        else:
            assert "shorten dataset.instruction" in str(refusal.value)
            continue
        saved = int(re.search(r"would take (-?\d+) fewer", str(refusal.value)).group(1))
        assert bytes_of(render(thinner, Example("q", "", task.labels[0]), switched, Frame(), ROOMY).text) == (
            fixed - saved
        )


# Reading back

names = st.one_of(awkward_names, any_names)
AROUND = ("{}.", "{}!", "{}。", '"{}"', "“{}”", "'{}'", " {} \n", "{}!!")
LOOSE = [str.upper, str.lower, str.title, str.swapcase, *(around.format for around in AROUND)]


@quick
@given(names, st.sampled_from(LOOSE))
def test_looseness_never_confuses_labels(names, loosen):
    """What is written with another case or punctuation is read as its label or not at all."""
    surfaces = check_surfaces({f"label of {name}": name for name in names})
    for label, surface in surfaces.items():
        written = loosen(surface)
        assume(surface.casefold() in written.casefold())
        to_the_letter = [other for other, known in surfaces.items() if form(known) == form(written)]
        assert parse(written, surfaces) in (to_the_letter or [label, None])


@quick
@given(names, st.text(max_size=10))
def test_anything_written_reads_as_one_label_or_none(names, written):
    surfaces = check_surfaces({f"label of {name}": name for name in names})
    label = parse(written, surfaces)
    assert label is None or label in surfaces


@pytest.mark.parametrize(
    ("written", "label"),
    [
        (" no", "no"),
        ("No.", "no"),
        ("NO MATCH", "no match"),
        ('"no match".', "no match"),
        ("ｎｏ", "no"),
        ("no\nbecause it is", "no"),
        ("no no", None),
        ("no match, I think", None),
        ("not", None),
        ("the label is no", None),
        ("", None),
        ("\nno", "no"),
        ("US", "US"),
        ("us.", None),  # "us" or "US"?
        ("Uncertain", UNCERTAIN),
        ("体育。", "sport"),
        ("体", None),
    ],
)
def test_completions_read_like_this(written, label):
    surfaces = {
        "no": "no",
        "no match": "no match",
        "US": "US",
        "us": "us",
        "sport": "体育",
        UNCERTAIN: "uncertain",
    }
    assert parse(written, surfaces) == label


@pytest.mark.parametrize("written", ["", "\n", ".", "!!", '""', " 。"])
def test_punctuation_alone_is_no_answer(written):
    """Not even where a label is made of punctuation."""
    assert parse(written, {"ellipsis": "...", "yes": "yes"}) is None


def test_surfaces_that_would_read_back_as_one_are_refused():
    with pytest.raises(ValueError, match="labels 'a' and 'b' have the same surface 'ＡＢ'"):
        check_surfaces({"a": "AB", "b": "ＡＢ"})
    with pytest.raises(ValueError, match="the surface of label 'b' is empty"):
        check_surfaces({"a": "a", "b": " \u3000"})


def test_an_abstention_that_looks_like_a_number_is_refused(task):
    with pytest.raises(ValueError, match="labels 'refund' and 'uncertain' have the same surface '1'"):
        build(task.splits["test"], task, [Numeric(), Uncertainty("1")], Frame(), ROOMY)


@pytest.mark.parametrize(
    ("written", "surface"),
    [("card _ arrival", "card_arrival"), ("what ' s up?", "What's up?"), ("体 育", "体育"), ("cafe", "Café")],
)
def test_spaces_and_accents_that_a_tokenizer_does_not_keep_are_forgiven(written, surface):
    """BERT's tokenizer writes like this."""
    assert parse(written, {"label": surface, "other": "other"}) == "label"


def test_spaces_between_words_and_numbers_count():
    assert parse("1 0", {"ten": "10", "one": "1"}) is None
    assert parse("nomatch", {"no match": "no match"}) is None
