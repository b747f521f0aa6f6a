import math
import warnings
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, confusion_matrix, f1_score, log_loss

from genclspp.inference.metrics import (
    INVALID,
    Prediction,
    calibration_error,
    compute,
    confusion,
    fit_temperature,
    softmax,
    wilson,
)
from genclspp.task import UNCERTAIN

LABELS = ("no", "no match", "yes", "是")


def prediction(gold: str, label: str | None, scores: list[float] | None = None, **changes) -> Prediction:
    probabilities = dict(zip(LABELS, softmax(scores or [0.0] * len(LABELS)), strict=True))
    forced = max(probabilities, key=probabilities.__getitem__)
    return Prediction("1", gold, label, forced, label or "?", probabilities, **changes)


def some_predictions(count: int = 300, seed: int = 0) -> list[Prediction]:
    """Golds, answers (invalid and uncertain among them) and probabilities that are right half of the time."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        gold = LABELS[draw.integers(3)]
        answers: list[str | None] = [*LABELS, UNCERTAIN, None, gold, gold, gold, gold]
        scores = list(draw.normal(size=len(LABELS)) + 2 * (np.array(LABELS) == gold))
        found.append(prediction(gold, answers[draw.integers(len(answers))], scores))
    return found


predictions_strategy = st.lists(
    st.builds(
        prediction,
        gold=st.sampled_from(LABELS),
        label=st.sampled_from([*LABELS, UNCERTAIN, None]),
        scores=st.lists(st.floats(-700, 700), min_size=len(LABELS), max_size=len(LABELS)),
        truncated=st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


def test_agrees_with_scikit_learn():
    found = some_predictions()
    gold = [p.gold for p in found]
    answered = [p.label or INVALID for p in found]
    table = [[p.probabilities[label] for label in LABELS] for p in found]
    metrics = compute(found, LABELS, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = f1_score(gold, answered, labels=LABELS, average=None, zero_division=0)
        likelihood = log_loss(gold, table, labels=LABELS)
    assert metrics["accuracy"] == accuracy_score(gold, answered)
    assert metrics["macro_f1"] == pytest.approx(np.mean(each))
    assert [metrics[f"f1/{label}"] for label in LABELS] == pytest.approx(each)
    assert metrics["nll"] == pytest.approx(likelihood)
    squared = brier_score_loss(gold, table, labels=LABELS, scale_by_half=False)
    assert metrics["brier"] == pytest.approx(squared)
    names = [*LABELS, UNCERTAIN, INVALID]
    reference = confusion_matrix(gold, answered, labels=names)
    ours = {(g, p): n for g, p, n in confusion(found, LABELS)}
    assert ours == {(names[i], names[j]): n for (i, j), n in np.ndenumerate(reference) if n}


def test_calibration_error_agrees_with_the_definition_bin_by_bin():
    found = some_predictions(seed=3)
    table = np.array([list(p.probabilities.values()) for p in found])
    gold = np.array([LABELS.index(p.gold) for p in found])
    top, hit = table.max(axis=1), table.argmax(axis=1) == gold
    expected = 0.0
    for bin_ in range(15):
        inside = (top > bin_ / 15) & (top <= (bin_ + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(top[inside].mean() - hit[inside].mean())
    assert calibration_error(table, gold) == pytest.approx(expected)


def test_abstentions_and_invalid_answers_are_wrong_but_told_apart():
    right = [9.0, 0, 0, 0]
    found = [
        prediction("no", "no", right),
        prediction("no", "yes", right, truncated=True),
        prediction("no", UNCERTAIN, right),
        prediction("yes", None, right),
    ]
    metrics = compute(found, LABELS, seed=0)
    assert metrics["accuracy"] == 0.25
    assert metrics["coverage"] == 0.5
    assert metrics["selective_accuracy"] == 0.5
    assert metrics["invalid_rate"] == 0.25
    assert metrics["accuracy_forced"] == 0.75
    assert metrics["majority"] == 0.75
    assert metrics["truncated_share"] == 0.25
    assert metrics["examples"] == 4


def test_selective_accuracy_is_none_when_nothing_is_answered():
    metrics = compute([prediction("no", UNCERTAIN), prediction("no", None)], LABELS, seed=0)
    assert metrics["selective_accuracy"] is None
    assert metrics["coverage"] == 0


def test_no_predictions_are_an_error():
    with pytest.raises(ValueError, match="no predictions"):
        compute([], LABELS, seed=0)


def test_the_same_seed_gives_the_same_metrics():
    assert compute(some_predictions(), LABELS, seed=1) == compute(some_predictions(), LABELS, seed=1)


def test_the_bootstrap_of_macro_f1_agrees_with_drawing_examples():
    found = some_predictions()
    draw = np.random.default_rng(5)
    drawn = [
        np.mean(
            f1_score(
                [found[i].gold for i in places],
                [found[i].label or INVALID for i in places],
                labels=LABELS,
                average=None,
                zero_division=0,
            )
        )
        for places in draw.integers(len(found), size=(300, len(found)))
    ]
    metrics = compute(found, LABELS, seed=0)
    expected = np.percentile(drawn, [2.5, 97.5])
    assert [metrics["macro_f1_low"], metrics["macro_f1_high"]] == pytest.approx(expected, abs=0.01)


@given(predictions_strategy)
def test_metrics_stay_in_their_ranges(found: list[Prediction]):
    metrics = compute(found, LABELS, seed=0)
    shares = {"nll", "brier", "examples"} ^ metrics.keys()
    assert all(metrics[name] is None or 0 <= metrics[name] <= 1 + 1e-12 for name in shares)
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
    assert 0 <= metrics["brier"] <= 2 + 1e-9
    assert math.isfinite(metrics["nll"])
    assert metrics["accuracy"] <= metrics["coverage"] <= 1 - metrics["invalid_rate"] + 1e-12
    assert metrics["majority"] >= 1 / len(LABELS)


@given(predictions_strategy, st.randoms(use_true_random=False))
def test_the_order_of_predictions_does_not_matter(found: list[Prediction], random):
    shuffled = random.sample(found, len(found))
    assert confusion(shuffled, LABELS) == confusion(found, LABELS)
    assert compute(shuffled, LABELS, seed=0) == pytest.approx(compute(found, LABELS, seed=0))


@given(predictions_strategy)
def test_confusion_counts_every_prediction_once(found: list[Prediction]):
    assert sum(count for *_, count in confusion(found, LABELS)) == len(found)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_its_equation(counts: tuple[int, int]):
    correct, count = counts
    z = NormalDist().inv_cdf(0.975)
    for end in wilson(correct, count):
        assert (correct / count - end) ** 2 == pytest.approx(z * z * end * (1 - end) / count, abs=1e-9)


def test_wilson_agrees_with_a_published_example():
    # Newcombe 1998, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20), st.floats(0.05, 20), st.floats(-1e3, 1e3))
def test_softmax_sums_to_one_and_ignores_a_shift(scores: list[float], temperature: float, shift: float):
    found = softmax(scores, temperature)
    assert sum(found) == pytest.approx(1)
    assert found == pytest.approx(softmax([score + shift for score in scores], temperature), abs=1e-6)


def test_temperature_is_one_without_examples_or_without_differences():
    assert fit_temperature([], []) == 1.0
    assert fit_temperature([[2.0, 2.0], [-1.0, -1.0]], [0, 1]) == 1.0


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.7])
def test_temperature_is_recovered(temperature: float):
    draw = np.random.default_rng(0)
    true = draw.normal(size=(20_000, 5))
    golds = [draw.choice(5, p=softmax(row)) for row in true]
    assert fit_temperature(true * temperature, golds) == pytest.approx(temperature, rel=0.05)


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(
            st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=n, max_size=n),
            st.lists(st.integers(0, 2), min_size=n, max_size=n),
        )
    )
)
def test_no_other_temperature_is_more_likely(case: tuple[list[list[float]], list[int]]):
    scores, golds = case

    def loss(temperature: float) -> float:
        table = np.asarray(scores) / temperature
        top = table.max(axis=1)
        total = top + np.log(np.exp(table - top[:, None]).sum(axis=1))
        return float((total - table[np.arange(len(golds)), golds]).mean())

    best = fit_temperature(scores, golds)
    assert 0.05 <= best <= 20
    grid = np.geomspace(0.05, 20, 60)
    assert loss(best) <= min(loss(t) for t in grid) + 1e-7


def test_infinite_scores_are_refused():
    with pytest.raises(ValueError, match="finite"):
        fit_temperature([[0.0, -math.inf]], [0])
