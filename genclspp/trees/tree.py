"""Token trees: every distinct prefix is read by the model once.

The prompts of a task share a prefix and all labels share the prompt, so what the model has to read is a tree. A
node attends to itself and its ancestors, and its position is its depth, so it gets the hidden state that it would
have in a sequence of its own. Nodes are numbered depth first, which makes the attention mask two comparisons: `j`
is `i` or an ancestor of `i` exactly if j <= i < stops[j].

    sequences        tree                         node  token  parent  depth  stop  attends to
    "A: no"          A ── : ─┬─ no ─┬─ EOS           0  A          -1      0     8  █
    "A: no match"            │      └─ match ─ EOS   1  :           0      1     8  ██
    "A: yes"                 └─ yes ── EOS           2  no          1      2     6  ███
                                                     3  EOS         2      3     4  ████
                                                     4  match       2      3     6  ███·█
                                                     5  EOS         4      4     6  ███·██
                                                     6  yes         1      2     8  ██····█
                                                     7  EOS         6      3     8  ██····██
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tree:
    """Token sequences with equal prefixes merged; nodes are numbered depth first.

    tokens:  (nodes,) token of each node
    parents: (nodes,) -1 where a sequence begins
    depths:  (nodes,) number of ancestors, which is the position of the token in its sequences
    stops:   (nodes,) one past the last descendant: range(k, stops[k]) is the subtree of node k
    ends:    (sequences,) last node of each sequence, -1 for an empty one
    """

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    stops: list[int]
    ends: list[int]


def grow(sequences: Sequence[Sequence[int]], under: Sequence[int] | None = None) -> Tree:
    """Merge sequences that share prefixes into one tree.

    under: per sequence, the index of an earlier one that it continues, or -1; by default all begin anew

    >>> grow([[5, 6], [5, 7]]).parents, grow([[5], [6], [7]], [-1, 0, 0]).parents  # the same tree twice
    ([-1, 0, 0], [-1, 0, 0])
    """
    tokens: list[int] = []
    parents: list[int] = []
    ends: list[int] = []
    found: dict[tuple[int, int], int] = {}  # (parent, token) -> child: what makes this a trie
    for sequence, stem in zip(sequences, under or [-1] * len(sequences), strict=True):
        node = ends[stem] if stem >= 0 else -1
        for token in sequence:
            child = found.setdefault((node, token), len(tokens))
            if child == len(tokens):  # a prefix not seen before
                tokens.append(token)
                parents.append(node)
            node = child
        ends.append(node)
    return _depth_first(tokens, parents, ends)


def _depth_first(tokens: list[int], parents: list[int], ends: list[int]) -> Tree:
    """Renumber nodes from order of insertion to depth-first order.

    A subtree is one contiguous block of numbers. Each node takes the next free number in its parent's block and
    reserves as many behind it as it has descendants.
    """
    count = len(tokens)
    # Subtree sizes. A parent is always inserted before its children, so going backwards a node's size is final
    # before it is added to its parent.
    sizes = [1] * count
    for node in reversed(range(count)):
        if parents[node] >= 0:
            sizes[parents[node]] += sizes[node]
    # `number`: old number -> new. `free`: next free number in a node's block. Each list has one entry more, for
    # the parent -1 of the roots, which Python's index -1 finds: its block starts at 0 and its depth is -1.
    number, free, depth = [-1] * (count + 1), [0] * (count + 1), [-1] * (count + 1)
    tree = Tree([0] * count, [-1] * count, [0] * count, [0] * count, [])
    for node, parent in enumerate(parents):
        number[node] = new = free[parent]
        free[parent] += sizes[node]
        free[node] = new + 1
        depth[node] = depth[parent] + 1
        tree.tokens[new] = tokens[node]
        tree.parents[new] = number[parent]
        tree.depths[new] = depth[node]
        tree.stops[new] = new + sizes[node]
    return replace(tree, ends=[number[node] for node in ends])


def common_prefix_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix of two sequences."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def path(tree: Tree, node: int, below: int = -1) -> list[int]:
    """Nodes from the root, or from below the ancestor `below`, down to `node` itself; none for node -1."""
    nodes = []
    while node != below:
        nodes.append(node)
        node = tree.parents[node]
    return nodes[::-1]


def children(tree: Tree, node: int) -> Iterator[int]:
    """The children of `node`, in order."""
    child = node + 1  # depth first, the first child comes next; its sibling where the child's subtree stops
    while child < tree.stops[node]:
        yield child
        child = tree.stops[child]


def count_below(tree: Tree, wanted: Sequence[bool]) -> list[int]:
    """For each node, the number of wanted nodes in its subtree, itself included: (nodes,)."""
    before = [0, *accumulate(map(int, wanted))]  # before[k]: wanted nodes with numbers below k
    return [before[stop] - before[node] for node, stop in enumerate(tree.stops)]


def ancestor_mask(tree: Tree, queries: Sequence[int], keys: Sequence[int]) -> Tensor:
    """Which keys each query attends to, namely itself and its ancestors: (queries, keys) booleans."""
    query, key = torch.tensor(queries)[:, None], torch.tensor(keys)
    return (key <= query) & (query < torch.tensor([tree.stops[node] for node in keys]))
