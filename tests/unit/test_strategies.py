"""What holds for every strategy and every combination of them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp.prompts.draft import Budget, Frame, Turns
from genclspp.prompts.render import build, sketch
from genclspp.prompts.surfaces import parse
from genclspp.selection import demonstrations
from genclspp.strategies.definition import Definition
from genclspp.strategies.icl import Icl
from genclspp.strategies.numeric import Numeric
from genclspp.strategies.uncertainty import Uncertainty
from genclspp.task import UNCERTAIN, Example, Task, normalise
from tests.generated import Quoted, Reworded, combinations, examples, quick, tasks, with_demonstrations

ROOMY = Budget(len, 100_000)
# Demonstrations in one text, and as earlier turns of a chat.
LAYOUTS = {
    "one text": Frame(),
    "turns": Frame("<s>", "</u><a>", joint="", reserved=("</u>",), turns=Turns("</s><u>", "</u><a>", "</a><u>")),
}
in_every_layout = pytest.mark.parametrize("frame", LAYOUTS.values(), ids=LAYOUTS.keys())
shuffles = st.one_of(st.none(), st.integers(0, 3))


@in_every_layout
@quick
@given(tasks(), shuffles)
def test_the_order_of_strategies_does_not_matter(frame, task, shuffle):
    task = with_demonstrations(task)
    query = task.splits["test"][:2]
    seen = {}
    for strategies in combinations(shuffle=shuffle):
        built = build(query, task, strategies, frame, ROOMY)
        assert seen.setdefault(frozenset(strategies), built) == built
    assert len(seen) == 16
    assert len({(prompts.items[0].text, prompts.items[0].answer) for prompts in seen.values()}) >= 4


@in_every_layout
@quick
@given(tasks(), shuffles, st.data())
def test_a_prompt_does_not_depend_on_its_own_label(frame, task, shuffle, data):
    """Neither on that of the example itself, nor by way of the demonstrations that are chosen for it."""
    query = data.draw(st.sampled_from(examples(task)))
    flipped = replace(query, label=data.draw(st.sampled_from([x for x in task.labels if x != query.label])))
    splits = {
        split: tuple(flipped if e.id == query.id else e for e in members) for split, members in task.splits.items()
    }
    before, after = with_demonstrations(task), with_demonstrations(replace(task, splits=splits))
    for strategies in combinations(shuffle=shuffle):
        (first,) = build([query], before, strategies, frame, ROOMY).items
        (second,) = build([flipped], after, strategies, frame, ROOMY).items
        assert first.text == second.text


@quick
@given(tasks())
def test_demonstrations_never_contain_the_query(task):
    task = with_demonstrations(task)
    near = demonstrations.find_nearest(task.splits["train"], examples(task), 3, "tfidf", task.language)
    for known in (task, replace(task, neighbours=near)):
        for query in examples(task):
            shown = sketch(query, known, [Numeric(), Icl(3)]).demonstrations
            assert len(shown) == 3
            assert query.id not in {shot.id for shot in shown}
            assert normalise(query.text) not in {normalise(shot.text) for shot in shown}
            assert {shot.id for shot in shown} <= {e.id for e in task.splits["train"]}


@in_every_layout
@quick
@given(tasks(), shuffles)
def test_every_surface_reads_back(frame, task, shuffle):
    task = with_demonstrations(task)
    for strategies in combinations(shuffle=shuffle):
        prompts = build(task.splits["test"][:1], task, strategies, frame, ROOMY)
        offered = [*task.labels, UNCERTAIN] if Uncertainty(surface="uncertain?") in strategies else [*task.labels]
        assert list(prompts.surfaces) == offered
        for label, written in zip(prompts.surfaces, prompts.completions(), strict=True):
            assert parse(written, prompts.surfaces) == label
            assert parse(f"{written}\nText: more", prompts.surfaces) == label
        for item, example in zip(prompts.items, task.splits["test"], strict=False):
            assert parse(item.answer, prompts.surfaces) == example.label


def test_the_first_demonstrations_are_of_different_labels_without_the_query_too():
    train = tuple(Example(f"train-{n}", f"text {n}", "abcd"[n % 4]) for n in range(40))
    task = Task("t", tuple("abcd"), "Classify.", {"train": train, "test": ()}, {label: label for label in "abcd"})
    found = demonstrations.choose_fixed(task.splits["train"], task.splits["train"], task.labels, 4, 0)
    for example in train:
        assert {shot.label for shot in found[example.id]} == set("abcd")
    assert len(set(found.values())) == 5  # the same for all but those that are shown


def test_every_combination_is_tried():
    assert len(set(combinations())) == 1 + 4 + 12 + 24 + 24


@quick
@given(tasks(), st.integers(0, 9))
def test_shuffled_numbers_are_the_same_numbers(task, seed):
    draft = sketch(task.splits["test"][0], task, [])
    ordered, shuffled = (Numeric(start=0, shuffle=s)(draft, None, task).surfaces for s in (None, seed))
    assert list(ordered) == list(shuffled) == list(task.labels)
    assert list(ordered.values()) == [str(n) for n in range(len(task.labels))]
    assert sorted(shuffled.values()) == sorted(ordered.values())
    assert shuffled == Numeric(start=0, shuffle=seed)(draft, None, task).surfaces


def test_shuffles_differ():
    labels = tuple("abcdefgh")
    task = Task("t", labels, "Classify.", {}, {label: label for label in labels})
    draft = sketch(Example("q", "text", "a"), task, [])
    assert len({tuple(Numeric(shuffle=seed)(draft, None, task).surfaces.values()) for seed in range(5)}) == 5


@quick
@given(tasks())
def test_only_the_marked_answer_uncertain_and_only_where_it_is_offered(task):
    task = with_demonstrations(task)
    for strategies in combinations():
        offers = Uncertainty(surface="uncertain?") in strategies
        for item, example in zip(
            build(task.splits["train"], task, strategies, Frame(), ROOMY).items, task.splits["train"], strict=True
        ):
            assert (item.answer == "uncertain?") == (offers and example.id in task.uncertain)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Icl(0), "shots=0; expected 1 or more"),
        (lambda: Uncertainty(fraction=0.0), "fraction=0.0; expected a number between 0 and 1"),
        (lambda: Uncertainty(fraction=1.0), "fraction=1.0; expected a number between 0 and 1"),
        (lambda: Uncertainty(folds=1), "folds=1; expected 2 or more"),
        (lambda: Uncertainty(scorers=()), r"scorers is empty; expected one or more of tfidf, trained, model"),
        (
            lambda: Uncertainty(scorers=["tfdif"]),
            r"scorers names the unknown scorer 'tfdif'; did you mean 'tfidf'",
        ),
        (
            lambda: Uncertainty(scorers=["gpt2"]),
            r"unknown scorer 'gpt2'; known: .*\./folder, organisation/name",
        ),
        (lambda: Uncertainty(scorers=["a/b", "tfidf", "a/b"]), r"names 'a/b' twice"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_tasks_that_cannot_serve_are_refused():
    train = (Example("train-0", "a", "x"), Example("train-1", "b", "uncertain"), Example("train-2", "B!", "x"))
    names = {"x": "x", "uncertain": "uncertain"}
    task = Task("t", tuple(names), "Classify.", {"train": train}, names, definitions={"x": "What is x.", "y": " "})
    with pytest.raises(ValueError, match="'t' has 1 different training texts besides the query"):
        Icl(2).check(task)
    with pytest.raises(ValueError, match=r"defines 1 of 2 labels \(missing: 'uncertain'\)"):
        Definition().check(task)
    with pytest.raises(ValueError, match=r"has a label 'uncertain', which .* rename the label in the data"):
        Uncertainty("unsure").check(task)
    with pytest.raises(ValueError, match="surface='x' is the name of a label of 't'; expected another name"):
        Uncertainty("x").check(replace(task, labels=("x",)))
    Icl(1).check(task)
    Numeric().check(task)


# Strategies that word the instruction and the query


@in_every_layout
@quick
@given(tasks())
def test_wordings_may_stand_anywhere_among_the_strategies(frame, task):
    task = with_demonstrations(task)
    query = task.splits["test"][:1]
    for strategies in ((), (Icl(3),), (Icl(3), Definition(), Uncertainty(surface="uncertain?"), Numeric())):
        seen = set()
        for first in range(len(strategies) + 1):
            for second in range(len(strategies) + 2):
                order = [*strategies[:first], Reworded(), *strategies[first:]]
                order.insert(second, Quoted())
                seen.add(build(query, task, order, frame, ROOMY).items)
        assert len(seen) == 1


@in_every_layout
@quick
@given(tasks(), st.data())
def test_a_worded_prompt_does_not_depend_on_its_own_label(frame, task, data):
    task = with_demonstrations(task)
    query = data.draw(st.sampled_from(examples(task)))
    flipped = replace(query, label=data.draw(st.sampled_from([x for x in task.labels if x != query.label])))
    strategies = [Icl(3), Quoted(), Reworded()]
    first, second = (build([one], task, strategies, frame, ROOMY).items[0].text for one in (query, flipped))
    assert first == second


@in_every_layout
@quick
@given(tasks())
def test_query_and_demonstrations_are_worded_alike_and_only_instruction_and_texts_differ(frame, task):
    task = replace(with_demonstrations(task), instruction="Classify.")
    query = task.splits["test"][:1]
    (plain,) = build(query, task, [Icl(3)], frame, ROOMY).items
    (worded,) = build(query, task, [Quoted(), Icl(3), Reworded()], frame, ROOMY).items
    assert worded.text.count('Message: "') == worded.text.count('" End.') == 4
    bare = worded.text.replace('Message: "', "").replace('" End.', "")
    assert bare.replace("Which label?", "Classify.", 1) == plain.text
    assert replace(worded, text="") == replace(plain, text="")


@in_every_layout
@quick
@given(tasks())
def test_around_an_empty_text_the_words_stay(frame, task):
    """As in the prompts that the decoder ppl_pmi reads the prior of labels from."""
    task = with_demonstrations(task)
    query = replace(task.splits["test"][0], text="word with a number 17")
    full, blank = (
        build([one], task, [Icl(3), Quoted()], frame, ROOMY).items[0].text
        for one in (query, replace(query, text=""))
    )
    assert full.replace("word with a number 17", "") == blank
    assert 'Message: "" End.' in blank


def test_a_text_may_stand_twice_and_is_never_read_as_a_wording():
    task = Task("t", ("a", "b"), "Classify.", {}, {"a": "a", "b": "b"})
    twice = Quoted(query="{text} Again: {text}")
    (prompt,) = build([Example("q", "say {text}", "a")], task, [twice], Frame(), ROOMY).items
    assert prompt.text.splitlines()[3] == "Text: say {text} Again: say {text}"


def test_a_wording_that_leaves_out_the_text_is_refused():
    task = Task("t", ("a", "b"), "Classify.", {}, {"a": "a", "b": "b"})
    with pytest.raises(ValueError, match=r"Quoted words the query as 'Hello'; expected \{text\} where"):
        build([Example("q", "text", "a")], task, [Quoted(query="Hello")], Frame(), ROOMY)


def test_without_an_instruction_the_prompt_begins_with_what_follows():
    task = Task("t", ("a", "b"), "Classify.", {}, {"a": "a", "b": "b"})
    (prompt,) = build([Example("q", "text", "a")], task, [Reworded("")], Frame(), ROOMY).items
    assert prompt.text == "Labels: a, b\n\nText: text\nLabel:"
    bare = replace(task, list_labels=False)
    (prompt,) = build([Example("q", "text", "a")], bare, [Reworded("")], Frame(), ROOMY).items
    assert prompt.text == "Text: text\nLabel:"
