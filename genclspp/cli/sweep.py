"""A sweep: all cells are checked before the first one starts, and a table shows their results."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from genclspp.cli import compose, effects, errors
from genclspp.settings import Cell

if TYPE_CHECKING:
    from genclspp.runs.plan import Memory


class Sweep(Callback):
    """Hydra callback: checks all cells of a sweep before the first one starts, shows the results at the end."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.ended = 0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        from rich.console import Console

        from genclspp import pipeline
        from genclspp.runs.terminal import quiet

        try:
            quiet(Path(config.outputs) / "logs" / str(config.name) / "sweep.log", Console())
            cells = [compose.cell(one) for one in expand(config)]
            effects.check(config.hydra, cells)
            for one in cells:
                pipeline.plan(one, memory(one.outputs))
        except Exception as error:  # Hydra turns a callback's exceptions into warnings; SystemExit passes
            raise errors.stop(error) from error
        self.cells = cells
        if cells:
            Console(highlight=False).print(f"sweep [bold]{cells[0].sweep}[/]: {len(cells)} cells, all checked")

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        from rich.console import Console
        from rich.markup import escape

        if not self.cells:
            return
        self.ended += 1
        error = getattr(job_return, "_return_value", None)
        if isinstance(error, Exception):
            Console(stderr=True, highlight=False).print(
                f"  [red]cell failed:[/] {escape(errors.explain(error))}", soft_wrap=True
            )
        if self.ended == len(self.cells):
            show_records(self.cells)


def show_records(cells: Sequence[Cell]) -> None:
    """Print a table of the cells' records, and the folder that holds them."""
    from rich.console import Console

    from genclspp.report import records, summary

    console = Console(highlight=False)
    wanted = [records.path_of(cell) for cell in cells]
    paths = [path for path in dict.fromkeys(wanted) if path.exists()]
    lost = sum(not path.exists() for path in wanted)
    if paths:
        summary.show([json.loads(path.read_text(encoding="utf-8")) for path in paths], console)
        console.print(f"records: {paths[0].parent}", soft_wrap=True)
    if lost:
        console.print(f"[red]{lost} of {len(cells)} cells have no record[/]: they failed, see above")


@cache
def memory(outputs: str) -> "Memory":
    """What this process has loaded and rendered so far, shared by all cells that write to `outputs`."""
    from genclspp.runs.plan import Memory

    return Memory()


def expand(config: DictConfig) -> list[DictConfig]:
    """The composed configuration of every cell that Hydra's basic sweeper would launch; empty for other sweepers.

    Hydra's launcher in this process receives the same ones afterwards, so that each is composed only once.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if not _is_grid(config.hydra):
        return []
    loader = GlobalHydra.instance().config_loader()
    params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(
        [*params, *config.hydra.overrides.task]
    )
    again = loader.load_sweep_config
    grid = [tuple(one) for batch in BasicSweeper.split_arguments(overrides, None) for one in batch]
    composed = {one: again(config, list(one)) for one in grid}

    def hand_over(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        return composed.get(tuple(sweep_overrides)) or again(master_config, sweep_overrides)

    loader.load_sweep_config = hand_over
    return list(composed.values())


def _is_grid(hydra: Any) -> bool:
    return hydra.sweeper._target_.endswith("BasicSweeper")
