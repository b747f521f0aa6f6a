"""The command line: one cell, or a sweep of them."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from genclspp.cli import compose, effects, errors, grid, help, launchers, plugins, search, sweep, words
from genclspp.runs import threads
from genclspp.settings import Cell


@hydra.main(version_base="1.3", config_path=compose.CONF, config_name="config")
def run(config: DictConfig) -> float | None:
    """Run one cell; returns its objective, for a search. None: it has none, or it failed and the sweep goes on."""
    from genclspp import pipeline

    try:
        cell = effects.without_idle_words(compose.cell(config))
        if HydraConfig.get().mode is RunMode.RUN:  # a sweep has been checked as a whole
            launchers.require_sweep(HydraConfig.get())
            effects.check(HydraConfig.get(), [cell])
            search.refuse_objective(HydraConfig.get())
            if launchers.is_plan(HydraConfig.get()):
                launchers.show_plan([cell], [pipeline.plan(cell, sweep.memory(cell.outputs)).steps])
                return None
        return _run(cell)
    except Exception as error:
        hydra_config = HydraConfig.get()
        if hydra_config.mode is not RunMode.MULTIRUN:
            raise errors.stop(error) from None
        if not (grid.is_grid(hydra_config) or search.is_search(hydra_config)):
            raise
        if not errors.is_told(error):  # it came before the cell began, so the ledger does not know
            print(f"error: {errors.report(error)}", file=sys.stderr)
            sweep.Sweep.is_broken = True
        if config.failures == "stop":
            sweep.end(is_stopped=True)
        return None


def _run(cell: Cell) -> float | None:
    from genclspp import pipeline
    from genclspp.report import records
    from genclspp.runs import changes
    from genclspp.runs.ledger import Ledger
    from genclspp.runs.outlook import choices_of
    from genclspp.runs.terminal import Terminal, quiet

    terminal, memory = Terminal(), sweep.memory(cell.outputs)
    path, place = records.path_of(cell), sweep.place_of(cell)
    ledger = Ledger(path.parent)
    log = Path(cell.outputs) / "logs" / cell.sweep / f"{path.stem}.log"
    quiet(log, terminal)
    if place:
        entry = place.entry
        terminal.heading(place.called, entry.heading, place.left)
    else:
        terminal.heading("cell", " ".join(map("=".join, choices_of(cell).items())))
        planned = pipeline.plan(cell, memory)  # what would stop it stops it here, before it counts as started
        entry = ledger.alone(path.stem, planned.steps)
        data = changes.digest_of(cell, pipeline.read(cell, memory), memory)
        for sentence in changes.find([cell], [planned.steps], [data]):
            terminal.warn(sentence)
    try:
        with ledger.running(entry):
            record = pipeline.run(cell, memory, terminal)
    except Exception as error:
        sentence, state = errors.report(error), errors.state(error)
        ledger.note(entry, state, sentence, str(log))
        if place:
            terminal.failed(state, sentence)
        raise
    if not place:
        terminal.ending(path, Path(cell.outputs) / "artifacts" / "predict" / record["artifact/predict"])
    return search.objective(cell, record)


def main() -> None:
    """Run the program."""
    for bars in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(bars, "1")  # `Terminal.bar` draws our own
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    threads.wait_passively()
    if help.is_wanted(sys.argv[1:]):
        print(help.text())
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.exit(f"error: found WORLD_SIZE={os.environ['WORLD_SIZE']}; expected one process, on one device")
    compose.register()
    guard(_start)


def _start() -> None:
    plugins.require(sys.argv[1:])
    sys.argv[1:] = grid.free_knobs(words.read(sys.argv[1:]))
    signal.signal(signal.SIGTERM, _stop)
    run()


def guard(start: Callable[[], Any]) -> None:
    """Start a program of Hydra's; whatever stops it is told in one sentence, with a non-zero exit code."""
    os.environ["GENCLSPP_TRACEBACK"] = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then passes errors on, and we print one sentence
    try:
        start()
    except KeyboardInterrupt as stopped:
        print(f"\n{str(stopped) or 'interrupted'}; run the same command again to resume", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        raise errors.stop(error) from None


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt
