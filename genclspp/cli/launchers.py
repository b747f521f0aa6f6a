"""What becomes of the cells of a sweep once they are checked: `hydra/launcher=…`."""

from collections.abc import Sequence
from typing import Any

from genclspp.settings import Cell
from genclspp.store.artifacts import Step


def is_plan(hydra: Any) -> bool:
    """Whether the sweep, or the cell, is to be planned and shown only."""
    return hydra.runtime.choices.get("hydra/launcher") == "plan"


def is_in_process(hydra: Any) -> bool:
    """Whether the cells of the sweep run in this process, one after the other."""
    return hydra.launcher._target_.endswith("BasicLauncher")


def show_plan(cells: Sequence[Cell], plans: Sequence[Sequence[Step]]) -> None:
    """Print what the cells would compute."""
    from rich.console import Console

    from genclspp.runs import graph, preview, threads
    from genclspp.runs.estimates import Estimates
    from genclspp.runs.outlook import Outlook

    first, root = cells[0], plans[0][-1].store.root
    outlook, estimates = Outlook(cells, plans), Estimates(root, threads.count(first.threads))
    headings = [outlook.entry(cell).heading for cell in cells]
    preview.show(first.sweep, graph.build(plans), headings, estimates, Console(highlight=False))
