"""The command line: one cell, or a sweep of them."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from genclspp.cli import compose, effects, errors, help, sweep, words


@hydra.main(version_base="1.3", config_path=compose.CONF, config_name="config")
def run(config: DictConfig) -> float:
    """Run one cell; its accuracy is returned for sweepers that optimise."""
    try:
        return _run(config)
    except Exception as error:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            raise  # the sweep continues with the other cells
        raise errors.stop(error) from None


def _run(config: DictConfig) -> float:
    from genclspp import pipeline
    from genclspp.report import records
    from genclspp.runs.terminal import Terminal, quiet

    cell = compose.cell(config)
    hydra = HydraConfig.get()
    if hydra.mode is RunMode.RUN:  # a sweep has been checked as a whole
        effects.check(hydra, [cell])
    terminal = Terminal()
    quiet(Path(cell.outputs) / "logs" / cell.sweep / f"{records.path_of(cell).stem}.log", terminal.console)
    return pipeline.run(cell, sweep.memory(cell.outputs), terminal)["accuracy"]


def main() -> None:
    """Run the program; whatever stops it is reported in one sentence, with a non-zero exit code."""
    os.environ["GENCLSPP_TRACEBACK"] = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then passes errors on, and we print one sentence
    for bars in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(bars, "1")  # `Terminal.bar` draws our own
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if help.is_wanted(sys.argv[1:]):
        print(help.text())
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.exit(f"error: found WORLD_SIZE={os.environ['WORLD_SIZE']}; expected one process, on one device")
    compose.register()
    try:
        sys.argv[1:] = words.read(sys.argv[1:])
    except ValueError as error:
        raise errors.stop(error) from None
    signal.signal(signal.SIGTERM, _stop)
    try:
        run()
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to resume", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        raise errors.stop(error) from None


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt
