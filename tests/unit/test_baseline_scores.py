"""Baselines as functions from examples to scores."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp.baselines.classify import classify, compute
from genclspp.baselines.knn import Knn, count_votes
from genclspp.baselines.majority import Majority
from genclspp.baselines.method import Problem
from genclspp.baselines.svm import Svm
from genclspp.data import tickets
from genclspp.inference import score
from genclspp.progress import Silent
from genclspp.prompts.render import _vote
from genclspp.selection.demonstrations import find_nearest
from genclspp.suggest import UserError
from genclspp.task import Example, normalise

LABELS = tickets.LABELS
METHODS = pytest.mark.parametrize("method", [Majority(), Svm(), Knn(), Knn(k=7)], ids=str)


@pytest.fixture(scope="module")
def problem() -> Problem:
    splits = tickets.generate({"train": 120, "test": 40}, seed=0)
    queries = tuple(replace(example, label="") for example in splits["test"])
    return Problem(splits["train"], queries, LABELS)


@METHODS
def test_scores_are_finite_one_per_label_and_query(method: Any, problem: Problem):
    scores = compute(method, problem)
    assert scores.shape == (40, len(LABELS))


@METHODS
def test_a_query_is_scored_alike_whatever_the_others_are(method: Any, problem: Problem):
    scores = compute(method, problem)
    order = Random(1).sample(range(40), 15)
    some = replace(problem, queries=[problem.queries[place] for place in order])
    assert np.array_equal(compute(method, some), scores[order])


@pytest.mark.parametrize("method", [Majority(), Svm()], ids=str)
def test_the_order_of_training_examples_does_not_matter(method: Any, problem: Problem):
    mixed = replace(problem, train=Random(2).sample(problem.train, len(problem.train)))
    assert np.array_equal(compute(method, mixed), compute(method, problem))


@METHODS
def test_a_label_without_training_examples_is_never_predicted(method: Any, problem: Problem):
    more = replace(problem, labels=("unheard of", *LABELS))
    scores = compute(method, more)
    assert (scores.argmax(axis=1) > 0).all()
    assert np.isfinite(scores).all()


def test_the_majority_is_that_of_the_training_examples(problem: Problem):
    counts = Counter(example.label for example in problem.train)
    scores = compute(Majority(), problem)
    assert (scores == scores[0]).all()
    assert counts[LABELS[scores[0].argmax()]] == max(counts.values())
    assert [counts[label] for label in np.array(LABELS)[scores[0].argsort()]] == sorted(counts.values())


def test_two_labels_have_two_scores_as_well(problem: Problem):
    two = [example for example in problem.train if example.label in LABELS[:2]]
    scores = compute(Svm(), replace(problem, train=two, labels=LABELS[:2]))
    assert scores.shape == (40, 2)
    assert np.allclose(scores[:, 0], -scores[:, 1])


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9))
def test_votes_are_those_of_demonstrations(neighbours: list[str]):
    votes = count_votes(neighbours, "abcd")
    shots = [Example(str(place), "text", label) for place, label in enumerate(neighbours)]
    assert "abcd"[int(np.argmax(votes))] == _vote(shots)
    assert [round(vote) for vote in votes] == [neighbours.count(label) for label in "abcd"]


def test_neighbours_are_those_that_prompts_show(problem: Problem):
    near = find_nearest(problem.train, problem.queries, 3, "tfidf", "en")
    scores = compute(Knn(), problem)
    assert [LABELS[place] for place in scores.argmax(axis=1)] == [_vote(near[q.id]) for q in problem.queries]


def test_a_text_is_no_neighbour_of_itself(problem: Problem):
    train = list(problem.train)
    own = Example("query", train[0].text.upper(), "")
    labelled = [replace(e, label=LABELS[normalise(e.text) == normalise(own.text)]) for e in train]
    scores = compute(Knn(k=1), replace(problem, train=labelled, queries=[own]))
    assert scores[0].argmax() == 0  # the label of all others


@dataclass(frozen=True)
class Own:
    """A method of a user's own, as far as its scores go."""

    is_random: ClassVar[bool] = False
    reads_model: ClassVar[bool] = False

    value: Any = None

    def scores(self, problem: Problem) -> Any:
        return 1 / 0 if self.value is None else self.value


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, r"the method Own raised ZeroDivisionError: .* \(.*test_baseline_scores\.py:\d+\)"),
        ([[0.0]], r"the method Own returned scores of shape \(1, 1\); expected \(40, 8\)"),
        (np.full((40, 8), np.nan), "the method Own returned NaN or infinite scores; expected finite ones"),
    ],
)
def test_a_method_of_ones_own_is_blamed_by_name(value: Any, sentence: str, problem: Problem):
    with pytest.raises(UserError, match=sentence):
        compute(Own(value), problem)


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_stage_leaves_log_probabilities(tmp_path_factory: pytest.TempPathFactory, scores: list[list[float]]):
    out = tmp_path_factory.mktemp("out")
    run_stage(Own(scores), [Example(str(place), "text", "") for place in range(len(scores))], out)
    rows = [row for split in ("test", "validation") for row in score.read(out / split)]
    found = np.array([row["logprobs"] for row in rows])
    assert np.allclose(np.exp(found).sum(axis=1), 1)
    assert np.allclose(found - found[:, :1], np.array(scores) - np.array(scores)[:, :1])
    assert [row["constrained"] for row in rows] == found.argmax(axis=1).tolist()


def run_stage(method: Any, queries: Sequence[Example], out: Path) -> None:
    classify(
        method=method,
        train=(),
        queries={"test": queries[:1], "validation": queries[1:]},
        labels=("a", "b", "c"),
        language="en",
        seed=0,
        policy=None,
        watch=Silent(),
        batch_size=8,
        out=out,
    )
