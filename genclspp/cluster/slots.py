"""Slots on Ray: what this machine, or a cluster, can compute at once. One process of its own computes in each.

Ray starts the processes, on whichever machine, and notices when one dies. What waits, and for what, is decided in
`schedule.py`: a task is handed over only when there is room for it.
"""

import os
import re
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genclspp.cluster.schedule import RECORD
from genclspp.cluster.worker import Job, Outcome, work
from genclspp.suggest import UserError, hint, reason

TRAINING = ("sft", "rl", "head")
READING = ("score", "complete", "score_prompts", "think", "classify")
KINDS = (*TRAINING, *READING, "predict", RECORD, "base", "convert", "neighbours", "mine")
ASKED = {"num_cpus": 0.01, "num_gpus": 0}  # what can be asked for, and the least of it
PATIENCE = 5.0  # seconds that a cluster has to answer
IDLE_WORDS = re.compile(r"^\s|[Ww]arning:|^\S+ \S+ (WARNING|INFO|DEBUG) ")
LOST = "the machine that it ran on was lost"


@dataclass(frozen=True)
class Needs:
    """What a stage of a kind takes: processors, which are also its threads, and GPUs or parts of one."""

    cpus: float = 1.0
    gpus: float = 0.0


class Slots:
    """The slots of a Ray cluster. Use it as a context.

    address: "host:port" of a running cluster, or "auto" for the one of this machine; None starts one
    slots:   processors of this machine to compute with; None for all physical cores; without an `address` only
    wanted:  kind of stage -> what it takes, `{"num_cpus": …, "num_gpus": …}`; None where we decide
    """

    def __init__(
        self, address: str | None, slots: int | None, wanted: Mapping[str, Mapping[str, float | None]]
    ) -> None:
        for kind, asked in wanted.items():
            if kind not in KINDS:
                raise UserError(f"hydra.launcher.resources.{kind} is no kind of stage; {hint(kind, KINDS)}")
            if not isinstance(asked, Mapping | None):
                raise UserError(
                    f"hydra.launcher.resources.{kind}={asked}; expected {kind}.num_cpus=… or num_gpus=…"
                )
            for name, value in (asked or {}).items():
                if name not in ASKED:
                    raise UserError(f"unknown key hydra.launcher.resources.{kind}.{name}; {hint(name, ASKED)}")
                _require_number(f"resources.{kind}.{name}", value, ASKED[name])
        if slots is not None:
            _require_number("slots", slots, 1)
            if slots != int(slots):
                raise UserError(f"hydra.launcher.slots={slots}; expected a whole number")
        on_stop = signal.getsignal(signal.SIGTERM)
        self._ray = _connect(address, slots)
        signal.signal(signal.SIGTERM, on_stop)  # Ray has set its own, which ends in a dump of the stack
        self._running: dict[Any, tuple[str, Job]] = {}  # reference of Ray -> kind and job
        self._used: dict[str, float] = defaultdict(float)
        self._remote: dict[str, Any] = {}
        self._read_room()
        self.needs = {kind: self._decide(kind, wanted.get(kind) or {}) for kind in KINDS}

    def __enter__(self) -> "Slots":
        return self

    def __exit__(self, *_: Any) -> None:
        self._ray.shutdown()

    def fits(self, kind: str) -> bool:
        """Whether there is room for one more task of a kind."""
        needs = self.needs[kind]
        return all(
            self._used[name] + amount <= self._room.get(name, 0.0) + 1e-6 for name, amount in _amounts(needs)
        )

    def threads(self, kind: str) -> int:
        """How many threads a task of a kind computes with."""
        return max(int(self.needs[kind].cpus), 1)

    def start(self, kind: str, job: Job) -> Any:
        """Hand over a job; returns what `wait` will call it."""
        needs = self.needs[kind]
        if kind not in self._remote:
            # A stage that has killed its process would kill the next one too.
            how = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "max_retries": 0, "name": kind}
            self._remote[kind] = self._ray.remote(**how)(work)
        reference = self._remote[kind].remote(job)
        self._running[reference] = kind, job
        for name, amount in _amounts(needs):
            self._used[name] += amount
        return reference

    def wait(self, seconds: float) -> list[tuple[Any, Outcome]]:
        """The jobs that have ended; waits for the first one, but not longer than some seconds."""
        if not self._running:
            time.sleep(seconds)
            return []
        ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if ended:
            more, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            ended = more or ended
        self._read_room()
        if not ended and not any(machine["Alive"] for machine in self._ray.nodes()):
            raise UserError(
                "Ray has lost all of its machines, this one included; the same command goes on from here"
            )
        return [(reference, self._end(reference)) for reference in ended]

    def stop(self) -> None:
        """Kill what is running."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)

    def _end(self, reference: Any) -> Outcome:
        """Give back what a job had, and say what became of it."""
        errors = self._ray.exceptions
        kind, job = self._running.pop(reference)
        for name, amount in _amounts(self.needs[kind]):
            self._used[name] -= amount
        try:
            return self._ray.get(reference)
        except (errors.NodeDiedError, errors.LocalRayletDiedError, errors.ObjectLostError):
            return Outcome("busy", LOST)
        except errors.OutOfMemoryError:
            return Outcome("failed", "Ray stopped its process, as the machine ran out of memory")
        except errors.WorkerCrashedError:
            return Outcome("failed", f"its process died{_last_words(Path(job.log))}")

    def _read_room(self) -> None:
        """How much there is in all: machines may join a cluster, and leave it."""
        self._room = self._ray.cluster_resources()

    def _decide(self, kind: str, wanted: Mapping[str, float | None]) -> Needs:
        """What a kind of stage takes; raises UserError where no machine has as much."""
        has_gpu = self._room.get("GPU", 0) > 0
        own = {TRAINING: 1.0, READING: 0.5}
        share = next((part for kinds, part in own.items() if kind in kinds), 0.0) if has_gpu else 0.0
        cpus, gpus = wanted.get("num_cpus"), wanted.get("num_gpus")
        needs = Needs(1.0 if cpus is None else float(cpus), share if gpus is None else float(gpus))
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        for name, amount in _amounts(needs):
            most = max((machine.get(name, 0.0) for machine in machines), default=0.0)
            if amount > most:
                least = f"{most:g} or less, as no machine has more" if most else f"0, as no machine has a {name}"
                raise UserError(
                    f"hydra.launcher.resources.{kind}.num_{name.lower()}s={amount:g}; expected {least}"
                )
        return needs


def _last_words(log: Path) -> str:
    """What a process wrote last, but for warnings, of which a second line is indented."""
    lines = log.read_text("utf-8", errors="replace").split("\n") if log.exists() else []
    words = (line for line in reversed(lines) if line.strip() and not IDLE_WORDS.search(line))
    said = next(words, "").strip()
    return f"; its last words: {said[:200]}" if said else ", without a word: it was killed, or ran out of memory"


def _require_number(key: str, value: Any, least: float) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < least):
        raise UserError(f"hydra.launcher.{key}={value}; expected a number, {least:g} or more")


def _amounts(needs: Needs) -> tuple[tuple[str, float], ...]:
    """Ray's names of what is needed, and how much."""
    return ("CPU", needs.cpus), ("GPU", needs.gpus)


