"""Equal work is done once: artifacts are stored under a key that is the hash of what made them.

    outputs/artifacts/<stage>/<key>/manifest.json   written last, then the folder is renamed into place
    outputs/artifacts/<stage>/<key>.partial/        where a stage works, and may resume what it finds there
    outputs/artifacts/<stage>/<key>.lock            one process computes, the others wait and reuse
    outputs/artifacts/<stage>/<key>.damaged/        what was found to differ from its manifest

The key hashes the stage's name, its version and its inputs, so it is known before the stage runs. Keys chain: an
artifact that is an input is hashed by its own key. There is no "latest": a folder with a manifest is complete,
everything else is unfinished.
"""

import hashlib
import inspect
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from genclspp.store import filesystem, meter
from genclspp.store.files import sync
from genclspp.store.keys import NotKnownYet, hash_of, plain
from genclspp.store.manifests import damage, write_manifest

Function = TypeVar("Function", bound=Callable[..., None])


class Busy(Exception):
    """Another process is computing the artifact."""


@dataclass(frozen=True)
class Work:
    """What a step has to do: it takes time in proportion to its amount, compared with others of the same kind."""

    amount: float = 1.0
    kind: str = ""


def _alike(**_: Any) -> Work:
    """All steps of the stage take about as long."""
    return Work()


@dataclass(frozen=True)
class Stage:
    """What represents a stage's code in its keys. Raise `version` when the stage computes something else.

    work: tells the `Work` from the inputs, for estimates; no part of keys
    """

    name: str
    version: int
    work: Callable[..., Work] = _alike


def stage(name: str, version: int, work: Callable[..., Work] = _alike) -> Callable[[Function], Function]:
    """Decorator that makes a function `(inputs…, out: Path) -> None` a stage.

    Two more parameters may follow that are not inputs, as they do not change the result: `watch`, which receives
    progress, and `batch_size`. `work`: see `Stage`; it is called with the inputs.
    """

    def mark(function: Function) -> Function:
        vars(function)["stage"] = Stage(name, version, work)
        return function

    return mark


@dataclass(frozen=True)
class Artifact:
    """What a stage leaves, or will leave. As an input of another stage it is hashed by its key alone.

    key: None while it depends on what another stage has yet to leave
    """

    stage: str
    key: str | None
    path: Path


@dataclass(frozen=True, eq=False)
class Step:
    """A stage with its inputs: work to be done once, under a key that is known beforehand.

    call: the stage with its inputs as keywords; a partial, so that mypy checks them against its parameters
    role: what it is for in its cell, such as "prior": its name in records, on the terminal and in W&B
    """

    store: "Store"
    call: "partial[None]"
    role: str

    @cached_property
    def stage(self) -> Stage:
        return vars(self.call.func)["stage"]

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """The inputs as JSON types; raises `NotKnownYet` while the key of one is not known."""
        return {name: plain(value) for name, value in self.call.keywords.items()}

    @cached_property
    def artifact(self) -> Artifact:
        try:
            name: str | None = hash_of([self.stage.name, self.stage.version, self.inputs])
        except NotKnownYet:
            name = None
        return Artifact(self.stage.name, name, self.store.root / self.stage.name / (name or "not known yet"))

    @cached_property
    def work(self) -> Work:
        return self.stage.work(**self.call.keywords)

    def takes(self, name: str) -> bool:
        return name in inspect.signature(self.call.func).parameters


@dataclass(frozen=True)
class Store:
    """The artifacts under `root`."""

    root: Path

    def step(self, call: "partial[None]", role: str = "") -> Step:
        """A step from a stage with its inputs, `partial(stage, name=value, …)`; `role` defaults to its name."""
        return Step(self, call, role or vars(call.func)["stage"].name)

    def holds(self, artifact: Artifact) -> bool:
        """Whether an artifact is finished and unchanged."""
        return artifact.key is not None and artifact.path.exists() and not damage(artifact.path)

    def carry_out(
        self,
        step: Step,
        around: Callable[[], AbstractContextManager[Mapping[str, Any]]] = lambda: nullcontext({}),
        *,
        waits: bool = True,
    ) -> bool:
        """Make sure that the artifact of `step` exists; returns whether it was computed now.

        around: entered only if this process computes, once it holds the lock; what it yields is passed to the
                stage along with the inputs (batch size, watch: whatever does not change the result)
        waits:  while another process computes it; else that raises `Busy`

        Raises ValueError if the key of `step` is not known yet.
        """
        artifact = step.artifact
        if artifact.key is None:
            raise ValueError(f"the stage {artifact.stage!r} depends on a stage that has not run yet")
        if self.holds(artifact):  # without the lock, which a finished artifact does not need
            return False
        folder, partial_folder = artifact.path, artifact.path.with_name(f"{artifact.key}.partial")
        filesystem.check(self.root)
        folder.parent.mkdir(exist_ok=True)
        with _lock(folder.with_name(f"{artifact.key}.lock"), waits):
            if self.holds(artifact):  # another process may have finished it while we waited
                return False
            if folder.exists():  # moved under the lock only, or it might be one that another process has just made
                _set_aside(folder)
            partial_folder.mkdir(exist_ok=True)  # it exists if an earlier attempt was interrupted
            with around() as given:
                can_measure, start = meter.restart(), time.monotonic()
                try:
                    step.call(**given, out=partial_folder)
                except BaseException:
                    if not any(partial_folder.iterdir()):  # nothing to resume
                        partial_folder.rmdir()
                    raise
                used = {
                    "seconds": round(time.monotonic() - start, 3),
                    "memory": meter.peak() if can_measure else None,
                    "device": meter.device(),
                }
            # The order makes it crash-safe: files and manifest reach the disk before the rename, which is atomic,
            # so a folder under its final name is complete. The last sync makes the rename itself durable.
            _finish(partial_folder, step, used)
            partial_folder.rename(folder)
            sync(folder.parent)
        return True


@contextmanager
def _lock(path: Path, waits: bool) -> Iterator[None]:
    """The right to compute an artifact; raises `Busy` if another process has it and we do not wait."""
    from filelock import Timeout

    if not waits and not filesystem.has_locks(path.parent):  # whoever does not wait was told what to compute
        yield
        return
    lock = filesystem.lock(path)
    try:
        lock.acquire(blocking=waits)
    except Timeout:
        raise Busy(f"another process has {path}") from None
    try:
        yield
    finally:
        lock.release()


def _set_aside(folder: Path) -> None:
    """Move a damaged artifact out of the way, in place of one that was damaged before, and say so."""
    aside = folder.with_name(f"{folder.name}.damaged")
    found = damage(folder)
    if aside.exists():
        shutil.rmtree(aside)
    folder.rename(aside)
    told = f"the artifact {folder} is damaged ({found}); it is set aside in {aside.name} and computed again"
    warnings.warn(told, stacklevel=3)


def _finish(folder: Path, step: Step, used: Mapping[str, Any]) -> None:
    """Sync all files of a partial folder, then write the manifest that declares it complete.

    used: what computing took: seconds, peak bytes of memory (None if unknown), device
    """
    inputs = {name: outline(value) for name, value in step.inputs.items()}
    of = {"stage": step.stage.name, "version": step.stage.version, "inputs": inputs}
    write_manifest(folder, {**of, **used, "work": vars(step.work)})


def outline(value: Any) -> Any:
    """`value` itself if it is short, else its hash: a manifest need not repeat a data set."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return value if len(text) <= 2000 else {"sha256": hashlib.sha256(text.encode()).hexdigest()}
