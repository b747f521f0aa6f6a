"""A metric of every seed of a cell, on the test examples and on resampled ones."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from genclspp.suggest import UserError

DRAWS = 2000


@dataclass(frozen=True)
class Scores:
    """A metric of one cell, of every seed.

    seeds:      (seeds,) on the test examples
    draws:      (seeds, draws) under each row of `weights`
    each:       (seeds, examples) scores whose mean is the metric; None if it is no mean, such as macro-F1
    examples:   number of test examples
    is_bounded: whether the metric lies between 0 and 1 whatever the examples
    """

    seeds: np.ndarray
    draws: np.ndarray
    each: np.ndarray | None
    examples: int
    is_bounded: bool

    @property
    def is_share(self) -> bool:
        """Whether each example is right or wrong, and the metric is the share of the right ones."""
        return self.each is not None and self.is_bounded


@lru_cache(maxsize=4)
def weights(examples: int) -> np.ndarray:
    """(draws, examples) how often each example is in each resample; the same for all cells of a data set.

    Cells are compared inside a draw, so their differences are paired by construction.
    """
    shares = np.full(examples, 1 / examples)
    table = np.random.default_rng(0).multinomial(examples, shares, size=DRAWS)
    found = np.asfortranarray(table, dtype=float)  # read by columns: its transpose multiplies scores
    found.setflags(write=False)
    return found


def means(scores: np.ndarray) -> Scores:
    """The mean of scores per example, such as the accuracy. scores: (seeds, examples), finite, or UserError."""
    each = np.asarray(scores, dtype=float)
    if each.ndim != 2 or not each.size:
        raise UserError(f"scores have the shape {each.shape}; expected (seeds, examples), at least (1, 1)")
    if not np.isfinite(each).all():
        seed, example = np.argwhere(~np.isfinite(each))[0]
        raise UserError(
            f"the score of example {example} in seed {seed} is {each[seed, example]}; expected a number"
        )
    examples = each.shape[1]
    is_right_or_wrong = bool(np.isin(each, (0, 1)).all())
    return Scores(each.mean(axis=1), each @ weights(examples).T / examples, each, examples, is_right_or_wrong)


def macro_f1(gold: np.ndarray, predicted: np.ndarray, labels: int) -> Scores:
    """The mean over labels of F1 = 2 hits / (gold + predicted), 0 for a label that is neither.

    gold:      (examples,) place of the gold label, from 0 to labels - 1
    predicted: (seeds, examples) place of the predicted label; -1 for none (an invalid answer or an abstention)
    """
    gold, predicted = np.asarray(gold), np.asarray(predicted)
    if predicted.ndim != 2 or not predicted.size or predicted.shape[1:] != gold.shape:
        raise UserError(f"{predicted.shape} predictions for {gold.shape} gold labels; expected (seeds, examples)")
    examples = len(gold)
    table = np.column_stack([np.ones(examples), weights(examples).T])  # the first column: every example once
    golds = _counts(gold, gold >= 0, labels, table)
    found = np.empty((len(predicted), table.shape[1]))
    for seed, answers in enumerate(predicted):
        hits = _counts(gold, gold == answers, labels, table)
        asked = golds + _counts(answers, answers >= 0, labels, table)
        found[seed] = (2 * hits / np.maximum(asked, 1)).mean(axis=0)
    return Scores(found[:, 0], found[:, 1:], None, examples, is_bounded=True)


def _counts(places: np.ndarray, counted: np.ndarray, labels: int, table: np.ndarray) -> np.ndarray:
    """(labels, columns) weight of the counted examples of each label. table: (examples, columns) weights"""
    from scipy.sparse import csr_array

    rows = np.flatnonzero(counted)
    return csr_array((np.ones(len(rows)), (places[rows], rows)), shape=(labels, len(table))) @ table
