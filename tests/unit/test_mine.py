"""Which training examples look ambiguous."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp import linear, tickets
from genclspp.stages.mine import _ranks, mine
from genclspp.store import Artifact
from genclspp.task import Example


def mined(out, examples, **settings):
    given = {"scorers": ["tfidf"], "folds": 5, "language": "en", "readings": None, "fraction": 0.1} | settings
    mine(examples, out=out, **given)
    return tuple(json.loads((out / name).read_text()) for name in ("uncertain.json", "report.json"))


def readings(folder, logprobs):
    """What the stage score would have left."""
    rows = [{"logprobs": row, "lengths": [1] * len(row), "constrained": 0, "greedy": None} for row in logprobs]
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Artifact("score", "k", folder)


@pytest.fixture(scope="module")
def thousand():
    return tickets.generate({"train": 1000}, seed=0)["train"]


def test_ambiguous_tickets_are_found(thousand, tmp_path):
    marked, report = mined(tmp_path, thousand)
    assert len(marked) == len(set(marked)) == report["marked"] == 100
    assert report["ambiguous_share_of_all"] == pytest.approx(0.1, abs=0.01)
    assert report["ambiguous_share_of_marked"] >= 3 * report["ambiguous_share_of_all"]
    truly = {example.id for example in thousand if example.ambiguous}
    assert report["ambiguous_share_of_marked"] == len(truly & set(marked)) / 100
    assert sum(report["per_label"].values()) == 100
    assert len(report["lowest"]) == 20


def test_the_same_examples_are_marked_again(thousand, tmp_path):
    assert mined(tmp_path, thousand[:200])[0] == mined(tmp_path, thousand[:200])[0]


def test_no_model_judges_what_it_was_trained_on():
    """Each text has a word of its own: in sample, a linear model would be sure of all of them."""
    examples = [Example(f"train-{n}", f"word{n}", "ab"[n % 2]) for n in range(60)]
    assert max(linear.out_of_fold_margins(examples, 5, "en")) < 0.5


def test_a_label_with_one_example_cannot_be_judged(tmp_path):
    examples = [Example(f"train-{n}", f"text {n}", "aab"[min(n, 2)]) for n in range(3)]
    with pytest.raises(ValueError, match="needs two examples of each label; 'b' has 1"):
        mined(tmp_path, examples)


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.1, 1), (0.3, 3), (0.5, 5), (0.99, 10)])
def test_a_share_is_marked(tmp_path, fraction, count):
    examples = [Example(f"train-{n}", f"text {n}", "ab"[n % 2]) for n in range(10)]
    sure = readings(tmp_path, [[0.0, -float(n)] for n in range(10)])  # the first is the least sure
    marked, _ = mined(tmp_path, examples, scorers=["model"], readings=sure, fraction=fraction)
    assert marked == [f"train-{n}" for n in range(count)]


def test_scorers_count_by_rank_not_by_value(tmp_path, monkeypatch):
    """One that is sure of everything weighs as much as another."""
    examples = [Example(f"train-{n}", f"text {n}", "ab"[n % 2]) for n in range(4)]
    monkeypatch.setattr(linear, "out_of_fold_margins", lambda *_: [0.9999, 0.9997, 0.9998, 0.9996])
    sure = readings(tmp_path, [[0.0, -1.0], [0.0, -9.0], [0.0, -0.5], [0.0, -2.0]])
    # ranks of tfidf 3 1 2 0, of the model 1 3 0 2
    marked, report = mined(tmp_path, examples, scorers=["tfidf", "model"], readings=sure, fraction=0.5)
    assert marked == ["train-2", "train-3"]
    assert "ambiguous_share_of_marked" not in report
    assert report["lowest"][0]["confidence"].keys() == {"tfidf", "model"}


@given(st.lists(st.floats(0, 1), max_size=20))
def test_ranks_order_the_values_ties_by_position(values):
    ranks = _ranks(values)
    assert sorted(ranks) == list(range(len(values)))
    by_rank = sorted(range(len(values)), key=ranks.__getitem__)
    assert by_rank == sorted(range(len(values)), key=lambda k: (values[k], k))
