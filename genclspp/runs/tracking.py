"""The mirror to Weights & Biases: one run per executed stage and one for the result of each cell.

Records and artifacts are the truth, this is their picture. So here, and nowhere else, errors are softened:
whatever goes wrong is said once per process, in one sentence, and the work goes on.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genclspp.inference.metrics import Prediction
from genclspp.progress import Log
from genclspp.runs.wandb_content import (
    confusion_plot,
    flat,
    is_plain,
    predictions_table,
    run_id,
    run_name,
    tags,
)
from genclspp.settings import TrackingSettings

Mode = Literal["online", "offline", "disabled"]


QUIET = {
    "silent": True,
    "console": "off",
    "symlink": False,
    "use_dot_wandb": False,
    # No code, no git, nothing about the machine.
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
    # An outage costs this many seconds, once; without the second wandb waits for ever at the end of a run.
    "init_timeout": 30.0,
    "finish_timeout": 60.0,
    "finish_timeout_raises": True,
}

_said = {"warning": False, "unreachable": False}  # of this process


@dataclass(frozen=True)
class Tracker:
    """Mirrors the stages and the result of one cell; with `backend` none it does nothing.

    root:    the folder of outputs; files go to `root/wandb`
    sweep:   the group of the runs
    choices: the names typed for the cell, such as {"train": "icl"}; they become tags
    config:  the whole configuration of the cell, nested; written flat, secrets masked
    """

    settings: TrackingSettings
    root: Path
    sweep: str
    choices: Mapping[str, str]
    config: Mapping[str, Any]

    @contextmanager
    def run(self, stage: str, key: str) -> Iterator[Log]:
        """A run for the stage that makes the artifact `key`.

        Gives `log(row)`: one row of history, drawn over its entry "step".
        """
        with self._open(stage, key, run_id(stage, key)) as opened:
            if opened is not None:
                with softened("define the axis of a run"):
                    opened.define_metric("step")
                    opened.define_metric("*", step_metric="step")

            def log(row: Mapping[str, float]) -> None:
                if opened is not None:
                    with softened("log a row"):
                        opened.log(dict(row))

            yield log

    def result(
        self, key: str, record: Mapping[str, Any], predictions: Sequence[Prediction], labels: Sequence[str]
    ) -> None:
        """A run for the result of the cell: the record as summary, confusion matrix, first predictions."""
        # The same cell may stand in two sweeps, each with its own record.
        with self._open("result", key, run_id("result", self.sweep, key)) as opened:
            if opened is None:
                return
            with softened("log the result"):
                told = {name: value for name, value in record.items() if value is not None and is_plain(value)}
                opened.summary.update(told)
                with _staging_inside(Path(opened.settings.sync_dir)):
                    confusion, table = confusion_plot(predictions, labels), predictions_table(predictions)
                    opened.log({"confusion": confusion, "predictions": table})

    @contextmanager
    def _open(self, stage: str, key: str, id_: str) -> Iterator[Any | None]:
        """The run of W&B, or None where there is none; finished whatever happens inside."""
        opened = self._start(stage, key, id_)
        try:
            yield opened
        except BaseException:
            _finish(opened, exit_code=1)
            raise
        _finish(opened, exit_code=0)

    def _start(self, stage: str, key: str, id_: str) -> Any | None:
        if self.settings.backend == "none":
            return None
        with softened("start a run"):
            import wandb
            from wandb.errors import CommError

            (self.root / "wandb").mkdir(parents=True, exist_ok=True)  # else wandb goes to /tmp, unasked
            mode = self._mode()
            if mode == "disabled":
                return None
            given: dict[str, Any] = {
                "id": id_,
                "name": run_name(stage, key, self.choices),
                "project": self.settings.project,
                "entity": self.settings.entity,
                "dir": str(self.root.resolve()),
                "group": self.sweep[:128],
                "job_type": stage,
                "tags": tags(self.choices),
                "config": {**flat(self.config), **self.choices, "artifact": key},
            }
            try:
                # "create_new": a run that something else left open is neither returned nor finished.
                run = wandb.init(**given, settings=wandb.Settings(**QUIET, mode=mode, reinit="create_new"))
            except (CommError, TimeoutError) as error:
                if mode == "offline":
                    raise
                _say_unreachable(error)
                _restart()  # else the new run of this id writes into the one that has just failed
                run = wandb.init(**given, settings=wandb.Settings(**QUIET, mode="offline", reinit="create_new"))
            _drop_earlier(run)
            return run
        return None

    def _mode(self) -> Mode:
        """The mode to run in: as set, else as wandb is set, else online where credentials are at hand.

        Looks for credentials where wandb does (environment, netrc, its settings), without the network; where
        there are none it answers offline also when online was wanted, because wandb would ask for a key.
        """
        import wandb
        from wandb.errors import AuthenticationError
        from wandb.sdk.lib import wbauth

        theirs = wandb.setup(wandb.Settings(**QUIET)).settings
        wanted = self.settings.mode or theirs.mode
        if wanted in ("offline", "dryrun", "disabled"):
            return "disabled" if wanted == "disabled" else "offline"
        if _said["unreachable"]:
            return "offline"
        try:
            credentials = wbauth.authenticate_session(
                host=theirs.base_url, source="genclspp", prompt=False, verify=False, update_session=False
            )
        except AuthenticationError as error:  # found, but not in the form of a key
            say(f"Weights & Biases cannot use its API key, so runs stay offline: {_reason(error)}")
            return "offline"
        if credentials is None and self.settings.mode == "online":
            say("Weights & Biases has no API key, so runs stay offline (`wandb login` stores one)")
        return "offline" if credentials is None else "online"


@contextmanager
def softened(doing: str) -> Iterator[None]:
    """Say what goes wrong inside, once per process, and go on."""
    try:
        yield
    except Exception as error:
        say(f"Weights & Biases could not {doing}, the work goes on without it: {_reason(error)}")
        if isinstance(error, ConnectionError) or type(error).__name__ == "MailboxClosedError":
            _restart()  # the writing process has died


def say(sentence: str) -> None:
    """Warn, but only the first time in this process."""
    if not _said["warning"]:
        _said["warning"] = True
        logging.getLogger(__name__).warning("%s", sentence)


def _finish(run: Any | None, exit_code: int) -> None:
    if run is None:
        return
    with softened("finish a run"):
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError as error:  # the data is on disk, only not uploaded
            _say_unreachable(error)


def _say_unreachable(error: Exception) -> None:
    """From here on this process stays offline: each further try would cost the whole timeout again."""
    _said["unreachable"] = True
    say(
        "Weights & Biases is not reachable, so runs stay offline (upload them with `wandb sync`): "
        + _reason(error)
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _restart() -> None:
    """End the process that writes for wandb; the next run starts a new one."""
    with suppress(Exception, SystemExit):
        import wandb

        wandb.teardown()


def _drop_earlier(run: Any) -> None:
    """Remove what an earlier, interrupted try left of this run: uploading both would merge them.

    https://github.com/wandb/wandb/issues/10435
    """
    here = Path(run.settings.sync_dir)
    for log in here.parent.glob(f"*run-*/run-{run.id}.wandb"):
        if log.parent != here:
            shutil.rmtree(log.parent, ignore_errors=True)


@contextmanager
def _staging_inside(folder: Path) -> Iterator[None]:
    """Let wandb stage the files of tables below `folder`: it would fill the home folder, and offline for ever.

    It takes the place from the environment alone, and reads it when a table is logged.
    """
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder / "data")
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]
