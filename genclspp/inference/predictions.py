"""The predictions of a cell on a split: columns in parquet files, labels and probabilities apart from texts.

predictions.parquet        of the test split: a row per example, what `Predictions` holds
texts.parquet              of the same examples, in the same order: what `Texts` holds
validation.parquet, validation_texts.parquet      the same of the validation examples
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genclspp.inference.metrics import Prediction
from genclspp.store import manifests
from genclspp.suggest import UserError
from genclspp.task import UNCERTAIN

INVALID, ABSTAINED = -1, -2  # places of an answer that is no label
FILES = {"test": ("predictions", "texts"), "validation": ("validation", "validation_texts")}


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model answered, as columns.

    labels:        in label order, without "uncertain"
    ids:           (examples,)
    gold:          (examples,) place of the gold label in `labels`
    label:         (examples,) place of the answer as parsed, `INVALID` or `ABSTAINED`
    forced:        (examples,) place of the real label with the best score, whatever was written
    probabilities: (examples, labels) calibrated, float32
    logprobs:      (examples, surfaces) of all answers before calibration, in nats, float32; "uncertain" comes last
    completions:   (examples,) what was written
    truncated:     (examples,) whether the prompt was truncated to fit the model
    """

    labels: tuple[str, ...]
    ids: tuple[str, ...]
    gold: np.ndarray
    label: np.ndarray
    forced: np.ndarray
    probabilities: np.ndarray
    logprobs: np.ndarray
    completions: tuple[str, ...]
    truncated: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Texts:
    """What was read to get the predictions: one entry per example.

    thoughts: None without reasoning
    prompts:  each as its lines with their ends, of which a split has few distinct ones; "".join gives the prompt.
              Empty for a method without prompts
    """

    texts: tuple[str, ...]
    thoughts: tuple[str, ...] | None = None
    prompts: tuple[tuple[str, ...], ...] = ()


def lines(prompt: str) -> tuple[str, ...]:
    """A prompt as its lines, with their ends."""
    return tuple(prompt.splitlines(keepends=True))


def write(folder: Path, split: str, predictions: Predictions, texts: Texts) -> None:
    """Write both files of a split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [*predictions.labels, UNCERTAIN]

    def named(places: np.ndarray) -> Any:
        chosen = np.where(places == ABSTAINED, len(predictions.labels), places)
        return pa.DictionaryArray.from_arrays(pa.array(chosen, pa.int32(), mask=chosen == INVALID), names)

    columns = {
        "id": pa.array(predictions.ids, pa.string()),
        **{name: named(getattr(predictions, name)) for name in ("gold", "label", "forced")},
        **{name: _lists(getattr(predictions, name)) for name in ("probabilities", "logprobs")},
        "completion": pa.array(predictions.completions, pa.string()),
        "truncated": pa.array(predictions.truncated, pa.bool_()),
    }
    read = {"id": columns["id"], "text": pa.array(texts.texts, pa.string())}
    if texts.thoughts is not None:
        read["thought"] = pa.array(texts.thoughts, pa.string())
    if texts.prompts:
        read["prompt"] = pa.array(texts.prompts, pa.list_(pa.string()))
    said = pa.table(columns).replace_schema_metadata({"labels": json.dumps(predictions.labels)})
    for name, table in zip(FILES[split], (said, pa.table(read)), strict=True):
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")


def read(folder: Path, split: str = "test") -> Predictions:
    """The predictions of a split; raises FileNotFoundError without any, UserError where they are damaged."""
    table = _read(folder / f"{FILES[split][0]}.parquet")
    try:
        labels = tuple(json.loads(table.schema.metadata[b"labels"]))
        return Predictions(
            labels=labels,
            ids=tuple(table["id"].to_pylist()),
            **{name: _places(table[name], labels) for name in ("gold", "label", "forced")},
            **{name: _matrix(table[name]) for name in ("probabilities", "logprobs")},
            completions=tuple(table["completion"].to_pylist()),
            truncated=table["truncated"].to_numpy(),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(folder / f"{FILES[split][0]}.parquet", error) from None


def read_texts(folder: Path, split: str = "test") -> Texts:
    """The texts of a split; raises what `read` raises."""
    table = _read(folder / f"{FILES[split][1]}.parquet")
    found = {name: tuple(table[name].to_pylist()) for name in table.column_names}
    return Texts(found["text"], found.get("thought"), tuple(map(tuple, found.get("prompt", ()))))


def rows(predictions: Predictions, texts: Texts) -> list[Prediction]:
    """One object per example, as metrics take them."""
    labels = predictions.labels
    names = {**dict(enumerate(labels)), ABSTAINED: UNCERTAIN, INVALID: None}
    columns = (getattr(predictions, name).tolist() for name in ("gold", "label", "forced", "truncated"))
    return [
        Prediction(
            id=id,
            gold=labels[gold],
            label=names[label],
            forced=labels[forced],
            completion=completion,
            probabilities=dict(zip(labels, map(float, probabilities), strict=True)),
            truncated=truncated,
            text=text,
        )
        for id, gold, label, forced, truncated, completion, probabilities, text in zip(
            predictions.ids,
            *columns,
            predictions.completions,
            predictions.probabilities.tolist(),
            texts.texts,
            strict=True,
        )
    ]


def _read(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    manifests.check(path.parent, path.name)
    try:
        with pq.ParquetFile(path) as file:  # read_table takes twice as long for a small file
            return file.read(use_threads=False)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None


def _broken(path: Path, error: Exception) -> UserError:
    told = str(error).splitlines()[0]
    return UserError(f"{path} cannot be read as predictions ({told}); delete {path.parent} and run its cell again")


def _lists(table: np.ndarray) -> Any:
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(table, dtype=np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, table.shape[1])


def _matrix(column: Any) -> np.ndarray:
    whole = column.combine_chunks()
    return whole.flatten().to_numpy().reshape(len(whole), whole.type.list_size)


def _places(column: Any, labels: Sequence[str]) -> np.ndarray:
    """Places in `labels`, whatever the order of the names in the file."""
    coded = column.unify_dictionaries().combine_chunks()
    known = {**{label: place for place, label in enumerate(labels)}, UNCERTAIN: ABSTAINED}
    places = np.array([*(known[name] for name in coded.dictionary.to_pylist()), INVALID])
    return places[coded.indices.fill_null(len(places) - 1).to_numpy()]
