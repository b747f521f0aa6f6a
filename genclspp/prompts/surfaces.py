"""Surfaces: the texts that stand for labels, and how a completion is parsed back to a label."""

import re
from collections.abc import Iterable, Mapping
from unicodedata import category, normalize

from genclspp.prompts import thoughts
from genclspp.suggest import UserError


def check_surfaces(surfaces: dict[str, str]) -> dict[str, str]:
    """Return `surfaces`; raises UserError if one is empty, or if two labels would be parsed as one."""
    seen: dict[str, str] = {}
    for label, surface in surfaces.items():
        if not _exact(surface):
            raise UserError(f"the surface of label {label!r} is empty")
        other = seen.setdefault(_exact(surface), label)
        if other != label:
            raise UserError(f"labels {other!r} and {label!r} have the same surface {surface!r}")
    return surfaces


def list_surfaces(surfaces: Iterable[str], comma: str, quoted: str) -> str:
    """The surfaces on one line, as prompts list them.

    A list is ambiguous if a surface contains a comma (",", "，" or "、") or begins with a quotation mark; then
    every surface is quoted, and a backslash precedes each backslash and closing mark inside it.

    >>> list_surfaces(["yes", "yes, maybe"], ", ", '"{}"')
    '"yes", "yes, maybe"'
    """
    listed = list(surfaces)
    opening, closing = quoted.split("{}")
    if any(surface.startswith(opening) or re.search("[,，、]", surface) for surface in listed):
        listed = [quoted.format(re.sub(rf"[\\{closing}]", r"\\\g<0>", surface)) for surface in listed]
    return comma.join(listed)


def parse(completion: str, surfaces: Mapping[str, str]) -> str | None:
    """The label that a completion names, or None if it is invalid.

    The first line must equal a single surface: exactly; or else ignoring case, quotes and closing punctuation; or
    else ignoring accents and spaces next to punctuation as well. "no match" never parses as "no". Thoughts at the
    beginning are skipped; after one that is not closed there is no answer.
    """
    line = _exact(thoughts.strip(completion)).split("\n")[0]
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
    """A text without accents, and without spaces ("card _ arrival") except between words: as BERT decodes it."""
    letters = "".join(c for c in normalize("NFKD", _loose(text)) if category(c) != "Mn")
    return re.sub(rf"(?<!{LETTER})\s+|\s+(?!{LETTER})", "", letters)


LETTER = r"[^\W_\u3400-\u9fff]"  # of a word; BERT splits Chinese characters off like punctuation
