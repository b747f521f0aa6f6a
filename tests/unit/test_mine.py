"""Which training examples look ambiguous."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from genclspp.data import sampling, tickets
from genclspp.selection import linear
from genclspp.selection.mine import LOGPROBS, calibrate, combine, confidences, fit_weights, mine
from genclspp.store.artifacts import Artifact
from genclspp.task import Example, normalise
from tests.generated import quick, texts


def mined(out, examples, **settings):
    given = {
        "labels": sorted({example.label for example in examples}),
        "language": "en",
        "scorers": ["tfidf"],
        "folds": sampling.split_folds(examples, 5),
        "readings": {},
        "confidence": "margin",
        "fraction": 0.1,
    }
    mine(examples, out=out, **given | settings)
    return tuple(json.loads((out / name).read_text()) for name in ("uncertain.json", "report.json"))


def reading(folder, logprobs):
    """What the stage score would have left."""
    folder.mkdir(exist_ok=True)
    rows = [{"logprobs": list(row), "lengths": [1] * len(row)} for row in logprobs]
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Artifact("score", folder.name, folder)


@pytest.fixture(scope="module")
def thousand():
    return tickets.generate({"train": 1000}, seed=0)["train"]


def alternating(count: int, labels: str = "ab") -> list[Example]:
    return [Example(f"train-{n}", f"text {n}", labels[n % len(labels)]) for n in range(count)]


@pytest.mark.parametrize("confidence", ["margin", "gold"])
def test_ambiguous_tickets_are_found(thousand, tmp_path, confidence):
    marked, report = mined(tmp_path, thousand, confidence=confidence)
    assert len(marked) == len(set(marked)) == report["marked"] == 100
    assert report["ambiguous_share_of_all"] == pytest.approx(0.1, abs=0.01)
    assert report["ambiguous_share_of_marked"] >= 3 * report["ambiguous_share_of_all"]
    truly = {example.id for example in thousand if example.ambiguous}
    assert report["ambiguous_share_of_marked"] == len(truly & set(marked)) / 100


def test_the_report_says_what_was_marked(thousand, tmp_path):
    marked, report = mined(tmp_path, thousand)
    rows = [json.loads(line) for line in (tmp_path / LOGPROBS).read_text().splitlines()]
    assert [row["id"] for row in rows] == [example.id for example in thousand]
    labels = sorted(tickets.LABELS)
    right = {row["id"]: labels[int(np.argmax(row["logprobs"]["tfidf"]))] == row["label"] for row in rows}
    for name in ("tfidf", "all"):
        shares = report["accuracy"][name]
        assert shares["marked"] == sum(right[id] for id in marked) / 100
        assert shares["rest"] == pytest.approx(
            sum(right[row["id"]] for row in rows if row["id"] not in marked) / 900
        )
        assert shares["all"] == sum(right.values()) / 1000
        assert shares["marked"] < shares["rest"] - 0.2
    assert sum(report["per_label"].values()) == 100
    assert len(report["lowest"]) == 20
    ahead = []
    for row in report["lowest"]:
        best, second = row["probabilities"]["all"].values()
        ahead.append(best / second)
        assert row["id"] in marked
    assert ahead == sorted(ahead)


def test_the_same_examples_are_marked_again(thousand, tmp_path):
    assert mined(tmp_path, thousand[:200])[0] == mined(tmp_path, thousand[:200])[0]


# Folds


@quick
@given(st.lists(st.tuples(texts, st.sampled_from("abc")), min_size=1, max_size=30), st.integers(2, 6))
def test_every_example_is_in_one_fold_with_its_twins(rows, count):
    examples = [Example(f"train-{n}", text, label) for n, (text, label) in enumerate(rows)]
    folds = sampling.split_folds(examples, count)
    assert sorted(position for fold in folds for position in fold) == list(range(len(examples)))
    assert len(folds) <= count
    assert all(folds)
    for one in folds:
        own = {normalise(examples[position].text) for position in one}
        others = {normalise(examples[k].text) for fold in folds if fold is not one for k in fold}
        assert not own & others


@quick
@given(st.lists(st.sampled_from("abc"), min_size=6, max_size=40), st.integers(2, 6), st.integers(0, 9))
def test_folds_are_alike(labels, count, seed):
    examples = [Example(f"train-{n}", f"text {n}", label) for n, label in enumerate(labels)]
    folds = sampling.split_folds(examples, count, seed)
    assert len(folds) == count
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    for label in set(labels):
        counts = [sum(examples[position].label == label for position in fold) for fold in folds]
        assert max(counts) - min(counts) <= 1


def test_no_linear_model_judges_what_it_was_trained_on():
    """Each text has a word of its own: in sample, a linear model would be right and sure of all of them."""
    examples = [Example(f"train-{n}", f"word{n}", "ab"[n % 2]) for n in range(60)]
    scores = linear.out_of_fold_scores(examples, "ab", sampling.split_folds(examples, 5), "en")
    assert np.ptp(scores, axis=1).max() < 0.5


def test_a_label_that_other_folds_do_not_show_is_unlikely():
    examples = [*alternating(20), Example("train-20", "text of its own", "c")]
    scores = linear.out_of_fold_scores(examples, "abc", sampling.split_folds(examples, 5), "en")
    assert np.isfinite(scores).all()
    assert scores[20, 2] == scores[20].min()


def test_readings_of_folds_come_back_in_the_order_of_the_examples(tmp_path):
    examples = alternating(10)
    logprobs = [[0.0, -1.0 - n] for n in range(10)]  # the first is the least sure
    folds = [[7, 2, 9], [0, 1, 3, 8], [4, 5, 6]]
    parts = [reading(tmp_path / str(n), [logprobs[k] for k in fold]) for n, fold in enumerate(folds)]
    whole = [reading(tmp_path / "whole", logprobs)]
    reports = []
    for name, readings in (("trained", parts), ("model", whole)):
        marked, report = mined(
            tmp_path, examples, scorers=[name], folds=folds, readings={name: readings}, fraction=0.3
        )
        assert marked == ["train-0", "train-1", "train-2"]
        reports.append(json.dumps(report).replace(name, "scorer"))
    assert reports[0] == reports[1]


# Confidence


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.1, 1), (0.3, 3), (0.5, 5), (0.99, 10)])
def test_a_share_is_marked(tmp_path, fraction, count):
    sure = [reading(tmp_path / "model", [[0.0, -1.0 - n] for n in range(10)])]
    marked, report = mined(
        tmp_path, alternating(10), scorers=["model"], readings={"model": sure}, fraction=fraction
    )
    assert marked == [f"train-{n}" for n in range(count)]
    assert (report["accuracy"]["all"]["rest"] is None) == (count == 10)
    assert "ambiguous_share_of_marked" not in report


def test_margin_is_of_the_two_best_and_gold_of_the_label():
    logprobs = np.log([[0.5, 0.45, 0.05], [0.1, 0.1, 0.8]])
    for gold in ([2, 2], [1, 0]):
        odds = np.exp(confidences(logprobs, gold, "margin"))
        assert odds == pytest.approx([0.5 / 0.45, 0.8 / 0.1])
    assert np.exp(confidences(logprobs, [2, 2], "gold")) == pytest.approx([0.05, 0.8])


scores = st.lists(st.lists(st.floats(-4, 4), min_size=3, max_size=3), min_size=4, max_size=12).map(np.array)


@quick
@given(scores, st.floats(0.5, 20), st.floats(-50, 50), st.randoms(use_true_random=False))
def test_a_scale_and_a_shift_of_the_scores_change_nothing(table, scale, shift, random):
    gold = [random.randrange(3) for _ in table]
    assume(not (table.argmax(axis=1) == gold).all())  # the best temperature would be 0
    once = calibrate(table, gold)
    assert np.exp(once).sum(axis=1) == pytest.approx(np.ones(len(table)))
    assert np.exp(calibrate(scale * table + shift, gold)) == pytest.approx(np.exp(once), abs=0.02)


def views(seed: int, count: int, noise: float):
    """Examples and two scorers that see the same truth through noise of their own; the ambiguous lie between."""
    random = np.random.default_rng(seed)
    ambiguous = random.random(count) < 0.1
    first = random.integers(0, 4, count)
    second = (first + random.integers(1, 4, count)) % 4
    truth = np.zeros((count, 4))
    truth[np.arange(count), first] = 3
    truth[ambiguous, second[ambiguous]] = 3
    gold = np.where(ambiguous & (random.random(count) < 0.5), second, first)
    examples = [Example(f"{k}", f"text {k}", "abcd"[gold[k]], ambiguous=bool(ambiguous[k])) for k in range(count)]
    return examples, [truth + noise * random.standard_normal(truth.shape) for _ in range(2)]


@pytest.mark.parametrize("seed", range(4))
def test_two_scorers_find_more_than_one(tmp_path, seed):
    examples, tables = views(seed, 1500, noise=0.8)
    tables[1] *= 0.01  # one that is never sure weighs as much as another
    names = ("./one", "./two")
    readings = {name: [reading(tmp_path / name, table)] for name, table in zip(names, tables, strict=True)}
    found = [
        mined(tmp_path, examples, scorers=chosen, readings=readings)[1]["ambiguous_share_of_marked"]
        for chosen in (names[:1], names[1:], names)
    ]
    assert found[2] > max(found[:2])


@pytest.mark.parametrize("seed", range(4))
def test_a_scorer_that_adds_nothing_hardly_counts(tmp_path, seed):
    """One that guesses loudly, and a blurred echo of the first."""
    examples, (table, _) = views(seed, 1500, noise=0.8)
    random = np.random.default_rng(seed)
    tables = {
        "./one": table,
        "./guesses": 30 * random.standard_normal(table.shape),
        "./echo": table + 2 * random.standard_normal(table.shape),
    }
    readings = {name: [reading(tmp_path / name, scores)] for name, scores in tables.items()}
    alone, _ = mined(tmp_path, examples, scorers=["./one"], readings=readings)
    every, report = mined(tmp_path, examples, scorers=list(tables), readings=readings)
    assert len(set(alone) & set(every)) >= 0.85 * len(alone)
    assert report["accuracy"]["./guesses"]["all"] < 0.35
    assert report["weights"]["./echo"] < 0.3 < 0.7 < report["weights"]["./one"]


def test_no_other_weights_make_the_gold_labels_more_likely():
    examples, tables = views(0, 500, noise=0.8)
    gold = ["abcd".index(example.label) for example in examples]
    tables = [calibrate(table, gold) for table in tables]

    def likelihood(weights) -> float:
        return combine(tables, weights)[np.arange(len(gold)), gold].mean()

    best = fit_weights(tables, gold)
    for change in ([0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05], [0.05, -0.05]):
        assert likelihood(np.add(best, change)) < likelihood(best)
    assert likelihood(best) > max(likelihood([1, 0]), likelihood([0, 1]))


def test_scorers_that_all_know_nothing_still_have_an_order(tmp_path):
    examples = alternating(40)
    guesses = np.random.default_rng(0).standard_normal((2, 40, 2))
    wrong = [[-1.0 - n / 40, 0.0][:: 1 if e.label == "a" else -1] for n, e in enumerate(examples)]
    readings = {f"./{n}": [reading(tmp_path / str(n), table)] for n, table in enumerate([wrong, *guesses])}
    for scorers in (["./0"], ["./0", "./1"], list(readings)):
        marked, report = mined(tmp_path, examples, scorers=scorers, readings=readings, fraction=0.25)
        assert len(marked) == report["marked"] == 10
        assert len({row["probabilities"]["all"][row["label"]] for row in report["lowest"]}) == 10
