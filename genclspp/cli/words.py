"""The words of a command line, before Hydra reads them."""

import re
from collections.abc import Sequence

from genclspp.suggest import UserError

MANY = ("-m", "--multirun")
# What YAML would read as something else than text.
NUMBER = re.compile(
    r"[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf|true|false|null|on|off|yes|no", re.IGNORECASE
)


def key_of(word: str) -> str:
    """The key, or the group, that a word sets, adds or deletes.

    >>> key_of("+sft.lora.bias=none"), key_of("strategy@train=icl"), key_of("~reward")
    ('sft.lora.bias', 'strategy@train', 'reward')
    """
    return word.lstrip("+~").partition("=")[0]


def is_setting(word: str) -> bool:
    """Whether a word sets, adds or deletes a key; all others are flags and their values."""
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def read(words: Sequence[str]) -> list[str]:
    """The words as Hydra takes them: `-m` first, and the name of a sweep as text, as in name=2024.

    Raises UserError for a key that is set twice (Hydra would take the last), a list that makes a choice twice (it
    would take one), and a key that is typed like a flag.
    """
    _refuse_flags(words)
    first: dict[str, str] = {}
    for word in filter(is_setting, words):
        if other := first.get(key_of(word)):
            raise UserError(f"{other} and {word} set the same key; expected each key once")
        first[key_of(word)] = word
        _refuse_repeats(word)
    many = [MANY[0]] if set(MANY) & set(words) else []
    return [*many, *(_name_as_text(word) for word in words if word not in MANY)]


def _name_as_text(word: str) -> str:
    key, _, value = word.partition("=")
    names = value.split(",")
    if key != "name" or not any(NUMBER.fullmatch(name) for name in names):
        return word
    return "name=" + ",".join(f"'{name}'" if NUMBER.fullmatch(name) else name for name in names)


def _refuse_repeats(word: str) -> None:
    """Refuse a list that makes the same choice twice: reward=[correct,correct]."""
    group, _, value = word.partition("=")
    if "." in group or not re.fullmatch(r"\[[^\[\]]*\]", value):
        return
    names = [name.strip() for name in value[1:-1].split(",")]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise UserError(f"{word} names {twice[0]!r} twice; expected each choice once")


def _refuse_flags(words: Sequence[str]) -> None:
    """Say how a key is set, for one that was typed like a flag: --decode=ppl, or --decode ppl."""
    from hydra._internal.utils import get_args_parser

    known = get_args_parser()._option_string_actions
    wrong, meant = "", list(words)
    for place, word in enumerate(words):
        name, has_value, _ = word.partition("=")
        if not name.startswith("-") or name in known:
            continue
        follows = words[place + 1] if place + 1 < len(words) else "-"
        is_pair = not has_value and not follows.startswith("-") and "=" not in follows
        if not has_value and not is_pair:
            raise UserError(f"{word} is not a flag; --help lists what can be typed")
        wrong = wrong or word
        meant[place] = word.lstrip("-") + (f"={follows}" if is_pair else "")
        if is_pair:
            meant[place + 1] = ""
    if wrong:
        from genclspp.cli import suggestions

        right = suggestions.command_of([word for word in meant if word])
        raise UserError(f"{wrong} is not a flag; keys are set without dashes: {right}")
