"""Equal work is done once: artifacts stored under the key of what made them.

    outputs/artifacts/<stage>/<key>/manifest.json   written last, then the folder is renamed into place
    outputs/artifacts/<stage>/<key>.partial/        where a stage works; what it finds there, it may go on from
    outputs/artifacts/<stage>/<key>.lock            one process computes, the others wait and reuse

The key is the hash of what the stage's function receives. There is no "latest": a folder with a manifest is
whole, everything else is unfinished.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock

CHECKED = 2**28  # bytes; larger files are not hashed again at every use
VERSIONED = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


@dataclass(frozen=True)
class Artifact:
    """What a stage left. As an input of another stage it counts by its key alone.

    reused: whether it was there before this call
    """

    stage: str
    key: str
    path: Path
    seconds: float = 0.0
    reused: bool = True


@dataclass(frozen=True)
class Store:
    """The artifacts under `root`."""

    root: Path

    def find(self, stage: str, inputs: Mapping[str, Any]) -> Artifact | None:
        """The finished artifact of these inputs, if there is one and it is as it was left.

        One that was changed or damaged since is removed, with a warning, so that it is computed again.
        """
        folder = self.root / stage / key(stage, inputs)
        if not folder.exists():
            return None
        damage = _damage(folder)
        if damage:
            warnings.warn(f"the artifact {folder} is damaged ({damage}); it is computed again", stacklevel=2)
            shutil.rmtree(folder)
            return None
        return Artifact(stage, folder.name, folder, manifest(folder)["seconds"])

    def cached(
        self,
        stage: str,
        function: Callable[..., None],
        inputs: Mapping[str, Any],
        *,
        around: Callable[[], AbstractContextManager[Mapping[str, Any]]] = lambda: nullcontext({}),
        **aside: Any,
    ) -> Artifact:
        """Call `function(**inputs, **aside, out=folder)`, unless equal inputs were worked on before.

        around: entered when the work is ours to do, after waiting for others; what it gives goes to `function` too
        aside:  what does not change the result: batch sizes, devices
        """
        done = self.find(stage, inputs)
        if done:
            return done
        name = key(stage, inputs)
        folder, partial = self.root / stage / name, self.root / stage / f"{name}.partial"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            done = self.find(stage, inputs)  # another process may have finished it while we waited
            if done:
                return done
            partial.mkdir(exist_ok=True)
            with around() as given:
                start = time.monotonic()
                function(**inputs, **aside, **given, out=partial)
                seconds = round(time.monotonic() - start, 3)
            _finish(partial, stage, inputs, seconds)
            partial.rename(folder)
            _sync(folder.parent)
        return Artifact(stage, name, folder, seconds, reused=False)


def key(stage: str, inputs: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that stand for a stage and its inputs."""
    text = json.dumps([stage, plain(inputs)], sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """`value` as JSON types. Artifacts and policies count by their key, records by their fields.

    A field with the metadata {"keyed": "where set"} is left out while it has its default.
    """
    if hasattr(value, "key") and isinstance(value.key, str):
        return {"key": value.key}
    if is_dataclass(value) and not isinstance(value, type):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        unset = {f.name for f in fields(value) if f.metadata.get("keyed") and vars(value)[f.name] == f.default}
        return {"is": kind} | {name: plain(part) for name, part in vars(value).items() if name not in unset}
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(part) for part in value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a stage cannot be keyed by a {type(value).__name__}: {value!r}")


def manifest(folder: Path) -> dict[str, Any]:
    """What is on record of a finished artifact."""
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all: into a neighbour, synced, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@cache
def versions() -> dict[str, str]:
    """What the numbers were made with; reads package metadata, imports nothing."""
    found = {"python": sys.version.split()[0], "genclspp": metadata.version("genclspp")}
    return found | {name: metadata.version(name) for name in VERSIONED}


@cache
def commit() -> str | None:
    """The commit of the source tree, with "+changes" where it differs from it; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "HEAD")
    return f"{head}+changes" if head and git("status", "--porcelain", "--", str(here)) else head


def _damage(folder: Path) -> str | None:
    """What is not as the manifest says, if anything."""
    try:
        files = manifest(folder)["files"]
    except (OSError, ValueError, KeyError):
        return "its manifest cannot be read"
    for name, known in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size <= CHECKED and digest(path) != known:
            return f"{name} was changed"
    return None


def _finish(folder: Path, stage: str, inputs: Mapping[str, Any], seconds: float) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    for path in files:
        _sync(path)
    written = {
        "stage": stage,
        "inputs": {name: _outline(plain(value)) for name, value in inputs.items()},
        "files": {str(path.relative_to(folder)): digest(path) for path in files},
        "seconds": seconds,
        "versions": versions(),
        "commit": commit(),
    }
    write_json(folder / "manifest.json", written)
    _sync(folder)


def _outline(value: Any) -> Any:
    """`value` itself where it is short, else its hash: a manifest need not repeat a data set."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return value if len(text) <= 2000 else {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
