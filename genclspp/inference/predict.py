"""The last step of inference: from scores and completions to labels and calibrated probabilities."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genclspp.inference import score, think
from genclspp.inference.decode import Decoder, PromptScores, best
from genclspp.inference.metrics import Prediction, compute, fit_temperature, softmax
from genclspp.prompts.draft import Prompts
from genclspp.settings import Metric
from genclspp.store.artifacts import Artifact, stage
from genclspp.store.files import write_json
from genclspp.store.keys import key
from genclspp.task import UNCERTAIN

PREDICTIONS, VALIDATION, SUMMARY = "predictions.jsonl", "validation.jsonl", "summary.json"
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


@stage("predict", version=4)
def predict(tested: Scored, validated: Scored | None, decoder: Decoder, out: Path) -> None:
    """Decode the scores of both splits; leave one row per example, with its text, and its thought if any.

    tested:    rows go to `predictions.jsonl`
    validated: rows go to `validation.jsonl`. On these examples a temperature is fitted (Guo et al. 2017, arXiv
               1706.04599), and the softmax over the real labels gives calibrated probabilities. The probabilities
               of each half of these examples themselves come from a temperature fitted on the other half.
               None keeps the temperature 1.
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
        _write(out / VALIDATION, validated, decoder, own)
    else:
        (out / VALIDATION).touch()
    invalid = _write(out / PREDICTIONS, tested, decoder, [temperature] * len(tested.prompts.items))
    told = {"temperature": temperature, "validation": len(own), "invalid": invalid.most_common(3)}
    write_json(out / SUMMARY, {**told, **_vote(tested.prompts)})


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


def _write(path: Path, scored: Scored, decoder: Decoder, temperatures: Sequence[float]) -> Counter[str]:
    """Write one row per example; returns how often each invalid completion was written."""
    surfaces, labels = scored.prompts.surfaces, _labels(scored.prompts)
    thoughts = think.read(scored.thoughts.path) if scored.thoughts else None
    invalid = Counter[str]()
    rows = zip(scored.prompts.items, scored.texts, scored.read(), temperatures, strict=True)
    with path.open("w", encoding="utf-8") as file:
        for place, (item, text, said, temperature) in enumerate(rows):
            scores = _real(decoder.scores(said), surfaces)
            label = decoder.choose(said, surfaces)
            if label is None:
                invalid[(said.completion or "").strip()[:SHOWN]] += 1
            prediction = Prediction(
                id=item.id,
                gold=item.gold,
                label=label,
                forced=labels[best(scores)],
                completion=surfaces[label] if said.completion is None and label else said.completion or "",
                probabilities=_probabilities(labels, scores, temperature),
                truncated=item.truncated,
                text=text,
            )
            # The text comes first, as a person reads it.
            row = {"id": item.id, "text": text} | asdict(prediction)
            row["logprobs"] = dict(zip(surfaces, said.logprobs, strict=True))
            if thoughts is not None:
                row["thought"] = thoughts[place]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return invalid


def describe(folder: Path) -> str | None:
    """The most frequent invalid completions, on one line: they show why answers are invalid. None without any."""
    invalid = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["invalid"]
    shown = ", ".join(f"{text!r} ({count})" for text, count in invalid)
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
    if validated := read(folder, VALIDATION):
        on_validation = compute(validated, labels, seed, metrics)
        found |= {f"validation/{name}": value for name, value in on_validation.items()}
    return found


def _probabilities(labels: Sequence[str], scores: Sequence[float], temperature: float) -> dict[str, float]:
    chances = softmax([score / temperature for score in scores])
    return dict(zip(labels, map(float, chances), strict=True))


def read(folder: Path, name: str = PREDICTIONS) -> list[Prediction]:
    """The predictions that `predict` left in `folder`: of the test split, or of VALIDATION."""
    names = Prediction.__dataclass_fields__

    def prediction(row: dict[str, Any]) -> Prediction:
        whole = {"text": ""} | row  # predictions before version 4 have no text
        return Prediction(**{name: whole[name] for name in names})

    with (folder / name).open(encoding="utf-8") as file:
        return [prediction(json.loads(line)) for line in file]
