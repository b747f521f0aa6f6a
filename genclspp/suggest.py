"""Errors that a user can mend, and the nearest known name for their sentences."""

import traceback
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """What a user can mend: one sentence that says what was found, where, and what was expected.

    Every other error is a bug, of ours or of a part that a user has added.
    """


class Skipped(UserError):
    """A cell needs a stage that has failed for another cell of the same sweep."""


def reason(error: BaseException) -> str:
    """What an error says, on one line and not at length; the name of its class where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def is_ours(part: object) -> bool:
    """Whether a part (a function, or an object of a class) comes with this package: its errors are bugs."""
    return (getattr(part, "__module__", None) or type(part).__module__).split(".")[0] == __package__


def blame(error: Exception, file: str, line: int = 1) -> str:
    """An error of a part that a user has added, and where: the last line of its own file on the way there.

    line: of the part in its file, for errors that do not come out of it, such as an argument that it does not take
    """
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{reason} ({file}:{own[-1].lineno if own else line})"


# Names that people type -> what they are called here, or in the libraries.
SHORT = {
    "fewshot": "icl",
    "few_shot": "icl",
    "perplexity": "ppl",
    "cot": "think",
    "qlora": "lora",
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
}


def hint(word: object, known: Iterable[object]) -> str:
    """The end of a message about an unknown name: the nearest known name, if any, and the known ones if few.

    >>> hint("icll", ["icl", "numeric"])
    "did you mean 'icl'? (known: icl, numeric)"
    """
    names = [str(name) for name in known]
    near = nearest(word, names)
    listed = [name for place, name in enumerate(names[:20]) if len(", ".join(names[:place])) < 200]
    rest = len(names) - len(listed)
    if near and rest:
        return f"did you mean {near!r}?"
    shown = ", ".join(listed) + (f", … {rest} more" if rest else "")
    return f"did you mean {near!r}? (known: {shown})" if near else f"known: {shown}"


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known name that a word probably means, if there is one.

    >>> nearest("epochs", ["num_epochs_done", "num_train_epochs"])
    'num_train_epochs'
    """
    names = list(known)
    if SHORT.get(str(word)) in names:
        return SHORT[str(word)]
    begun = [name for name in names if name.startswith(str(word))] if len(str(word)) > 2 else []
    near = [min(begun, key=len)] if begun else get_close_matches(str(word), names, n=1, cutoff=0.6)
    return near[0] if near else None
