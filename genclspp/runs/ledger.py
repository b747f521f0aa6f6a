"""What each cell of a sweep is: pending, running, done, failed or skipped. It stands beside the records.

    outputs/results/<name>/ledger/<cell>.json   one entry per cell, replaced at each change
    outputs/results/<name>/ledger/<cell>.lock   held while the cell runs

The operating system releases the lock of a process that dies, so a running cell whose lock is free was
interrupted.
"""

import json
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from filelock import BaseFileLock, Timeout

from genclspp.store import filesystem
from genclspp.store.artifacts import Step
from genclspp.store.files import write_json
from genclspp.suggest import UserError

State = Literal["pending", "running", "done", "failed", "skipped"]


@dataclass(frozen=True)
class Entry:
    """What a cell is.

    number:   its place in the sweep, from 1
    heading:  what tells it apart there, such as "train=icl decode=ppl"
    record:   the name of its record's file, without the ending
    since:    when it became what it is (ISO 8601, UTC)
    sentence: why it failed, was skipped, or is pending again
    log:      the file with the traceback, for a failed cell
    steps:    role and artifact, "stage/key", of each of its steps in order; "" for one that is not known yet
    works:    kind and amount of the work of each step, see `store.artifacts.Work`
    """

    number: int
    heading: str
    record: str
    state: State = "pending"
    since: str = ""
    sentence: str = ""
    log: str = ""
    steps: tuple[tuple[str, str], ...] = ()
    works: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, number: int, heading: str, record: str, steps: Sequence[Step]) -> "Entry":
        """The entry of a cell that is planned with these steps."""
        artifacts = [step.artifact for step in steps]
        names = [f"{artifact.stage}/{artifact.key}" if artifact.key else "" for artifact in artifacts]
        return cls(
            number,
            heading,
            record,
            steps=tuple((step.role, name) for step, name in zip(steps, names, strict=True)),
            works=tuple((step.work.kind, step.work.amount) for step in steps),
        )


@dataclass(frozen=True)
class Ledger:
    """The entries of a sweep. `folder`: that of its records, `outputs/results/<name>`."""

    folder: Path

    def expect(self, entry: Entry) -> None:
        """Enter a cell that is to come; one that has its record already is done."""
        try:
            known = self.find(entry.record)
        except UserError:
            warnings.warn(f"{self._path(entry.record)} is damaged; writing it again", stacklevel=2)
            known = None
        if known and known.state == "running":
            return  # another process is at it
        if not (self.folder / f"{entry.record}.json").exists():
            self.note(entry, "pending")
        elif known is None or known.state != "done":
            self.note(entry, "done")
        else:
            self.note(entry, "done", since=known.since)

    def alone(self, record: str, steps: Sequence[Step]) -> Entry:
        """The entry of a cell that runs on its own: as it stood in its sweep, else behind all others."""
        with suppress(UserError):  # one that is damaged is written again
            if known := self.find(record):
                return Entry.of(known.number, known.heading, record, steps)
        count = sum(1 for _ in (self.folder / "ledger").glob("*.json"))  # unread, as there may be thousands
        return Entry.of(count + 1, "", record, steps)

    def note(self, entry: Entry, state: State, sentence: str = "", log: str = "", since: str = "") -> None:
        """Write what a cell is from now on, or `since` a time."""
        if state == "failed" and not self.folder.is_dir():
            return  # it has vanished under the cell, and its place is left free for it
        since = since or datetime.now(UTC).isoformat(timespec="seconds")
        written = replace(entry, state=state, since=since, sentence=sentence, log=log)
        write_json(self._path(entry.record), asdict(written))

    @contextmanager
    def running(self, entry: Entry) -> Iterator[None]:
        """Inside, the cell runs; afterwards it is done, or pending again if it was interrupted.

        Whoever catches another error notes what it means.
        """
        lock = self._lock(entry.record)
        try:
            lock.acquire(blocking=False)
        except Timeout:  # another process runs the same cell; the store sees to it that nothing is done twice
            yield
            return
        try:
            self.note(entry, "running")
            yield
            self.note(entry, "done")
        except KeyboardInterrupt:
            self.note(entry, "pending", "interrupted")
            raise
        finally:
            lock.release()

    def read(self, of: Collection[str] | None = None) -> list[Entry]:
        """The entries in the order of the sweep: all, or those of some records.

        Raises UserError for one that cannot be read.
        """
        stems = (path.stem for path in (self.folder / "ledger").glob("*.json"))
        found = [self.find(stem) for stem in stems if of is None or stem in of]
        return sorted((entry for entry in found if entry), key=lambda entry: (entry.number, entry.record))

    def find(self, record: str) -> Entry | None:
        """What a cell is; None for one that was never entered."""
        try:
            entry = _parsed(self._path(record).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError) as error:
            again = "run the command of its sweep again, which writes it anew"
            raise UserError(f"{self._path(record)} is not an entry of a ledger ({error}); {again}") from None
        if entry.state != "running":
            return entry
        try:
            with self._lock(record).acquire(blocking=False):
                return replace(entry, state="pending", sentence=f"its process died; it ran since {entry.since}")
        except Timeout:
            return entry

    def _path(self, record: str) -> Path:
        return self.folder / "ledger" / f"{record}.json"

    def _lock(self, record: str) -> BaseFileLock:
        path = self._path(record).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        return filesystem.lock(path)


def _parsed(text: str) -> Entry:
    """The entry in a file; raises ValueError, TypeError or AttributeError for anything else."""
    found = json.loads(text)
    # Older ledgers have neither, or no works: there, steps of a role count as equal.
    steps = tuple((role, artifact) for role, artifact in found.pop("steps", ()))
    works = tuple((kind, amount) for kind, amount in found.pop("works", ())) or (("", 1.0),) * len(steps)
    entry = Entry(**found, steps=steps, works=works)
    if entry.state not in get_args(State):
        raise ValueError(f"the state {entry.state!r} is unknown")
    datetime.fromisoformat(entry.since)
    return entry
