"""The nearest known name, for error messages."""

from collections.abc import Iterable
from difflib import get_close_matches


def hint(word: object, known: Iterable[object]) -> str:
    """The end of a message about an unknown name: the nearest known name, if any, and all known ones.

    >>> hint("icll", ["icl", "numeric"])
    "did you mean 'icl'? (known: icl, numeric)"
    """
    names = [str(name) for name in known]
    shown = ", ".join(names[:20]) + (f", … {len(names) - 20} more" if len(names) > 20 else "")
    near = get_close_matches(str(word), names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? (known: {shown})" if near else f"known: {shown}"
