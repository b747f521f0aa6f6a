"""The mirror to Weights & Biases: a run per executed stage, per result of a cell, and per cell over its seeds.

Records and artifacts are the truth, and this only mirrors them. So here, and nowhere else, an error does not stop
the program: the first one in a process gives a warning, and the work continues.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genclspp.inference.metrics import Prediction
from genclspp.progress import Log
from genclspp.report import measures
from genclspp.report.chart import Chart
from genclspp.runs.wandb_content import (
    confusion_plot,
    figure,
    flatten,
    is_plain,
    predictions_table,
    run_id,
    run_name,
    tags,
)
from genclspp.runs.wandb_files import drop_earlier, mark, says, staging_inside
from genclspp.settings import TrackingSettings
from genclspp.store.keys import hash_of
from genclspp.suggest import reason

Mode = Literal["online", "offline", "disabled"]


QUIET = {
    "silent": True,
    "console": "off",
    "symlink": False,
    "use_dot_wandb": False,
    # Upload no code, no git state, and nothing about the machine.
    "disable_code": True,
    "save_code": False,
    "disable_git": True,
    "disable_job_creation": True,
    "label_disable": True,
    "x_save_requirements": False,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "host": "",
    "x_executable": "",
    # An outage costs this many seconds, once. Without the second, wandb waits forever at the end of a run.
    "init_timeout": 30.0,
    "finish_timeout": 60.0,
    "finish_timeout_raises": True,
}

_state = {"warned": False, "unreachable": False}  # of this process


@dataclass(frozen=True)
class Tracker:
    """Mirrors the stages and results of one cell; does nothing if `settings.backend` is "none".

    root:    the folder of outputs; files go to `root/wandb`
    sweep:   the group of the runs
    choices: the names typed for the cell, such as {"train": "icl"}; they become tags
    config:  the whole nested configuration of the cell; written flat, with secrets masked
    """

    settings: TrackingSettings
    root: Path
    sweep: str
    choices: Mapping[str, str]
    config: Mapping[str, Any]

    @contextmanager
    def run(self, stage: str, key: str) -> Iterator[Log]:
        """Open a run for the stage that computes the artifact `key`.

        Yields `log(row)`, which logs one row of history; W&B plots it over its entry "step".
        """
        with self._open(stage, key, run_id(stage, key)) as opened:
            defined = {"step"}
            if opened is not None:
                with warn_on_error("define the axis of a run"):
                    opened.define_metric("step")
                    opened.define_metric("*", step_metric="step")

            def log(row: Mapping[str, float]) -> None:
                if opened is not None:
                    with warn_on_error("log a row"):
                        _define_goals(opened, row.keys() - defined)
                        defined.update(row)
                        opened.log(dict(row))

            yield log

    def result(
        self, key: str, record: Mapping[str, Any], predictions: Sequence[Prediction], labels: Sequence[str]
    ) -> None:
        """Log the result of the cell as a run: its record as summary, confusion matrix, first predictions."""
        # The same cell may belong to two sweeps, each with its own record.
        name = f"{run_name('result', key, self.choices)} seed {record.get('seed', 0)}"
        with self._open("result", key, run_id("result", self.sweep, key), name) as opened:
            if opened is None:
                return
            with warn_on_error("log the result"):
                entries = {name: value for name, value in record.items() if value is not None and is_plain(value)}
                opened.summary.update(entries)
                with staging_inside(Path(opened.settings.sync_dir)):
                    confusion, table = confusion_plot(predictions, labels), predictions_table(predictions)
                    opened.log({"confusion": confusion, "predictions": table})

    def aggregate(self, key: str, name: str, summary: Mapping[str, Any], charts: Sequence[Chart] = ()) -> None:
        """Log what the seeds of a cell say together, or the charts of the whole sweep, as a run.

        Nothing is logged where the run of this `key` in the sweep says the same already.
        """
        id_, content = run_id("aggregate", self.sweep, key), hash_of([summary, [chart.figure for chart in charts]])
        if self.settings.backend == "none" or says(self.root, id_, content):
            return
        with self._open("aggregate", key, id_, name) as opened:
            if opened is None:
                return
            with warn_on_error("log an aggregate"):
                opened.summary.update(dict(summary))
                if charts:
                    with staging_inside(Path(opened.settings.sync_dir)):
                        opened.log({chart.id: figure(chart) for chart in charts})
                mark(opened, content)

    @contextmanager
    def _open(self, stage: str, key: str, id_: str, name: str = "") -> Iterator[Any | None]:
        """Open a W&B run (None if there is none), and finish it whatever happens inside."""
        opened = self._start(stage, key, id_, name or run_name(stage, key, self.choices))
        try:
            yield opened
        except BaseException:
            _finish(opened, exit_code=1)
            raise
        _finish(opened, exit_code=0)

    def _start(self, stage: str, key: str, id_: str, name: str) -> Any | None:
        if self.settings.backend == "none":
            return None
        with warn_on_error("start a run"):
            import wandb
            from wandb.errors import CommError

            _disable_analytics()
            (self.root / "wandb").mkdir(parents=True, exist_ok=True)  # else wandb silently writes to /tmp
            mode = self._mode()
            if mode == "disabled":
                return None
            given: dict[str, Any] = {
                "id": id_,
                "name": name[:128],
                "project": self.settings.project,
                "entity": self.settings.entity,
                "dir": str(self.root.resolve()),
                "group": self.sweep[:128],
                "job_type": stage,
                "tags": tags(self.choices),
                "config": {**flatten(self.config), **self.choices, "artifact": key},
            }
            try:
                # "create_new": a run that other code left open is neither returned nor finished.
                run = wandb.init(**given, settings=wandb.Settings(**QUIET, mode=mode, reinit="create_new"))
            except (CommError, TimeoutError) as error:
                if mode == "offline":
                    raise
                _say_unreachable(error)
                _restart()  # else the new run, of the same id, writes into the one that has just failed
                run = wandb.init(**given, settings=wandb.Settings(**QUIET, mode="offline", reinit="create_new"))
            drop_earlier(run)
            return run
        return None

    def _mode(self) -> Mode:
        """The mode to run in: our setting, else wandb's own, else online if credentials are found.

        Looks for credentials where wandb does (environment, netrc, its settings), without the network. Without
        any, runs are offline even if online was set, because wandb would prompt for a key.
        """
        import wandb
        from wandb.errors import AuthenticationError
        from wandb.sdk.lib import wbauth

        theirs = wandb.setup(wandb.Settings(**QUIET)).settings
        wanted = self.settings.mode or theirs.mode
        if wanted in ("offline", "dryrun", "disabled"):
            return "disabled" if wanted == "disabled" else "offline"
        if _state["unreachable"]:
            return "offline"
        try:
            credentials = wbauth.authenticate_session(
                host=theirs.base_url, source="genclspp", prompt=False, verify=False, update_session=False
            )
        except AuthenticationError as error:  # a malformed key
            warn_once(f"Weights & Biases cannot use its API key, so runs stay offline: {reason(error)}")
            return "offline"
        if credentials is None and self.settings.mode == "online":
            warn_once("Weights & Biases has no API key, so runs stay offline (`wandb login` stores one)")
        return "offline" if credentials is None else "online"


def _disable_analytics() -> None:
    """wandb 0.31 reports errors to its makers, and waits for itself forever where its service does not start."""
    with suppress(ImportError):  # of a version that does so elsewhere, or not at all
        from wandb.analytics.opentelemetry import opentelemetry_proxy

        opentelemetry_proxy.disable()


def _define_goals(run: Any, names: Iterable[str]) -> None:
    """Keep the best value of each metric with a goal beside the last; else a summary holds the last alone.

    wandb 0.31 has no goals any more: `summary` says the direction. https://github.com/wandb/wandb/pull/12583
    """
    for name in sorted(names):
        measure = measures.find(name)
        if measure and measure.goal:
            best = "max" if measure.goal == "maximize" else "min"
            run.define_metric(name, step_metric="step", summary=f"last,{best}")


@contextmanager
def warn_on_error(doing: str) -> Iterator[None]:
    """Suppress any error inside; the first one in this process gives a warning."""
    try:
        yield
    except Exception as error:
        warn_once(f"Weights & Biases could not {doing}; continuing without it: {reason(error)}")
        if isinstance(error, ConnectionError) or type(error).__name__ == "MailboxClosedError":
            _restart()  # wandb's service process has died


def warn_once(sentence: str) -> None:
    """Warn, but only the first time in this process, whatever the sentence."""
    if not _state["warned"]:
        _state["warned"] = True
        logging.getLogger(__name__).warning("%s", sentence)


def _finish(run: Any | None, exit_code: int) -> None:
    if run is None:
        return
    with warn_on_error("finish a run"):
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError as error:  # the data is on disk, just not uploaded
            _say_unreachable(error)


def _say_unreachable(error: Exception) -> None:
    """Warn, and keep this process offline from here on: each further try would cost the full timeout."""
    _state["unreachable"] = True
    warn_once(
        "Weights & Biases is not reachable, so runs stay offline (scripts/wandb_sync.py uploads them): "
        + reason(error)
    )


def _restart() -> None:
    """Stop wandb's service process; the next run starts a new one."""
    with suppress(Exception, SystemExit):
        import wandb

        wandb.teardown()
