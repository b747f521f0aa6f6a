"""Keys: hashes of inputs that depend neither on where their code is nor on where files are."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

PACKAGE = __name__.partition(".")[0]


class NotKnownYet(Exception):
    """A key depends on the artifact of a stage that has not run yet."""


def key(*values: Any) -> str:
    """Hash `values` to 16 hexadecimal digits; raises TypeError for a part that cannot be part of a key."""
    return hash_of([plain(value) for value in values])


def hash_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """`value` as JSON types, to be hashed.

    An object with a `key` is represented by that alone, a record by its class name and fields, a function by its
    name. Modules are left out, so that code can move. Classes and functions from outside the package include the
    content of their file, since changing them raises no stage's version.
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [part if type(part) is str else plain(part) for part in value]  # a call each would take seconds
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(part) for part in value)
    if isinstance(value, FunctionType):
        return {"is": value.__qualname__, **_source(value)}
    if is_dataclass(value) and not isinstance(value, type):
        if hasattr(type(value), "key") or "key" in vars(value):
            return {"key": _known(value.key)}  # type: ignore[attr-defined]
        names, kind = _record(type(value))
        parts = ((name, getattr(value, name)) for name in names)
        return {**kind, **{name: part if type(part) is str else plain(part) for name, part in parts}}
    raise TypeError(f"a stage cannot be keyed by a {type(value).__name__}: {value!r}")


@cache
def _record(kind: type) -> tuple[tuple[str, ...], dict[str, str]]:
    """The field names of a record's class, and what represents the class itself in a key."""
    return tuple(field.name for field in fields(kind)), {"is": kind.__qualname__, **_source(kind)}


def _known(key: str | None) -> str:
    if key is None:
        raise NotKnownYet
    return key


def _source(code: Any) -> dict[str, str]:
    """The hash of the file that defines a class or function from outside the package; empty for our own."""
    if code.__module__.partition(".")[0] == PACKAGE:
        return {}
    try:
        return {"file": digest(Path(inspect.getfile(code)))}
    except (OSError, TypeError):
        raise TypeError(f"a stage cannot be keyed by {code!r}, which is not defined in a file") from None


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
