"""What the page says of cells: their names and levels, their order, and those that have no result."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from genclspp.report.records import chosen, split_words
from genclspp.report.results import Results
from genclspp.report.series import Series
from genclspp.store.keys import hash_of

STATES = ("failed", "skipped", "running", "pending")  # of cells without a result
VALIDATION = "validation/accuracy"


@dataclass(frozen=True)
class Outstanding:
    """A cell without a result.

    state:    "failed", "skipped", "running" or "pending"
    heading:  what tells it apart in its sweep, such as "train=icl decode=ppl"
    sentence: why; may be empty
    log:      the file with the traceback; may be empty
    """

    sweep: str
    heading: str
    state: str
    sentence: str = ""
    log: str = ""


def words(results: Results) -> list[str]:
    """The words in which cells differ, "strategy" for both sides where they never differ; without the seed.

    The name of the sweep is left out where the others tell all cells apart.
    """
    found = [word for word in split_words(results.records)[0] if word != "seed"] if results.records else []
    rest = [word for word in found if word != "name"]
    titles = {title_of(series, rest) for series in results.series}
    return rest if len(titles) == len(results.series) and rest else found


def shared(results: Results) -> str:
    """What all cells have in common."""
    found = split_words(results.records)[1] if results.records else {}
    return " · ".join(f"{word} {choice}" for word, choice in found.items() if choice not in (None, ""))


def name_of(series: Series) -> str:
    """Eight digits that stay the same when the page is made again from more records."""
    return hash_of({word: choice for word, choice in series.words.items() if choice is not None})[:8]


def title_of(series: Series, words: Sequence[str]) -> str:
    """What tells a cell apart, such as "strategy=icl decode=ppl"."""
    told = {word: chosen(series.words, word) for word in words}
    title = " ".join(f"{word}={choice}" for word, choice in told.items() if choice not in (None, ""))
    return title or str(series.words["name"])


def best_first(results: Results) -> list[int]:
    """Places of the series, by accuracy on validation examples where they have it, else on test examples."""
    return sorted(range(len(results.series)), key=lambda place: _standing(results, results.series[place]))


def _standing(results: Results, series: Series) -> tuple[bool, float]:
    """Sort key: the best first; cells that were not validated come last."""
    validation = results.values(series, VALIDATION)
    return not validation, -fmean((validation or results.values(series, "accuracy")).values())


def cell(results: Results, series: Series, words: Sequence[str]) -> dict[str, Any]:
    """What the table of cells says of one, as JSON."""
    validation = results.values(series, VALIDATION)
    return {
        "name": name_of(series),
        "title": title_of(series, words),
        "choices": {word: _text(chosen(series.words, word)) for word in words},
        "seeds": [record["seed"] for record in series.records],
        "accuracy": _level(results, series, "accuracy"),
        "macro_f1": _level(results, series, "macro_f1"),
        "validation": _rounded(fmean(validation.values())) if validation else None,
    }


def _level(results: Results, series: Series, metric: str) -> Mapping[str, Any] | None:
    """From predictions, with an interval; from the records alone, without one."""
    if level := results.level(series, metric):
        return {name: _rounded(value) for name, value in asdict(level).items()}
    values = results.values(series, metric)
    return {"mean": _rounded(fmean(values.values()))} if values else None


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _text(choice: Any) -> str:
    return "" if choice is None else str(choice)


def counted(outstanding: Sequence[Outstanding]) -> str:
    """How many cells have no result, such as "3 cells have no result: 1 failed, 2 pending"."""
    counts = Counter(one.state for one in outstanding)
    told = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    whole = "1 cell has" if len(outstanding) == 1 else f"{len(outstanding)} cells have"
    return f"{whole} no result: {told}"


def grouped(outstanding: Sequence[Outstanding]) -> list[tuple[Outstanding, list[Outstanding]]]:
    """Cells without a result that share state and reason, failed ones first."""
    found: dict[tuple[str, str], list[Outstanding]] = {}
    for one in sorted(outstanding, key=lambda one: STATES.index(one.state)):
        found.setdefault((one.state, one.sentence), []).append(one)
    return [(group[0], group) for group in found.values()]
