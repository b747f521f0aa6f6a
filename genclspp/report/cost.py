"""What cells cost: alone, and as paid in a sweep, in which equal work is done once.

Every stage of a cell leaves its artifact's key, seconds, tokens and peak memory in the record. *Alone* is what all
stages of a cell took. *Paid* is what those took that no earlier cell of the sweep needs as well: the first one, in
the order of the records, pays. Who computed what is no part of a record, so to run a sweep again, or to find
artifacts of another sweep, changes nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from genclspp.report.records import Record

# Roles that read the test examples.
INFERENCE = ("think", "score", "complete", "score_prompts", "prior", "classify", "predict")


@dataclass(frozen=True)
class Stage:
    """One stage of a cell, as its record tells.

    role:     what it was for, such as "sft"
    key:      of its artifact
    seconds:  on the device
    tokens:   read and written; 0 for a stage that does not count them
    memory:   peak in bytes; None for a record of before it was measured
    examples: test examples that predictions are of; 0 for all other stages
    """

    role: str
    key: str
    seconds: float
    tokens: float
    memory: float | None
    examples: int


@dataclass(frozen=True)
class Spent:
    """What some stages took, each artifact once."""

    stages: tuple[Stage, ...]

    @cached_property
    def by_role(self) -> Mapping[str, float]:
        """Role -> seconds, in the order of the stages."""
        found: dict[str, float] = {}
        for stage in self.stages:
            found[stage.role] = found.get(stage.role, 0) + stage.seconds
        return found

    @property
    def seconds(self) -> float:
        return sum(self.by_role.values())

    @property
    def tokens(self) -> float:
        return sum(stage.tokens for stage in self.stages)

    @property
    def memory(self) -> float | None:
        """The highest peak, in bytes."""
        return max((stage.memory for stage in self.stages if stage.memory), default=None)

    @property
    def seconds_per_1000(self) -> float | None:
        """Seconds of inference on 1,000 test examples; None without predictions."""
        examples = sum(stage.examples for stage in self.stages)
        seconds = sum(self.by_role.get(role, 0) for role in INFERENCE)
        return 1000 * seconds / examples if examples else None


@dataclass(frozen=True)
class Cost:
    """What a record, or several, cost: as if nothing had been there, and without what earlier cells had paid."""

    alone: Spent
    paid: Spent


def costs(records: Sequence[Record]) -> list[Cost]:
    """The cost of each of `records`, which stand in the order of their sweeps; each sweep pays for itself."""
    found, paid = [], set[tuple[object, str]]()
    for record in records:
        sweep, mine = record.get("name"), stages(record)
        new = tuple(stage for stage in mine if (sweep, stage.key) not in paid)
        paid |= {(sweep, stage.key) for stage in mine}
        found.append(Cost(Spent(mine), Spent(new)))
    return found


def add(found: Iterable[Cost]) -> Cost:
    """The cost of several records of a sweep together, such as the seeds of a cell; they share equal work."""
    every = list(found)
    alone = {stage.key: stage for each in every for stage in each.alone.stages}
    return Cost(Spent(tuple(alone.values())), Spent(tuple(stage for each in every for stage in each.paid.stages)))


def stages(record: Record) -> tuple[Stage, ...]:
    """The stages of a record, each artifact once.

    Where a role has several steps (one per fold), entries such as "artifact/mine_sft/2" tell them apart; an older
    record holds their sum and the key of the first one.
    """
    found: dict[str, Stage] = {}
    for name in record:
        if match := re.fullmatch(r"artifact/([^/]+)(/\d+)?", name):
            role, step = match[1], match[2] or ""
            if step or f"artifact/{role}/1" not in record:
                key = str(record[name])
                found.setdefault(key, _stage(record, role, f"{role}{step}", key))
    return tuple(found.values())


def _stage(record: Record, role: str, entry: str, key: str) -> Stage:
    seconds, tokens = (float(record.get(f"{kind}/{entry}") or 0) for kind in ("seconds", "tokens"))
    examples = int(record.get("examples") or 0) if role == "predict" else 0
    return Stage(role, key, seconds, tokens, record.get(f"memory/{entry}"), examples)
