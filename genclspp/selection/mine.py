"""Mining: which training examples look ambiguous, so that they teach the answer "uncertain"."""

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
TOGETHER = "all"  # the name under which the report shows the scorers together


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
    """Mark the `fraction` of `examples` of lowest confidence; leave their ids in `uncertain.json`.

    scorers:    whose confidence (see `mining`); "tfidf" is trained here, out of fold
    folds:      positions of the examples, dealt out
    readings:   of each other scorer, what scoring left: one for each of the folds, or one for all examples
    confidence: see `confidences`

    Scores become calibrated log-probabilities; those of several scorers are weighed and added. `logprobs.jsonl`
    keeps them for each example, in the order of `labels`; `report.json` says what was marked.
    """
    gold = [list(labels).index(example.label) for example in examples]
    said = {scorer: _collect(readings[scorer], folds, len(examples)) for scorer in scorers if scorer != "tfidf"}
    if "tfidf" in scorers:
        said["tfidf"] = linear.out_of_fold_scores(examples, labels, folds, language)
    views = {scorer: calibrate(said[scorer], gold) for scorer in scorers}
    weights = weigh(list(views.values()), gold)
    views[TOGETHER] = add_up(list(views.values()), weights)
    order = np.argsort(confidences(views[TOGETHER], gold, confidence), kind="stable").tolist()
    marked = order[: max(1, round(fraction * len(examples)))]
    write_json(out / MARKED, [examples[position].id for position in sorted(marked)])
    report = _report(examples, labels, views, marked)
    write_json(out / REPORT, {**report, "weights": dict(zip(scorers, weights, strict=True))})
    _write_rows(out / LOGPROBS, examples, views)


def read(folder: Path) -> frozenset[str]:
    """Ids of the examples that `mine` marked."""
    return frozenset(json.loads((folder / MARKED).read_text(encoding="utf-8")))


def told(folder: Path) -> str:
    """What `mine` marked, in one line."""
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    shares = report["accuracy"]["all"]
    return (
        f"{report['marked']} of {report['examples']} training examples marked uncertain; the scorers are right on "
        f"{100 * shares['marked']:.1f} % of them, on {100 * shares['rest']:.1f} % of the rest"
    )


def calibrate(scores: np.ndarray, gold: Sequence[int]) -> np.ndarray:
    """Log-probabilities, at the temperature that makes the gold labels most likely.

    scores: (examples, labels) log-scores up to a factor and a shift of each example
    gold:   (examples,) index of the gold label
    """
    # In units of their own spread, so that the bounds of the temperature mean the same for every scorer.
    units = scores / (np.ptp(scores, axis=1).mean() or 1.0)
    return _normalise(units / fit_temperature(units.tolist(), gold, high=1e4))


def weigh(tables: Sequence[np.ndarray], gold: Sequence[int]) -> list[float]:
    """The weight of each scorer's log-probabilities in their sum that makes the gold labels most likely.

    One that adds nothing to the others hardly counts, be it ignorant or their echo. Gold labels choose only these
    few numbers, for all examples: no label says much about its own example. The loss is convex.
    """
    from scipy.optimize import minimize

    if len(tables) == 1:
        return [1.0]  # it is calibrated
    stacked, rows, truth = np.stack(tables), np.arange(len(gold)), np.asarray(gold)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logprobs = add_up(tables, weights)
        expected = (np.exp(logprobs) * stacked).sum(axis=2)
        slope = (expected - stacked[:, rows, truth]).mean(axis=1)
        return -logprobs[rows, truth].mean(), slope

    # Above 0, so that scorers who all know nothing still have an order.
    found = minimize(loss, np.ones(len(tables)), jac=True, bounds=[(1e-3, 20)] * len(tables), method="L-BFGS-B")
    return found.x.tolist()


def add_up(tables: Sequence[np.ndarray], weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """Log-probabilities that are the weighted sum of those in `tables`, up to a shift of each example."""
    return _normalise(np.tensordot(weights, np.stack(tables), axes=1))


def confidences(logprobs: np.ndarray, gold: Sequence[int], kind: str) -> np.ndarray:
    """How sure the scorers are of each example; (examples,).

    kind: "margin", the log-odds of the best label against the second, or "gold", the log-probability of the gold
          label: what Northcutt et al. (arXiv 1911.00068) call self-confidence
    """
    if kind == "gold":
        return logprobs[np.arange(len(gold)), gold]
    ranked = np.sort(logprobs, axis=1)
    return ranked[:, -1] - ranked[:, -2]


def _normalise(scores: np.ndarray) -> np.ndarray:
    scaled = scores - scores.max(axis=1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def _collect(readings: Sequence[Artifact], folds: Sequence[Sequence[int]], count: int) -> np.ndarray:
    """Log-probabilities as the scorer wrote them, back in the order of the examples; (examples, labels)."""
    parts = folds if len(readings) > 1 else [range(count)]
    rows: list[list[float]] = [[]] * count
    for part, artifact in zip(parts, readings, strict=True):
        for position, row in zip(part, score.read(artifact.path), strict=True):
            rows[position] = row["logprobs"]
    return np.asarray(rows)


def _report(
    examples: Sequence[Example],
    labels: Sequence[str],
    views: Mapping[str, np.ndarray],
    marked: Sequence[int],
) -> dict[str, object]:
    """What was marked, and how it differs from the rest; the hit rate where truth is known.

    marked: positions, lowest confidence first
    """
    golds = [examples[position].label for position in marked]
    known = [position for position in range(len(examples)) if examples[position].ambiguous is not None]
    report: dict[str, object] = {
        "marked": len(marked),
        "examples": len(examples),
        "per_label": {label: golds.count(label) for label in sorted(set(golds))},
        "accuracy": {name: _accuracies(examples, labels, view, marked) for name, view in views.items()},
        "lowest": [
            {
                "id": examples[position].id,
                "text": examples[position].text,
                "label": examples[position].label,
                "probabilities": {name: _leading(labels, view[position]) for name, view in views.items()},
            }
            for position in marked[:20]
        ],
    }
    if known:
        judged = [bool(examples[k].ambiguous) for k in marked if examples[k].ambiguous is not None]
        report["ambiguous_share_of_marked"] = sum(judged) / len(judged) if judged else None
        report["ambiguous_share_of_all"] = sum(bool(examples[k].ambiguous) for k in known) / len(known)
    return report


def _leading(labels: Sequence[str], logprobs: np.ndarray) -> dict[str, float]:
    """The two most likely labels, best first."""
    return {labels[k]: float(np.exp(logprobs[k])) for k in (-logprobs).argsort(kind="stable")[:2]}


def _accuracies(
    examples: Sequence[Example], labels: Sequence[str], view: np.ndarray, marked: Sequence[int]
) -> dict[str, float | None]:
    """How often the best label is the gold one: on the marked, the rest (None without any), on all."""
    right = np.array([labels[best] == e.label for best, e in zip(view.argmax(axis=1), examples, strict=True)])
    chosen = np.isin(np.arange(len(examples)), marked)
    parts = {"marked": right[chosen], "rest": right[~chosen], "all": right}
    return {name: float(part.mean()) if len(part) else None for name, part in parts.items()}


def _write_rows(path: Path, examples: Sequence[Example], views: Mapping[str, np.ndarray]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for position, example in enumerate(examples):
            logprobs = {name: [round(float(p), 4) for p in view[position]] for name, view in views.items()}
            file.write(json.dumps({"id": example.id, "label": example.label, "logprobs": logprobs}) + "\n")
