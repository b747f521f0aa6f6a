"""A sweep: all cells are checked before the first one starts, and a table shows their results.

Hydra's own sweeper makes the grid. Here it is trimmed: a knob does not concern a cell without the choice that it
belongs to, and cells that become equal are one.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from genclspp.cli import compose, effects, errors, grid, launchers
from genclspp.settings import Cell
from genclspp.suggest import UserError

if TYPE_CHECKING:
    from genclspp.report.results import Results
    from genclspp.runs.outlook import Outlook
    from genclspp.runs.plan import Memory


class Sweep(Callback):
    """Hydra callback: checks all cells of a sweep before the first one starts, shows the results at the end.

    outlook: of the sweep that this process runs, if it runs one
    """

    outlook: ClassVar["Outlook | None"] = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        from rich.console import Console

        from genclspp.runs.terminal import Terminal, quiet

        try:
            quiet(Path(config.outputs) / "logs" / str(config.name) / "sweep.log", Console())
            self._check(config)
        except Exception as error:  # Hydra turns a callback's exceptions into warnings; SystemExit passes
            raise errors.stop(error) from error
        if Sweep.outlook:
            cells = Sweep.outlook.cells
            Terminal().sweep(cells[0].sweep, len(cells), Sweep.outlook.shared())

    def _check(self, config: DictConfig) -> None:
        from genclspp import pipeline
        from genclspp.report import records
        from genclspp.runs.ledger import Ledger
        from genclspp.runs.outlook import Outlook

        jobs = grid.jobs(config)
        if not jobs:
            return
        cells = [compose.cell(job.config) for job in jobs]
        effects.check(config.hydra, cells)
        plans = [pipeline.plan(cell, memory(cell.outputs)) for cell in cells]
        kept = _distinct(cells, [str(plan.steps[-1].artifact.key) if plan.is_known else "" for plan in plans])
        grid.hand_over([jobs[place] for place in kept])
        outlook = Outlook([cells[place] for place in kept], [plans[place].steps for place in kept])
        if launchers.is_plan(config.hydra):
            launchers.show_plan(outlook.cells, outlook.steps)
            raise SystemExit(0)
        for cell in outlook.cells:
            Ledger(records.path_of(cell).parent).expect(outlook.entry(cell))
        Sweep.outlook = outlook

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        outlook, Sweep.outlook = Sweep.outlook, None
        if not outlook:
            return
        from genclspp.runs import aggregates

        first, results = outlook.cells[0], results_of(outlook.cells)
        is_whole = show_records(outlook.cells, results)
        aggregates.mirror(results, first.tracking, Path(first.outputs), first.sweep)
        if not is_whole:
            raise SystemExit(1)


def _distinct(cells: Sequence[Cell], keys: Sequence[str]) -> list[int]:
    """Places of the cells that are left when those are one that differ in nothing, or in a seed that nothing uses.

    keys: of what each cell predicts; empty where that is not known yet
    """
    first: dict[object, int] = {}
    for place, (cell, key) in enumerate(zip(cells, keys, strict=True)):
        same = (tuple(sorted(cell.choices.items())), str(cell.knobs), key or str(cell.seed))
        first.setdefault(same, place)
    return list(first.values())


def results_of(cells: Sequence[Cell]) -> "Results":
    """The results of those cells that have a record."""
    from genclspp.report import records
    from genclspp.report.results import Results

    paths = [path for path in map(records.path_of, cells) if path.exists()]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return Results(found, Path(cells[0].outputs) / "artifacts")


def show_records(cells: Sequence[Cell], results: "Results") -> bool:
    """Print a table of the cells' records, and of those that failed; returns whether all cells have a record."""
    from rich.console import Console

    from genclspp.report import records, summary
    from genclspp.runs.ledger import Ledger
    from genclspp.runs.terminal import Terminal

    console = Console(highlight=False)
    if results.records:
        try:
            summary.show(results, console)
        except UserError as error:
            console.print(f"no table: {error}", soft_wrap=True)
        console.print(f"records: {records.path_of(cells[0]).parent}", soft_wrap=True)
    if spent := timings(memory(cells[0].outputs).seconds):
        console.print(f"time: {spent}", soft_wrap=True)
    here = {records.path_of(cell).stem for cell in cells}
    entries = Ledger(records.path_of(cells[0]).parent).read(here)
    lost = {path.stem for path in map(records.path_of, cells) if not path.exists()}
    failed = [entry for entry in entries if entry.state in ("failed", "skipped") or entry.record in lost]
    if failed:
        Terminal(console).failures(failed, len(cells))
    return not failed


def timings(seconds: Mapping[str, Sequence[float]]) -> str:
    """How long the stages took that were computed, such as "sft 4m12 (3) · score 40 s (6)"."""
    from genclspp.report.figures import duration

    long = {role: spent for role, spent in seconds.items() if sum(spent) >= 1}
    return " · ".join(f"{role} {duration(sum(spent))} ({len(spent)})" for role, spent in long.items())


@cache
def memory(outputs: str) -> "Memory":
    """What this process has loaded and rendered so far, shared by all cells that write to `outputs`."""
    from genclspp.runs.plan import Memory

    return Memory()
