"""Reads the files of offline W&B runs: a log in LevelDB's format that holds protobuf records.

The format: a header of 7 bytes (":W&B", magic 0xBEE1, version), then blocks of 32 KiB; in a block, chunks of
checksum (4 bytes), length (2), type (1: full, 2: first, 3: middle, 4: last) and data. A chunk never starts in
the last 6 bytes of a block. https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024
HEADER = 7


@dataclass
class Run:
    """What one file tells. `exit_code` is None where the run was never finished."""

    folder: Path
    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    host: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    started: float = 0.0

    @property
    def is_finished(self) -> bool:
        return self.exit_code is not None


def read_runs(folder: Path, wait: float = 5.0) -> list[Run]:
    """The runs below `folder`, in the order in which they began.

    W&B's own process writes a little after `finish` has returned: waits until all runs are finished, or
    `wait` seconds.
    """
    until = time.monotonic() + wait
    while True:
        runs = [read_run(file) for file in folder.rglob("run-*.wandb")]
        if all(run.is_finished for run in runs) or time.monotonic() > until:
            return sorted(runs, key=lambda run: run.started)
        time.sleep(0.02)


def read_run(file: Path) -> Run:
    from wandb.proto import wandb_internal_pb2

    run = Run(file.parent)
    for data in read_records(file):
        record = wandb_internal_pb2.Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            told = record.run
            run.id, run.name, run.project, run.host = told.run_id, told.display_name, told.project, told.host
            run.started = told.start_time.seconds + told.start_time.nanos / 1e9
            run.group, run.job_type, run.tags = told.run_group, told.job_type, list(told.tags)
            run.config |= _items(told.config.update)
        elif kind == "config":
            run.config |= _items(record.config.update)
        elif kind == "history":
            run.history.append(_items(record.history.item))
        elif kind == "summary":
            run.summary |= _items(record.summary.update)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    run.config.pop("_wandb", None)
    return run


def read_records(file: Path) -> Iterator[bytes]:
    data = file.read_bytes()
    if data[:4] != b":W&B":
        raise ValueError(f"{file.name} is no W&B log: it begins with {data[:4]!r}")
    place, parts = HEADER, b""
    while place + HEADER <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        length, type_ = struct.unpack_from("<HB", data, place + 4)
        if type_ == 0:  # a block that was made longer than what has been written into it
            place += left
            continue
        if place + HEADER + length > len(data):
            return  # the rest is not written yet
        parts += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if type_ in (1, 4):
            yield parts
            parts = b""


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): _value(item) for item in items}


def _value(item: Any) -> Any:
    if item.value_json:
        return json.loads(item.value_json)
    kind = item.WhichOneof("value")  # history may be typed instead
    return None if kind in (None, "none") else getattr(item, kind)
