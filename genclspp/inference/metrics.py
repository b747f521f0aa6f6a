"""How good predictions are: accuracy with its confidence interval, F1, and the calibration of probabilities."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from genclspp.settings import Metric
from genclspp.suggest import UserError, blame, is_ours
from genclspp.task import UNCERTAIN

INVALID = "(invalid)"  # in brackets, so that it is not mistaken for a label
BINS = 15  # of the calibration error, as in Guo et al. 2017
RESAMPLES = 1000


@dataclass(frozen=True)
class Prediction:
    """What a model answered on one example.

    label:         as parsed: a label, `UNCERTAIN` (an abstention) or None (an invalid answer)
    forced:        the real label with the best score, whatever was written
    probabilities: label -> calibrated probability; over the real labels, they sum to 1
    truncated:     whether the prompt was truncated to fit the model
    text:          of the example, whole; empty in predictions of earlier versions, which did not keep it
    """

    id: str
    gold: str
    label: str | None
    forced: str
    completion: str
    probabilities: Mapping[str, float]
    truncated: bool = False
    text: str = ""


def check(metrics: Sequence[Metric], labels: Sequence[str]) -> None:
    """Try the metrics of a user's own on a right, a wrong and an invalid answer, before anything is computed.

    Raises UserError with the name, file and line of one that raises an error or returns no number.
    """
    even = dict.fromkeys(labels, 1 / len(labels))
    said = [(labels[0], labels[0]), (labels[1], labels[1]), (None, "?")]
    tried = [Prediction(str(k), labels[0], label, labels[0], text, even) for k, (label, text) in enumerate(said)]
    for metric in metrics:
        if is_ours(metric.function):
            continue
        code = metric.function.__code__
        try:
            value = metric.function(tried, labels, **metric.args)
        except Exception as error:
            told = blame(error, code.co_filename, code.co_firstlineno)
            raise UserError(f"metric.{metric.name} raised {told}") from error
        if not isinstance(value, Real | None):
            where = f"metric.{metric.name} ({code.co_filename}:{code.co_firstlineno})"
            raise UserError(f"{where} returned {value!r}; expected a number, or None where it is not defined")


def compute(
    predictions: Sequence[Prediction], labels: Sequence[str], seed: int = 0, more: Sequence[Metric] = ()
) -> dict[str, float | None]:
    """All metrics of one cell, flat, as in its record; those of `more` under their own names.

    Raises UserError without predictions.

    accuracy           invalid answers and abstentions count as wrong; `_low` and `_high` are the ends of its
                       95 % interval by Wilson (1927), which stays inside 0..1 and holds for small samples
    macro_f1           mean F1 over `labels`; `_low` and `_high` by a seeded bootstrap over the examples
    f1/<label>         F1 of one label; 0 where the label was neither asked for nor answered
    coverage           share answered with a real label; `selective_accuracy` is the accuracy on that share,
                       None if it is empty
    accuracy_forced    accuracy of the best real label, which replaces abstentions and invalid answers
    nll, brier         of the probabilities; the Brier score (1950) sums over labels, so it ranges from 0 to 2
    ece                expected calibration error of the top probability, see `calibration_error`
    majority           accuracy of always answering the most frequent class of these examples
    """
    if not predictions:
        raise UserError("no predictions to evaluate; expected at least one")
    count = len(predictions)
    correct = sum(p.label == p.gold for p in predictions)
    answered = sum(p.label is not None and p.label != UNCERTAIN for p in predictions)
    low, high = wilson(correct, count)
    scores = f1(confusion(predictions, labels), labels)
    f1_low, f1_high = _bootstrap_macro_f1(predictions, labels, seed)
    table = np.array([[p.probabilities[label] for label in labels] for p in predictions])
    gold = np.array([labels.index(p.gold) for p in predictions])
    return {
        "examples": count,
        "accuracy": correct / count,
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": sum(scores.values()) / len(labels),
        "macro_f1_low": f1_low,
        "macro_f1_high": f1_high,
        "invalid_rate": sum(p.label is None for p in predictions) / count,
        "coverage": answered / count,
        "selective_accuracy": correct / answered if answered else None,
        "accuracy_forced": sum(p.forced == p.gold for p in predictions) / count,
        "nll": negative_log_likelihood(table, gold),
        "brier": brier(table, gold),
        "ece": calibration_error(table, gold),
        "majority": max(Counter(p.gold for p in predictions).values()) / count,
        "truncated_share": sum(p.truncated for p in predictions) / count,
        **{f"f1/{label}": score for label, score in scores.items()},
        **{metric.name: metric.function(predictions, labels, **metric.args) for metric in more},
    }


def mean_rank_distance(predictions: Sequence[Prediction], labels: Sequence[str]) -> float:
    """Mean distance in rank between the best real label and the gold label, for ordered labels; 0 is best."""
    places = {label: place for place, label in enumerate(labels)}
    return sum(abs(places[p.forced] - places[p.gold]) for p in predictions) / len(predictions)


def matthews(predictions: Sequence[Prediction], labels: Sequence[str]) -> float:
    """Multi-class Matthews correlation (Gorodkin 2004); invalid answers are a class, abstentions another."""
    from sklearn.metrics import matthews_corrcoef

    answered = [INVALID if p.label is None else p.label for p in predictions]
    return float(matthews_corrcoef([p.gold for p in predictions], answered))


def confusion(predictions: Sequence[Prediction], labels: Sequence[str]) -> list[tuple[str, str, int]]:
    """The confusion matrix as rows (gold, predicted, count), in the order of `labels`, without zero counts.

    Predicted is a label, `UNCERTAIN` or `INVALID`.
    """
    order = {name: place for place, name in enumerate((*labels, UNCERTAIN, INVALID))}
    pairs = Counter((p.gold, INVALID if p.label is None else p.label) for p in predictions)
    rows = [(gold, predicted, count) for (gold, predicted), count in pairs.items()]
    return sorted(rows, key=lambda row: (order[row[0]], order[row[1]]))


def f1(rows: Sequence[tuple[str, str, int]], labels: Sequence[str]) -> dict[str, float]:
    """F1 of each label from the rows of `confusion`."""
    hits = {gold: count for gold, predicted, count in rows if gold == predicted}
    golds, answers = Counter[str](), Counter[str]()
    for gold, predicted, count in rows:
        golds[gold] += count
        answers[predicted] += count
    return {label: 2 * hits.get(label, 0) / max(golds[label] + answers[label], 1) for label in labels}


def wilson(correct: int, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval (1927) of the share `correct / count`; the default `z` gives 95 %."""
    share = correct / count
    scale = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # At shares of 0 and 1 one end equals the share; rounding must not move it past.
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def negative_log_likelihood(table: np.ndarray, gold: np.ndarray) -> float:
    """Mean of -log p(gold); probabilities are clipped to the machine epsilon, as in scikit-learn.

    table: (examples, labels) probabilities
    gold:  (examples,) index of the gold label
    """
    chosen = table[np.arange(len(gold)), gold]
    return float(-np.log(np.clip(chosen, np.finfo(float).eps, 1)).mean())


