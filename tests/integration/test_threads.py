"""How many threads a run computes with, that idle ones sleep, and that runs on one machine know of each other."""

import json
import os
import signal
import subprocess
import sys
from getpass import getuser
from pathlib import Path

import pytest

from genclspp.runs import threads
from tests.cli import ROOT, TINY, artifacts, environment, records, run

FAST = (*TINY, "decode=ppl", "dataset.validation_size=2", "dataset.test_size=2")
HOLDING = """
import sys
from genclspp.runs.threads import computing
with computing(int(sys.argv[1])) as warning:
    print(warning, flush=True)
    sys.stdin.readline()
"""
# A parallel region now and then, and CPU seconds per second beside it.
IDLING = """
import resource, sys, time
import genclspp.cli.main
from genclspp.runs.threads import wait_passively
assert "torch" not in sys.modules
wait_passively()
import torch
torch.set_num_threads(2)

def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

start, before = time.perf_counter(), spent()
for _ in range(60):
    torch.ones(100_000).exp_()
    time.sleep(0.02)
print((spent() - before) / (time.perf_counter() - start))
"""


class Holder:
    """Another run that is computing, in a process of its own."""

    def __init__(self, count: int, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDING, str(count)],
            cwd=ROOT,
            env=environment(TMPDIR=str(folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.told = self.process.stdout.readline().strip()

    def __enter__(self) -> "Holder":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate("\n", timeout=30)


@pytest.mark.slow
def test_threads_are_as_typed_else_as_the_environment_says_and_on_record(tmp_path: Path):
    run(*FAST, "name=given", outputs=tmp_path, OMP_NUM_THREADS="3,2").require()
    run(*FAST, "name=typed", "threads=2", "seed=1", outputs=tmp_path, OMP_NUM_THREADS="3").require()
    (given,), (typed,) = records(tmp_path, "given"), records(tmp_path, "typed")
    assert (given["threads"], typed["threads"]) == ("3", "2")
    counts = [json.loads((path / "manifest.json").read_text())["threads"] for path in artifacts(tmp_path, "sft")]
    assert sorted(counts) == [2, 3]

    # Other threads compute nothing again, and the record says what its numbers were computed with.
    again = run(*FAST, "name=typed", "threads=1", "seed=1", outputs=tmp_path).require()
    assert not again.computed()
    assert records(tmp_path, "typed") == [typed]


def test_by_default_there_is_a_thread_for_every_physical_core(monkeypatch: pytest.MonkeyPatch):
    for given in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert threads.count(None) == threads.cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("threads=0", "threads=0; expected 1 or more, or null for all physical cores"),
        ("threads=two", "threads='two'; expected an integer"),
        ("threads=1.5", "threads=1.5; expected an integer"),
        ("thread=2", "unknown key thread; did you mean 'threads'"),
    ],
)
def test_impossible_threads_are_refused(warm, tmp_path: Path, word: str, sentence: str):
    done = warm.run(*FAST, word, outputs=tmp_path)
    assert done.code == 1
    assert sentence in done.err


def test_threads_that_wait_sleep():
    """With the OpenMP that torch brings along, whichever that is."""
    env = {name: value for name, value in environment().items() if name != "OMP_WAIT_POLICY"}

    words = [sys.executable, "-c", IDLING]
    busy = float(subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout)
    assert busy < 0.1  # 0.01 on the machine where spinning threads take 0.3


def test_a_policy_that_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    threads.wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_a_run_says_once_that_another_one_wants_the_same_cores(tmp_path: Path):
    with Holder(1000, tmp_path) as other:
        done = run(*FAST, outputs=tmp_path / "outputs", TMPDIR=str(tmp_path)).require()
        assert other.told == "None"
    assert done.out.count("warning: another run is computing on this machine") == 1
    assert f"(process {other.process.pid}): 1001 threads share {threads.cores()} cores" in done.out
    alone = run(*FAST, "seed=1", outputs=tmp_path / "outputs", TMPDIR=str(tmp_path)).require()
    assert "another run" not in alone.out
    assert not list(tmp_path.glob("genclspp-*/*"))


def test_runs_see_each_other_until_they_end_or_die(tmp_path: Path):
    with Holder(1000, tmp_path) as first, Holder(1000, tmp_path) as second, Holder(1000, tmp_path) as third:
        assert first.told == "None"
        assert f"another run is computing on this machine (process {first.process.pid}): 2000" in second.told
        assert "2 other runs are computing on this machine (process " in third.told
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(timeout=30)
        with Holder(1000, tmp_path) as fourth:
            assert "2 other runs are" in fourth.told
    with Holder(1000, tmp_path) as alone:
        assert alone.told == "None"


def test_runs_that_fit_the_cores_together_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "cores", lambda: 4)
    assert threads._warning(2, {17: 2}) is None
    assert threads._warning(3, {17: 2}) is not None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path):
    (tmp_path / f"genclspp-{getuser()}").write_text("a file where the folder should be")
    with Holder(1000, tmp_path) as one, Holder(1000, tmp_path) as other:
        assert (one.told, other.told) == ("None", "None")
        assert one.process.poll() is None
