"""Settings records from plain data: each value is checked against its field's type, once, where it comes in."""

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from genclspp.section import in_full
from genclspp.suggest import UserError, hint

T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    """Build a settings record; raises UserError with the full key, the value found and what was expected."""
    if not isinstance(values, Mapping):
        raise UserError(f"{prefix}={values!r}; expected a mapping of settings")
    fields = dataclasses.fields(cast(Any, kind))
    hints = {field.name: _hints(cast(Any, kind))[field.name] for field in fields}
    for name in values:
        if name not in hints:
            raise UserError(f"unknown key {prefix}.{name}; {hint(name, hints)}")
    missing = [field.name for field in fields if _is_required(field, values)]
    if missing:
        raise UserError(f"{prefix}.{missing[0]} is missing")
    return kind(**{name: check(value, hints[name], f"{prefix}.{name}") for name, value in values.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def defaults(kind: type) -> dict[str, Any]:
    """The defaults of a settings record; a field without one is None until a choice fills it."""
    made: dict[str, Any] = {}
    for field in dataclasses.fields(cast(Any, kind)):
        if field.default is not dataclasses.MISSING:
            made[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            made[field.name] = field.default_factory()
    return made


def check(value: Any, kind: Any, key: str) -> Any:
    """`value` as the type of a settings field, or UserError. Integers pass as floats, lists as tuples."""
    origin, options = get_origin(kind), get_args(kind)
    if kind is Any:
        return part(value, key) if isinstance(value, Mapping) and "_target_" in value else value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        rest = [option for option in options if option is not type(None)]
        return check(value, rest[0], key)
    if origin is Literal:
        if value not in options:
            raise UserError(f"{key}={value!r}; {hint(value, options)}")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(check(part, options[0], f"{key}[{place}]") for place, part in enumerate(value))
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {str(name): check(part, options[1], f"{key}.{name}") for name, part in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    words = {str: "a string", int: "an integer", float: "a number", bool: "true or false", tuple: "a list"}
    wanted = words.get(kind) or words.get(cast(Any, origin)) or "a mapping"
    raise UserError(f"{key}={value!r}; expected {wanted}")


def part(values: Any, key: str) -> Any:
    """Build the part at a plug point: the frozen dataclass at `_target_`, from the other values."""
    kind = target(values, key)
    if not dataclasses.is_dataclass(kind):
        raise UserError(f"{key}._target_={values['_target_']!r} is not a dataclass; expected a frozen one")
    given = {name: value for name, value in values.items() if name != "_target_"}
    try:
        return build(cast(type, kind), given, key)
    except ValueError as error:
        raise in_full(error, cast(type, kind), key) from None


def target(values: Any, key: str) -> Any:
    """The object that `_target_` names."""
    from pkgutil import resolve_name

    if key.endswith("._target_"):
        raise UserError(f"{key}={values!r} stands alone; expected it below a name, as in NAME: {{_target_: …}}")
    if not isinstance(values, Mapping) or "_target_" not in values:
        raise UserError(f"{key}={values!r}; expected a mapping with a _target_")
    try:
        return resolve_name(values["_target_"])
    except Exception as error:  # whatever the part's own file raises when it is read
        reason = f"{type(error).__name__}: {error}" if isinstance(error, SyntaxError | NameError) else str(error)
        raise UserError(f"{key}._target_={values['_target_']!r} cannot be imported: {reason}") from error


def _is_required(field: dataclasses.Field, values: Mapping[str, Any]) -> bool:
    bare = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    return bare and field.name not in values
