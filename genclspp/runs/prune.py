"""Which artifacts nothing needs any more: no record, and no cell that is still to come or to be tried again."""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import Timeout

from genclspp.report import records
from genclspp.runs.ledger import Entry, Ledger
from genclspp.store import filesystem

MODELS = (
    "base",
    "convert",
)  # stages whose artifacts are base models: records do not name them, and many need them
WASTE = (".damaged", ".deleted")  # what was set aside, and what an interrupted `delete` has left


@dataclass(frozen=True)
class Leftover:
    """An artifact, or what is left of one after an interruption or damage, that nothing needs.

    folder: it; size: of its files, in bytes
    """

    folder: Path
    size: int

    @property
    def stage(self) -> str:
        return self.folder.parent.name

    @property
    def lock(self) -> Path:
        return self.folder.with_name(f"{self.folder.name.partition('.')[0]}.lock")

    def delete(self) -> bool:
        """Remove it, unless a process is computing it; returns whether it is gone.

        It is renamed first, so that an interruption leaves no artifact with a part of its files.
        """
        try:
            with filesystem.lock(self.lock).acquire(blocking=False):
                gone = self.folder.with_name(f"{self.folder.name}.deleted")
                self.folder.rename(gone)
                shutil.rmtree(gone)
        except Timeout:
            return False
        return True


def find(outputs: Path) -> list[Leftover]:
    """What nothing needs in `outputs`, by stage and key; raises UserError for a damaged record.

    A running cell that does not know all its stages yet keeps whatever has been made since it began.
    """
    sweeps = sorted((outputs / "results").glob("*/"))
    entries = [entry for sweep in sweeps for entry in Ledger(sweep).read()]
    # The role in a record may have another name than the stage; keys of different stages never agree.
    needed = {key for sweep in sweeps for path in sweep.glob("*.json") for key in _keys(records.read_one(path))}
    needed |= {artifact.rpartition("/")[2] for entry in entries for _, artifact in entry.steps}
    since = min((_began(entry) for entry in entries if _is_open(entry)), default=float("inf"))
    found = []
    for folder in sorted((outputs / "artifacts").glob("*/*/")):
        key = folder.name.partition(".")[0]
        if folder.suffix not in WASTE and (folder.parent.name in MODELS or key in needed):
            continue
        files = [path.stat() for path in folder.rglob("*") if path.is_file()]
        if max((file.st_mtime for file in files), default=folder.stat().st_mtime) < since:
            found.append(Leftover(folder, sum(file.st_size for file in files)))
    return found


def _keys(record: records.Record) -> set[str]:
    return {str(value) for name, value in record.items() if name.startswith("artifact/")}


def _is_open(entry: Entry) -> bool:
    return entry.state == "running" and any(not artifact for _, artifact in entry.steps)


def _began(entry: Entry) -> float:
    return datetime.fromisoformat(entry.since).timestamp()
