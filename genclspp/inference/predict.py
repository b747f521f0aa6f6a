"""The last step of inference: from scores and completions to labels and calibrated probabilities."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genclspp.inference import score, think
from genclspp.inference.decode import Decoder, PromptScores, best
from genclspp.inference.metrics import Prediction, fit_temperature, softmax
from genclspp.prompts.draft import Prompts
from genclspp.store.artifacts import Artifact, stage
from genclspp.store.files import write_json
from genclspp.task import UNCERTAIN

PREDICTIONS, SUMMARY = "predictions.jsonl", "summary.json"
SHOWN = 60  # characters of an invalid completion


@dataclass(frozen=True)
class Scored:
    """The prompts of a split, with the artifacts of whatever was read of them.

    scores:      of the stage score
    thoughts:    of the stage think, which precede the answers that are scored; None without reasoning
    completions: of the stage complete; None unless the decoder needs them
    prior:       of the stage score on the prompts without their texts; None unless the decoder needs it
    """

    prompts: Prompts
    scores: Artifact
    thoughts: Artifact | None = None
    completions: Artifact | None = None
    prior: Artifact | None = None

    def read(self) -> Iterator[PromptScores]:
        """The scores of each prompt, in order."""
        completions = score.read_completions(self.completions.path) if self.completions else None
        priors = [row["logprobs"] for row in score.read(self.prior.path)] if self.prior else None
        for k, row in enumerate(score.read(self.scores.path)):
            yield PromptScores(
                row["logprobs"],
                row["lengths"],
                row["constrained"],
                completion=completions[k] if completions is not None else None,
                prior=priors[k] if priors is not None else None,
            )


@stage("predict", version=2)
def predict(tested: Scored, held_out: Scored | None, decoder: Decoder, out: Path) -> None:
    """Decode the scores of `tested`; leave one row per example in `predictions.jsonl`, with its thought if any.

    held_out: scores of validation examples, on which a temperature is fitted (Guo et al. 2017, arXiv 1706.04599);
              None keeps the temperature 1. The softmax over the real labels then gives calibrated probabilities.
    """
    surfaces = tested.prompts.surfaces
    labels = [label for label in surfaces if label != UNCERTAIN]
    places = {label: position for position, label in enumerate(surfaces)}

    def real(said: PromptScores) -> list[float]:
        """The scores of the real labels, without "uncertain"."""
        scores = decoder.scores(said)
        return [scores[places[label]] for label in labels]

    known = list(held_out.read()) if held_out else []
    golds = [labels.index(item.gold) for item in held_out.prompts.items] if held_out else []
    temperature = fit_temperature([real(said) for said in known], golds)
    items = tested.prompts.items
    thought_of = think.read(tested.thoughts.path) if tested.thoughts else None
    invalid = Counter[str]()
    with (out / PREDICTIONS).open("w", encoding="utf-8") as file:
        for place, (item, said) in enumerate(zip(items, tested.read(), strict=True)):
            scores = real(said)
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
            )
            row = asdict(prediction) | {"logprobs": {name: said.logprobs[k] for name, k in places.items()}}
            if thought_of is not None:
                row["thought"] = thought_of[place]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    told = {"temperature": temperature, "held_out": len(known), "invalid": invalid.most_common(3)}
    write_json(out / SUMMARY, {**told, **_vote(tested.prompts)})


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


def _probabilities(labels: Sequence[str], scores: Sequence[float], temperature: float) -> dict[str, float]:
    chances = softmax([score / temperature for score in scores])
    return dict(zip(labels, map(float, chances), strict=True))


def read(folder: Path) -> list[Prediction]:
    """The predictions that `predict` left in `folder`."""
    names = Prediction.__dataclass_fields__

    def prediction(row: dict[str, Any]) -> Prediction:
        return Prediction(**{name: row[name] for name in names})

    with (folder / PREDICTIONS).open(encoding="utf-8") as file:
        return [prediction(json.loads(line)) for line in file]
