"""What a table shows: words for its rows and columns, a baseline, a metric. A word is the name of a choice."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from genclspp.report.figures import MISSING
from genclspp.report.records import STRATEGY, Record, are_sides_equal, split_words, words
from genclspp.report.series import Series
from genclspp.suggest import UserError, hint, nearest

NOTHING = {str(None)}  # the choice where a record has none
Place = tuple[str, ...]  # the choice of a row, or of a column, for each of its words


@dataclass(frozen=True)
class Description:
    """A table; a file in conf/table holds one or several of these.

    title:    what stands above it
    rows:     words that rows differ in; None takes those that differ between cells and are not columns
    columns:  words that columns differ in; without any, there is a column per number
    metric:   the number that is shown, compared and tested
    beside:   further numbers of the records, a column each, without tests; "seconds/*" takes all of that name
    baseline: word -> choice: each cell is compared with the one that has these choices and equals it in all else
    where:    word -> choices: only cells with these, which also orders rows and columns
    blocks:   heading -> word -> choices: rows in blocks, each in the first whose choices it has
    average:  a last column for the average over columns, which are data sets

    A word with "*" stands for the first knob of that name: "strategy.*.shots".
    """

    title: str = ""
    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ()
    metric: str = "accuracy"
    beside: tuple[str, ...] = ()
    baseline: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    blocks: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    average: bool = False

    def __post_init__(self) -> None:
        if self.average and self.columns not in (("dataset",), ("name",)):
            found = ", ".join(self.columns) or "no words"
            raise UserError(f"average over columns of {found}; expected data sets: columns: [dataset]")
        if self.beside and self.columns:
            raise UserError(f"beside: {', '.join(self.beside)}; expected a table without columns")


def settle(description: Description, series: Sequence[Series]) -> Description:
    """The description with rows, baseline and `beside` as these series have them.

    Raises UserError for a word, a number or a baseline that no record has, and where it has none of the choices
    of a word in `where`; single choices may lack in part of a sweep: see `absent`.
    """
    records = [record for each in series for record in each.records]
    named = [*(description.rows or ()), *description.columns, *description.where, *description.baseline]
    for word in (*named, *(word for block in description.blocks.values() for word in block)):
        _check_word(word, records)
    _check_number(description.metric, records)
    _check_where(description.where, series)
    return replace(
        description,
        rows=_default_rows(series, records, description.columns) if description.rows is None else description.rows,
        baseline=_wanted(description.baseline, series),
        beside=_numbers(description.beside, description.metric, records),
    )


def absent(description: Description, series: Sequence[Series]) -> list[str]:
    """The choices in `where` and `blocks` that no record has, each with what it may mean: "rl=gppo (did …)"."""
    found: dict[str, None] = {}
    for wanted in (description.where, *description.blocks.values()):
        for word, choices in wanted.items():
            known = _choices(series, word)
            unused = known - NOTHING - set(map(str, choices))  # what is listed, too, is no misspelling
            for each in choices:
                if str(each) not in known:
                    near = nearest(each, sorted(unused))
                    found[f"{word}={each}" + (f" (did you mean {near!r}?)" if near else "")] = None
    return list(found)


def has(series: Series, wanted: Mapping[str, Sequence[Any]]) -> bool:
    """Whether the choices of a series are among those wanted: word -> choices."""
    return all(str(choice(series, word)) in map(str, choices) for word, choices in wanted.items())


def choice(series: Series, word: str) -> Any:
    """The choice of a series for a word; None where it has none, or where its sides differ."""
    found = series.words
    if word == STRATEGY:
        return found.get("train") if found.get("train") == found.get("infer") else None
    if "*" in word:
        return next(
            (value for name, value in found.items() if fnmatchcase(name, word) and value is not None), None
        )
    return found.get(word)


def place(series: Series, words: Iterable[str]) -> Place:
    """The choices of a series for some words, as texts of one line."""
    found = [choice(series, word) for word in words]
    return tuple(MISSING if value in (None, "") else _on_one_line(str(value)) for value in found)


def _on_one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _default_rows(series: Sequence[Series], records: Sequence[Record], columns: Sequence[str]) -> tuple[str, ...]:
    differing, _ = split_words(records)
    taken = {*columns, "seed", *(("train", "infer") if STRATEGY in columns else ())}
    rows = [word for word in differing if word not in taken] or ["name"]
    # Often the name of the sweep says the same as its knobs: these are left out if places stay unique.
    without = [word for word in rows if "." not in word]
    places = {(place(each, without), place(each, columns)) for each in series}
    return tuple(without if without and len(places) == len(series) else rows)


def _wanted(baseline: Mapping[str, Any], series: Sequence[Series]) -> dict[str, Any]:
    """Word -> choice of the baseline, as the records have it; the word "strategy" stands for both sides."""
    found: dict[str, Any] = {}
    for word, wanted in baseline.items():
        for name in ("train", "infer") if word == STRATEGY else (word,):
            choices = {str(value): value for each in series if (value := choice(each, name)) is not None}
            if str(wanted) not in choices:
                raise UserError(
                    f"baseline {word}={wanted}: no record has {name}={wanted}; {hint(wanted, sorted(choices))}"
                )
            found[name] = choices[str(wanted)]
    return found


def _check_where(where: Mapping[str, Sequence[Any]], series: Sequence[Series]) -> None:
    for word, choices in where.items():
        known = _choices(series, word)
        if not known & set(map(str, choices)):
            listed = "|".join(map(str, choices))
            wanted = choices[0] if choices else ""
            raise UserError(f"where: no record has {word}={listed}; {hint(wanted, sorted(known - NOTHING))}")


def _choices(series: Sequence[Series], word: str) -> set[str]:
    return {str(choice(each, word)) for each in series}


def _numbers(patterns: Sequence[str], metric: str, records: Sequence[Record]) -> tuple[str, ...]:
    known = _known_numbers(records)
    found: list[str] = []
    for pattern in patterns:
        if "*" not in pattern:
            _check_number(pattern, records)
        found += [name for name in known if fnmatchcase(name, pattern)]
    return tuple(name for name in dict.fromkeys(found) if name != metric)


def _check_number(metric: str, records: Sequence[Record]) -> None:
    known = _known_numbers(records)
    if metric not in known:
        raise UserError(f"unknown metric {metric!r}; {hint(metric, sorted(known))}")


def _known_numbers(records: Sequence[Record]) -> list[str]:
    numbers = {name: None for record in records for name, value in record.items() if type(value) in (int, float)}
    return [name for name in numbers if name != "seed"]


def _check_word(word: str, records: Sequence[Record]) -> None:
    sides = [STRATEGY] if are_sides_equal(records) else []
    names = ["name", *sides, *(name for name in words(records) if name != "seed")]
    known = list(dict.fromkeys(names))
    if word == "seed":
        raise UserError(f"seed is no word of a table: values are averaged over seeds; {hint(word, known)}")
    if word not in (*known, STRATEGY) and not any(fnmatchcase(name, word) for name in known):
        raise UserError(f"unknown word {word!r}; {hint(word, known)}")
