"""Prompts and the answers that may follow them, as tokens: the one place where the two are tokenised together.

Prompts contain every special token as text, so the tokenizer adds none. What counts is the tokenisation of the
joined text, prompt + answer, in which an answer may merge with the end of the prompt ("the" + "re" may become
"there"). Then all answers to that prompt begin at the first token that any of them changes, so that they all cover
the same text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genclspp.suggest import UserError
from genclspp.trees.tree import Tree, common_prefix_length, grow, path


@dataclass(frozen=True)
class Question:
    """Tokens of one prompt and its labels.

    context: the longest prefix that the prompt shares with every joined text
    prompt:  what follows the context in the prompt alone; empty unless a label merges with the prompt
    answers: what follows the context in each joined text
    """

    context: list[int]
    prompt: list[int]
    answers: list[list[int]]


TAIL, OVERLAP = 96, 4  # characters tokenised again with each label; tokens that must come out unchanged


def tokenise(tokenizer: Any, prompts: list[str], labels: list[str]) -> list[Question]:
    """Tokens of all joined texts, one `Question` per prompt.

    A label changes the tokens of a prompt at its very end, if at all. So only the last TAIL characters of a prompt
    are tokenised together with each label. If fewer than OVERLAP tokens of that tail agree with those of the
    prompt, the whole prompt is tokenised instead.

    raises: UserError for a prompt that is left without a context, such as an empty one
    """
    whole = encode(tokenizer, prompts)
    # Many prompts end alike ("\nLabel:"), so each distinct tail is tokenised once with each label.
    ends = {prompt[-TAIL:] for prompt in prompts}
    texts = [*ends, *(end + label for end in ends for label in labels)]
    known = dict(zip(texts, encode(tokenizer, texts), strict=True))
    questions = []
    for prompt, ids in zip(prompts, whole, strict=True):
        end = prompt[-TAIL:]
        joined = [_continue(ids, known[end], known[end + label]) for label in labels]
        if None in joined:
            whole_texts = encode(tokenizer, [prompt + label for label in labels])
            joined = [_continue(ids, ids, other) for other in whole_texts]
        questions.append(_build_question(prompt, ids, [change for change in joined if change is not None]))
    return questions


def _continue(ids: list[int], end: list[int], joined: list[int]) -> tuple[int, list[int]] | None:
    """How a label continues a prompt: the number of prompt tokens kept, and the tokens that follow them.

    ids:     tokens of the prompt
    end:     tokens of its tail, or `ids` itself
    joined:  tokens of the tail with the label
    returns: None if the tail alone is not enough to tell

    >>> _continue([1, 2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 6, 9])  # the label merges with token 7
    (6, [9])
    """
    kept = common_prefix_length(end, joined)
    # A tail starts in the middle of the text, so its first tokens may differ from the prompt's own. Compare the
    # two from the right: they must agree on the tokens that the label changes, and on OVERLAP tokens before them.
    if end is not ids and common_prefix_length(ids[: -len(end) - 1 : -1], end[::-1]) < len(end) - kept + OVERLAP:
        return None
    return len(ids) - (len(end) - kept), joined[kept:]


def _build_question(prompt: str, ids: list[int], joined: list[tuple[int, list[int]]]) -> Question:
    # Cut where the label that changes most begins. For the others, the tokens up to `kept` move into the answer.
    cut = min(kept for kept, _ in joined)
    if cut == 0:
        raise UserError(
            f"no token of the prompt {prompt[:80]!r} is left unchanged by its labels; expected at least one"
        )
    return Question(ids[:cut], ids[cut:], [ids[cut:kept] + new for kept, new in joined])


def encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens of the tokenizer's own."""
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


def build_tree(questions: list[Question], eos: int) -> tuple[Tree, list[int], list[list[list[int]]]]:
    """Grow one tree from all questions.

    returns: the tree; per question, the last node of its prompt; per question and answer, the nodes of the answer
             with its EOS token
    """
    sequences: list[list[int]] = []
    under: list[int] = []
    for question in questions:
        under += [-1, *[len(sequences)] * (1 + len(question.answers))]  # the context; under it, prompt and answers
        # The EOS after the bare prompt makes the sequence non-empty, so that its end can be asked for its parent.
        sequences += [question.context, [*question.prompt, eos], *([*answer, eos] for answer in question.answers)]
    tree = grow(sequences, under)
    ends = iter(tree.ends)  # in the order of `sequences`
    starts, answers = [], []
    for question in questions:
        context = next(ends)
        starts.append(tree.parents[next(ends)])
        answers.append([path(tree, next(ends), below=context) for _ in question.answers])
    return tree, starts, answers
