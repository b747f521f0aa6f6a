"""What cells cost: alone, and as paid in a sweep in which equal work is done once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genclspp.report.records import Record


@dataclass(frozen=True)
class Spent:
    """What stages took.

    seconds: role of a stage, such as "sft" -> seconds on the device
    tokens:  role -> tokens read and written
    memory:  role -> peak memory in bytes
    """

    seconds: Mapping[str, float]
    tokens: Mapping[str, float]
    memory: Mapping[str, float]


@dataclass(frozen=True)
class Cost:
    """Of one record. alone: as if nothing had been there; paid: without what an earlier cell had computed."""

    alone: Spent
    paid: Spent


def costs(records: Sequence[Record], numbers: Mapping[str, int]) -> list[Cost]:
    """The cost of each of `records`, in their order.

    numbers: file name of a record -> its number in the ledger; an artifact is paid by the lowest
    """
    return []
