"""Tables of what was written, and what it is worth."""

import pytest

from genclspp.training.rewards import abstained, correct, parsed

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
