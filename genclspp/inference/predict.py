"""The last step of inference: from scores and completions to labels and calibrated probabilities."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genclspp.inference import predictions, score, think
from genclspp.inference.decode import Decoder, PromptScores, best
from genclspp.inference.metrics import Prediction, compute, fit_temperature, softmax
from genclspp.inference.predictions import ABSTAINED, INVALID, Predictions, Texts
from genclspp.prompts.draft import Prompts
from genclspp.settings import Metric
from genclspp.store.artifacts import Artifact, stage
from genclspp.store.files import write_json
from genclspp.store.keys import key
from genclspp.suggest import UserError
from genclspp.task import UNCERTAIN

SUMMARY = "summary.json"
SHOWN = 60  # characters of an invalid completion


@dataclass(frozen=True)
class Scored:
    """The prompts of a split, with the artifacts of whatever was read of them.

    texts:       of the examples, to be kept with their predictions
    scores:      of the stage score
    thoughts:    of the stage think, which precede the answers that are scored; None without reasoning
    completions: of the stage complete; None unless the decoder needs them
    prior:       of the stage score on the prompts without their texts; None unless the decoder needs it
    prompt_scores: of the stage score_prompts; None unless the decoder needs it
    """

    prompts: Prompts
    texts: tuple[str, ...]
    scores: Artifact
    thoughts: Artifact | None = None
    completions: Artifact | None = None
    prior: Artifact | None = None
    prompt_scores: Artifact | None = None

    def read(self) -> Iterator[PromptScores]:
        """The scores of each prompt, in order."""
        completions = score.read_completions(self.completions.path) if self.completions else None
        priors = [row["logprobs"] for row in score.read(self.prior.path)] if self.prior else None
        prompts = score.read_prompts(self.prompt_scores.path) if self.prompt_scores else None
        for k, row in enumerate(score.read(self.scores.path)):
            yield PromptScores(
                row["logprobs"],
                row["lengths"],
                row["constrained"],
                completion=completions[k] if completions is not None else None,
                prior=priors[k] if priors is not None else None,
                prompt=prompts[k] if prompts is not None else None,
            )


@stage("predict", version=5)
def predict(tested: Scored, validated: Scored | None, decoder: Decoder, out: Path) -> None:
    """Decode the scores of both splits; leave the predictions of each, see `predictions`.

    validated: on these examples a temperature is fitted (Guo et al. 2017, arXiv 1706.04599), and the softmax over
               the real labels gives calibrated probabilities. The probabilities of each half of these examples
               themselves come from a temperature fitted on the other half. None keeps the temperature 1.
    """
    own: list[float] = []  # the temperature of each validation example
    temperature = 1.0
    if validated:
        surfaces, golds = validated.prompts.surfaces, [item.gold for item in validated.prompts.items]
        scores = [_real(decoder.scores(said), surfaces) for said in validated.read()]
        halves = [range(half, len(golds), 2) for half in (0, 1)]
        fitted = [_temperature(validated, scores, half) for half in halves]
        own = [fitted[1 - place % 2] for place in range(len(golds))]
        temperature = _temperature(validated, scores, range(len(golds)))
        _write(out, "validation", validated, decoder, own)
    found = _write(out, "test", tested, decoder, [temperature] * len(tested.prompts.items))
    written = Counter(found.completions[place].strip()[:SHOWN] for place in np.flatnonzero(found.label == INVALID))
    summary = {"temperature": temperature, "validation": len(own), "invalid": written.most_common(3)}
    write_json(out / SUMMARY, {**summary, **_vote(tested.prompts)})


def _labels(prompts: Prompts) -> list[str]:
    """The real labels, without "uncertain"."""
    return [label for label in prompts.surfaces if label != UNCERTAIN]


def _real(scores: Sequence[float], surfaces: Mapping[str, str]) -> list[float]:
    """The scores of the real labels, out of those of all surfaces."""
    return [score for score, label in zip(scores, surfaces, strict=True) if label != UNCERTAIN]


def _temperature(scored: Scored, scores: Sequence[Sequence[float]], places: Sequence[int]) -> float:
    """The temperature that fits best to the examples at `places`."""
    labels, items = _labels(scored.prompts), scored.prompts.items
    return fit_temperature([scores[k] for k in places], [labels.index(items[k].gold) for k in places])


def _write(
    folder: Path, split: str, scored: Scored, decoder: Decoder, temperatures: Sequence[float]
) -> Predictions:
    """Write, and return, the predictions of a split."""
    prompts, labels = scored.prompts, _labels(scored.prompts)
    places: dict[str | None, int] = {label: place for place, label in enumerate(labels)}
    places |= {UNCERTAIN: ABSTAINED, None: INVALID}
    said = list(scored.read())
    scores = [_real(decoder.scores(each), prompts.surfaces) for each in said]
    chosen = [_known(decoder.choose(each, prompts.surfaces), places, decoder) for each in said]
    found = Predictions(
        labels=tuple(labels),
        ids=tuple(item.id for item in prompts.items),
        gold=np.array([places[item.gold] for item in prompts.items]),
        label=np.array([places[label] for label in chosen]),
        forced=np.array([best(each) for each in scores]),
        probabilities=np.array(
            [softmax(each, temperature) for each, temperature in zip(scores, temperatures, strict=True)]
        ),
        logprobs=np.array([each.logprobs for each in said]),
        completions=tuple(
            each.completion or "" if each.completion is not None or label is None else prompts.surfaces[label]
            for each, label in zip(said, chosen, strict=True)
        ),
        truncated=np.array([item.truncated for item in prompts.items]),
    )
    thoughts = tuple(think.read(scored.thoughts.path)) if scored.thoughts else None
    has_prompts = any(item.text for item in prompts.items)  # the method of a baseline reads none
    read = tuple(predictions.lines(item.text) for item in prompts.items) if has_prompts else ()
    predictions.write(folder, split, found, Texts(scored.texts, thoughts, read))
    return found


def _known(chosen: str | None, places: Collection[str | None], decoder: Decoder) -> str | None:
    """What a decoder has chosen; raises UserError if that is no label."""
    if chosen not in places:
        kind = type(decoder).__name__
        raise UserError(f"the decoder {kind} chose {chosen!r}; expected a label, {UNCERTAIN!r}, or None")
    return chosen


def describe(folder: Path) -> str | None:
    """The most frequent invalid completions, on one line: they show why answers are invalid. None without any."""
    shown = ", ".join(f"{text!r} ({count})" for text, count in told(folder)["invalid"])
    return f"most frequent invalid completions: {shown}" if shown else None


def _vote(prompts: Prompts) -> dict[str, float]:
    """How often the vote of the demonstrations is right: what in-context learning has to beat, without a model."""
    items = prompts.items
    if not items or not all(item.vote for item in items):
        return {}
    return {"demonstration_vote": sum(item.vote == item.gold for item in items) / len(items)}


def measure(folder: Path, labels: Sequence[str], seed: int, metrics: Sequence[Metric] = ()) -> dict[str, Any]:
    """The metrics of what `predict` left in `folder`; those of validation begin with "validation/".

    "digest/test" tells the test examples from others, so that only results on the same ones are compared.
    """
    tested = read(folder)
    found: dict[str, Any] = {"digest/test": key([(each.id, each.text, each.gold) for each in tested])}
    found |= compute(tested, labels, seed, metrics)
    if told(folder)["validation"]:
        on_validation = compute(read(folder, "validation"), labels, seed, metrics)
        found |= {f"validation/{name}": value for name, value in on_validation.items()}
    return found


def told(folder: Path) -> dict[str, Any]:
    """What `predict` left in summary.json: temperature, validation examples, frequent invalid completions."""
    return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))


def read(folder: Path, split: str = "test") -> list[Prediction]:
    """The predictions that `predict` left in `folder`, an object per example."""
    return predictions.rows(predictions.read(folder, split), predictions.read_texts(folder, split))
