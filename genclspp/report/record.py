"""The record of a cell: one flat line of all that was chosen, measured and spent."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genclspp.settings import Cell
from genclspp.store import Artifact, key, manifest, plain


def summarise(cell: Cell, done: Sequence[Artifact], measured: Mapping[str, Any]) -> dict[str, Any]:
    """The flat record of a cell."""
    record: dict[str, Any] = {"name": cell.sweep, **cell.choices, "seed": cell.seed}
    record |= {"overrides": cell.overrides, **measured}
    for artifact in done:
        # Of stages that ran twice, the first: it read the test split, the other one validation.
        record.setdefault(f"artifact/{artifact.stage}", artifact.key)
        record[f"seconds/{artifact.stage}"] = record.get(f"seconds/{artifact.stage}", 0) + artifact.seconds
        told = summary(artifact.path)
        if "unclosed_share" in told:
            record.setdefault("unclosed_share", told["unclosed_share"])  # that of the test split likewise
        for name, value in told.items():
            if name in ("tokens", "temperature"):
                record[f"{name}/{artifact.stage}"] = record.get(f"{name}/{artifact.stage}", 0) + value
            elif name.startswith(f"{artifact.stage}/"):
                record[name] = value
    record["seconds"] = round(sum(artifact.seconds for artifact in done), 3)
    return record | _origin([manifest(artifact.path) for artifact in done])


def _origin(manifests: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """The versions and commits that computed the artifacts, whenever that was; several are joined by " + "."""
    found: dict[str, list[str]] = {}
    for one in manifests:
        for name, value in {
            **{f"version/{k}": v for k, v in one["versions"].items()},
            "commit": one["commit"],
        }.items():
            found.setdefault(name, [])
            if value and value not in found[name]:
                found[name].append(value)
    return {name: " + ".join(values) or None for name, values in found.items()}


def record_path(cell: Cell) -> Path:
    """Where the record of a cell lies: its choices, readable, and a hash of all that decides its numbers."""
    words = [cell.choices[name] for name in ("dataset", "model", "train", "infer", "decode")]
    words += [cell.choices["reasoning"]] if cell.reasoning.enabled else []
    readable = "-".join("".join(c if c.isalnum() or c in "_+" else "_" for c in word) for word in words)
    inputs = {
        name: plain(value)
        for name, value in vars(replace(cell, predict=replace(cell.predict, batch_size=0))).items()
        if name not in ("sweep", "outputs", "tracking", "config", "overrides")
    }
    if not cell.reasoning.enabled:  # so that records from before there was any keep their place
        del inputs["reasoning"], inputs["choices"]["reasoning"]
    return Path(cell.outputs) / "results" / cell.sweep / f"{readable[:100]}-{key('cell', inputs)}.json"


def summary(folder: Path) -> dict[str, Any]:
    """What a stage said of its work, where it did."""
    path = folder / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
