"""Sweeps for tests of reports: real records and real predictions, made up instead of computed."""

from pathlib import Path
from typing import Any

import numpy as np

from genclspp.inference import metrics, predictions
from genclspp.inference.predictions import INVALID, Predictions, Texts
from genclspp.report.results import Results
from genclspp.store.files import write_json

LABELS = ("a", "b", "c")
Record = dict[str, Any]
SAME = {"name": "dev", "dataset": "tickets", "train": "icl", "infer": "icl", "decode": "ppl", "rl": "none"}


def predicted(right: float, seed: int, examples: int, writes: bool = False) -> Predictions:
    """Predictions of which a share `right` is right, on the same examples and gold labels for every seed.

    Easy examples are right in all cells, as those of real sweeps are.

    writes: whether all others are invalid, as what a model writes may be
    """
    gold = np.random.default_rng(0).integers(0, 3, examples)
    hard = np.random.default_rng(1).random(examples)
    own = np.random.default_rng(seed + 2).random(examples)
    order = np.argsort(0.8 * hard + 0.2 * own)
    label = gold.copy()
    wrong = order[round(right * examples) :]
    label[wrong] = other = (gold[wrong] + 1) % 3
    forced = label.copy()
    label[wrong] = INVALID if writes else other
    chances = np.full((examples, 3), 0.1, dtype=np.float32)
    chances[np.arange(examples), forced] = 0.8
    ids = tuple(map(str, range(examples)))
    answers = tuple(LABELS[place] for place in forced)
    return Predictions(
        LABELS, ids, gold, label, label, chances, np.log(chances), answers, np.zeros(examples, bool)
    )


def add(
    root: Path,
    right: float,
    seed: int = 0,
    *,
    examples: int = 200,
    lost: bool = False,
    writes: bool = False,
    **words: Any,
) -> Record:
    """Write a record, and its predictions unless they are `lost`; returns the record.

    words: its entries; None takes one away
    """
    same = {**SAME, "digest/test": f"{words.get('dataset', 'tickets')}{examples}", **words, "seed": seed}
    key = "".join(char if char.isalnum() else "_" for char in "".join(map(str, same.values())))
    found, texts = predicted(right, seed, examples, writes), Texts(("",) * examples)
    measured = metrics.compute(predictions.rows(found, texts), LABELS)
    if not lost:
        folder = root / "artifacts" / "predict" / key
        folder.mkdir(parents=True)
        predictions.write(folder, "test", found, texts)
    validated = {f"validation/{name}": value for name, value in measured.items()}
    commit = {"commit": "0123456789abcdef", "seconds": 61.0, "seconds/sft": 60.0, "memory/sft": 2.5e9}
    whole = {**same, "artifact/predict": key, **measured, **validated, **commit, **words}
    record = {name: value for name, value in whole.items() if value is not None}
    write_json(root / "results" / record["name"] / f"{key}.json", record)
    return record


def results(root: Path, *found: Record) -> Results:
    return Results(found, root / "artifacts")
