"""Attention in blocks of nodes gives what attention at once gives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from genclspp.trees import blockwise
from genclspp.trees.blockwise import BlockwiseMask
from genclspp.trees.tree import ancestor_mask, grow, path

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=9)


def attention(mask: Tensor, nodes: int, keys: int, kind: torch.dtype = torch.float64) -> list[Tensor]:
    """Two heads under `mask`, and the gradients of queries, keys and values."""
    torch.manual_seed(0)
    states = [
        torch.randn(1, 2, count, 4, dtype=torch.float64).to(kind).requires_grad_() for count in (nodes, keys, keys)
    ]
    found = scaled_dot_product_attention(*states, attn_mask=mask, scale=0.7)
    found.backward(torch.randn(found.shape, dtype=torch.float64).to(kind))
    return [found.detach(), *(state.grad for state in states if state.grad is not None)]


@settings(deadline=None)
@given(SEQUENCES, st.integers(1, 9), st.randoms())
def test_results_and_gradients_are_those_of_attention_at_once(sequences, block, random):
    tree = grow(sequences)
    start = random.randrange(len(tree.tokens))  # of the window; the path to it is in the cache
    nodes = list(range(start, random.randint(start, len(tree.tokens) - 1) + 1))
    keys = [*path(tree, tree.parents[start]), *nodes]
    mask = ancestor_mask(tree, nodes, keys)[None, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blockwise, "BLOCK", block)
        ours = attention(BlockwiseMask.of(mask), len(nodes), len(keys))
    for found, expected in zip(ours, attention(mask, len(nodes), len(keys)), strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_bfloat16_rounds_and_no_more():
    tree = grow([[0] * 100 + [k] * 30 for k in range(4)])
    nodes = list(range(len(tree.tokens)))
    mask = ancestor_mask(tree, nodes, nodes)[None, None]
    rounded = attention(BlockwiseMask.of(mask), len(nodes), len(nodes), torch.bfloat16)
    for found, expected in zip(rounded, attention(mask, len(nodes), len(nodes)), strict=True):
        assert (found - expected).norm() < 0.01 * expected.norm()


def test_a_block_multiplies_no_key_that_none_of_its_nodes_sees():
    tree = grow([[0] * 10 + [k] * 6 for k in range(3)])
    nodes = list(range(28))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blockwise, "BLOCK", 6)
        mask = BlockwiseMask.of(ancestor_mask(tree, nodes, nodes)[None, None])
    assert [bias.shape[1] for _, bias in mask.blocks] == [6, 12, 18, 18, 16]


def test_all_else_that_is_done_with_the_mask_gives_plain_tensors():
    mask = BlockwiseMask.of(torch.ones(1, 1, 3, 3, dtype=torch.bool).tril())
    for other in (mask[:, :, :2], ~mask, mask & mask, mask.float(), mask.clone()):
        assert type(other) is Tensor
    assert mask.shape == (1, 1, 3, 3)
    assert mask.dtype == torch.bool