def brier(table: np.ndarray, gold: np.ndarray) -> float:
    """Mean over examples of the squared error of the probabilities, summed over labels (Brier 1950).

    table: (examples, labels) probabilities
    gold:  (examples,) index of the gold label
    """
    truth = np.eye(table.shape[1])[gold]
    return float(((table - truth) ** 2).sum(axis=1).mean())


def calibration_error(table: np.ndarray, gold: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the mean gap between the top probability and the accuracy at it.

    table: (examples, labels) probabilities
    gold:  (examples,) index of the gold label

    Naeini et al. 2015, in the form of Guo et al. 2017 (arXiv 1706.04599): `bins` bins of equal width (low, high]
    over the top probability; the gap between mean probability and accuracy in each, weighted by its examples.
    """
    top = table.max(axis=1)
    hit = table.argmax(axis=1) == gold
    place = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=top - hit, minlength=bins)  # sums: the weighting by examples is in them
    return float(np.abs(gaps).sum() / len(gold))


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Probabilities from log-scores.

    >>> softmax([0.0, 0.0])
    [0.5, 0.5]
    """
    return _softmax(np.asarray(scores, dtype=float)[None] / temperature)[0].tolist()


def fit_temperature(
    scores: Sequence[Sequence[float]],
    gold_indexes: Sequence[int],
    low: float = 0.05,
    high: float = 20.0,
) -> float:
    """The temperature T that minimises the negative log-likelihood of softmax(scores / T); 1 without examples.

    scores:       (examples, labels) log-scores; UserError unless all are finite
    gold_indexes: (examples,) index of the gold label
    low, high:    bounds of T

    Temperature scaling: Guo et al. 2017 (arXiv 1706.04599). The loss is convex in 1 / T, so its derivative has one
    zero, which bisection finds.
    """
    if len(scores) == 0:
        return 1.0
    table, gold = np.asarray(scores, dtype=float), np.asarray(gold_indexes)
    if not np.isfinite(table).all():
        raise UserError("scores contain NaN or infinite values; expected finite log-scores")
    # Softmax is invariant to a shift per example, and large scores would lose digits.
    table = table - table.max(axis=1, keepdims=True)
    chosen = table[np.arange(len(gold)), gold]

    def slope(inverse: float) -> float:
        return float(((_softmax(table * inverse) * table).sum(axis=1) - chosen).mean())

    cold, warm = 1 / low, 1 / high
    if np.ptp(table, axis=1).max() == 0:
        return 1.0  # all labels have equal scores in every example: no temperature changes anything
    if slope(warm) >= 0:
        return high
    if slope(cold) <= 0:
        return low
    for _ in range(60):
        middle = (cold + warm) / 2
        cold, warm = (middle, warm) if slope(middle) > 0 else (cold, middle)
    return 2 / (cold + warm)


def _softmax(table: np.ndarray) -> np.ndarray:
    powers = np.exp(table - table.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _bootstrap_macro_f1(
    predictions: Sequence[Prediction], labels: Sequence[str], seed: int
) -> tuple[float, float]:
    """95 % percentile interval of macro-F1 over resampled examples.

    F1 depends on the confusion counts alone, and resampling examples with replacement draws these counts from a
    multinomial distribution: one matrix product instead of `RESAMPLES` passes over the predictions.
    """
    rows = confusion(predictions, labels)
    counts = np.array([count for *_, count in rows])
    draws = np.random.default_rng(seed).multinomial(counts.sum(), counts / counts.sum(), size=RESAMPLES)
    golds = np.array([[gold == label for label in labels] for gold, _, _ in rows], dtype=float)
    answers = np.array([[predicted == label for label in labels] for _, predicted, _ in rows], dtype=float)
    # (resamples, labels): true positives, and gold plus predicted counts.
    hits, asked = draws @ (golds * answers), draws @ (golds + answers)
    macro = (2 * hits / np.maximum(asked, 1)).mean(axis=1)
    low, high = np.percentile(macro, [2.5, 97.5])
    return float(low), float(high)
