"""Keys: the hash that stands for inputs, whatever they are and wherever their code lies."""

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
    """A key depends on what a stage that has not run yet will leave."""


def key(*values: Any) -> str:
    """16 hexadecimal digits that stand for `values`; TypeError names a part that cannot be keyed."""
    return hash_of([plain(value) for value in values])


def hash_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """`value` as JSON types, for keys.

    What has a `key` counts by it alone, a record by the name of its class and its fields, a function by its name:
    never by the module, so that code can move. Classes and functions from outside the package, whose version
    nobody raises, count by the content of their file too.
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
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
        return {**kind, **{name: plain(getattr(value, name)) for name in names}}
    raise TypeError(f"a stage cannot be keyed by a {type(value).__name__}: {value!r}")


@cache
def _record(kind: type) -> tuple[tuple[str, ...], dict[str, str]]:
    """Of a class of records: the names of its fields, and what stands for the class itself."""
    return tuple(field.name for field in fields(kind)), {"is": kind.__qualname__, **_source(kind)}


def _known(key: str | None) -> str:
    if key is None:
        raise NotKnownYet
    return key


def _source(code: Any) -> dict[str, str]:
    """The digest of the file that defines a class or function from outside the package."""
    if code.__module__.partition(".")[0] == PACKAGE:
        return {}
    try:
        return {"file": digest(Path(inspect.getfile(code)))}
    except (OSError, TypeError):
        raise TypeError(f"a stage cannot be keyed by {code!r}, which no file defines") from None


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
