"""Faults of a source: collected, so that a person can mend all of them at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from genclspp.suggest import UserError

SHOWN = 10


@dataclass(frozen=True, order=True)
class Fault:
    """What is wrong with a row.

    number:   of its line, or of the row where the source has no lines
    sentence: begins with the place in the source: "line 3 has 4 fields; expected 2"
    """

    number: int
    sentence: str = field(compare=False)


def refuse(source: str, faults: Iterable[Fault]) -> None:
    """Raise UserError if there are faults: one as one sentence, several as a line each, at most `SHOWN`."""
    found = sorted(faults)
    if len(found) == 1:
        raise UserError(f"{source}, {found[0].sentence}")
    if found:
        shown = [fault.sentence for fault in found[:SHOWN]]
        rest = [f"… and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise UserError("\n  ".join([f"{source} has {len(found)} faults:", *shown, *rest]))
