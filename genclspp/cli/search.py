"""A search: `hydra/sweeper=optuna` chooses trials, which are cells, by the validation figures of earlier ones.

Each choice, and both ends of each interval, are checked before the first trial. A trial is planned, run, recorded
and reused like a cell of a grid.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from genclspp.cli import compose, effects, grid, launchers, typed
from genclspp.cli.words import key_of
from genclspp.settings import Cell
from genclspp.suggest import UserError, hint

if TYPE_CHECKING:
    from rich.console import Console

    from genclspp.runs.ledger import Entry
    from genclspp.runs.plan import Memory

SWEEPER = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
CHOOSES = "hydra/sweeper=optuna chooses trials on validation examples"
DIGITS = 4  # of a number from an interval, so that it can be typed again


def is_search(hydra: Any) -> bool:
    """Whether trials are chosen by the results of earlier ones."""
    return hydra.sweeper._target_ == SWEEPER


def refuse_objective(hydra: Any) -> None:
    """Raise UserError for an objective that was typed where nothing searches for it."""
    if not is_search(hydra) and "objective" in map(key_of, hydra.overrides.task):
        raise UserError("objective= is read by a search alone; expected hydra/sweeper=optuna beside it")


def objective(cell: Cell, record: Mapping[str, Any]) -> float | None:
    """The figure of a cell's record that a search looks at; None where there is none."""
    found = record.get(cell.objective)
    return found if found is not None and math.isfinite(found) else None


