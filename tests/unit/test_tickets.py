from collections import Counter
from itertools import pairwise

import pytest

from genclspp.data import tickets
from genclspp.data.phrases import AMBIGUOUS, CLEAR, FILLERS, fill
from genclspp.task import normalise


@pytest.fixture(scope="module")
def splits():
    return tickets.generate(tickets.SIZES, seed=0)


def test_sizes_are_as_asked(splits):
    assert {split: len(examples) for split, examples in splits.items()} == tickets.SIZES


def test_no_text_stands_twice_within_or_across_splits(splits):
    texts = [normalise(example.text) for examples in splits.values() for example in examples]
    assert len(texts) == len(set(texts))


def test_same_seed_same_tickets_other_seed_others(splits):
    assert tickets.generate(tickets.SIZES, seed=0) == splits
    others = tickets.generate(tickets.SIZES, seed=1)
    assert {e.text for e in others["test"]}.isdisjoint({e.text for e in splits["test"]})


def test_test_split_does_not_depend_on_the_size_of_train(splits):
    more = tickets.generate({**tickets.SIZES, "train": 1500}, seed=0)
    assert more["test"] == splits["test"]
    assert more["train"][:1000] == splits["train"]


def test_one_ticket_in_ten_is_ambiguous_and_its_gold_label_is_a_fair_coin(splits):
    for examples in splits.values():
        assert sum(bool(example.ambiguous) for example in examples) == len(examples) / 10
    many = tickets.generate({"train": 4000}, seed=3)["train"]
    first = sum(
        any(example.rationale.endswith(f"this fits {a} and {b}; {a} is taken.") for a, b in AMBIGUOUS)
        for example in many
        if example.ambiguous
    )
    assert 160 < first < 240  # 400 flips: four standard deviations


def test_every_label_occurs_and_has_a_definition_and_phrases(splits):
    for examples in splits.values():
        assert set(Counter(example.label for example in examples)) == set(tickets.LABELS)
    assert set(tickets.DEFINITIONS) == set(tickets.LABELS) == set(CLEAR)
    assert {label for pair in AMBIGUOUS for label in pair} <= set(tickets.LABELS)


def test_one_label_is_a_prefix_of_another():
    assert any(longer.startswith(label + " ") for label, longer in pairwise(tickets.LABELS))


def test_texts_and_rationales_are_filled_in(splits):
    for example in splits["train"]:
        assert example.text.strip() == example.text
        assert "{" not in example.text + example.rationale
        assert example.rationale


def test_fill_knows_every_slot():
    from random import Random

    slots = [*FILLERS, "amount", "order", "email", "street"]
    assert "{" not in fill(" ".join(f"{{{slot}}}" for slot in slots), Random(0))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_linear_classifier_finds_it_neither_trivial_nor_hopeless(seed):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    splits = tickets.generate(tickets.SIZES, seed)
    train, test = splits["train"], splits["test"]
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LinearSVC(C=0.5))
    model.fit([example.text for example in train], [example.label for example in train])
    right = model.predict([example.text for example in test]) == [example.label for example in test]
    assert 0.85 <= right.mean() <= 0.95
