"""Uploads of offline W&B runs: in order, each once, by wandb's own `sync`.

wandb marks an uploaded run by a file `.wandb.synced`, and notes how far it came in `.wandb.syncstate`, so its own
command and ours go on from each other.
"""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genclspp.runs.wandb_files import Run, read_run
from genclspp.suggest import UserError, hint

LAST = ("result", "aggregate")  # after all stages, in this order


class Stopped(UserError):
    """A run could not be uploaded."""


@dataclass(frozen=True)
class Offline:
    """The offline runs of some sweeps.

    waiting:    those to be uploaded, in order: stages, results, aggregates; by time
    uploaded:   how many have been
    unfinished: how many are still being written, or were when their process died
    """

    waiting: Sequence[Run]
    uploaded: int
    unfinished: int


def find(outputs: Path, sweeps: Sequence[str] = ()) -> Offline:
    """The offline runs in `outputs` of `sweeps`, or of all; raises UserError for an unknown sweep."""
    runs = [_read(log) for log in sorted((outputs / "wandb").glob("offline-run-*/run-*.wandb"))]
    known = sorted({run.group for run in runs if run.group})
    for sweep in sweeps:
        if runs and sweep not in known:
            raise UserError(f"no offline run of the sweep {sweep!r} in {outputs / 'wandb'}; {hint(sweep, known)}")
    wanted = [run for run in runs if not sweeps or run.group in sweeps]
    waiting = [run for run in wanted if not is_uploaded(run) and run.is_finished]
    return Offline(
        waiting=sorted(waiting, key=lambda run: (_rank(run), run.started, run.id)),
        uploaded=sum(map(is_uploaded, wanted)),
        unfinished=sum(not is_uploaded(run) and not run.is_finished for run in wanted),
    )


def is_uploaded(run: Run) -> bool:
    return log_of(run).with_suffix(".wandb.synced").exists()


def log_of(run: Run) -> Path:
    return run.folder / f"run-{run.id}.wandb"


def log_in(outputs: Path) -> str:
    """Check the API key with the server, whose address is returned; raises UserError where either is missing."""
    os.environ.setdefault("WANDB_DIR", str(outputs.resolve()))  # for logs of wandb, which else go to ./wandb
    import wandb
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth

    host = wandb.setup().settings.base_url
    try:
        with redirect_stderr(io.StringIO()):
            found = wbauth.authenticate_session(host=host, source="genclspp", prompt=False, verify=True)
    except AuthenticationError as error:
        raise UserError(f"cannot log in to {host}: {one_line(error)}") from None
    if found is None:
        raise UserError(f"no API key for {host}; `wandb login` stores one")
    return host


def upload(runs: Sequence[Run]) -> Iterator[Run]:
    """Upload runs one after the other, each of them yielded when it is done; raises Stopped at an error.

    Whatever stops it, the runs that were yielded are marked, and the others are uploaded by the next call.
    """
    for run in runs:
        said = _sync(log_of(run))
        if not is_uploaded(run):
            raise Stopped(f"{run.name!r} was not uploaded: {_reason(said)}")
        yield run


def _read(log: Path) -> Run:
    """What a log tells; nothing but where it is, if it breaks off in its header or is damaged."""
    from google.protobuf.message import DecodeError

    try:
        return read_run(log)
    except (ValueError, DecodeError):
        return Run(log.parent)


def _sync(log: Path) -> str:
    """What `wandb sync LOG` says. It takes several logs at once, but in no order."""
    from click import Abort
    from wandb.cli.cli import sync

    said = io.StringIO()
    with redirect_stderr(said):
        try:
            sync.main(args=[str(log)], standalone_mode=False)
        except Abort:  # as click calls Ctrl-C
            raise KeyboardInterrupt from None
        except Exception as error:  # of click, of wandb, of its service
            return f"{said.getvalue()}\n{one_line(error)}"
    return said.getvalue()


def _reason(said: str) -> str:
    """The last error among the lines that wandb has printed, else the last line."""
    from click import unstyle

    lines = [line.removeprefix("wandb: ") for line in unstyle(said).splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR ") for line in lines if line.startswith("ERROR ")]
    return (errors or lines or ["no reason given"])[-1]


def _rank(run: Run) -> int:
    return LAST.index(run.job_type) + 1 if run.job_type in LAST else 0


def one_line(error: Any) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
