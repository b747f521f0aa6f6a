"""Thoughts: what a model writes before its answer, as text.

    … Label: <think> thought </think> answer

A prompt that wants a thought ends with the opening tag, in training and at inference, so that no model can skip
it. BERT's tokenizer decodes the tags as "< think >" and "< / think >", so these are recognised too.
"""

import re

OPEN, CLOSE = "<think>", "</think>"
SAMPLE = f"{OPEN} … {CLOSE}"
_TAG = re.compile(r"<\s*(/?)\s*think\s*>", re.IGNORECASE)
_OPEN = re.compile(r"\s*<\s*think\s*>", re.IGNORECASE)
_CLOSE = re.compile(r"<\s*/\s*think\s*>", re.IGNORECASE)


def plain(text: str) -> str:
    """`text` with tags defused: "<think>" becomes "(think)"."""
    return _TAG.sub(r"(\1think)", text).strip()


def closed(thought: str) -> str:
    """A thought with its closing tag: what follows the opening one.

    >>> closed("The screen is broken.")
    'The screen is broken. </think>'
    """
    return f"{thought} {CLOSE}".lstrip()


def split(written: str) -> tuple[str, bool]:
    """The thought in what was written after the opening tag, and whether it was closed."""
    thought, *rest = _CLOSE.split(written, maxsplit=1)
    return thought, bool(rest)


def strip(written: str) -> str:
    """`written` without the thoughts that it begins with; empty if one is never closed.

    >>> strip("< think > no match? < / think > no"), strip("<think> no"), strip("no")
    (' no', '', 'no')
    """
    while opening := _OPEN.match(written):
        written = "".join(_CLOSE.split(written[opening.end() :], maxsplit=1)[1:])
    return written


def is_formed(written: str) -> bool:
    """Whether `written` begins with a closed thought that is not empty, and has no further tags."""
    opening, tags = _OPEN.match(written), _TAG.findall(written)
    if not opening or tags != ["", "/"]:
        return False
    thought, _ = split(written[opening.end() :])
    return any(character.isalnum() for character in thought)
