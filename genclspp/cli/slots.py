"""`hydra/launcher=ray`: the stages of a sweep on slots, and what a person sees of it."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig
from rich.console import Console

from genclspp.cli import compose, errors
from genclspp.settings import Cell
from genclspp.suggest import UserError


def launch(
    configs: Sequence[DictConfig], address: str | None, slots: int | None, resources: Mapping[str, Any]
) -> list[JobReturn]:
    """Carry out the jobs of a sweep; what a job returns is what `main.run` does for it.

    address, slots, resources: see `cluster.slots.Slots`
    """
    from genclspp.cli import sweep
    from genclspp.cluster.slots import Slots
    from genclspp.runs.terminal import Terminal

    outlook = sweep.Sweep.outlook or sweep.look_ahead([compose.cell(config) for config in configs])
    first, terminal = outlook.cells[0], Terminal(Console(file=sys.stdout, highlight=False))
    try:
        _check(outlook.cells)
        with (
            _aside(Path(first.outputs) / "logs" / first.sweep / "ray.log"),
            Slots(address, slots, resources) as room,
        ):
            found = _carry_out(outlook, room, terminal)
    except UserError as error:
        raise errors.stop(error) from None
    return [
        JobReturn(overrides=list(config.hydra.overrides.task), status=JobStatus.COMPLETED, _return_value=value)
        for config, value in zip(configs, found, strict=True)
    ]


@contextmanager
def _aside(log: Path) -> Iterator[None]:
    """Send to a file what Ray prints in this process, such as a paragraph about each worker that dies."""
    kept = os.dup(2)
    with log.open("a", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        os.dup2(file.fileno(), 2)  # what is not Python writes there
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _check(cells: Sequence[Cell]) -> None:
    for cell in cells:
        if cell.threads is not None:
            raise UserError(
                f"threads={cell.threads} is for one process; with hydra/launcher=ray, "
                "hydra.launcher.resources.STAGE.num_cpus says how many threads a stage has"
            )


def _carry_out(outlook: Any, room: Any, terminal: Any) -> list[float]:
    """Carry out the cells of a sweep; returns the value of each, NaN for one that has failed."""
    from genclspp import pipeline
    from genclspp.cli import sweep
    from genclspp.cluster.driver import Driver
    from genclspp.runs import threads
    from genclspp.runs.estimates import Estimates

    first = outlook.cells[0]
    memory = sweep.memory(first.outputs)
    estimates = Estimates(Path(first.outputs) / "artifacts", threads.count(1))
    driver = Driver(outlook, lambda cell: pipeline.plan(cell, memory), room, estimates.seconds, errors.report)
    values = [float("nan")] * len(outlook.cells)
    for note in memory.news(dict.fromkeys(outlook.notes)):
        terminal.tell(note)
    with terminal.console.status("") as line:
        line.update(_at_work(driver))
        for ended in driver.carry_out():
            if ended.outcome.state == "failed":
                _tell_failed(outlook, ended, terminal)
            elif ended.task.step:
                _tell_step(ended, memory, terminal)
            else:
                place = ended.cells[0]
                values[place] = ended.outcome.record["accuracy"]
                _tell_cell(outlook, place, ended, terminal)
            line.update(_at_work(driver))
    return values


def _at_work(driver: Any) -> str:
    """What the slots are doing, in a line that stays at the bottom of a terminal."""
    done, roles = driver.schedule.total - len(driver.schedule.tasks), Counter(map(_role, driver.running))
    running = ", ".join(f"{role} {count}" if count > 1 else role for role, count in roles.items())
    return f"{done} of {driver.schedule.total} stages and records · now: {running or 'starting'}"


def _role(task: Any) -> str:
    return task.step.role if task.step else "record"


def _tell_step(ended: Any, memory: Any, terminal: Any) -> None:
    seconds, step = ended.outcome.seconds, ended.task.step
    if seconds is not None:
        memory.seconds.setdefault(step.role, []).append(seconds)
    others = f"for {len(ended.cells)} cells" if len(ended.cells) > 1 else ""
    terminal.status(step.role, ended.task.name, seconds, f"{ended.outcome.where} {others}".strip())
    for line in ended.outcome.lines:
        terminal.tell(line)


def _tell_cell(outlook: Any, place: int, ended: Any, terminal: Any) -> None:
    entry = outlook.entry(outlook.cells[place])
    terminal.heading(f"cell {entry.number}/{len(outlook.cells)}", entry.heading)
    for line in ended.outcome.lines:
        terminal.tell(line)
    terminal.result(ended.outcome.record)


def _tell_failed(outlook: Any, ended: Any, terminal: Any) -> None:
    """Say which cells are lost; the first one has failed, and others that need the same step are skipped."""
    from genclspp.report import records
    from genclspp.runs.ledger import Ledger

    task, sentence = ended.task, ended.outcome.sentence
    for place in ended.cells:
        cell = outlook.cells[place]
        entry, ledger = outlook.entry(cell), Ledger(records.path_of(cell).parent)
        terminal.heading(f"cell {entry.number}/{len(outlook.cells)}", entry.heading)
        if place == ended.cells[0]:
            reason = f"{task.step.role}: {sentence}" if task.step else sentence
            ledger.note(entry, "failed", reason, ended.log)
            terminal.failed("failed", reason)
        else:
            reason = f"it needs the stage {task.step.role} {task.name}, which has failed: {sentence}"
            ledger.note(entry, "skipped", reason)
            terminal.failed("skipped", reason)
