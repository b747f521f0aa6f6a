"""Mining: which training examples look ambiguous and so teach the answer "uncertain"."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genclspp.inference import score
from genclspp.inference.metrics import fit_temperature
from genclspp.selection import linear
from genclspp.store.artifacts import Artifact, stage
from genclspp.store.files import write_json
from genclspp.task import Example

MARKED, REPORT, LOGPROBS = "uncertain.json", "report.json", "logprobs.jsonl"
COMBINED = "all"  # the report's name for all scorers combined


@stage("mine", version=1)
def mine(
    examples: Sequence[Example],
    labels: Sequence[str],
    language: str,
    scorers: Sequence[str],
    folds: Sequence[Sequence[int]],
    readings: Mapping[str, Sequence[Artifact]],
    confidence: str,
    fraction: float,
    out: Path,
) -> None:
    """Mark the `fraction` of `examples` with the lowest confidence; leave their ids in `uncertain.json`.

    scorers:    whose confidence (see `scorers`); "tfidf" is trained here, out of fold
    folds:      positions of the examples in each fold
    readings:   for each other scorer, the artifacts of scoring: one per fold, or one for all examples
    confidence: "margin" or "gold", see `confidences`

    Scores are calibrated to log-probabilities, and those of several scorers combined into one weighted sum.
    `logprobs.jsonl` keeps both for each example, in the order of `labels`; `report.json` says what was marked.
    """
    gold = [list(labels).index(example.label) for example in examples]
    scores = {scorer: _collect(readings[scorer], folds, len(examples)) for scorer in scorers if scorer != "tfidf"}
    if "tfidf" in scorers:
        scores["tfidf"] = linear.out_of_fold_scores(examples, labels, folds, language)
    logprobs = {scorer: calibrate(scores[scorer], gold) for scorer in scorers}
    weights = fit_weights(list(logprobs.values()), gold)
    logprobs[COMBINED] = combine(list(logprobs.values()), weights)
    # Stable: among equal confidences, earlier examples are marked first.
    order = np.argsort(confidences(logprobs[COMBINED], gold, confidence), kind="stable").tolist()
    marked = order[: max(1, round(fraction * len(examples)))]
    write_json(out / MARKED, [examples[position].id for position in sorted(marked)])
    report = _report(examples, labels, logprobs, marked)
    write_json(out / REPORT, {**report, "weights": dict(zip(scorers, weights, strict=True))})
    _write_rows(out / LOGPROBS, examples, logprobs)


def read(folder: Path) -> frozenset[str]:
    """The ids of the examples that `mine` marked."""
    return frozenset(json.loads((folder / MARKED).read_text(encoding="utf-8")))


def describe(folder: Path) -> str:
    """What `mine` marked, in one line."""
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    shares = report["accuracy"][COMBINED]
    return (
        f"{report['marked']} of {report['examples']} training examples marked uncertain; the scorers are right on "
        f"{100 * shares['marked']:.1f} % of them, and on {100 * shares['rest']:.1f} % of the rest"
    )


def calibrate(scores: np.ndarray, gold: Sequence[int]) -> np.ndarray:
    """Log-probabilities of the labels, (examples, labels), at the temperature that best fits the gold labels.

    scores: (examples, labels) log-scores, up to a common factor and a shift per example
    gold:   (examples,) index of the gold label

    Temperature scaling: Guo et al. 2017 (arXiv 1706.04599).
    """
    # Scale by the mean spread first, so that the bounds of the temperature mean the same for every scorer.
    units = scores / (np.ptp(scores, axis=1).mean() or 1.0)
    return _normalise(units / fit_temperature(units.tolist(), gold, high=1e4))


def fit_weights(tables: Sequence[np.ndarray], gold: Sequence[int]) -> list[float]:
    """One weight per scorer, for the weighted sum of log-probabilities that best fits the gold labels.

    tables: of each scorer, (examples, labels) calibrated log-probabilities
    gold:   (examples,) index of the gold label

    A log-linear pool (Genest and Zidek 1986), fitted by maximum likelihood. A scorer that adds nothing to the
    others gets little weight, whether it is uninformative or redundant. The gold labels fit only these few numbers
    over all examples, so a label has little influence on the confidence of its own example.
    """
    from scipy.optimize import minimize

    if len(tables) == 1:
        return [1.0]  # `calibrate` has fitted its scale already
    stacked, rows, truth = np.stack(tables), np.arange(len(gold)), np.asarray(gold)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean negative log-likelihood of the gold labels, and its gradient (scorers,); convex in the weights."""
        logprobs = combine(tables, weights)
        # The derivative of a log-softmax: expectation under the pool minus the value at the gold label.
        expected = (np.exp(logprobs) * stacked).sum(axis=2)
        slope = (expected - stacked[:, rows, truth]).mean(axis=1)
        return -logprobs[rows, truth].mean(), slope

    # Weights stay above 0, so that examples have an order even if no scorer is informative.
    found = minimize(loss, np.ones(len(tables)), jac=True, bounds=[(1e-3, 20)] * len(tables), method="L-BFGS-B")
    return found.x.tolist()