@dataclass
class Search:
    """The search that this process runs.

    config:    of the sweep, as Hydra composes it without what is searched
    count:     of trials, in all
    objective: the figure of records that counts, such as "validation/accuracy"; `is_loss`: less of it is better
    space:     key -> what was typed for it: one value, several, an interval or a range
    trials:    the file of a record -> the cell of the trial, with its entry in the ledger
    launched:  trials so far; `lost` are those that became no cell
    """

    config: DictConfig
    memory: "Memory"
    count: int
    objective: str
    is_loss: bool
    space: dict[str, Override]
    trials: "dict[Path, tuple[Cell, Entry]]" = field(default_factory=dict)
    launched: int = 0
    lost: int = 0

    @cached_property
    def compose(self) -> Callable[[grid.Words], DictConfig]:
        return grid.composer(self.config)

    @cached_property
    def searched(self) -> set[str]:
        """The keys that have several values."""
        return {key for key, each in self.space.items() if len(values(each)) > 1}

    def job(self, words: Sequence[str]) -> list[str]:
        """The words of a trial as they would be typed: short numbers, and no knob that its choices do not have."""
        return list(grid.fit(tuple(map(self._written, words)), self.compose)[0].words)

    def enter(self, words: Sequence[str]) -> None:
        """Plan a trial and enter it in the ledger; what is wrong with it is told when it runs."""
        from genclspp import pipeline
        from genclspp.report import records
        from genclspp.runs.ledger import Entry, Ledger

        self.launched += 1
        try:
            cell = effects.without_idle_words(compose.cell(self.compose(tuple(words))))
            steps = pipeline.plan(cell, self.memory).steps
        except UserError:
            self.lost += 1
            return
        path = records.path_of(cell)
        heading = " ".join(word for word in words if key_of(word) in self.searched)
        entry = Entry.of(self.launched, heading, path.stem, steps)
        Ledger(path.parent).expect(entry)
        self.trials.setdefault(path, (cell, entry))  # Optuna may choose a cell again, which costs nothing

    def show(self, console: "Console") -> None:
        """Print a table of the trials that have a record, and how the best of them is run alone."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        from genclspp.report import figures, records

        metric = self.objective.removeprefix(compose.VALIDATION)
        there = {entry: path for path, (_, entry) in self.trials.items() if path.exists()}
        found = {entry: json.loads(path.read_text(encoding="utf-8")) for entry, path in there.items()}
        best = self._best(found)
        unit = " in %" if figures.is_share(metric) else ""
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("trial", justify="right")
        table.add_column("cell", overflow="fold")
        for split in ("validation", "test"):
            table.add_column(f"{metric}\non {split}{unit}", justify="right")
        for entry, record in found.items():
            told = [figures.value(name, record.get(name)) for name in (self.objective, metric)]
            cells = map(Text, (str(entry.number), entry.heading, *told))
            table.add_row(*cells, style="bold" if entry is best else "")
        console.print(table)
        if best:
            console.print(f"best: trial {best.number}, alone:", soft_wrap=True)
            console.print(f"  python run.py {found[best][records.WORDS]}", soft_wrap=True, markup=False)

    def _best(self, found: "Mapping[Entry, Mapping[str, Any]]") -> "Entry | None":
        """The trial with the best figure, the first of equal ones; None where none has one."""
        figures = {entry: record.get(self.objective) for entry, record in found.items()}
        finite = {entry: value for entry, value in figures.items() if value is not None and math.isfinite(value)}
        return (min if self.is_loss else max)(finite, key=lambda entry: finite[entry], default=None)

    def _written(self, word: str) -> str:
        key, _, value = word.partition("=")
        meant = self.space[key_of(word)]
        if not meant.is_sweep_override():
            return str(meant.input_line)
        return f"{key}={float(value):.{DIGITS}g}" if meant.is_interval_sweep() else word


def start(config: DictConfig, memory: "Memory") -> Search:
    """Check a search before its first trial; raises UserError for what is wrong with it or with a value in it."""
    from genclspp import pipeline

    if launchers.is_plan(config.hydra):
        raise UserError("hydra/launcher=plan shows a grid; a search chooses each trial when it has seen others")
    if config.get("grids"):
        raise UserError("the experiment has several grids; hydra/sweeper=optuna needs hydra.sweeper.params alone")
    search = _read(config, memory)
    cells = [effects.without_idle_words(compose.cell(search.compose(words))) for words in _probes(search)]
    if not all(cell.predict.validation for cell in cells):
        raise UserError(f"{CHOOSES}, found predict.validation=0; expected 1 or more")
    effects.check(config.hydra, cells)
    for cell in cells:
        plan = pipeline.plan(cell, memory)
        if plan.steps[-1].call.keywords.get("validated") is None:
            raise UserError(f"{CHOOSES}, found none in dataset={cell.choices['dataset']}")
        _check_objective(search, cell, pipeline.read(cell, memory).labels)
    hand_over(search)
    return search


def _read(config: DictConfig, memory: "Memory") -> Search:
    """What is to be searched, from the command line and `hydra.sweeper`."""
    from genclspp.report import measures

    sweeper, objective = config.hydra.sweeper, str(config.objective)
    for name in ("n_trials", "n_jobs"):
        if typed.check(sweeper[name], int, f"hydra.sweeper.{name}") < 1:
            raise UserError(f"hydra.sweeper.{name}={sweeper[name]}; expected 1 or more")
    for name in ("storage", "search_space", "custom_search_space"):
        if sweeper[name] is not None:
            why = "the same command chooses the same trials, and computes nothing twice"
            raise UserError(f"hydra.sweeper.{name}={sweeper[name]}; expected null: {why}")
    way = typed.check(sweeper.direction, Literal["maximize", "minimize"], "hydra.sweeper.direction")
    measure = measures.find(objective)
    if measure and measure.goal not in (None, way):
        better = "lower" if measure.goal == "minimize" else "higher"
        wanted = f"hydra.sweeper.direction={measure.goal}"
        raise UserError(f"{objective} is better when it is {better}; expected {wanted}")
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    words = [*(f"{key}={value}" for key, value in (sweeper.params or {}).items()), *config.hydra.overrides.task]
    space = {key_of(each.get_key_element()): each for each in parser.parse_overrides(words)}
    if not isinstance(sweeper.sampler, Mapping):
        raise UserError(
            f"hydra.sweeper.sampler={sweeper.sampler}; expected hydra/sweeper/sampler={sweeper.sampler}"
        )
    search = Search(config, memory, sweeper.n_trials, objective, way == "minimize", space)
    if not search.searched:
        raise UserError("hydra/sweeper=optuna has nothing to search; expected key=A,B,… or key=interval(LOW,HIGH)")
    if "seed" in search.searched:
        raise UserError("a search over seeds finds the luckiest; expected one seed, more only for the best cell")
    return search


def _probes(search: Search) -> list[grid.Words]:
    """Words of cells in which each value occurs, and both ends of each interval; the others are their first."""
    words = {key: values(each) for key, each in search.space.items()}
    first = {key: each[0] for key, each in words.items()}
    choices = [(key, word) for key, each in words.items() if "." not in key for word in each[1:]]
    rows = [first, *({**first, key: word} for key, word in choices)]

    def home(key: str, word: str) -> tuple[grid.Job, dict[str, Exception]]:
        """A cell that has this knob; any, if there is none."""
        found = (grid.fit(tuple({**row, key: word}.values()), search.compose) for row in rows)
        return next((fit for fit in found if key not in fit[1]), fitting[0])

    fitting = [grid.fit(tuple(row.values()), search.compose) for row in rows]
    fitting += [home(key, word) for key, each in words.items() if "." in key for word in each[1:]]
    known = {key_of(word) for job, _ in fitting for word in job.words}
    for _, lacking in fitting:
        for key, why in lacking.items():
            if key not in known:  # no cell has it
                raise why
    return list(dict.fromkeys(job.words for job, _ in fitting))


def values(override: Override) -> list[str]:
    """The words for which what was typed for a key stands; of an interval or a range, those of its ends."""
    key, value = override.get_key_element(), override.value()
    if not override.is_sweep_override():
        return [str(override.input_line)]
    is_empty = override.is_interval_sweep() and value.start >= value.end
    if is_empty or (override.is_range_sweep() and value.start > value.stop):
        raise UserError(f"{override.input_line} is empty; expected the lower end first")
    if override.is_interval_sweep():
        return [f"{key}={value.start}", f"{key}={value.end}"]
    if override.is_range_sweep():
        return [f"{key}={value.start}", f"{key}={value.stop}"]  # to Optuna, the last one is part of a range
    if override.is_choice_sweep():
        return [f"{key}={each}" for each in override.sweep_string_iterator()]
    raise UserError(f"{override.input_line}: Optuna knows no such values; expected A,B,…, interval(…) or range(…)")


def _check_objective(search: Search, cell: Cell, labels: Sequence[str]) -> None:
    """Raise UserError for an objective that no record of the cell will have."""
    from genclspp.inference.metrics import Prediction, compute

    even = dict.fromkeys(labels, 1 / len(labels))
    tried = [Prediction("", labels[0], labels[0], labels[0], "", even)]
    known = [f"{compose.VALIDATION}{name}" for name in compute(tried, labels, 0, cell.metrics)]
    if search.objective not in known:
        near = hint(search.objective, known)
        raise UserError(f"objective={search.objective!r} is no figure of a record; {near}")


def hand_over(search: Search) -> None:
    """Make Optuna's sweeper launch its trials as cells of `search`."""
    import optuna

    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()  # to the log

    def setup(self: Any, **given: Any) -> None:
        self.sweeper.setup(**given)
        self.sweeper.launcher = Trials(self.sweeper.launcher, search)

    def sweep(self: Any, arguments: list[str]) -> None:
        try:
            self.sweeper.sweep(arguments)
        except ValueError:  # Optuna wants to name the best trial; if all have failed, a table says so
            if self.sweeper.launcher.has_values:
                raise

    sweeper: Any = Plugins.instance().class_name_to_class[SWEEPER]
    sweeper.setup, sweeper.sweep = setup, sweep


class Trials(Launcher):
    """Hands the trials that Optuna has chosen to a launcher, as cells that are entered in the ledger."""

    def __init__(self, launcher: Launcher, search: Search) -> None:
        self.launcher, self.search = launcher, search
        self.has_values = False

    def setup(self, **_: Any) -> None: ...  # the launcher is set up already

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        jobs = [self.search.job(words) for words in job_overrides]
        for words in jobs:
            self.search.enter(words)
        returns = self.launcher.launch(jobs, initial_job_idx)
        self.has_values |= any(each.return_value is not None for each in returns)
        return returns
