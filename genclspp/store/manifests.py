"""Manifests: what an artifact is of, what computing it took, and the digests by which damage is found.

A manifest is written last and holds a digest of itself, so that a change of any file of the artifact is noticed.
"""

import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from genclspp.store.files import drop_partial, sync, write_json
from genclspp.store.keys import digest, hash_of
from genclspp.suggest import UserError

FILE = "manifest.json"
LARGE = 2**28  # bytes; a larger file is hashed once in a process, all others at every use
VERSIONED = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


class Damaged(UserError):
    """An artifact is not what was stored. how: in words"""

    def __init__(self, folder: Path, how: str) -> None:
        super().__init__(f"the artifact {folder} is damaged ({how}); run its cell again, which computes it again")
        self.how = how


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished artifact; raises `Damaged` where it is missing, unreadable or changed."""
    try:
        written = json.loads((folder / FILE).read_text(encoding="utf-8"))
        own = written.pop("digest", None)
        is_changed = own is not None and own != hash_of(written)  # manifests of before have no digest
    except (OSError, ValueError, AttributeError, TypeError):
        raise Damaged(folder, "its manifest cannot be read") from None
    if is_changed:
        raise Damaged(folder, "its manifest was changed")
    return written


def check(folder: Path, name: str) -> None:
    """Raise `Damaged` if a file of an artifact was changed, as far as there is a manifest that tells."""
    if not (folder / FILE).exists():
        return
    known = manifest(folder).get("files", {}).get(name)
    if known is not None and known != file_digest(folder / name):
        raise Damaged(folder, f"{name} was changed")


def damage(folder: Path) -> str | None:
    """How an artifact differs from its manifest, in words; None if it does not."""
    try:
        files = manifest(folder)["files"].items()
    except Damaged as error:
        return error.how
    except (AttributeError, KeyError):
        return "its manifest names no files"
    for name, known in files:
        try:
            if file_digest(folder / name) != known:
                return f"{name} was changed"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def write_manifest(folder: Path, told: Mapping[str, Any]) -> None:
    """Sync all that is in a folder, then write the manifest that declares it complete.

    told: what the folder is of, and what computing it took
    """
    drop_partial(folder)
    inside = sorted(path for path in folder.rglob("*") if path.name != FILE)
    for path in inside:
        sync(path)
    files = [path for path in inside if path.is_file()]
    written = {
        **told,
        "files": {str(path.relative_to(folder)): file_digest(path) for path in files},
        "bytes": sum(path.stat().st_size for path in files),
        "versions": versions(),
        "threads": _threads(),
        "commit": commit(),
    }
    write_json(folder / FILE, {**written, "digest": hash_of(written)})
    sync(folder)


_HASHES: dict[tuple[int, int, int, int], str] = {}  # of large files, by what changes when they do


def file_digest(path: Path) -> str:
    """The hash of a file; that of a large one is remembered, also under another name, until it changes."""
    found = path.stat()
    if found.st_size <= LARGE:
        return digest(path)
    state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if state not in _HASHES:
        _HASHES[state] = digest(path)
    return _HASHES[state]


@cache
def versions() -> dict[str, str]:
    """The versions of Python and of the libraries; reads package metadata, imports none of them."""
    from importlib import metadata

    found = {"python": sys.version.split()[0], "genclspp": metadata.version("genclspp")}
    return found | {name: metadata.version(name) for name in VERSIONED}


@cache
def commit() -> str | None:
    """The commit of the source tree, with "+changes" if there are uncommitted ones; None outside a checkout."""
    import subprocess

    here = Path(__file__).parent.parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "HEAD")
    return f"{head}+changes" if head and git("status", "--porcelain", "--", str(here)) else head


def _threads() -> int | None:
    """How many threads torch computes with; None where no stage has imported it yet."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else None
