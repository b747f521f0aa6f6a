"""Score every label under every prompt, and with that decode among the labels or greedily, from one reading.

Where the border between prompt and label lies, `questions` says. Greedy decoding begins where it does in
`model.generate`: after the tokens of the prompt alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from genclspp.trees import generation
from genclspp.trees.forward import NodeLogprobs, evaluating
from genclspp.trees.questions import encode, plant, tokenise
from genclspp.trees.support import read
from genclspp.trees.tree import Tree, children


@dataclass(frozen=True)
class LabelScores:
    """What one reading of prompts and labels tells.

    logprobs:    (prompts, labels) sum of token log-probabilities, end-of-sequence included if add_eos
    lengths:     (prompts, labels) number of tokens summed
    greedy:      per prompt, tokens (without EOS) of the unconstrained greedy completion if it stays among the
                 labels, None where it leaves them
    constrained: per prompt, index of the label at which greedy decoding among the labels arrives
    tokens:      tokens put through the model
    """

    logprobs: Tensor
    lengths: Tensor
    greedy: list[list[int] | None]
    constrained: list[int]
    tokens: int


def label_logprobs(model, tokenizer, prompts: list[str], labels: list[str], *, add_eos: bool = True) -> Tensor:
    """Log-probability of each label as the continuation of each prompt: (prompts, labels)."""
    return score(model, tokenizer, prompts, labels, add_eos=add_eos).logprobs


def score(model, tokenizer, prompts: list[str], labels: list[str], *, add_eos: bool = True) -> LabelScores:
    """Score all labels under all prompts; see `LabelScores`."""
    with evaluating(model):
        blocks = [
            _score(model, tokenizer, block, labels, add_eos) for block in _blocks(tokenizer, prompts, labels)
        ]
    empty = torch.zeros(0, len(labels))
    return LabelScores(
        logprobs=torch.cat([empty, *(block.logprobs for block in blocks)]),
        lengths=torch.cat([empty.long(), *(block.lengths for block in blocks)]),
        greedy=[ids for block in blocks for ids in block.greedy],
        constrained=[label for block in blocks for label in block.constrained],
        tokens=sum(block.tokens for block in blocks),
    )


BLOCK = 2**15  # answers in one tree; bounds the memory of the tree itself, in which a prompt is shared anyway


def _blocks(tokenizer, prompts: list[str], labels: list[str]) -> list[list[str]]:
    """Prompts that are read as one tree."""
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no eos_token; set one, because a label has to end")
    if not labels:
        raise ValueError("labels is empty; expected at least one")
    step = max(BLOCK // len(labels), 1)
    return [prompts[k : k + step] for k in range(0, len(prompts), step)]


def _score(model, tokenizer, prompts: list[str], labels: list[str], add_eos: bool) -> LabelScores:
    tree, starts, answers = plant(tokenise(tokenizer, prompts, labels), tokenizer.eos_token_id)
    wanted = [False] * len(tree.tokens)
    for node in chain.from_iterable(chain.from_iterable(answers)):
        wanted[tree.parents[node]] = True
    said = read(model, tree, wanted)
    stops = _stops(model, tokenizer)
    counted = [[nodes[: len(nodes) - (not add_eos)] for nodes in row] for row in answers]
    return LabelScores(
        logprobs=torch.tensor([[sum(said.logprobs[node] for node in nodes) for nodes in row] for row in counted]),
        lengths=torch.tensor([[len(nodes) for nodes in row] for row in counted]),
        greedy=[_greedy(tree, said, start, stops) for start in starts],
        constrained=[_constrained(row, said.logprobs) for row in answers],
        tokens=said.tokens,
    )


def generate(
    model, tokenizer, prompts: list[str], labels: Sequence[str] = (), *, max_new_tokens: int
) -> list[list[int]]:
    """Greedy completions: new tokens, up to EOS. Where `labels` are likely to be written, it goes faster."""
    rows = encode(tokenizer, prompts)
    drafts = tokenise(tokenizer, prompts[:1], list(labels))[0].answers if prompts and labels else []
    return generation.write(model, rows, _stops(model, tokenizer), max_new_tokens, drafts)


def _greedy(tree: Tree, said: NodeLogprobs, node: int, stops: set[int]) -> list[int] | None:
    """Tokens on the most likely way from `node` to a stop; None where it leaves the tree."""
    ids: list[int] = []
    while (node := _likely(tree, said, node)) >= 0:
        if tree.tokens[node] in stops:
            return ids
        ids.append(tree.tokens[node])
    return None


def _likely(tree: Tree, said: NodeLogprobs, node: int) -> int:
    """The child that holds the most likely token after `node`, -1 if none does."""
    return next((child for child in children(tree, node) if said.logprobs[child] >= said.peaks[node]), -1)


def _constrained(answers: list[list[int]], logprobs: list[float]) -> int:
    """Follow the most likely node among those of the answers; index of the answer it leads to."""
    left, depth = list(range(len(answers))), 0
    while depth < len(answers[left[0]]):
        node = max((answers[k][depth] for k in left), key=logprobs.__getitem__)
        left = [k for k in left if answers[k][depth] == node]
        depth += 1
    return left[0]


def _stops(model, tokenizer) -> set[int]:
    """Tokens at which `model.generate` stops."""
    stops = model.generation_config.eos_token_id
    if stops is None:
        stops = tokenizer.eos_token_id
    return set(stops) if isinstance(stops, list) else {stops}
