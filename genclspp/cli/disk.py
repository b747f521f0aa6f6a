"""What a file system has refused, in one sentence that names the folder, whichever library it was refused to."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

ON = "the same command goes on from here"
REFUSED = {
    errno.ENOSPC: f"no space is left in {{}}; make room, and {ON}",
    errno.EDQUOT: f"the disk quota of {{}} is used up; make room, and {ON}",
    errno.EROFS: f"{{}} is read-only; choose another outputs=…, or make it writable, and {ON}",
    errno.EIO: f"the disk fails to read or write {{}}; repair it, or choose another outputs=…, and {ON}",
}
# Libraries that tell the number of an error in a text, or none.
NUMBER = re.compile(r"\(os error (\d+)\)")
CUT_OFF = re.compile(r"inline_container|iostream error|requested and \d+ written")  # torch, numpy
NOWHERE = re.compile(r"Parent directory \S+ does not exist")  # torch


def explain(error: BaseException, outputs: Path) -> str | None:
    """What the file system refused; None if it is not what has caused the error."""
    causes = list(_causes(error))
    could_not_be_made = any(getattr(cause, "filename", None) == str(outputs) for cause in causes)
    for cause in causes:
        number = _number(cause)
        if number in REFUSED:
            return REFUSED[number].format(_folder(cause, outputs))
        if number in (errno.ENOTDIR, errno.EEXIST) and outputs.is_file():
            return f"outputs={outputs} is a file; expected a folder"
        if number == errno.ENOENT and _has_vanished(cause, outputs) and not could_not_be_made:
            return f"the folder {outputs} has vanished while it was in use; put it back, and {ON}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    if told := NUMBER.search(text):
        return int(told[1])
    if CUT_OFF.search(text):
        return errno.ENOSPC
    return errno.ENOENT if NOWHERE.search(text) else None


def _folder(error: BaseException, outputs: Path) -> Path:
    """The folder that the error is about; where it does not tell, that with the least room of those in use."""
    name = getattr(error, "filename", None)
    if isinstance(name, str | os.PathLike) and not Path(name).is_relative_to(outputs):
        return Path(name).parent
    places = [outputs, Path(tempfile.gettempdir())]
    return outputs if name else min((place for place in places if place.exists()), key=_room, default=outputs)


def _room(folder: Path) -> int:
    """Bytes that are free for the file system that a folder is on."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _has_vanished(error: BaseException, outputs: Path) -> bool:
    """Whether the artifacts are no longer there; a run makes their folder before anything else in there."""
    name = getattr(error, "filename", None)
    is_inside = name is None or Path(name).resolve().is_relative_to(outputs.resolve())
    return is_inside and not (outputs / "artifacts").is_dir()
