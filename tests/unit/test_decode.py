"""From what the model says of a prompt to a label and scores."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp.inference.decode import Constrained, Greedy, Perplexity, PromptScores
from genclspp.task import UNCERTAIN

SURFACES = {"no": "no", "none": "no match", UNCERTAIN: "uncertain"}
# The long answer is less likely as a whole, and more likely per token.
READING = PromptScores(
    logprobs=[-2.0, -3.0, -4.0],
    lengths=[2, 4, 2],
    constrained=0,
    completion=" No match.",
    prior=[-0.5, -3.5, -3.0],
    prompt=(-9.0, 6),
)


@pytest.mark.parametrize(
    ("decoder", "label", "scores"),
    [
        (Greedy(), "none", [-2.0, -3.0, -4.0]),
        (Constrained(), "no", [-2.0, -3.0, -4.0]),
        (Perplexity(), "none", [-1.0, -0.75, -2.0]),
        (Perplexity("sum"), "no", [-2.0, -3.0, -4.0]),
        (Perplexity("pmi"), "none", [-1.5, 0.5, -1.0]),
        (Perplexity("whole"), "none", [6 * -11 / 8, 6 * -12 / 10, 6 * -13 / 8]),
    ],
)
def test_decoders_choose_like_this(decoder, label, scores):
    assert decoder.choose(READING, SURFACES) == label
    assert decoder.scores(READING) == scores


@pytest.mark.parametrize(
    ("decoder", "needs"),
    [
        (Greedy(), {"completion"}),
        (Constrained(), set()),
        (Perplexity(), set()),
        (Perplexity("sum"), set()),
        (Perplexity("pmi"), {"prior"}),
        (Perplexity("whole"), {"prompt"}),
    ],
)
def test_decoders_say_what_they_need(decoder, needs):
    assert set(decoder.needs) == needs


@pytest.mark.parametrize(
    ("written", "label"), [("", None), (" maybe", None), ("uncertain", UNCERTAIN), ("no", "no")]
)
def test_greedy_may_fail_to_answer(written, label):
    assert Greedy().choose(PromptScores([-1, -2, -3], [2, 3, 2], 0, written), SURFACES) == label


def test_an_unknown_normalisation_is_refused():
    with pytest.raises(ValueError, match=r"normalise='median'; expected 'mean', 'whole', 'sum' or 'pmi'"):
        Perplexity("median")  # type: ignore[arg-type]


answers = st.lists(st.tuples(st.floats(-50, 0), st.integers(1, 9)), min_size=2, max_size=5)


@given(answers)
def test_the_best_score_has_the_lowest_perplexity(rows):
    reading = PromptScores([total for total, _ in rows], [length for _, length in rows], 0)
    perplexities = [math.exp(-total / length) for total, length in rows]
    chosen = Perplexity().choose(reading, {str(k): str(k) for k in range(len(rows))})
    assert perplexities[int(chosen)] == pytest.approx(min(perplexities))


@given(answers, st.floats(-5, 5))
def test_pmi_does_not_care_how_likely_an_answer_is_anyway(rows, shift):
    logprobs, lengths = [total for total, _ in rows], [length for _, length in rows]
    before = Perplexity("pmi").scores(PromptScores(logprobs, lengths, 0, prior=[0.0] * len(rows)))
    shifted = [value + shift for value in logprobs]
    after = Perplexity("pmi").scores(PromptScores(shifted, lengths, 0, prior=[shift] * len(rows)))
    assert after == pytest.approx(before, abs=1e-9)
