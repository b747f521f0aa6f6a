"""Prompts and what may follow them, as tokens: the one place where both are tokenised together.

Prompts hold every special token as text, so nothing is added when they are tokenised, and what counts is the
tokenisation of the joined text, prompt + answer. Where an answer merges with the end of the prompt, all answers to
that prompt begin behind the last token that the prompt shares with every joined text, so that each covers the same
text.
"""

from __future__ import annotations

from dataclasses import dataclass

from genclspp.trees.tree import Tree, common, grow, path


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
    whole = encode(tokenizer, prompts)
    ends = {prompt[-TAIL:] for prompt in prompts}
    texts = [*ends, *(end + label for end in ends for label in labels)]
    known = dict(zip(texts, encode(tokenizer, texts), strict=True))
    questions = []
    for prompt, ids in zip(prompts, whole, strict=True):
        end = prompt[-TAIL:]
        joined = [_change(ids, known[end], known[end + label]) for label in labels]
        if None in joined:
            whole_texts = encode(tokenizer, [prompt + label for label in labels])
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


def encode(tokenizer, texts: list[str]) -> list[list[int]]:
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
