"""The one place where the text of a prompt is written; it never depends on the example's own gold label."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from genclspp.prompts import thoughts
from genclspp.prompts.draft import TEXT, Budget, Draft, Frame, Prompt, Prompts, Strategy
from genclspp.prompts.surfaces import check_surfaces, list_surfaces
from genclspp.section import in_full
from genclspp.suggest import UserError, blame, is_ours
from genclspp.task import UNCERTAIN, Example, Task

WORDS = {
    "en": {
        "text": "Text",
        "label": "Label",
        "labels": "Labels",
        "colon": ": ",
        "comma": ", ",
        "quoted": '"{}"',
        "uncertain": 'If the text fits more than one label, answer "{}".',
        "think": f"First think between {thoughts.OPEN} and {thoughts.CLOSE}, then write the label.",
        "ambiguous": "The text fits more than one label.",
    },
    "zh": {
        "text": "文本",
        "label": "标签",
        "labels": "标签",
        "colon": "：",
        "comma": "、",
        "quoted": "“{}”",
        "uncertain": "如果文本符合多个标签，请回答“{}”。",
        "think": f"请先在 {thoughts.OPEN} 与 {thoughts.CLOSE} 之间思考，再写出标签。",
        "ambiguous": "文本符合多个标签。",
    },
}


def build(
    examples: Iterable[Example], task: Task, strategies: Sequence[Strategy], frame: Frame, budget: Budget
) -> Prompts:
    """Render the prompts of `examples`; raises UserError if the fixed parts alone exceed the budget."""
    for strategy in strategies:
        strategy.check(task)
    draft = Draft(task.instruction, surfaces={})
    surfaces: dict[str, str] = {}
    items = []
    for example in examples:
        draft = sketch(example, task, strategies)
        surfaces = surfaces or check_surfaces(answers(draft))
        items.append(render(draft, example, task, frame, budget))
    return Prompts(surfaces, joint(draft, frame), tuple(items), draft.thought_tokens, budget.answer_tokens)


def check(strategy: Strategy, name: str, task: Task) -> None:
    """Raise UserError if the task lacks what a strategy needs. `name`: its key, such as "train.icl".

    Call it once per task: some look at every training text.
    """
    try:
        strategy.check(task)
    except ValueError as error:
        raise in_full(error, type(strategy), name) from None


def sketch(example: Example, task: Task, strategies: Sequence[Strategy]) -> Draft:
    """The draft of one example's prompt, edited by every strategy; UserError if one leaves out the text."""
    draft = Draft(task.instruction, task.names)
    for strategy in strategies:
        draft = _edit(strategy, draft, example, task)
        if TEXT not in draft.query:
            raise UserError(
                f"the strategy {type(strategy).__name__} words the query as {draft.query!r}; expected {TEXT} "
                "where the text goes"
            )
    return draft


def _edit(strategy: Strategy, draft: Draft, example: Example, task: Task) -> Draft:
    """The draft as a strategy edits it; UserError where one of the user's own fails, or returns no draft."""
    kind = type(strategy)
    try:
        edited = strategy(draft, example, task)
    except Exception as error:
        if is_ours(strategy) or isinstance(error, UserError):
            raise
        raise UserError(f"the strategy {kind.__name__} raised {blame(error, inspect.getfile(kind))}") from error
    if not isinstance(edited, Draft):
        raise UserError(f"the strategy {kind.__name__} returned {edited!r}; expected a Draft")
    return edited


def answers(draft: Draft) -> dict[str, str]:
    """All possible answers: label -> surface, with UNCERTAIN last if it is offered."""
    return {**draft.surfaces, UNCERTAIN: draft.uncertain} if draft.uncertain else dict(draft.surfaces)


def answer(draft: Draft, example: Example, task: Task) -> str:
    """The surface that `example` should be answered with."""
    if draft.uncertain and example.id in task.uncertain:
        return draft.uncertain
    return draft.surfaces[example.label]


def thought(draft: Draft, example: Example, task: Task, frame: Frame) -> str:
    """The thought that `example` should be answered with, as plain text; empty if none is wanted or known.

    A rationale argues for the gold label, so "uncertain" has a thought of its own.
    """
    if not draft.thought_tokens:
        return ""
    if draft.uncertain and example.id in task.uncertain:
        return WORDS[task.language]["ambiguous"]
    return thoughts.plain(frame.plain(example.rationale))


def joint(draft: Draft, frame: Frame) -> str:
    """What precedes the answer: a space after a thought, else what the frame says."""
    return " " if draft.thought_tokens else frame.joint


def render(draft: Draft, example: Example, task: Task, frame: Frame, budget: Budget) -> Prompt:
    """Render a draft as the prompt of `example`.

    A prompt over the budget loses, in this order, demonstrations, worst first, then the end of the text to
    classify; never the words around it, the instruction, the labels or the answer. Raises UserError if these
    alone leave no room for a text.
    """

    def write(demonstrations: int, text: str) -> str:
        return _write(replace(draft, demonstrations=draft.demonstrations[:demonstrations]), text, task, frame)

    text = frame.plain(example.text)
    # Demonstrations are best first, so dropping from the end drops the worst.
    kept = len(draft.demonstrations)
    while kept and not budget.fits(write(kept, text)):
        kept -= 1
    cut = text
    # Only a text that does not fit without any demonstration is cut.
    if not kept and not budget.fits(write(0, text)):
        check_room(replace(draft, demonstrations=()), task, frame, budget)
        cut = _longest(text, lambda part: budget.fits(write(0, part)))
    truncated = kept < len(draft.demonstrations) or cut != text
    # A rationale has a budget of its own, and cutting it does not count as truncating the prompt.
    gold = shorten(thought(draft, example, task, frame), draft.thought_tokens, budget.count)
    learned = thoughts.closed(gold) if gold else ""
    wanted = answer(draft, example, task)
    vote = _vote(draft.demonstrations[:kept])
    return Prompt(example.id, write(kept, cut), wanted, truncated, learned, example.label, vote)


