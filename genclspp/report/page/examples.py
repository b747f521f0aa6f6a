"""What the page keeps of predictions and prompts: enough to look at every example of every cell.

Labels of all seeds are small integers, probabilities are bytes. A prompt is a list of numbers of pieces, of which
a sweep has few distinct ones, and differs from the prompt before it in the middle only; cells with equal prompts
share them. Whole prompts of 200 cells x 1,000 examples would be 400 MB.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from genclspp.inference.predictions import INVALID, Predictions, Texts
from genclspp.report.page.blocks import Blocks, pack, pack_json
from genclspp.report.results import Results
from genclspp.report.series import Series
from genclspp.store.keys import hash_of

TOP = 5  # labels whose probabilities are kept
WRITTEN = 300  # characters of a completion
THOUGHTS = 20_000_000  # characters of all thoughts together, which share them evenly
THOUGHT = 2000  # characters of one


class Numbers(dict[str, int]):
    """Gives each text that is looked up a number, in the order in which they come."""

    def __missing__(self, text: str) -> int:
        self[text] = len(self)
        return self[text]


class Kept:
    """Fills blocks with the examples of one series after the other.

    labels-SERIES       of all seeds, one after the other: the place of each prediction, 16 bits
    top-SERIES-SEED     places of the likeliest labels, 16 bits; probabilities of these and of the gold one, 255ths
    remarks-SERIES-SEED invalid completions, truncated prompts, thoughts
    prompts-NUMBER      prompts as numbers of pieces, see `changes`
    pieces              the pieces
    examples-SET        ids, gold labels and texts of a set of test examples
    """

    def __init__(self, results: Results, blocks: Blocks) -> None:
        self.results, self.blocks = results, blocks
        self.sets: dict[str, dict[str, Any]] = {}
        self.pieces = Numbers()
        self.prompts: dict[int, int] = {}
        thinking = [record for record in results.records if record.get("reasoning", "none") != "none"]
        self.thought = min(THOUGHT, THOUGHTS // max(1, sum(record["examples"] for record in thinking)))

    def add(self, place: int, series: Series) -> dict[str, Any]:
        """Add what is there of a series: the number of its test set, and of the prompts of each seed."""
        found = [self.results.predictions(record) for record in series.records]
        kept = [each for each in found if each is not None]
        if len(kept) < len(found) or len({_digest(each) for each in kept}) > 1:
            return {"set": None, "prompts": []}
        self.blocks[f"labels-{place}"] = pack(np.stack([each.label for each in kept]).astype("<i2").tobytes())
        number, prompts = self._set(kept[0], series), []
        for seed, (predictions, record) in enumerate(zip(kept, series.records, strict=True)):
            texts = self.results.texts(record)
            self.blocks[f"top-{place}-{seed}"] = pack(top(predictions))
            self.blocks[f"remarks-{place}-{seed}"] = pack_json(self._remarks(predictions, texts))
            prompts.append(self._prompts(texts))
            if texts and not (known := self.sets[_digest(predictions)])["texts"]:
                known["texts"] = texts.texts
        return {"set": number, "prompts": prompts}

    def finish(self) -> list[dict[str, Any]]:
        """Add what the series share; return the sets of test examples."""
        self.blocks["pieces"] = pack_json(list(self.pieces))
        for known in self.sets.values():
            shared = {name: known.pop(name) for name in ("ids", "gold", "texts")}
            self.blocks[f"examples-{known['number']}"] = pack_json(shared)
        return list(self.sets.values())

    def _set(self, predictions: Predictions, series: Series) -> int:
        known = self.sets.setdefault(
            _digest(predictions),
            {
                "number": len(self.sets),
                "dataset": str(series.words.get("dataset", "")),
                "labels": predictions.labels,
                "examples": len(predictions),
                "ids": predictions.ids,
                "gold": predictions.gold.tolist(),
                "texts": None,
            },
        )
        return int(known["number"])

    def _prompts(self, texts: Texts | None) -> int | None:
        """The number of the prompts of a seed; None if it has none."""
        if texts is None or not texts.prompts:
            return None
        digest = hash(texts.prompts)  # of this process only: it names nothing in the page
        if digest not in self.prompts:
            rows = [list(map(self.pieces.__getitem__, prompt)) for prompt in texts.prompts]
            self.blocks[f"prompts-{len(self.prompts)}"] = pack_json(list(changes(rows)))
            self.prompts[digest] = len(self.prompts)
        return self.prompts[digest]

    def _remarks(self, predictions: Predictions, texts: Texts | None) -> dict[str, Any]:
        """What little needs words."""
        invalid = np.flatnonzero(predictions.label == INVALID).tolist()
        thoughts = texts.thoughts if texts else None
        return {
            "written": {place: clipped(predictions.completions[place], WRITTEN) for place in invalid},
            "truncated": np.flatnonzero(predictions.truncated).tolist(),
            "thoughts": thoughts and [clipped(thought, self.thought) for thought in thoughts],
        }


def _digest(predictions: Predictions) -> str:
    """Tells test sets apart."""
    return hash_of([predictions.labels, predictions.ids, predictions.gold.tolist()])


def top(predictions: Predictions) -> bytes:
    """Of one seed: see `Kept`. With fewer than `TOP` labels, all are kept."""
    found = np.nan_to_num(predictions.probabilities)
    # Stable, so that equal probabilities give equal bytes on every machine.
    best = np.argsort(-found, axis=1, kind="stable")[:, :TOP]
    gold = np.take_along_axis(found, predictions.gold[:, None], axis=1)
    shares = np.concatenate([np.take_along_axis(found, best, axis=1).ravel(), gold.ravel()])
    return best.astype("<i2").tobytes() + np.rint(255 * np.clip(shares, 0, 1)).astype("u1").tobytes()


def changes(rows: Sequence[Sequence[int]]) -> Iterable[list[int]]:
    """Each row as: how many entries at its start and at its end it shares with the row before, then the others.

    >>> list(changes([[1, 2, 9], [1, 3, 9], [1, 3, 9]]))
    [[0, 0, 1, 2, 9], [1, 1, 3], [3, 0]]
    """
    before: Sequence[int] = ()
    for row in rows:
        most = min(len(row), len(before))
        start = next((k for k in range(most) if row[k] != before[k]), most)
        end = next((k for k in range(most - start) if row[-1 - k] != before[-1 - k]), most - start)
        yield [start, end, *row[start : len(row) - end]]
        before = row


def clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"
