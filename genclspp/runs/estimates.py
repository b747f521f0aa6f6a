"""How long steps will take and how much room their artifacts need, learnt from earlier ones in the same store."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from genclspp.store.artifacts import Step
from genclspp.store.manifests import Damaged, manifest

RECENT = 50  # manifests of a kind, so that a faster machine or a faster version soon counts


class Spent(NamedTuple):
    """What an earlier step has taken."""

    amount: float
    seconds: float
    size: int
    threads: int | None


@dataclass(frozen=True)
class Estimates:
    """What is known from the manifests in a store. Steps are compared with those of the same stage and kind.

    root:    of the artifacts
    threads: that the steps will compute with; earlier steps with as many count, or all where there are none
    """

    root: Path
    threads: int | None = None

    def seconds(self, step: Step) -> float | None:
        """In proportion to the amount of work; None where nothing is known."""
        known = self._known(step)
        total = sum(spent.amount for spent in known)
        return step.work.amount * sum(spent.seconds for spent in known) / total if total else None

    def size(self, step: Step) -> float | None:
        """Bytes of the artifact, as many as the earlier ones have on average; None where nothing is known."""
        known = self._known(step)
        return sum(spent.size for spent in known) / len(known) if known else None

    def _known(self, step: Step) -> list[Spent]:
        found = self._spent.get((step.stage.name, step.work.kind), [])
        return [spent for spent in found if spent.threads == self.threads] or found

    @cached_property
    def _spent(self) -> dict[tuple[str, str], list[Spent]]:
        """(stage, kind) -> what the most recent steps have taken."""
        found: dict[tuple[str, str], list[Spent]] = defaultdict(list)
        paths = self.root.glob("*/*/manifest.json")
        for path in sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True):
            try:
                written = manifest(path.parent)
            except Damaged:
                continue
            if "work" in written and len(known := found[written["stage"], written["work"]["kind"]]) < RECENT:
                spent = (written["seconds"], written["bytes"], written["threads"])
                known.append(Spent(written["work"]["amount"], *spent))
        return found