def _vote(demonstrations: Sequence[Example]) -> str:
    labels = [shot.label for shot in demonstrations]  # best first, and `max` takes the first of equals
    return max(labels, key=labels.count, default="")


def _write(draft: Draft, text: str, task: Task, frame: Frame) -> str:
    query = _worded(draft, text)
    shots = [  # best first in the draft, nearest to the query in the prompt
        (_worded(draft, frame.plain(shot.text)), _solved(draft, shot, task, frame))
        for shot in reversed(draft.demonstrations)
    ]
    after = frame.after
    if draft.thought_tokens:
        # Some chat templates open a thought themselves, or write an empty one: ours replaces it.
        after = f"{after.partition(thoughts.OPEN)[0]}{frame.joint}{thoughts.OPEN}"
    head, turns = _head(draft, task), frame.turns
    if turns:
        earlier = "".join(f"{shown}{turns.answer}{solution}{turns.next}" for shown, solution in shots)
        return f"{frame.before}{head}{turns.query}{earlier}{query}{after}"
    solved = [_cue(shown, f" {solution}", task) for shown, solution in shots]
    return frame.before + "\n\n".join([*filter(None, [head]), *solved, _cue(query, "", task)]) + after


def _worded(draft: Draft, text: str) -> str:
    """A text as the draft words it; around an empty one, as in the prompts of a prior, the words remain."""
    return draft.query.replace(TEXT, text).strip()


def _solved(draft: Draft, shot: Example, task: Task, frame: Frame) -> str:
    """What a demonstration shows as the model's output."""
    known = thought(draft, shot, task, frame)
    solution = answer(draft, shot, task)
    return f"{thoughts.OPEN} {thoughts.closed(known)} {solution}" if known else solution


def _head(draft: Draft, task: Task) -> str:
    words = WORDS[task.language]
    lines = [draft.instruction] if draft.instruction else []
    if draft.definitions:
        lines.append(words["labels"] + words["colon"].rstrip())
        lines += [
            f"- {surface}{words['colon']}{draft.definitions[label]}" for label, surface in draft.surfaces.items()
        ]
    elif task.list_labels:
        listed = list_surfaces(draft.surfaces.values(), words["comma"], words["quoted"])
        lines.append(words["labels"] + words["colon"] + listed)
    if draft.uncertain:
        lines.append(words["uncertain"].format(draft.uncertain))
    if draft.thought_tokens:
        lines.append(words["think"])
    return "\n".join(lines)


def _cue(text: str, written: str, task: Task) -> str:
    words = WORDS[task.language]
    colon = words["colon"].rstrip()
    return f"{words['text']}{words['colon']}{text}\n{words['label']}{colon}{written}"


def shorten(thought: str, tokens: int, count: Callable[[str], int]) -> str:
    """The longest prefix of a thought that takes at most `tokens` tokens, closing tag included."""
    room = Budget(count, tokens)

    def fits(part: str) -> bool:
        return room.fits(" " + thoughts.closed(part))

    return thought if not thought or fits(thought) else _longest(thought, fits)


def _longest(text: str, fits: Callable[[str], bool]) -> str:
    """The longest prefix of `text` that fits, by bisection over its length in characters.

    A tokenizer may take fewer tokens for a longer prefix; then the result fits, but a longer one might as well.
    """
    low, high = 0, len(text)  # the prefix of length `low` fits
    while low < high:
        middle = (low + high + 1) // 2  # rounded up, or two neighbours would never end
        low, high = (middle, high) if fits(text[:middle]) else (low, middle - 1)
    return text[:low].rstrip()


def check_room(draft: Draft, task: Task, frame: Frame, budget: Budget) -> None:
    """Raise UserError if the fixed parts leave no room for a text; the message names what would help."""

    def length(draft: Draft, task: Task) -> int:
        return budget.count(_write(draft, "", task, frame))

    whole = length(draft, task)
    if whole < budget.limit:
        return
    if draft.thought_tokens:
        way = f"reduce reasoning.max_thought_tokens, which is {draft.thought_tokens}"
    elif draft.definitions:
        saved = whole - length(replace(draft, definitions={}), task)
        way = f"without the strategy definition it would take {saved} fewer"
    elif task.list_labels:
        saved = whole - length(draft, replace(task, list_labels=False))
        way = f"with dataset.list_labels=false it would take {saved} fewer"
    elif (draft.instruction, draft.query) != (task.instruction, TEXT):
        way = "shorten what strategies write as instruction and query, or choose a model with a longer context"
    else:
        way = "shorten dataset.instruction, or choose a model with a longer context"
    raise UserError(
        f"the fixed part of a prompt of {task.name!r} takes {whole} tokens, {whole - budget.limit + 1} too many "
        f"to leave room for a text in the {budget.limit} that the model has for a prompt; {way}"
    )
