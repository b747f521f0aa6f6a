"""Results: the records of sweeps with the predictions behind them, which tables, pages and W&B are made of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genclspp.inference import predictions
from genclspp.inference.predictions import INVALID, Predictions, Texts
from genclspp.report import records, series, statistics
from genclspp.report.records import STRATEGY, Record, concerns, is_knob_of
from genclspp.report.resampling import Scores, macro_f1, means
from genclspp.report.series import Series
from genclspp.report.statistics import Gain, Interval, Level
from genclspp.suggest import UserError


class Answers(NamedTuple):
    """What metrics need of the predictions of one record; arrays are (examples,), see `Predictions`."""

    ids: tuple[str, ...]
    labels: int
    gold: np.ndarray
    label: np.ndarray
    forced: np.ndarray


# Metrics that are a mean over the test examples -> whether an example counts.
SHARES = {
    "accuracy": lambda found: found.label == found.gold,
    "accuracy_forced": lambda found: found.forced == found.gold,
    "invalid_rate": lambda found: found.label == INVALID,
    "coverage": lambda found: found.label >= 0,
}
RESAMPLED = (*SHARES, "macro_f1")  # the metrics that have intervals and tests


class Results:
    """Records, gathered in series; what their predictions say is read when it is asked for.

    records:   those of the series, in the order of the sweep
    series:    of cells that are equal in everything but the seed
    artifacts: the folder where the predictions lie, as far as they are there
    """

    def __init__(self, found: Sequence[Record], artifacts: Path) -> None:
        self.artifacts = artifacts
        self.series = series.gather(found)
        kept = {id(record) for each in self.series for record in each.records}
        self.records = [record for record in found if id(record) in kept]
        self._answers = cache(self._read_answers)
        self._scores = cache(self._compute_scores)

    def predictions(self, record: Record, split: str = "test") -> Predictions | None:
        """The predictions of a record on a split; None if they are not there. Read anew at every call."""
        try:
            return predictions.read(self._folder(record), split)
        except FileNotFoundError:
            return None

    def texts(self, record: Record, split: str = "test") -> Texts | None:
        """The texts that belong to `predictions`; None if they are not there. Read anew at every call."""
        try:
            return predictions.read_texts(self._folder(record), split)
        except FileNotFoundError:
            return None

    def values(self, of: Series, metric: str) -> dict[int, float]:
        """Seed -> value of a metric, from the records alone."""
        return series.values(of, metric)

    def scores(self, of: Series, metric: str = "accuracy") -> Scores | None:
        """A metric of every seed, resampled; None unless it is one of `RESAMPLED` with all predictions there."""
        keys = tuple(record.get("artifact/predict") for record in of.records)
        return self._scores(keys, metric)

    def level(self, of: Series, metric: str = "accuracy") -> Level | None:
        """How good a series is, with its interval; None where `scores` is."""
        scores = self.scores(of, metric)
        return None if scores is None else statistics.level(scores)

    def gain(self, of: Series, baseline: Series, metric: str = "accuracy") -> Gain | None:
        """How much better a series is than another; None where `scores` is, or if test examples differ."""
        sides = self._sides(of, baseline, metric)
        return None if sides is None else statistics.gain(*sides, paired_seeds=_share_a_stage(of, baseline))

    def relative_gain(self, of: Series, baseline: Series, metric: str = "accuracy") -> Interval | None:
        """The gain as a share of the level of the baseline; None where `gain` is."""
        sides = self._sides(of, baseline, metric)
        if sides is None:
            return None
        return statistics.relative_gain(*sides, paired_seeds=_share_a_stage(of, baseline))

    def baseline_of(self, of: Series, wanted: Mapping[str, Any]) -> Series | None:
        """The series with the choices `wanted` that equals this one in all other words, if there is just one.

        Knobs of the groups that differ need not be equal: zero-shot prompts have no number of shots. Nor need
        words that one of both cannot have, such as the decoder of an SVM.
        """
        if wanted.items() <= of.words.items():
            return of
        sides = [STRATEGY, "train", "infer"] if wanted.keys() & {"train", "infer"} else []
        names = {name for each in self.series for name in each.words}
        free = {name for name in names if is_knob_of(name, [*wanted, *sides])} - wanted.keys()
        words = {name: value for name, value in of.words.items() if name not in free and concerns(of.words, name)}

        def is_equal(other: Series) -> bool:
            kept = {name: value for name, value in words.items() if concerns(other.words, name)}
            return {**kept, **wanted}.items() <= other.words.items()

        found = [other for other in self.series if is_equal(other)]
        return found[0] if len(found) == 1 else None

    def on_same_examples(self, of: Series, other: Series) -> bool:
        """Whether all records of both were tested on the same examples; False if that is not known."""
        found = [self._answers(record.get("artifact/predict")) for record in (*of.records, *other.records)]
        digests = {record.get("digest/test") for record in (*of.records, *other.records)}
        return None not in found and len(digests) == 1 and _are_same(found)

    def _sides(self, of: Series, baseline: Series, metric: str) -> tuple[Scores, Scores] | None:
        ours, theirs = self.scores(of, metric), self.scores(baseline, metric)
        if ours is None or theirs is None or not self.on_same_examples(of, baseline):
            return None
        return _for_seeds(ours, of, len(theirs.seeds)), _for_seeds(theirs, baseline, len(ours.seeds))

    def _folder(self, record: Record) -> Path:
        return self.artifacts / "predict" / str(record.get("artifact/predict"))

    def _read_answers(self, key: str | None) -> Answers | None:
        found = self.predictions({"artifact/predict": key})
        if found is None:
            return None
        return Answers(found.ids, len(found.labels), found.gold, found.label, found.forced)

    def _compute_scores(self, keys: Sequence[str | None], metric: str) -> Scores | None:
        found = [self._answers(key) for key in keys]
        if metric not in RESAMPLED or not _are_same(found):
            return None
        rows = [answers for answers in found if answers is not None]
        if metric in SHARES:
            return means(np.array([SHARES[metric](answers) for answers in rows], dtype=float))
        # An abstention is no label either.
        predicted = np.maximum(np.array([answers.label for answers in rows]), INVALID)
        return macro_f1(rows[0].gold, predicted, rows[0].labels)


def read(names: Iterable[str], outputs: Path) -> Results:
    """The results of sweeps in `outputs`.

    Raises UserError for an unknown or empty sweep, a damaged record, and records of the same choices and seed.
    """
    found = Results(records.read_sweeps(outputs / "results", names), outputs / "artifacts")
    for one, other in series.find_duplicates(found.series):
        keys = " and ".join(str(record.get("artifact/predict")) for record in (one, other))
        raise UserError(
            f"the sweep {one.get('name')!r} has two records with the same choices and seed {one['seed']} "
            f"(artifact/predict {keys}), so settings changed in between; delete the older file"
        )
    return found


def _are_same(found: Sequence[Answers | None]) -> bool:
    """Whether all are of the same examples, in the same order."""
    first = found[0]
    return first is not None and all(
        other is not None and other.ids == first.ids and np.array_equal(other.gold, first.gold) for other in found
    )


def _for_seeds(scores: Scores, of: Series, seeds: int) -> Scores:
    """`scores` as they are; those of a cell without randomness stand for each of the `seeds` of the other side."""
    if len(scores.seeds) > 1 or of.records[0].get("is_random", True):
        return scores
    rows = np.zeros(seeds, dtype=int)
    each = None if scores.each is None else scores.each[rows]
    return replace(scores, seeds=scores.seeds[rows], draws=scores.draws[rows], each=each)


def _share_a_stage(of: Series, other: Series) -> bool:
    """Whether both have the same seeds and, for each of them, the same SFT policy or the same last one."""
    if [record["seed"] for record in of.records] != [record["seed"] for record in other.records]:
        return False
    return all(
        any(one.get(stage) and one.get(stage) == two.get(stage) for stage in ("artifact/sft", "policy"))
        for one, two in zip(of.records, other.records, strict=True)
    )
