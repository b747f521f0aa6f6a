"""Mining: which training examples look ambiguous, so that they teach the answer "uncertain"."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from genclspp import linear
from genclspp.metrics import softmax
from genclspp.stages import score
from genclspp.store import Artifact, write_json
from genclspp.task import Example


def mine(
    examples: Sequence[Example],
    scorers: Sequence[str],
    folds: int,
    language: str,
    readings: Artifact | None,
    fraction: float,
    out: Path,
) -> None:
    """Mark the `fraction` of `examples` of lowest confidence; leave their ids in `uncertain.json`.

    scorers:  "tfidf" (a linear model, out of fold) and "model" (its `readings` of the examples, zero-shot)
    readings: what the stage score left for the prompts of `examples`, in order; None without "model"

    A scorer's confidence is how far its best label is ahead of the second. Each counts by its ranking, so that one
    that is always sure of itself weighs no more than another; ranks are averaged, ties go by position.
    """
    confidences = {name: _confidence(name, examples, folds, language, readings) for name in scorers}
    ranks = [_ranks(values) for values in confidences.values()]
    mean = [sum(ranking) / len(ranks) for ranking in zip(*ranks, strict=True)]
    order = sorted(range(len(examples)), key=lambda position: (mean[position], position))
    marked = sorted(order[: max(1, round(fraction * len(examples)))])
    write_json(out / "uncertain.json", [examples[position].id for position in marked])
    write_json(out / "report.json", _report(examples, confidences, mean, marked))


def _confidence(
    scorer: str, examples: Sequence[Example], folds: int, language: str, readings: Artifact | None
) -> list[float]:
    if scorer == "tfidf":
        return linear.out_of_fold_margins(examples, folds, language)
    assert readings is not None
    ranked = (sorted(softmax(row["logprobs"])) for row in score.read(readings.path))
    return [best - second for *_, second, best in ranked]


def _ranks(values: Sequence[float]) -> list[int]:
    """0 for the lowest value."""
    ranks = [0] * len(values)
    for rank, position in enumerate(sorted(range(len(values)), key=lambda k: (values[k], k))):
        ranks[position] = rank
    return ranks


def _report(
    examples: Sequence[Example],
    confidences: Mapping[str, Sequence[float]],
    mean: Sequence[float],
    marked: Sequence[int],
) -> dict[str, object]:
    """What was marked: how many per label, the texts of lowest confidence, the hit rate where truth is known."""
    labels = [examples[position].label for position in marked]
    known = [position for position in range(len(examples)) if examples[position].ambiguous is not None]
    chosen = set(marked)
    report: dict[str, object] = {
        "marked": len(marked),
        "examples": len(examples),
        "per_label": {label: labels.count(label) for label in sorted(set(labels))},
        "lowest": [
            {
                "id": examples[position].id,
                "text": examples[position].text,
                "label": examples[position].label,
                "confidence": {name: values[position] for name, values in confidences.items()},
            }
            for position in sorted(marked, key=lambda position: mean[position])[:20]
        ],
    }
    if known:
        hits = sum(bool(examples[position].ambiguous) for position in known if position in chosen)
        report["ambiguous_share_of_marked"] = hits / len(marked)
        report["ambiguous_share_of_all"] = sum(bool(examples[k].ambiguous) for k in known) / len(known)
    return report
