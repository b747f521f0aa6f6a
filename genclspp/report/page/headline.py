"""The headline of the page: the best cell, chosen on validation examples and reported on test examples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from genclspp.report.figures import fixed
from genclspp.report.page.content import VALIDATION, best_first, name_of, title_of
from genclspp.report.page.gains import Baseline
from genclspp.report.records import chosen
from genclspp.report.results import Results
from genclspp.report.series import Series
from genclspp.report.statistics import ALPHA, Gain, Level


@dataclass(frozen=True)
class Comparison:
    """The gain of the best cell over another.

    title: of the other cell, by where it differs
    role:  "the baseline" or "the next best"
    """

    gain: Gain
    title: str
    role: str

    @property
    def is_beyond_noise(self) -> bool:
        return self.gain.p <= ALPHA

    def test(self) -> str:
        """What the test says, in a sentence."""
        detectable = self.gain.detectable
        found = f", and {fixed(100 * detectable, 1)} points could have been detected" if detectable <= 1 else ""
        return f"Over {self.role}: p = {self.gain.p:.2g}{found}."


@dataclass(frozen=True)
class Headline:
    """The best cell of a set of test examples.

    title, name: of the cell
    level:       its accuracy on test examples; None where predictions are missing, then `accuracy` is all there is
    seeds:       how many
    examples:    test examples
    validation:  the accuracy by which it was chosen; None where there are no validation examples
    among:       how many cells it was chosen from
    is_random:   whether anything in it depends on the seed
    comparisons: with the baseline and with the next best cell on validation examples, as far as there are any
    """

    dataset: str
    title: str
    name: str
    accuracy: float
    level: Level | None
    seeds: int
    examples: int
    validation: float | None
    among: int
    is_random: bool
    comparisons: tuple[Comparison, ...]

    def how(self) -> str:
        """By which examples the cell was chosen, and what its intervals and its tests say."""
        return " ".join((self._chosen(), self._interval(), *(one.test() for one in self.comparisons)))

    def _chosen(self) -> str:
        if self.validation is None:
            return "No cell was validated, so it was chosen on the test examples, and its figure is too good."
        validated = fixed(100 * self.validation, 1)
        among = f" as the best of {self.among} cells" if self.among > 1 else ""
        return f"Chosen on validation examples ({validated} %){among}; reported on test examples."

    def _interval(self) -> str:
        if self.level is None:
            return "No intervals: its predictions are not there."
        if not self.is_random:
            return "Nothing in it depends on the seed; its 95 % interval is over test examples."
        if self.seeds == 1:
            return "The 95 % intervals are over test examples: one seed says nothing about retraining."
        return f"The 95 % intervals are over {self.seeds} seeds and test examples together."


def headlines(results: Results, words: Sequence[str], baselines: Sequence[Baseline]) -> list[Headline]:
    """The best cell of each set of test examples. words: that tell cells apart"""
    tested: dict[tuple[str, str], list[int]] = {}
    for place in best_first(results):
        record = results.series[place].records[0]
        tested.setdefault((str(record.get("dataset")), str(record.get("digest/test"))), []).append(place)
    return [_headline(results, words, baselines[:1], places) for _, places in sorted(tested.items())]


def _headline(
    results: Results, words: Sequence[str], baselines: Sequence[Baseline], places: Sequence[int]
) -> Headline:
    """places: of the series with these test examples, best first."""
    series = results.series[places[0]]
    validation = results.values(series, VALIDATION)
    return Headline(
        dataset=str(series.words.get("dataset", "")),
        title=title_of(series, words),
        name=name_of(series),
        accuracy=fmean(results.values(series, "accuracy").values()),
        level=results.level(series),
        seeds=len(series.records),
        examples=int(series.records[0].get("examples", 0)),
        validation=fmean(validation.values()) if validation else None,
        among=len(places),
        is_random=bool(series.records[0].get("is_random", True)),
        comparisons=tuple(_comparisons(results, words, baselines, places)),
    )


def _comparisons(
    results: Results, words: Sequence[str], baselines: Sequence[Baseline], places: Sequence[int]
) -> Iterator[Comparison]:
    best, *others = places
    wanted = {one: "the baseline" for baseline in baselines if (one := baseline.of[best]) is not None}
    for other, role in (wanted | {one: "the next best" for one in others[:1] if one not in wanted}).items():
        if gain := results.gain(results.series[best], results.series[other]):
            yield Comparison(gain, _other(results.series[other], results.series[best], words), role)


def _other(other: Series, best: Series, words: Sequence[str]) -> str:
    """A cell by where it differs from the best one: "sft=lora, all else equal"."""
    differing = [word for word in words if chosen(other.words, word) != chosen(best.words, word)]
    rest = any(chosen(other.words, word) not in (None, "") for word in words if word not in differing)
    return title_of(other, differing) + (", all else equal" if rest else "")
