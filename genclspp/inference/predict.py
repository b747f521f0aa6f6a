"""Inference's last step: from readings to labels and calibrated probabilities."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from genclspp.inference.decode import Decoder, Reading, best
from genclspp.inference.metrics import Prediction, fit_temperature, softmax
from genclspp.store import write_json
from genclspp.task import UNCERTAIN

ROWS = "predictions.jsonl"


def predict(
    ids: Sequence[str],
    golds: Sequence[str],
    truncated: Sequence[bool],
    readings: Sequence[Reading],
    held_out: Sequence[Reading],
    held_out_golds: Sequence[str],
    surfaces: Mapping[str, str],
    decoder: Decoder,
    out: Path,
    thoughts: Sequence[str] = (),
) -> None:
    """Decode `readings`; leave one row per example in `predictions.jsonl`.

    thoughts: what was thought before each answer, to be read there; the decoders have seen it as part of a prompt
    held_out: readings of validation examples. A temperature is fitted on them (Guo et al. 2017, arXiv 1706.04599),
    so that the softmax over the real labels can be read as probabilities.
    """
    labels = [label for label in surfaces if label != UNCERTAIN]
    places = {label: position for position, label in enumerate(surfaces)}

    def real(reading: Reading) -> list[float]:
        scores = decoder.scores(reading)
        return [scores[places[label]] for label in labels]

    temperature = fit_temperature(
        [real(reading) for reading in held_out], [labels.index(gold) for gold in held_out_golds]
    )
    with (out / ROWS).open("w", encoding="utf-8") as file:
        for place, (id, gold, cut, reading) in enumerate(zip(ids, golds, truncated, readings, strict=True)):
            scores = real(reading)
            chances = softmax([score / temperature for score in scores])
            label = decoder.choose(reading, surfaces)
            prediction = Prediction(
                id=id,
                gold=gold,
                label=label,
                forced=labels[best(scores)],
                completion=surfaces[label] if reading.completion is None and label else reading.completion or "",
                probabilities=dict(zip(labels, map(float, chances), strict=True)),
                truncated=cut,
            )
            row = asdict(prediction) | {"logprobs": {name: reading.logprobs[k] for name, k in places.items()}}
            if thoughts:
                row["thought"] = thoughts[place]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    write_json(out / "summary.json", {"temperature": temperature, "held_out": len(held_out)})


def read(folder: Path) -> list[Prediction]:
    """The predictions that `predict` left in `folder`."""
    names = Prediction.__dataclass_fields__
    with (folder / ROWS).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [Prediction(**{name: row[name] for name in names}) for row in rows]
