"""Score every label under every prompt, and with that decode among the labels or greedily, from one reading.

The border between prompt and label. Prompts hold every special token as text, so nothing is added when they are
tokenised, and what counts is the tokenisation of the joined text, prompt + label. Where a label merges with the
end of the prompt, all labels of that prompt are scored from the last token that the prompt shares with every
joined text, so that each score covers the same text. Greedy decoding begins where it does in `model.generate`:
after the tokens of the prompt alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from genclspp.trees import generation
from genclspp.trees.forward import Predictions, evaluating, read
from genclspp.trees.tree import Tree, children, common, grow, path


@dataclass(frozen=True)
class Scores:
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


def score(model, tokenizer, prompts: list[str], labels: list[str], *, add_eos: bool = True) -> Scores:
    """Score all labels under all prompts; see `Scores`."""
    with evaluating(model):
        blocks = [
            _score(model, tokenizer, block, labels, add_eos) for block in _blocks(tokenizer, prompts, labels)
        ]
    empty = torch.zeros(0, len(labels))
    return Scores(
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


def _score(model, tokenizer, prompts: list[str], labels: list[str], add_eos: bool) -> Scores:
    tree, starts, answers = plant(tokenise(tokenizer, prompts, labels), tokenizer.eos_token_id)
    wanted = [False] * len(tree.tokens)
    for node in chain.from_iterable(chain.from_iterable(answers)):
        wanted[tree.parents[node]] = True
    said = read(model, tree, wanted)
    stops = _stops(model, tokenizer)
    counted = [[nodes[: len(nodes) - (not add_eos)] for nodes in row] for row in answers]
    return Scores(
        logprobs=torch.tensor([[sum(said.logprobs[node] for node in nodes) for nodes in row] for row in counted]),
        lengths=torch.tensor([[len(nodes) for nodes in row] for row in counted]),
        greedy=[_greedy(tree, said, start, stops) for start in starts],
        constrained=[_constrained(row, said.logprobs) for row in answers],
        tokens=said.tokens,
    )


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

    Pass the `scores` of the same prompts and labels where they are known: a completion that stays among the labels
    can be read off them. A generation_config that edits logits (a repetition penalty, say) leaves nothing to know
    beforehand: all is generated then.
    """
    known: list[list[int] | None] = [None] * len(prompts)
    if scores and not generation.edits_logits(model):
        known = scores.greedy
    rest = [prompt for prompt, ids in zip(prompts, known, strict=True) if ids is None]
    written = iter(generate(model, tokenizer, rest, labels, max_new_tokens=max_new_tokens))
    completions = [next(written) if ids is None else ids[:max_new_tokens] for ids in known]
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in completions]


def generate(
    model, tokenizer, prompts: list[str], labels: Sequence[str] = (), *, max_new_tokens: int
) -> list[list[int]]:
    """Greedy completions: new tokens, up to EOS. Where `labels` are likely to be written, it goes faster."""
    rows = _encode(tokenizer, prompts)
    drafts = tokenise(tokenizer, prompts[:1], list(labels))[0].answers if prompts and labels else []
    return generation.write(model, rows, _stops(model, tokenizer), max_new_tokens, drafts)


@dataclass(frozen=True)
class Question:
    """Tokens of one prompt and its labels.

    context: what the prompt and all joined texts begin with
    prompt:  what follows the context in the prompt alone
    answers: what follows the context in each joined text
    """

    context: list[int]
    prompt: list[int]
    answers: list[list[int]]


TAIL, OVERLAP = 96, 4  # characters tokenised again with each label; tokens that must come out unchanged


def tokenise(tokenizer, prompts: list[str], labels: list[str]) -> list[Question]:
    """Tokens of all joined texts.

    A label changes the tokens of a prompt at its very end, if at all. So only the end of a prompt is tokenised
    together with each label; where fewer than OVERLAP of its tokens prove to be unaffected, the whole prompt is.
    """
    whole = _encode(tokenizer, prompts)
    ends = {prompt[-TAIL:] for prompt in prompts}
    texts = [*ends, *(end + label for end in ends for label in labels)]
    known = dict(zip(texts, _encode(tokenizer, texts), strict=True))
    questions = []
    for prompt, ids in zip(prompts, whole, strict=True):
        end = prompt[-TAIL:]
        joined = [_change(ids, known[end], known[end + label]) for label in labels]
        if None in joined:
            whole_texts = _encode(tokenizer, [prompt + label for label in labels])
            joined = [_change(ids, ids, other) for other in whole_texts]
        questions.append(_question(prompt, ids, [change for change in joined if change is not None]))
    return questions


def _change(ids: list[int], end: list[int], joined: list[int]) -> tuple[int, list[int]] | None:
    """How a label changes a prompt: the number of tokens kept, and those that follow. None if `end` cannot tell.

    ids: tokens of the prompt; end: tokens of its end; joined: tokens of its end with the label
    """
    kept = common(end, joined)
    if end is not ids and common(ids[: -len(end) - 1 : -1], end[::-1]) < len(end) - kept + OVERLAP:
        return None
    return len(ids) - (len(end) - kept), joined[kept:]


def _question(prompt: str, ids: list[int], joined: list[tuple[int, list[int]]]) -> Question:
    cut = min(kept for kept, _ in joined)
    if cut == 0:
        raise ValueError(f"no token of the prompt {prompt[:80]!r} is left of its labels; expected one at least")
    return Question(ids[:cut], ids[cut:], [ids[cut:kept] + new for kept, new in joined])


def _encode(tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


def plant(questions: list[Question], eos: int) -> tuple[Tree, list[int], list[list[list[int]]]]:
    """The tree of all questions; the last node of each prompt; the nodes of each answer with its EOS."""
    sequences: list[list[int]] = []
    under: list[int] = []
    for question in questions:
        under += [-1, *[len(sequences)] * (1 + len(question.answers))]
        sequences += [question.context, [*question.prompt, eos], *([*answer, eos] for answer in question.answers)]
    tree = grow(sequences, under)
    ends = iter(tree.ends)
    starts, answers = [], []
    for question in questions:
        context = next(ends)
        starts.append(tree.parents[next(ends)])
        answers.append([path(tree, next(ends), below=context) for _ in question.answers])
    return tree, starts, answers


def _greedy(tree: Tree, said: Predictions, node: int, stops: set[int]) -> list[int] | None:
    """Tokens on the most likely way from `node` to a stop; None where it leaves the tree."""
    ids: list[int] = []
    while (node := _likely(tree, said, node)) >= 0:
        if tree.tokens[node] in stops:
            return ids
        ids.append(tree.tokens[node])
    return None


def _likely(tree: Tree, said: Predictions, node: int) -> int:
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
