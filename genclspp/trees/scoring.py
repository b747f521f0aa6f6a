"""Score every label under every prompt in one reading; decode from the same numbers, among the labels or greedily.

`questions` says where the prompt ends and the label begins. Greedy decoding starts where `model.generate` does:
after the tokens of the prompt alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from genclspp.suggest import UserError
from genclspp.trees import generation
from genclspp.trees.forward import NodeLogprobs, evaluating
from genclspp.trees.questions import build_tree, encode, tokenise
from genclspp.trees.support import read
from genclspp.trees.tree import Tree, children, grow, path


@dataclass(frozen=True)
class LabelScores:
    """What one reading of prompts and labels yields.

    logprobs:    (prompts, labels) sum of token log-probabilities, end-of-sequence included if add_eos
    lengths:     (prompts, labels) number of tokens summed
    greedy:      per prompt, tokens (without EOS) of the unconstrained greedy completion if it stays inside the
                 tree of labels, else None
    constrained: per prompt, index of the label that greedy decoding restricted to the labels writes
    tokens:      number of tokens that the model read
    """

    logprobs: Tensor
    lengths: Tensor
    greedy: list[list[int] | None]
    constrained: list[int]
    tokens: int


def label_logprobs(
    model: Any, tokenizer: Any, prompts: list[str], labels: list[str], *, add_eos: bool = True
) -> Tensor:
    """Log-probability of each label as the continuation of each prompt: (prompts, labels)."""
    return score(model, tokenizer, prompts, labels, add_eos=add_eos).logprobs


def score(
    model: Any, tokenizer: Any, prompts: list[str], labels: list[str], *, add_eos: bool = True
) -> LabelScores:
    """Score all labels under all prompts, without gradient.

    add_eos: whether the EOS token that ends a label counts into its log-probability and length
    raises:  UserError without labels, without an EOS token, and for a prompt of which the labels keep no token
    """
    with evaluating(model):
        blocks = [
            _score(model, tokenizer, block, labels, add_eos) for block in _blocks(tokenizer, prompts, labels)
        ]
    empty = torch.zeros(0, len(labels))  # gives the shape if there are no prompts
    return LabelScores(
        logprobs=torch.cat([empty, *(block.logprobs for block in blocks)]),
        lengths=torch.cat([empty.long(), *(block.lengths for block in blocks)]),
        greedy=[ids for block in blocks for ids in block.greedy],
        constrained=[label for block in blocks for label in block.constrained],
        tokens=sum(block.tokens for block in blocks),
    )


BLOCK = 2**15  # answers in one tree; bounds the memory of the tree's Python lists, not that of the model


def _blocks(tokenizer: Any, prompts: list[str], labels: list[str]) -> list[list[str]]:
    """The prompts, cut into blocks that are read as one tree each."""
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no eos_token; expected one, as it marks the end of a label")
    if not labels:
        raise UserError("labels is empty; expected at least one")
    step = max(BLOCK // len(labels), 1)
    return [prompts[k : k + step] for k in range(0, len(prompts), step)]


def _score(model: Any, tokenizer: Any, prompts: list[str], labels: list[str], add_eos: bool) -> LabelScores:
    tree, starts, answers = build_tree(tokenise(tokenizer, prompts, labels), tokenizer.eos_token_id)
    # The token of a node is predicted at its parent.
    wanted = [False] * len(tree.tokens)
    for node in chain.from_iterable(chain.from_iterable(answers)):
        wanted[tree.parents[node]] = True
    found = read(model, tree, wanted)
    # All three results come from this one reading: sums of log-probabilities, and two walks down the tree.
    stops = _stops(model, tokenizer)
    # EOS is the last node of every answer.
    counted = [[nodes[: len(nodes) - (not add_eos)] for nodes in row] for row in answers]
    return LabelScores(
        logprobs=torch.tensor([[sum(found.logprobs[node] for node in nodes) for nodes in row] for row in counted]),
        lengths=torch.tensor([[len(nodes) for nodes in row] for row in counted]),
        greedy=[_greedy(tree, found, start, stops) for start in starts],
        constrained=[_constrained(row, found.logprobs) for row in answers],
        tokens=found.tokens,
    )


def prompt_logprobs(
    model: Any, tokenizer: Any, prompts: list[str], labels: Sequence[str]
) -> list[tuple[float, int]]:
    """Log-probability of each prompt itself, and the number of tokens that it sums, without gradient.

    These are the tokens before those that `score` sums for the labels, but for the first, which nothing predicts.
    """
    tree = grow([question.context for question in tokenise(tokenizer, prompts, list(labels))])
    wanted = [stop > node + 1 for node, stop in enumerate(tree.stops)]  # all but the last tokens
    with evaluating(model):
        found = read(model, tree, wanted)
    paths = [path(tree, end)[1:] for end in tree.ends]
    return [(sum(found.logprobs[node] for node in nodes), len(nodes)) for nodes in paths]


def generate(
    model: Any,
    tokenizer: Any,
    prompts: list[str],
    labels: Sequence[str] = (),
    *,
    max_new_tokens: int,
    stops: Collection[int] = (),
) -> list[list[int]]:
    """Greedy completions: new tokens, up to EOS or one of `stops`. Likely `labels` make it faster."""
    rows = encode(tokenizer, prompts)
    # Labels are drafts, which need not be exact, so tokenising them after the first prompt is enough.
    drafts = tokenise(tokenizer, prompts[:1], list(labels))[0].answers if prompts and labels else []
    return generation.write(model, rows, _stops(model, tokenizer) | {*stops}, max_new_tokens, drafts)


def _greedy(tree: Tree, found: NodeLogprobs, node: int, stops: set[int]) -> list[int] | None:
    """Tokens on the path of most likely tokens from `node` to a stop; None if it leaves the tree."""
    ids: list[int] = []
    while (node := _likeliest_child(tree, found, node)) >= 0:
        if tree.tokens[node] in stops:
            return ids
        ids.append(tree.tokens[node])
    return None


def _likeliest_child(tree: Tree, found: NodeLogprobs, node: int) -> int:
    """The child that holds the most likely token of the whole vocabulary after `node`, or -1.

    If nothing was wanted, the peak is infinite, so no child reaches it.
    """
    return next((child for child in children(tree, node) if found.logprobs[child] >= found.peaks[node]), -1)


def _constrained(answers: list[list[int]], logprobs: list[float]) -> int:
    """Follow the most likely node among those of the answers; index of the answer that it leads to.

    answers: nodes of each answer with its EOS, so that no answer is a prefix of another
    """
    # At each depth, keep the answers that pass through the most likely node.
    left, depth = list(range(len(answers))), 0
    while depth < len(answers[left[0]]):
        node = max((answers[k][depth] for k in left), key=logprobs.__getitem__)
        left = [k for k in left if answers[k][depth] == node]
        depth += 1
    return left[0]


def _stops(model: Any, tokenizer: Any) -> set[int]:
    """Tokens at which `model.generate` stops."""
    stops = model.generation_config.eos_token_id
    if stops is None:
        stops = tokenizer.eos_token_id
    return set(stops) if isinstance(stops, list) else {stops}