def _connect(address: str | None, slots: int | None) -> Any:
    """Start Ray on this machine, or connect to a running one; raises UserError if it does not answer."""
    import ray
    import ray.exceptions

    from genclspp.runs import threads

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray reports to its makers
    quietly: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    if address is None:
        ray.init(num_cpus=slots or threads.cores(), **quietly)
        return ray
    if slots is not None:
        raise UserError(f"hydra.launcher.slots={slots} is about this machine alone; a cluster has its own")
    _require_answer(address)
    quietly.pop("include_dashboard")
    try:
        ray.init(address=address, **quietly)
    except ConnectionError as error:
        if address == "auto":
            raise UserError(
                f"hydra.launcher.address=auto: no Ray cluster runs on this machine ({reason(error)})"
            ) from None
        raise UserError(
            f"hydra.launcher.address={address}: no Ray cluster lets us in ({reason(error)}); "
            "RAY_AUTH_MODE=token is for those that want a token, as Ray's own do"
        ) from None
    return ray


def _require_answer(address: str) -> None:
    """Raise UserError where nothing listens: Ray itself would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"hydra.launcher.address={address}; expected host:port of a Ray cluster, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError as error:
        raise UserError(f"hydra.launcher.address={address}: nothing answers ({error.strerror or error})") from None
