"""Processes that share a store, and die at the worst moments."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from genclspp.store.artifacts import Step, Store, stage


@stage("slow", version=1)
def slow(name: str, out: Path) -> None:
    """Says who computes, takes half a second, and leaves a file."""
    with (out.parent / "begun").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.5)
    (out / "file").write_text(name)


def step(root: Path) -> Step:
    return Store(root).step(partial(slow, name="shared"))


def begun(made: Step) -> list[int]:
    """The processes that have begun to compute, in order."""
    path = made.artifact.path.parent / "begun"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def fork(work: Callable[[], object]) -> int:
    """Do the work in a fork, which then ends; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    finally:
        os._exit(0)


def end(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_of_eight_processes_one_computes_and_when_it_is_killed_another_does(tmp_path: Path):
    made = step(tmp_path)
    processes = [fork(lambda: made.store.carry_out(made)) for _ in range(8)]
    while not begun(made):
        time.sleep(0.01)
    os.kill(begun(made)[0], signal.SIGKILL)
    assert sorted(map(end, processes)) == [-signal.SIGKILL, *[0] * 7]
    assert len(begun(made)) == 2
    assert made.store.holds(made.artifact)
    assert not made.artifact.path.with_name(f"{made.artifact.key}.partial").exists()


def test_what_was_written_but_not_adopted_counts_as_unfinished(tmp_path: Path):
    made, rename = step(tmp_path), Path.rename

    def die(path: Path, target: Path) -> Path:
        if target == made.artifact.path:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    def work() -> None:
        Path.rename = die  # type: ignore[assignment,method-assign]
        made.store.carry_out(made)

    assert end(fork(work)) == -signal.SIGKILL
    assert (made.artifact.path.with_name(f"{made.artifact.key}.partial") / "manifest.json").exists()
    assert not made.store.holds(made.artifact)
    assert made.store.carry_out(made)
    assert made.store.holds(made.artifact)
