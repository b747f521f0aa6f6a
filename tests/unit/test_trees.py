"""The token tree as a data structure."""

from hypothesis import given
from hypothesis import strategies as st

from genclspp.trees.tree import ancestor_mask, children, common_prefix_length, count_below, grow, path

SEQUENCES = st.lists(st.lists(st.integers(0, 3), max_size=7), min_size=1, max_size=12)


def tokens(tree, node):
    return [tree.tokens[step] for step in path(tree, node)]


@given(SEQUENCES)
def test_every_sequence_is_the_way_to_its_end(sequences):
    tree = grow(sequences)
    assert [tokens(tree, end) for end in tree.ends] == sequences


@given(SEQUENCES)
def test_there_is_one_node_per_distinct_prefix(sequences):
    prefixes = {tuple(sequence[:k]) for sequence in sequences for k in range(1, len(sequence) + 1)}
    tree = grow(sequences)
    assert {tuple(tokens(tree, node)) for node in range(len(tree.tokens))} == prefixes
    assert len(tree.tokens) == len(prefixes)


@given(SEQUENCES)
def test_a_node_sees_exactly_the_way_to_itself(sequences):
    tree = grow(sequences)
    nodes = list(range(len(tree.tokens)))
    seen = ancestor_mask(tree, nodes, nodes).tolist()
    for node in nodes:
        assert [other for other in nodes if seen[node][other]] == path(tree, node)


@given(SEQUENCES)
def test_depths_parents_and_children_agree_with_the_ways(sequences):
    tree = grow(sequences)
    for node in range(len(tree.tokens)):
        way = path(tree, node)
        assert tree.depths[node] == len(way) - 1
        assert tree.parents[node] == (way[-2] if len(way) > 1 else -1)
        assert list(children(tree, node)) == [k for k, parent in enumerate(tree.parents) if parent == node]


@given(SEQUENCES, SEQUENCES)
def test_to_continue_a_sequence_is_to_write_it_out(stems, tails):
    under = [-1] * len(stems) + [k % len(stems) for k in range(len(tails))]
    continued = grow(stems + tails, under)
    written = [stems[k % len(stems)] + tail for k, tail in enumerate(tails)]
    assert [tokens(continued, end) for end in continued.ends] == stems + written
    assert len(continued.tokens) == len(grow(stems + written).tokens)


@given(SEQUENCES, st.randoms())
def test_count_below_counts_a_node_and_its_descendants(sequences, random):
    tree = grow(sequences)
    wanted = [random.random() < 0.5 for _ in tree.tokens]
    for node, count in enumerate(count_below(tree, wanted)):
        assert count == sum(wanted[k] for k in range(len(wanted)) if node in path(tree, k))


@given(*[st.lists(st.integers(0, 1))] * 3)
def test_common_is_the_length_of_the_shared_prefix(stem, a, b):
    shared = common_prefix_length(stem + a, stem + b)
    assert shared >= len(stem)
    assert (stem + a)[:shared] == (stem + b)[:shared]
    assert (stem + a)[shared : shared + 1] != (stem + b)[shared : shared + 1] or shared == min(
        len(stem + a), len(stem + b)
    )


def test_the_drawing_in_the_docstring_is_true():
    a, colon, no, end, match, yes = range(6)
    tree = grow([[a, colon, no, end], [a, colon, no, match, end], [a, colon, yes, end]])
    assert tree.tokens == [a, colon, no, end, match, end, yes, end]
    assert tree.parents == [-1, 0, 1, 2, 2, 4, 1, 6]
    assert tree.depths == [0, 1, 2, 3, 3, 4, 2, 3]
    assert tree.stops == [8, 8, 6, 4, 6, 6, 8, 8]
