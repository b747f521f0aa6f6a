"""The stages of a sweep that are being computed, and where, and those that have failed. They stand in the ledger.

    outputs/results/<name>/ledger/stages/<stage>-<key>.json

A finished stage has no entry: its artifact says it. An entry is left behind by a process that died.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from genclspp.store.files import write_json
from genclspp.suggest import UserError, reason


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Entry:
    """A stage that has begun.

    role:     what it is for in its cell
    artifact: "stage/key"
    since:    when it began, or failed (ISO 8601, UTC)
    host, process: that compute it
    sentence: why it failed
    """

    role: str
    artifact: str
    state: Literal["running", "failed", "died"] = "running"
    since: str = field(default_factory=_now)
    host: str = field(default_factory=socket.gethostname)
    process: int = field(default_factory=os.getpid)
    sentence: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether its process still exists; on another machine, nothing says that it does not."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it is another user's
            pass
        return True


@contextmanager
def computing(sweep: Path, role: str, artifact: str) -> Iterator[None]:
    """Inside, a stage is being computed by this process. sweep: the folder of its records"""
    path, entry = _path(sweep, artifact), Entry(role, artifact)
    write_json(path, asdict(entry))
    try:
        yield
    except Exception as error:
        if path.exists():  # else its folder has vanished, and its place is left free for it
            write_json(path, asdict(replace(entry, state="failed", since=_now(), sentence=reason(error))))
        raise
    except BaseException:  # interrupted: what it has done so far is in its `.partial` folder
        path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)


def read(sweep: Path) -> dict[str, Entry]:
    """Artifact, "stage/key" -> its entry; raises UserError for one that cannot be read."""
    found = {}
    for path in sorted((sweep / "ledger" / "stages").glob("*.json")):
        try:
            entry = Entry(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:  # it has just been finished
            continue
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is not an entry of a ledger ({error}); it can be removed") from None
        is_lost = entry.state == "running" and not entry.is_alive
        found[entry.artifact] = replace(entry, state="died") if is_lost else entry
    return found


def forget_dead(sweep: Path, patience: float = 2.0) -> None:
    """Remove the entries of stages whose processes were ended on purpose.

    patience: seconds that they may take to end; those of others go on
    """
    until = time.monotonic() + patience
    while time.monotonic() < until and any(entry.state == "running" for entry in read(sweep).values()):
        time.sleep(0.05)
    for artifact, entry in read(sweep).items():
        if entry.state == "died":
            _path(sweep, artifact).unlink(missing_ok=True)


def _path(sweep: Path, artifact: str) -> Path:
    return sweep / "ledger" / "stages" / f"{artifact.replace('/', '-')}.json"
