"""Whatever happens to the tracker, a run completes, with the same record, and says so once."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import TINY, Done, Warm, finish, records, start, timeless
from tests.faults.test_disk import mounted

WORDS = (*TINY, "tracking=wandb", "dataset.test_size=60", "predict.batch_size=1", "decode=ppl")
# The program as it is, but for the seconds that it waits for a server.
IMPATIENT = """
import runpy, sys
from genclspp.runs import tracking

tracking.QUIET["init_timeout"] = 1.0
sys.argv[0] = "run.py"
runpy.run_path("run.py", run_name="__main__")
"""


SCORING = pytest.param("artifacts/score/*.partial/scores.jsonl", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def whole(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("whole")
    done = warm.run(*WORDS, outputs=outputs).require()
    assert "Weights & Biases" not in done.out
    return outputs


def require_complete(done: Done, outputs: Path, whole: Path) -> None:
    assert (done.code, done.err) == (0, "")
    assert done.out.count("warning: Weights & Biases ") == done.out.count("Weights & Biases") == 1, done.out
    assert [*map(timeless, records(outputs))] == [*map(timeless, records(whole))]


def services(process: int) -> Iterator[int]:
    """wandb's service processes below a process."""
    for child in map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()):
        if Path(f"/proc/{child}/cmdline").read_bytes().partition(b"\0")[0].endswith(b"wandb-core"):
            yield child
        yield from services(child)


@pytest.mark.parametrize("reached", ["artifacts/sft/*.partial", SCORING])
def test_a_killed_service(warm: Warm, whole: Path, tmp_path: Path, reached: str):
    """While it starts, beside SFT; and in the middle of scoring."""
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            try:
                if any(tmp_path.glob(reached)):
                    for service in services(warm.process.pid):
                        os.kill(service, signal.SIGKILL)
                        killed.append(service)
            except OSError:  # a process that has just ended
                pass
            time.sleep(0.005)

    killer = threading.Thread(target=kill)
    killer.start()
    done = warm.run(*WORDS, outputs=tmp_path)
    killer.join()
    assert killed
    require_complete(done, tmp_path, whole)


@pytest.mark.parametrize("room", [4, pytest.param(80, marks=pytest.mark.slow)])
def test_a_full_disk_for_its_folder(warm: Warm, whole: Path, tmp_path: Path, room: int):
    with mounted(tmp_path / "wandb", "-t", "tmpfs", "-o", f"size={room}k", "none"):
        require_complete(warm.run(*WORDS, outputs=tmp_path), tmp_path, whole)


@pytest.mark.slow
def test_a_server_that_does_not_answer(whole: Path, tmp_path: Path):
    server = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    process = start(*WORDS, outputs=tmp_path, program=("-c", IMPATIENT), **server)
    require_complete(finish(process), tmp_path, whole)
