"""Thoughts: what a model writes before its answer, as text.

    … Label: <think> thought </think> answer

A prompt that wants a thought ends with the opening tag, in training and in inference, so that no model gets
around it. BERT's tokenizer writes the tags as "< think >" and "< / think >": that is read as well.
"""

import re

OPEN, CLOSE = "<think>", "</think>"
SAMPLE = f"{OPEN} … {CLOSE}"
_TAG = re.compile(r"<\s*(/?)\s*think\s*>", re.IGNORECASE)
_OPEN = re.compile(r"\s*<\s*think\s*>", re.IGNORECASE)
_CLOSE = re.compile(r"<\s*/\s*think\s*>", re.IGNORECASE)


def plain(text: str) -> str:
    """`text` without the power of tags: "<think>" becomes "(think)"."""
    return _TAG.sub(r"(\1think)", text).strip()


def closed(thought: str) -> str:
    """What follows the opening tag.

    >>> closed("The screen is broken.")
    'The screen is broken. </think>'
    """
    return f"{thought} {CLOSE}".lstrip()


def split(written: str) -> tuple[str, bool]:
    """The thought in what was written behind the opening tag, and whether it was closed."""
    thought, *rest = _CLOSE.split(written, maxsplit=1)
    return thought, bool(rest)


def behind(written: str) -> str:
    """What stands behind the thoughts that `written` begins with; nothing where one is never closed.

    >>> behind("< think > no match? < / think > no"), behind("<think> no"), behind("no")
    (' no', '', 'no')
    """
    while opening := _OPEN.match(written):
        written = "".join(_CLOSE.split(written[opening.end() :], maxsplit=1)[1:])
    return written


def is_formed(written: str) -> bool:
    """Whether `written` begins with a thought that says something, and has no other tag than its two."""
    opening, tags = _OPEN.match(written), _TAG.findall(written)
    if not opening or tags != ["", "/"]:
        return False
    thought, _ = split(written[opening.end() :])
    return any(character.isalnum() for character in thought)
