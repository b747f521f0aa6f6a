"""Surfaces: the texts that stand for labels, and how what was written reads back."""

import re
from collections.abc import Mapping
from unicodedata import category, normalize

from genclspp.prompts import thoughts


def check_surfaces(surfaces: dict[str, str]) -> dict[str, str]:
    """Raise ValueError where two labels would read back as one."""
    seen: dict[str, str] = {}
    for label, surface in surfaces.items():
        if not _exact(surface):
            raise ValueError(f"the surface of label {label!r} is empty")
        other = seen.setdefault(_exact(surface), label)
        if other != label:
            raise ValueError(f"labels {other!r} and {label!r} have the same surface {surface!r}")
    return surfaces


def parse(completion: str, surfaces: Mapping[str, str]) -> str | None:
    """The label that a completion names, or None.

    The first line must be a surface: to the letter, or else but for case and closing punctuation, or else but for
    accents and spaces beside punctuation, where that is still unambiguous. "no" is never read out of "no match".
    A thought before it is skipped; behind one that is not closed there is no answer.
    """
    line = _exact(thoughts.behind(completion)).split("\n")[0]
    for form in (_exact, _loose, _uncased):
        wanted = form(line)
        found = [label for label, surface in surfaces.items() if wanted and form(surface) == wanted]
        if len(found) == 1:
            return found[0]
    return None


def _exact(text: str) -> str:
    return normalize("NFKC", text).strip()


def _loose(text: str) -> str:
    return _exact(text).casefold().rstrip(".。!！\"'”").lstrip("\"'“").strip()


def _uncased(text: str) -> str:
    """What BERT's tokenizer leaves of a text: no accents, and no spaces ("card _ arrival") but between words."""
    letters = "".join(c for c in normalize("NFKD", _loose(text)) if category(c) != "Mn")
    return re.sub(rf"(?<!{LETTER})\s+|\s+(?!{LETTER})", "", letters)


LETTER = r"[^\W_\u3400-\u9fff]"  # of a word; Chinese characters are separated like punctuation
