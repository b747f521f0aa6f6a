"""Score every label under every prompt, decode greedily, and decode among the labels: from one reading.

The border between prompt and label. Prompts already hold every special token as text, so nothing is added when
they are tokenised. What counts is the tokenisation of the joined text, prompt + label. Where the border merges
with a label ("…: " + "yes" may become "…:", " yes"), all labels of that prompt are scored from the last token
that the prompt shares with every joined text, so that each score covers the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genclspp import trees


@dataclass(frozen=True)
class Scores:
    """What one reading of prompts and labels tells.

    logprobs:    (prompts, labels) sum of token log-probabilities, end-of-sequence included if add_eos
    lengths:     (prompts, labels) number of tokens summed
    greedy:      per prompt, tokens (without EOS) of the unconstrained greedy completion if it stays among the
                 labels, None where it leaves them
    constrained: per prompt, index of the label that greedy decoding restricted to the labels arrives at
    tokens:      tokens put through the model
    """

    logprobs: Tensor
    lengths: Tensor
    greedy: list[list[int] | None]
    constrained: list[int]
    tokens: int


def label_logprobs(
    model, tokenizer, prompts: list[str], labels: list[str], *, add_eos: bool = True
) -> Tensor:
    """Log-probability of each label as the continuation of each prompt: (prompts, labels)."""
    return score(model, tokenizer, prompts, labels, add_eos=add_eos).logprobs


@torch.inference_mode()
def score(model, tokenizer, prompts: list[str], labels: list[str], *, add_eos: bool = True) -> Scores:
    """Score all labels under all prompts; see `Scores`."""
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no eos_token; set one, a label has to end")
    if not labels:
        raise ValueError("labels is empty; expected at least one")
    questions = [tokenise(tokenizer, prompt, labels) for prompt in prompts]
    tree, starts, paths = _plant(questions, tokenizer.eos_token_id)
    wanted = [False] * len(tree)
    for answers in paths:
        for nodes in answers:
            for node in nodes:
                wanted[tree.parents[node]] = True
    reading = trees.read_plain(model, tree, wanted)
    counted = [[nodes if add_eos else nodes[:-1] for nodes in answers] for answers in paths]
    children = {(parent, token): node for node, (parent, token) in enumerate(zip(tree.parents, tree.tokens))}
    stops = _stop_tokens(model, tokenizer)
    return Scores(
        logprobs=torch.tensor(
            [[sum(reading.logprobs[n] for n in nodes) for nodes in row] for row in counted]
        ),
        lengths=torch.tensor([[len(nodes) for nodes in row] for row in counted]),
        greedy=[_greedy(reading.best, children, start, stops) for start in starts],
        constrained=[_constrained(reading.logprobs, answers) for answers in paths],
        tokens=reading.tokens,
    )


@torch.inference_mode()
def complete(
    model,
    tokenizer,
    prompts: list[str],
    labels: list[str],
    *,
    max_new_tokens: int,
    scores: Scores | None = None,
) -> list[str]:
    """What `model.generate(do_sample=False)` writes after each prompt, special tokens left out.

    Prompts whose greedy completion stays among the labels cost one reading; only the others are generated. Pass
    the `scores` of the same prompts and labels to save the reading too.
    """
    scores = scores or score(model, tokenizer, prompts, labels)
    written = list(scores.greedy)
    open_ = [k for k, ids in enumerate(written) if ids is None]
    for k, ids in zip(
        open_, generate(model, tokenizer, [prompts[k] for k in open_], max_new_tokens), strict=True
    ):
        written[k] = ids
    return [tokenizer.decode((ids or [])[:max_new_tokens], skip_special_tokens=True) for ids in written]


@dataclass(frozen=True)
class Question:
    """context: tokens shared by the prompt and all joined texts; prompt, answers: what follows the context."""

    context: list[int]
    prompt: list[int]
    answers: list[list[int]]


def tokenise(tokenizer, prompt: str, labels: list[str]) -> Question:
    """Tokens of the joined texts, cut at the last token common to all of them and the prompt."""
    ids = _encode(tokenizer, [prompt])[0]
    joined = _encode(tokenizer, [prompt + label for label in labels])
    cut = min(_common(ids, other) for other in joined)
    if cut == 0:
        raise ValueError(
            f"prompt {prompt!r} leaves no token before its labels; begin it with a token of its own"
        )
    return Question(ids[:cut], ids[cut:], [other[cut:] for other in joined])


def _encode(tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _plant(questions: list[Question], eos: int) -> tuple[trees.Tree, list[int], list[list[list[int]]]]:
    """One tree of all questions, the last node of each prompt, and the nodes of each answer with its EOS."""
    sequences: list[list[int]] = []
    under: list[int] = []
    for question in questions:
        stem = len(sequences)
        sequences += [question.context, question.prompt, *([*answer, eos] for answer in question.answers)]
        under += [-1, *[stem] * (1 + len(question.answers))]
    tree = trees.grow(sequences, under)
    ends = iter(tree.ends)
    starts, paths = [], []
    for question in questions:
        next(ends)
        starts.append(next(ends))
        paths.append([_last_nodes(tree, next(ends), len(answer) + 1) for answer in question.answers])
    return tree, starts, paths


def _last_nodes(tree: trees.Tree, node: int, count: int) -> list[int]:
    nodes = [node]
    while len(nodes) < count:
        nodes.append(tree.parents[nodes[-1]])
    return nodes[::-1]


def _greedy(
    best: list[int], children: dict[tuple[int, int], int], node: int, stops: set[int]
) -> list[int] | None:
    ids: list[int] = []
    while best[node] not in stops:
        if best[node] < 0 or (node, best[node]) not in children:
            return None
        ids.append(best[node])
        node = children[node, best[node]]
    return ids


def _constrained(logprobs: list[float], answers: list[list[int]]) -> int:
    left, depth = list(range(len(answers))), 0
    while True:
        node = max((answers[k][depth] for k in left), key=lambda node: logprobs[node])
        left = [k for k in left if answers[k][depth] == node]
        depth += 1
        if len(answers[left[0]]) == depth:
            return left[0]


def _stop_tokens(model, tokenizer) -> set[int]:
    """Tokens at which `generate` stops."""
    stops = model.generation_config.eos_token_id
    if stops is None:
        stops = tokenizer.eos_token_id
    return set(stops) if isinstance(stops, list) else {stops}


def generate(
    model, tokenizer, prompts: list[str], max_new_tokens: int, budget: int = 8192
) -> list[list[int]]:
    """Plain greedy generation in left-padded batches: new tokens of each prompt, without what follows EOS."""
    rows = _encode(tokenizer, prompts) if prompts else []
    stops = _stop_tokens(model, tokenizer)
    order = sorted(range(len(rows)), key=lambda k: len(rows[k]))
    written: list[list[int]] = [[] for _ in rows]
    done = iter(order)
    for batch in trees._batches([rows[k] for k in order], budget):
        ids, attention = trees._pad(batch, model.device, left=True)
        output = model.generate(
            input_ids=ids,
            attention_mask=attention,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(stops),
            pad_token_id=tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
        )
        for row in output[:, ids.shape[1] :].tolist():
            end = next((k for k, token in enumerate(row) if token in stops), len(row))
            written[next(done)] = row[:end]
    return written
