"""What becomes of the cells of a sweep once they are checked: `hydra/launcher=…`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from genclspp.settings import Cell
from genclspp.store.artifacts import Step
from genclspp.suggest import UserError

if TYPE_CHECKING:
    from genclspp.runs.outlook import Outlook

SLOTS = (1, 2, 4, 8, 16, 64)  # that a plan tells the time of


def is_plan(hydra: Any) -> bool:
    """Whether the sweep, or the cell, is to be planned and shown only."""
    return hydra.runtime.choices.get("hydra/launcher") == "plan"


def require_sweep(hydra: Any) -> None:
    """Raise UserError where one cell is to be run by what runs sweeps."""
    for group, alone in (("launcher", ("basic", "plan")), ("sweeper", ("basic",))):
        chosen = hydra.runtime.choices.get(f"hydra/{group}")
        if chosen not in (None, *alone):
            raise UserError(f"hydra/{group}={chosen} is for sweeps, and this is one cell; expected -m")


def is_in_process(hydra: Any) -> bool:
    """Whether the cells of the sweep run in this process, one after the other."""
    return hydra.launcher._target_.endswith("BasicLauncher")


def check_threads(hydra: Any, cells: Sequence[Cell]) -> None:
    """Raise UserError where the threads of one process are set, and slots compute."""
    for cell in cells:
        if cell.threads is not None and hydra.runtime.choices.get("hydra/launcher") == "ray":
            raise UserError(
                f"threads={cell.threads} is for one process; with hydra/launcher=ray, "
                "hydra.launcher.resources.STAGE.num_cpus says how many threads a stage has"
            )


def show_plan(cells: Sequence[Cell], plans: Sequence[Sequence[Step]]) -> None:
    """Print what the cells would compute."""
    from rich.console import Console

    from genclspp.report.figures import duration
    from genclspp.runs import graph, preview, threads
    from genclspp.runs.estimates import Estimates
    from genclspp.runs.outlook import Outlook

    first, root = cells[0], plans[0][-1].store.root
    outlook, estimates = Outlook(cells, plans), Estimates(root, threads.count(first.threads))
    headings = [outlook.entry(cell).heading for cell in cells]
    nodes, console = graph.build(plans), Console(highlight=False)
    preview.show(first.sweep, nodes, headings, estimates, console)
    ahead = [node for node in nodes.values() if not node.is_there]
    took = {node.name: seconds for node in ahead if (seconds := estimates.seconds(node.step)) is not None}
    if ahead and len(took) == len(ahead) and all(node.is_known for node in ahead):
        times = {slots: _simulate(outlook, took, slots) for slots in SLOTS}
        least = next(slots for slots in SLOTS if times[slots] <= 1.02 * times[SLOTS[-1]])  # more do not help
        told = [f"{duration(times[slots])} on {slots}" for slots in SLOTS if slots <= least]
        console.print(f"with hydra/launcher=ray, by slots: {', '.join(told)} (and some seconds to start)")


def _simulate(outlook: "Outlook", seconds: Mapping[str, float], slots: int) -> float:
    """How long a sweep takes on so many slots. seconds: key of a step -> that it takes"""
    from genclspp import pipeline
    from genclspp.cluster.driver import Driver
    from genclspp.cluster.simulation import Simulation
    from genclspp.runs.plan import Memory

    room = Simulation(slots, lambda job: seconds.get(job.key or "", 0.0))
    plan = partial(pipeline.plan, memory=Memory())
    driver = Driver(outlook, plan, room, lambda step: seconds.get(str(step.artifact.key)), str)
    for _ in driver.carry_out():
        pass
    return room.now
