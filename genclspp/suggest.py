"""Errors that a user can mend, and the nearest known name for their sentences."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """What a user can mend: one sentence that says what was found, where, and what was expected.

    Every other error is a bug, of ours or of a part that a user has added.
    """


class Skipped(UserError):
    """A cell needs a stage that has failed for another cell of the same sweep."""


def hint(word: object, known: Iterable[object]) -> str:
    """The end of a message about an unknown name: the nearest known name, if any, and all known ones.

    >>> hint("icll", ["icl", "numeric"])
    "did you mean 'icl'? (known: icl, numeric)"
    """
    names = [str(name) for name in known]
    shown = ", ".join(names[:20]) + (f", … {len(names) - 20} more" if len(names) > 20 else "")
    near = get_close_matches(str(word), names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? (known: {shown})" if near else f"known: {shown}"
