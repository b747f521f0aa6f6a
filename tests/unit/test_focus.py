"""Which prompts are drawn in an epoch, and which groups teach nothing."""

import itertools
import math
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genclspp.training.expected_trainer import equal_groups
from genclspp.training.focus import choose

CHANCES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(CHANCES, st.floats(0.01, 0.99), st.integers(1, 30), st.integers(0, 3))
def test_unsolved_prompts_come_first_and_nothing_comes_twice(chances, solved, draws, seed):
    draws = min(draws, len(chances))
    chosen = choose(chances, solved, draws, Random(seed))
    assert len(chosen) == len(set(chosen)) == draws
    unsolved = {k for k, chance in enumerate(chances) if chance < solved}
    assert set(chosen) <= unsolved or unsolved <= set(chosen)
    left = set(range(len(chances))) - set(chosen) - unsolved
    filled = set(chosen) - unsolved
    assert max((chances[k] for k in filled), default=0) <= min((chances[k] for k in left), default=1)
    assert chosen == choose(chances, solved, draws, Random(seed))


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=4), st.integers(1, 4), st.data())
def test_equal_groups_are_counted_exactly(weights, size, data):
    chances = torch.tensor([[weight / sum(weights) for weight in weights]], dtype=torch.float64)
    rewards = torch.tensor([[data.draw(st.sampled_from([0.0, 0.5, 1.0])) for _ in weights]], dtype=torch.float64)
    groups = itertools.product(range(len(weights)), repeat=size)
    equal = sum(
        math.prod(float(chances[0, k]) for k in group)
        for group in groups
        if len({float(rewards[0, k]) for k in group}) == 1
    )
    assert float(equal_groups(chances, rewards, size)) == pytest.approx(equal)
