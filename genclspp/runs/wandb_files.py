"""The files of W&B runs: where they are staged, which are out of date, and what they say.

A run is a log in LevelDB's format that holds protobuf records: a header of 7 bytes (":W&B", magic 0xBEE1,
version), then blocks of 32 KiB; in a block, chunks of checksum (4 bytes), length (2), type (1: full, 2: first,
3: middle, 4: last) and data. A chunk never starts in the last 6 bytes of a block.
https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

import json
import os
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024
HEADER = 7


CONTENT = "content.sha256"  # beside the log of an aggregate: the hash of what it says


def drop_earlier(run: Any) -> None:
    """Remove what an earlier, interrupted attempt left of this run: uploading both would merge them.

    https://github.com/wandb/wandb/issues/10435
    """
    here = Path(run.settings.sync_dir)
    for log in here.parent.glob(f"*run-*/run-{run.id}.wandb"):
        if log.parent != here:
            shutil.rmtree(log.parent, ignore_errors=True)


def says(root: Path, id_: str, content: str) -> bool:
    """Whether a run has been written with this content; written again, it would be uploaded again."""
    marks = [log.parent / CONTENT for log in (root / "wandb").glob(f"*run-*/run-{id_}.wandb")]
    return any(path.exists() and path.read_text(encoding="utf-8") == content for path in marks)


def mark(run: Any, content: str) -> None:
    """Note what a run says, for `says`."""
    (Path(run.settings.sync_dir) / CONTENT).write_text(content, encoding="utf-8")


@contextmanager
def staging_inside(folder: Path) -> Iterator[None]:
    """Make wandb stage the files of tables in `folder`; by default it fills the home folder, offline forever.

    Only the environment can set the place, which wandb reads when a table is logged.
    """
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder / "data")
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


@dataclass
class Run:
    """What one file tells.

    bests:     metric -> "min" or "max", where the summary keeps the best value beside the last
    exit_code: None where the run was never finished
    """

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
    bests: dict[str, str] = field(default_factory=dict)
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
        elif kind == "metric":
            keeps = record.metric.summary
            run.bests |= {record.metric.name: "min"} if keeps.min else {}
            run.bests |= {record.metric.name: "max"} if keeps.max else {}
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
