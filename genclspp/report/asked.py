"""What is asked of a table, checked against what the records know."""

from collections.abc import Sequence

from genclspp.report.records import STRATEGY, Record, are_sides_equal
from genclspp.report.records import words as words_of
from genclspp.suggest import hint


def check_words(place: str, words: Sequence[str], records: Sequence[Record]) -> None:
    """Raise ValueError for a word of --rows or --columns that no record knows."""
    known = _known(records)
    for word in words:
        if word == "seed":
            raise ValueError(f"--{place} seed: the means run over the seeds; {hint(word, known)}")
        if word not in known:
            raise ValueError(f"unknown word {word!r} in --{place}; {hint(word, known)}")


def wanted(baseline: Sequence[str], records: Sequence[Record]) -> dict[str, str]:
    """Word -> choice of the baseline, from "word=choice"; the word "strategy" stands for both sides."""
    known = list(dict.fromkeys([*_known(records), STRATEGY]))
    found: dict[str, str] = {}
    for given in baseline:
        word, equals, choice = given.partition("=")
        if not equals:
            raise ValueError(f"--baseline {given}: expected word=choice, such as rl=none")
        if word not in known:
            raise ValueError(f"unknown word {word!r} in --baseline; {hint(word, known)}")
        for name in ("train", "infer") if word == STRATEGY else (word,):
            choices = sorted({record[name] for record in records if record.get(name) is not None})
            if choice not in choices:
                raise ValueError(f"--baseline {given}: no record has {name}={choice}; {hint(choice, choices)}")
            found[name] = choice
    return found


def check_metric(metric: str, records: Sequence[Record]) -> None:
    """Raise ValueError for a metric that no record has a number for."""
    numbers = {name for record in records for name, value in record.items() if isinstance(value, int | float)}
    if metric not in numbers - {"seed"}:
        raise ValueError(f"unknown metric {metric!r}; {hint(metric, sorted(numbers - {'seed'}))}")


def _known(records: Sequence[Record]) -> list[str]:
    sides = [STRATEGY] if are_sides_equal(records) else []
    return list(dict.fromkeys(["name", *sides, *(word for word in words_of(records) if word != "seed")]))
