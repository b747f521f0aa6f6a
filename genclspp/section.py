"""A section of the settings checks itself: choices and bounds are part of the types of its fields."""

import math
import re
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, cast, get_args, get_origin, get_type_hints

from genclspp.suggest import UserError, hint


@dataclass(frozen=True)
class Bounds:
    """The range that a number may take, from `low` to `high`; `is_open` excludes both ends."""

    low: float
    high: float = math.inf
    is_open: bool = False

    def allow(self, value: float) -> bool:
        return self.low < value < self.high if self.is_open else self.low <= value <= self.high

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"more than {self.low:g}" if self.is_open else f"{self.low:g} or more"
        if self.is_open:
            return f"more than {self.low:g} and less than {self.high:g}"
        return f"a number between {self.low:g} and {self.high:.10g}"


Count = Annotated[int, Bounds(0)]
Positive = Annotated[int, Bounds(1)]
Share = Annotated[float, Bounds(0, 1, is_open=True)]
NotNegative = Annotated[float, Bounds(0)]
SEEDS = Bounds(0, 2**32 - 1)  # what all libraries take
Seed = Annotated[int, SEEDS]


class Section:
    """A section of the configuration, which checks itself."""

    section: ClassVar[str]  # its key in the configuration

    def __init_subclass__(cls, name: str) -> None:
        cls.section = name

    def __post_init__(self) -> None:
        """Raise UserError, with the full key, for a value outside the choices or bounds of its type."""
        for name, options in _limits(cast(Any, type(self))).items():
            value = getattr(self, name)
            if isinstance(options, Bounds) and value is not None and not options.allow(value):
                raise UserError(f"{self.section}.{name}={value}; expected {options}")
            if isinstance(options, tuple) and value not in (None, *options):
                raise UserError(f"{self.section}.{name}={value!r}; {hint(value, options)}")


def in_full(error: ValueError, part: type, key: str) -> UserError:
    """An error of the part that stands under `key`, with the whole key if it begins with a field's name.

    A part does not know where it stands: "shots=0; …" becomes "train.icl.shots=0; …". One from outside the package
    may raise any ValueError.
    """
    name = re.match(r"\w*", str(error))
    is_field = name and name[0] in {field.name for field in fields(cast(Any, part))}
    return UserError(f"{key}.{error}" if is_field else str(error))


@cache
def _limits(kind: type) -> dict[str, Bounds | tuple[Any, ...]]:
    """Field -> its bounds or choices."""
    found = {name: _limit(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
    return {name: limit for name, limit in found.items() if limit is not None}


def _limit(hint: Any) -> Bounds | tuple[Any, ...] | None:
    if get_origin(hint) is Literal:
        return get_args(hint)
    for part in get_args(hint):  # of Annotated[int, Bounds], or of a union with such a part
        found = part if isinstance(part, Bounds) else _limit(part)
        if found is not None:
            return found
    return None
