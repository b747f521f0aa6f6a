"""Predictions come back from their files as they were written."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genclspp.inference import predictions
from genclspp.inference.predictions import ABSTAINED, INVALID, Predictions, Texts
from genclspp.suggest import UserError
from genclspp.task import UNCERTAIN

TEXT = st.text(max_size=20)  # any Unicode: NUL, right-to-left, emoji, line separators


@st.composite
def splits(draw: st.DrawFn) -> tuple[Predictions, Texts]:
    labels = draw(st.lists(TEXT.filter(lambda name: name != UNCERTAIN), min_size=2, max_size=5, unique=True))
    examples = draw(st.integers(1, 6))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    texts = st.lists(TEXT, min_size=examples, max_size=examples)
    return (
        Predictions(
            labels=tuple(labels),
            ids=tuple(map(str, range(examples))),
            gold=generator.integers(0, len(labels), examples),
            label=generator.integers(ABSTAINED, len(labels), examples),
            forced=generator.integers(0, len(labels), examples),
            probabilities=generator.dirichlet(np.ones(len(labels)), examples).astype(np.float32),
            logprobs=generator.normal(size=(examples, len(labels) + 1)).astype(np.float32),
            completions=tuple(draw(texts)),
            truncated=generator.random(examples) < 0.5,
        ),
        Texts(
            tuple(draw(texts)),
            tuple(draw(texts)) if draw(st.booleans()) else None,
            tuple(map(predictions.lines, draw(texts))) if draw(st.booleans()) else (),
        ),
    )


@settings(deadline=None)  # the first one imports pyarrow
@given(splits())
def test_a_split_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, split: tuple[Predictions, Texts]):
    folder = tmp_path_factory.mktemp("predictions")
    predictions.write(folder, "validation", *split)
    found, texts = predictions.read(folder, "validation"), predictions.read_texts(folder, "validation")
    assert texts == split[1]
    for name, value in vars(split[0]).items():
        assert np.array_equal(getattr(found, name), value), name


@given(st.text())
def test_the_lines_of_a_prompt_are_the_prompt(prompt: str):
    assert "".join(predictions.lines(prompt)) == prompt


@given(splits())
def test_rows_say_the_same_as_columns(split: tuple[Predictions, Texts]):
    columns, texts = split
    for place, row in enumerate(predictions.rows(columns, texts)):
        assert (row.id, row.text) == (columns.ids[place], texts.texts[place])
        assert row.gold == columns.labels[columns.gold[place]]
        expected = {INVALID: None, ABSTAINED: UNCERTAIN}.get(int(columns.label[place]), "a label")
        assert row.label == (columns.labels[columns.label[place]] if expected == "a label" else expected)
        assert list(row.probabilities) == list(columns.labels)


def test_the_same_predictions_are_the_same_bytes(tmp_path: Path):
    columns = Predictions(
        *(("a", "b"), ("0", "1"), np.array([0, 1]), np.array([0, INVALID]), np.array([0, 0])),
        *(np.full((2, 2), 0.5), np.zeros((2, 2)), ("a", "?"), np.array([False, False])),
    )
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        predictions.write(tmp_path / name, "test", columns, Texts(("x", "y")))
    for file in ("predictions.parquet", "texts.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}\n"])
def test_a_broken_file_is_named(content: bytes, tmp_path: Path):
    (tmp_path / "predictions.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"predictions\.parquet cannot be read as predictions .*delete"):
        predictions.read(tmp_path)


def test_a_file_of_something_else_is_named(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["0"]}), tmp_path / "predictions.parquet")
    with pytest.raises(UserError, match=r"predictions\.parquet cannot be read as predictions"):
        predictions.read(tmp_path)
