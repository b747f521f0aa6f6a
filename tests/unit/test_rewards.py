"""Tables of what was written, and what it is worth."""

import math
import re

import numpy as np
import pytest

from genclspp.prompts.draft import Prompt, Prompts
from genclspp.settings import Reward
from genclspp.training.rewards import abstained, bind, check, correct, parsed

SURFACES = ["no", "no match", "10", "1", "uncertain"]
# written, wanted, correct, parsed, abstained
TABLE = [
    (" no", "no", 1, 1, 0),
    ("No.", "no", 1, 1, 0),
    (" no match", "no match", 1, 1, 0),
    ("no\nmore text", "no", 1, 1, 0),
    (" uncertain", "uncertain", 1, 1, 0),  # wanted: no abstention
    (" no", "no match", 0, 1, 0),
    (" no match", "no", 0, 1, 0),
    (" 1", "10", 0, 1, 0),
    (" uncertain", "no", 0, 1, 1),
    ("UNCERTAIN!", "10", 0, 1, 1),
    (" no", "uncertain", 0, 1, 0),
    ("", "no", 0, 0, 0),
    (" no no", "no", 0, 0, 0),
    ("no, I think", "no", 0, 0, 0),
    (" 100", "10", 0, 0, 0),
    ("\n\n", "uncertain", 0, 0, 0),
]


def columns(rows, uncertain="uncertain"):
    return {
        "completions": [row[0] for row in rows],
        "answer": [row[1] for row in rows],
        "surfaces": [SURFACES for _ in rows],
        "uncertain": [uncertain for _ in rows],
        # What TRL passes besides.
        "prompts": ["" for _ in rows],
        "completion_ids": [[] for _ in rows],
        "trainer_state": None,
    }


@pytest.mark.parametrize(
    "rows", [TABLE[:5], TABLE[5:11], TABLE[11:], TABLE, TABLE[::-1], []], ids=lambda rows: f"{len(rows)} rows"
)
def test_rewards_of_valid_invalid_and_mixed_completions(rows):
    given = columns(rows)
    assert correct(**given) == [row[2] for row in rows]
    assert parsed(**given) == [row[3] for row in rows]
    assert abstained(**given) == [row[4] for row in rows]
    assert all(
        isinstance(value, float) for function in (correct, parsed, abstained) for value in function(**given)
    )


def test_nobody_abstains_where_it_is_not_offered():
    given = columns(TABLE, uncertain=None) | {"surfaces": [SURFACES[:-1] for _ in TABLE]}
    assert abstained(**given) == [0.0] * len(TABLE)
    assert parsed(**given)[8] == 0.0


def test_each_completion_is_read_among_its_own_surfaces():
    rows = {"completions": ["us.", "us."], "answer": ["US", "US"], "surfaces": [["US", "us"], ["US", "them"]]}
    assert correct(**rows) == parsed(**rows) == [0.0, 1.0]


def test_columns_of_different_lengths_stop():
    with pytest.raises(ValueError, match="zip"):
        correct(completions=["a", "b"], answer=["a"], surfaces=[["a"], ["a"]])


PROMPTS = Prompts({"a": "a", "b": "b"}, " ", (Prompt("1", "which?", "b"), Prompt("2", "which?", "a")))


def raising(completions, answer, **_):
    return [float(written.split()[0] == wanted) for written, wanted in zip(completions, answer, strict=True)]


def strict(completions, prompts, answer, surfaces, uncertain):
    assert len(completions) == len(prompts) == len(answer) == len(surfaces) == len(uncertain)
    assert set(answer) == {"b"}
    assert set(prompts) == {"which?"}
    return [0.0] * len(completions)


def returning(value):
    def mine(completions, **_):
        return value(completions)

    return mine


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (lambda written: [math.nan for _ in written], "nan for the completion ' b'; expected a finite number"),
        (lambda written: [1.0, math.inf, 0.0], "inf for the completion 'no such answer'; expected a finite"),
        (lambda written: [0, True, None], "None for the completion ''; expected a number"),
        (lambda written: ["1" for _ in written], "'1' for the completion ' b'; expected a number"),
        (lambda written: [1.0], "a list of 1 for 3 completions; expected one number for each"),
        (lambda written: 1.0, "1.0; expected a list with one number per completion"),
        (lambda written: None, "None; expected a list"),
    ],
)
def test_a_reward_that_returns_other_than_numbers_is_blamed(value, told):
    with pytest.raises(ValueError, match=re.escape(f"returned {told}")) as blamed:
        check(PROMPTS, [Reward("correct", correct), Reward("mine", returning(value))])
    assert re.match(r"reward\.mine \(.*test_rewards\.py:\d+\) returned", str(blamed.value))


def test_a_reward_that_raises_is_blamed_with_its_line():
    line = raising.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match=rf"reward\.mine raised IndexError: .* \(.*test_rewards\.py:{line}\)"):
        check(PROMPTS, [Reward("mine", raising)])


def test_rewards_that_return_numbers_pass():
    def exact(completions, **_):
        return np.ones(len(completions), dtype=np.float32)

    check(PROMPTS, [Reward("correct", correct), Reward("strict", strict), Reward("exact", exact)])


def test_a_reward_gets_the_same_columns_from_trl():
    given = columns(TABLE[:2]) | {"answer": ["b", "b"], "prompts": ["which?"] * 2, "opening": ["", ""]}
    assert bind(Reward("strict", strict))(**given) == [0.0, 0.0]
