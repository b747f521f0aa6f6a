"""Sweeps that are killed again and again, and continued each time, until they are done.

What must hold: records equal those of a sweep that nobody disturbed; no finished stage is computed again; nothing
half-written is adopted.
"""

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from subprocess import Popen

from genclspp.store.artifacts import Artifact, Store
from tests.cli import TINY, TINY_RL, artifacts, finish, records, run, start, timeless

SIDES = ("strategy@train=zero_shot,icl,numeric", "strategy@infer=zero_shot,icl,numeric")
MATRIX = ("-m", *TINY, *SIDES, *TINY_RL, "decode=ppl")
# Python runs this before anything else, also in the workers of Ray.
KILLING = """
import os, pathlib, signal

rename, left = pathlib.Path.rename, [int(os.environ.get("SOAK_RENAME", "0"))]

def killing(path, target):
    if path.name.endswith(".partial") and path.is_dir():
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)

pathlib.Path.rename = killing
"""


@dataclass
class Soak:
    """A sweep that is to be killed.

    words:   of its command line
    ways:    "driver": the process that was started, "worker": one that computes a stage on Ray,
             "rename": whichever process is about to adopt an artifact that it has written
    seconds: between which a moment is drawn
    seen:    manifest -> what it was when it was first seen
    """

    words: Sequence[str]
    ways: Sequence[str]
    root: Path
    random: Random
    seconds: tuple[float, float]
    seen: dict[Path, tuple[int, str]] = field(default_factory=dict)
    kills: int = 0

    def undisturbed(self) -> list[dict]:
        """The records of the sweep in one process, without times."""
        outputs = self.root / "undisturbed"
        run(*(word for word in self.words if not word.startswith("hydra")), outputs=outputs).require()
        return [timeless(record) for record in records(outputs)]

    def rounds(self, kills: int) -> Iterator[str]:
        """Kill so many times, and let the sweep end in between when it gets there; yields what happened."""
        expected, number = self.undisturbed(), 0
        while self.kills < kills:
            number += 1
            self.seen.clear()
            outputs = self.root / f"round{number}"
            while self._is_killed(outputs, kills):
                yield f"round {number}, kill {self.kills}: {len(self.seen)} artifacts adopted"
            done = finish(start(*self.words, outputs=outputs)).require()
            self.look(outputs)
            assert [timeless(record) for record in records(outputs)] == expected, done.out
            yield f"round {number}: {len(expected)} records equal, {len(self.seen)} artifacts, each computed once"

    def _is_killed(self, outputs: Path, most: int) -> bool:
        """Start the command and kill it in one of the ways; returns whether that came before its end."""
        if self.kills == most:
            return False
        way = self.random.choice(self.ways)
        process = start(*self.words, outputs=outputs, **self._environment(way))
        until = time.monotonic() + self.random.uniform(*self.seconds)
        while time.monotonic() < until and process.poll() is None:
            time.sleep(0.02)
        if way != "rename":
            kill(process, outputs, way)
        done = finish(process)
        self.look(outputs)
        self.kills += done.code != 0
        return done.code != 0  # of a worker alone: the sweep ends without its cells

    def _environment(self, way: str) -> dict[str, str]:
        if way != "rename":
            return {}
        (self.root / "sitecustomize.py").write_text(KILLING)
        return {"PYTHONPATH": str(self.root), "SOAK_RENAME": str(self.random.randint(1, 4))}

    def look(self, outputs: Path) -> None:
        """Whatever was adopted is whole, and is what it was when it was first seen."""
        store = Store(outputs / "artifacts")
        for folder in artifacts(outputs):
            path = folder / "manifest.json"
            is_now = (path.stat().st_mtime_ns, path.read_text("utf-8"))
            assert self.seen.setdefault(path, is_now) == is_now, f"{folder} was computed again"
            assert store.holds(Artifact(folder.parent.name, folder.name, folder)), f"{folder} is not whole"
        for folder in (outputs / "artifacts").glob("*/*/"):
            assert folder.name.endswith(".partial") or (folder / "manifest.json").exists(), folder


def kill(process: Popen[str], outputs: Path, way: str) -> None:
    """Kill the process, or one that computes a stage for it: it stands in the ledger."""
    if way == "driver":
        process.kill()
        return
    while process.poll() is None:
        for path in sorted((outputs / "results" / "dev" / "ledger" / "stages").glob("*.json")):
            with suppress(FileNotFoundError, ProcessLookupError, ValueError):
                entry = json.loads(path.read_text("utf-8"))
                if entry["state"] == "running":
                    os.kill(entry["process"], signal.SIGKILL)
                    return
        time.sleep(0.005)
