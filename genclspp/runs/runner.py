"""Carries out steps: each comes from the store if it is there, else it is computed, watched and mirrored."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from genclspp.runs import stages, threads
from genclspp.runs.plan import Memory
from genclspp.runs.terminal import Terminal, hush_libraries
from genclspp.runs.tracking import Tracker
from genclspp.store.artifacts import Busy, Step
from genclspp.store.manifests import manifest
from genclspp.suggest import Skipped, UserError, reason


@dataclass(frozen=True)
class Runner:
    """What steps are carried out with.

    sweep:      the folder of its records, in whose ledger stages stand while they are computed
    batch_size: prompts per forward pass; it does not change results
    threads:    to compute with; None for one per physical core
    waits:      while another process computes a step; else that raises `Busy`
    """

    memory: Memory
    terminal: Terminal
    tracker: Tracker
    sweep: Path
    batch_size: int
    threads: int | None = None
    waits: bool = True

    def carry_out(self, step: Step) -> bool:
        """Make sure that the artifact of a step exists; returns whether it was computed now."""
        key = str(step.artifact.key)

        @contextmanager
        def beside() -> Iterator[dict[str, Any]]:
            """Open a W&B run and a bar; entered only by the process that computes."""
            hush_libraries()
            with (
                stages.computing(self.sweep, step.role, f"{step.stage.name}/{key}"),
                threads.computing(threads.count(self.threads)) as warning,
                self.tracker.run(step.role, key) as log,
                self.terminal.bar(step.role, log) as bar,
            ):
                if warning and self.waits:  # on slots, others are meant to compute
                    self.memory.once(partial(self.terminal.warn, warning), "warning", warning)
                given = {"watch": bar, "batch_size": self.batch_size}
                yield {name: value for name, value in given.items() if step.takes(name)}

        if key in self.memory.failed:  # it would fail again, perhaps after hours
            raise Skipped(f"it needs the stage {step.role} {key}, which has failed: {self.memory.failed[key]}")
        try:
            is_new = step.store.carry_out(step, beside, waits=self.waits) or key in self.memory.computed
        except Busy:
            raise
        except SystemExit as error:  # of a part that a user has added, or of a library
            self.memory.failed[key] = f"it called sys.exit({error.code})"
            raise UserError(f"the stage {step.role} called sys.exit({error.code})") from error
        except Exception as error:
            self.memory.failed[key] = reason(error)
            raise
        self.memory.computed.discard(key)
        seconds = manifest(step.artifact.path)["seconds"] if is_new else None
        if seconds is not None:
            self.memory.seconds.setdefault(step.role, []).append(seconds)
        self.terminal.status(step.role, key, seconds)
        return is_new
