"""The words of a command line, before Hydra reads them."""

from collections.abc import Sequence


def key_of(word: str) -> str:
    """The key, or the group, that a word sets, adds or deletes.

    >>> key_of("+sft.lora.bias=none"), key_of("strategy@train=icl"), key_of("~reward")
    ('sft.lora.bias', 'strategy@train', 'reward')
    """
    return word.lstrip("+~").partition("=")[0]


def is_setting(word: str) -> bool:
    """Whether a word sets, adds or deletes a key; all others are flags and their values."""
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def check(words: Sequence[str]) -> None:
    """Raise ValueError for a key that is set twice, of which Hydra would take the last."""
    first: dict[str, str] = {}
    for word in filter(is_setting, words):
        other = first.setdefault(key_of(word), word)
        if other is not word:
            raise ValueError(f"{other} and {word} set the same key; expected each key once")
