"""From rows to examples: what is taken, what is refused, and where it stood."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp.data import examples
from genclspp.data.readers import Table
from genclspp.settings import DatasetSettings
from genclspp.task import Example

SETTINGS = DatasetSettings("local", path="x")


def table(*rows: dict, source: str = "train.jsonl", **more) -> Table:
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table(source, columns or ("text", "label"), list(rows), list(range(2, len(rows) + 2)), **more)


@given(st.lists(st.tuples(st.text("ab 体", min_size=1).filter(str.strip), st.sampled_from("xyz")), min_size=1))
def test_every_row_becomes_an_example_in_order(rows):
    made = examples.build({"train": table(*({"text": text, "label": label} for text, label in rows))}, SETTINGS)
    assert made.splits == {
        "train": tuple(Example(f"train-{n}", text, label) for n, (text, label) in enumerate(rows))
    }


@pytest.mark.parametrize(
    ("value", "label"),
    [(" a ", "a"), (3, "3"), (3.0, "3"), (-1, "-1"), (["a"], "a"), (("b",), "b"), ("３", "３"), (True, "True")],
)
def test_labels_become_strings(value, label):
    (made,) = examples.build({"train": table({"text": "t", "label": value})}, SETTINGS).splits["train"]
    assert made.label == label


def test_class_numbers_become_class_names():
    classes = {"label": ("neg", "pos ")}
    made = examples.build(
        {"train": table({"text": "t", "label": 1}, {"text": "u", "label": 0}, classes=classes)}, SETTINGS
    )
    assert [example.label for example in made.splits["train"]] == ["pos", "neg"]
    with pytest.raises(ValueError, match=r"line 2: 'label' is -1; expected 0 to 1 .*leaves it out"):
        examples.build({"train": table({"text": "t", "label": -1}, classes=classes)}, SETTINGS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": 5, "label": "a"}, r"train\.jsonl, line 3: 'text' is .*; expected a string"),
        ({"text": None, "label": "a"}, r"line 3: 'text' is null; expected a text"),
        ({"text": " \u3000", "label": "a"}, r"line 3: 'text' is empty"),
        ({"text": "t", "label": None}, r"line 3: 'label' is None; expected a label"),
        ({"text": "t", "label": " "}, r"line 3: 'label' is ' '; expected a label"),
        ({"text": "t", "label": 1.5}, r"line 3: 'label' is .*1\.5.*; expected a name or a whole number"),
        ({"text": "t", "label": {"a": 1}}, r"line 3: 'label' is .*; expected a name or a whole number"),
        ({"text": "t", "label": ["a", "b"]}, r"line 3: 'label' holds 2 labels .*several_labels=drop"),
        ({"text": "t", "label": []}, r"line 3: 'label' holds 0 labels"),
    ],
)
def test_bad_rows_are_refused_with_their_place(row, message):
    with pytest.raises(ValueError, match=message):
        examples.build({"train": table({"text": "t", "label": "a"}, row)}, SETTINGS)


def test_splits_are_compared():
    train = table({"text": "t", "label": "refund"}, {"text": "u", "label": "billing"})
    with pytest.raises(
        ValueError, match=r"test\.jsonl, line 2: label 'refnd' in split 'test' is not in train.*refund"
    ):
        examples.build(
            {"train": train, "test": table({"text": "v", "label": "refnd"}, source="test.jsonl")}, SETTINGS
        )
    with pytest.raises(ValueError, match="splits 'train' and 'test' hold the same rows"):
        examples.build({"train": train, "test": train}, SETTINGS)


def test_ids_are_unique_over_all_splits():
    settings = DatasetSettings("local", path="x", id="key")
    train = table({"text": "t", "label": "a", "key": 7})
    test = table({"text": "u", "label": "a", "key": "7"}, source="test.jsonl")
    with pytest.raises(ValueError, match=r"test\.jsonl, line 2: id '7' is also at train\.jsonl, line 2"):
        examples.build({"train": train, "test": test}, settings)
