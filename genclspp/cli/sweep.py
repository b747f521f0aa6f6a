"""A sweep: all cells are checked before the first one starts, and a table shows their results.

Hydra's own sweeper makes the grid. Here it is trimmed: a knob does not concern a cell without the choice that it
belongs to, and cells that become equal are one.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from genclspp.cli import compose, effects, errors, grid, jobs, launchers, search
from genclspp.settings import Cell
from genclspp.suggest import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from genclspp.cli.search import Search
    from genclspp.report.results import Results
    from genclspp.runs.ledger import Entry
    from genclspp.runs.outlook import Outlook
    from genclspp.runs.plan import Memory


class Sweep(Callback):
    """Hydra callback: checks all cells of a sweep before the first one starts, shows the results at the end.

    outlook: of the sweep that this process runs, if it runs a grid
    search:  what it runs instead, if Optuna chooses cells
    is_broken: whether a cell failed before it began, so that the ledger does not know
    """

    outlook: ClassVar["Outlook | None"] = None
    search: ClassVar["Search | None"] = None
    is_broken: ClassVar[bool] = False

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        from genclspp.runs.terminal import Terminal, quiet

        try:
            quiet(Path(config.outputs) / "logs" / str(config.name) / "sweep.log", Terminal())
            self._check(config)
            told = changed(Sweep.outlook) if Sweep.outlook else []
        except Exception as error:  # Hydra turns a callback's exceptions into warnings; SystemExit passes
            raise errors.stop(error) from error
        if Sweep.outlook:
            cells = Sweep.outlook.cells
            Terminal().sweep(cells[0].sweep, len(cells), Sweep.outlook.shared())
            for sentence in told:
                Terminal().warn(sentence)
            if launchers.is_in_process(config.hydra):
                Sweep.outlook = Sweep.outlook.without_inputs()
        if Sweep.search:
            Terminal().search(str(config.name), Sweep.search.count, Sweep.search.objective)

    def _check(self, config: DictConfig) -> None:
        from genclspp import pipeline
        from genclspp.report import records
        from genclspp.runs.ledger import Ledger
        from genclspp.runs.outlook import Outlook
        from genclspp.runs.terminal import Terminal

        if jobs.is_submitit(config.hydra):
            jobs.hand_over(config)
        if search.is_search(config.hydra):
            Sweep.search = search.start(config, memory(str(config.outputs)))
        found = grid.jobs(config)
        if not found:
            return
        cells = [compose.cell(job.config) for job in found]
        effects.check(config.hydra, cells)
        search.refuse_objective(config.hydra)
        launchers.check_threads(config.hydra, cells)
        plans = [pipeline.plan(cell, memory(cell.outputs)) for cell in cells]
        kept = _distinct(cells, [str(plan.steps[-1].artifact.key) if plan.is_known else "" for plan in plans])
        grid.hand_over([found[place] for place in kept])
        notes = [note for place in kept for note in plans[place].notes]
        outlook = Outlook([cells[place] for place in kept], [plans[place].steps for place in kept], notes)
        if launchers.is_plan(config.hydra):
            launchers.show_plan(outlook.cells, outlook.steps)
            for sentence in changed(outlook):
                Terminal().warn(sentence)
            raise SystemExit(0)
        for cell in outlook.cells:
            Ledger(records.path_of(cell).parent).expect(outlook.entry(cell))
        Sweep.outlook = outlook

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        job_return.cfg = job_return.hydra_cfg = None  # nobody reads them, and Hydra keeps those of all jobs

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        end()


def end(*, is_stopped: bool = False) -> None:
    """Show and mirror the results of the sweep that this process runs; exits with 1 unless all cells have one.

    is_stopped: at its first failed cell, so that others have not begun
    """
    outlook, searched = Sweep.outlook, Sweep.search
    Sweep.outlook = Sweep.search = None
    cells = outlook.cells if outlook else [cell for cell, _ in searched.trials.values()] if searched else []
    if not cells:
        return
    from genclspp.report import summary
    from genclspp.runs import aggregates

    first, results = cells[0], results_of(cells)
    table = searched.show if searched else partial(summary.show, results)
    is_whole = show_records(cells, table, is_stopped=is_stopped) and not (searched and searched.lost)
    aggregates.mirror(results, first.tracking, Path(first.outputs), first.sweep)
    if Sweep.is_broken or not is_whole:
        raise SystemExit(1)


class Place(NamedTuple):
    """Where a cell stands in its sweep: its entry, what it is called there, and how long the rest may take."""

    entry: "Entry"
    called: str
    left: str | None = None


def place_of(cell: Cell) -> Place | None:
    """Where a cell stands in the sweep that is running; None for a cell on its own.

    In another process than the one that started the sweep, the ledger tells.
    """
    from genclspp.report import records
    from genclspp.runs.ledger import Ledger

    if outlook := Sweep.outlook:
        entry = outlook.entry(cell)
        return Place(entry, f"cell {entry.number}/{len(outlook.cells)}", outlook.left(cell))
    hydra = HydraConfig.get()
    if hydra.mode is not RunMode.MULTIRUN:
        return None
    path = records.path_of(cell)
    found = Ledger(path.parent).find(path.stem)
    if not found:
        return None
    is_trial = search.is_search(hydra)
    return Place(found, f"trial {found.number}/{hydra.sweeper.n_trials}" if is_trial else f"cell {found.number}")


def changed(outlook: "Outlook") -> list[str]:
    """What is told of the records that are there before a sweep runs."""
    from genclspp import pipeline
    from genclspp.runs import changes

    known = memory(outlook.cells[0].outputs)
    data = [changes.digest_of(cell, pipeline.read(cell, known), known) for cell in outlook.cells]
    return changes.find(outlook.cells, outlook.steps, data)


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


def show_records(cells: Sequence[Cell], table: "Callable[[Console], None]", *, is_stopped: bool = False) -> bool:
    """Print a table of the cells' records, and of those that failed; returns whether all cells have a record.

    table:      prints that of the records
    is_stopped: cells without a record need not have failed
    """
    from rich.console import Console

    from genclspp.report import records
    from genclspp.runs.ledger import Ledger
    from genclspp.runs.terminal import Terminal

    console = Console(highlight=False)
    lost = {path.stem for path in map(records.path_of, cells) if not path.exists()}
    if len(lost) < len(cells):
        try:
            table(console)
        except UserError as error:
            console.print(f"no table: {error}", soft_wrap=True)
        console.print(f"records: {records.path_of(cells[0]).parent}", soft_wrap=True)
    if spent := timings(memory(cells[0].outputs).seconds):
        console.print(f"time: {spent}", soft_wrap=True)
    here = {records.path_of(cell).stem for cell in cells}
    entries = Ledger(records.path_of(cells[0]).parent).read(here)
    failed = [entry for entry in entries if entry.state in ("failed", "skipped") or entry.record in lost]
    told = [entry for entry in failed if entry.state != "pending"] if is_stopped else failed
    if told:
        Terminal(console).failures(told, len(cells))
    if is_stopped:
        left = len(failed) - len(told)
        to_come = f", {left} of {len(cells)} to come" if left else ""
        console.print(f"failures=stop: the sweep ended there{to_come}; the same command goes on", soft_wrap=True)
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