def combine(tables: Sequence[np.ndarray], weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """The weighted sum of the log-probabilities in `tables`, normalised per example; (examples, labels)."""
    return _normalise(np.tensordot(weights, np.stack(tables), axes=1))


def confidences(logprobs: np.ndarray, gold: Sequence[int], kind: str) -> np.ndarray:
    """How confident the scorers are of each example; (examples,).

    logprobs: (examples, labels)
    kind:     "margin", the log-odds of the best label against the second, or "gold", the log-probability of the
              gold label (self-confidence in Northcutt et al., arXiv 1911.00068)
    """
    if kind == "gold":
        return logprobs[np.arange(len(gold)), gold]
    ranked = np.sort(logprobs, axis=1)
    return ranked[:, -1] - ranked[:, -2]


def _normalise(scores: np.ndarray) -> np.ndarray:
    scaled = scores - scores.max(axis=1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def _collect(readings: Sequence[Artifact], folds: Sequence[Sequence[int]], count: int) -> np.ndarray:
    """Log-probabilities in a scorer's artifacts, put back into the order of the examples; (examples, labels)."""
    parts = folds if len(readings) > 1 else [range(count)]
    rows: list[list[float]] = [[]] * count
    for part, artifact in zip(parts, readings, strict=True):
        for position, row in zip(part, score.read(artifact.path), strict=True):
            rows[position] = row["logprobs"]
    return np.asarray(rows)


def _report(
    examples: Sequence[Example],
    labels: Sequence[str],
    logprobs: Mapping[str, np.ndarray],
    marked: Sequence[int],
) -> dict[str, object]:
    """What was marked and how it differs from the rest, with the hit rate if the data say what is ambiguous.

    logprobs: scorer -> (examples, labels)
    marked:   positions, lowest confidence first
    """
    golds = [examples[position].label for position in marked]
    known = [position for position in range(len(examples)) if examples[position].ambiguous is not None]
    report: dict[str, object] = {
        "marked": len(marked),
        "examples": len(examples),
        "per_label": {label: golds.count(label) for label in sorted(set(golds))},
        "accuracy": {name: _accuracies(examples, labels, table, marked) for name, table in logprobs.items()},
        "lowest": [
            {
                "id": examples[position].id,
                "text": examples[position].text,
                "label": examples[position].label,
                "probabilities": {name: _top_two(labels, table[position]) for name, table in logprobs.items()},
            }
            for position in marked[:20]
        ],
    }
    if known:
        judged = [bool(examples[k].ambiguous) for k in marked if examples[k].ambiguous is not None]
        report["ambiguous_share_of_marked"] = sum(judged) / len(judged) if judged else None
        report["ambiguous_share_of_all"] = sum(bool(examples[k].ambiguous) for k in known) / len(known)
    return report


def _top_two(labels: Sequence[str], logprobs: np.ndarray) -> dict[str, float]:
    """The probabilities of the two most likely labels, best first."""
    return {labels[k]: float(np.exp(logprobs[k])) for k in (-logprobs).argsort(kind="stable")[:2]}


def _accuracies(
    examples: Sequence[Example], labels: Sequence[str], table: np.ndarray, marked: Sequence[int]
) -> dict[str, float | None]:
    """Accuracy of the most likely label on the marked examples, on the rest and on all; None for an empty part."""
    right = np.array([labels[best] == e.label for best, e in zip(table.argmax(axis=1), examples, strict=True)])
    chosen = np.isin(np.arange(len(examples)), marked)
    parts = {"marked": right[chosen], "rest": right[~chosen], "all": right}
    return {name: float(part.mean()) if len(part) else None for name, part in parts.items()}


def _write_rows(path: Path, examples: Sequence[Example], logprobs: Mapping[str, np.ndarray]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for position, example in enumerate(examples):
            found = {name: [round(float(p), 4) for p in table[position]] for name, table in logprobs.items()}
            file.write(json.dumps({"id": example.id, "label": example.label, "logprobs": found}) + "\n")
