"""A disk that is full or read-only, a folder that vanishes: one sentence, an intact store; later it goes on."""

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from genclspp.cli import disk
from genclspp.store import filesystem, manifests
from genclspp.store.artifacts import Store
from genclspp.suggest import UserError
from tests.cli import TINY, TINY_RL, Done, Warm, artifacts, finish, records, start, timeless

WORDS = (*TINY, *TINY_RL, "decode=greedy")
# Outputs with a finished RL, and KiB that are free; before it, KiB in all.
BEHIND = (0, 8, 16, 40, 64, 80)
BEFORE = (100, 600, 1000, 1500)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own; skips the test where that takes rights that the tests do not have."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def tmpfs(folder: Path) -> "contextmanager[Path]":
    return mounted(folder, "-t", "tmpfs", "-o", "size=64m", "none")


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def used(folder: Path) -> int:
    """KiB of a file system."""
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024


def require_intact(outputs: Path) -> None:
    """What was adopted is whole, and nothing else counts."""
    assert not any(map(manifests.damage, artifacts(outputs)))
    assert not list(outputs.rglob(".*.partial"))
    assert not list(outputs.rglob(".trial-*"))


def require_full(done: Done, outputs: Path) -> None:
    assert done.code == 1
    assert done.err == f"error: no space is left in {outputs}; make room, and {disk.ON}\n"
    assert "Traceback" not in done.out
    assert records(outputs) == []
    require_intact(outputs)


def require_same(warm: Warm, outputs: Path, whole: Path) -> None:
    warm.run(*WORDS, outputs=outputs).require()
    assert [*map(timeless, records(outputs))] == [*map(timeless, records(whole))]
    assert len(artifacts(outputs)) == len(artifacts(whole))
    require_intact(outputs)


@pytest.fixture(scope="module")
def whole(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("whole")
    warm.run(*WORDS, outputs=outputs).require()
    return outputs


def some(*moments: int, of: tuple[int, ...]) -> list[object]:
    """The moments as parameters; all but a few are slow."""
    return [moment if moment in moments else pytest.param(moment, marks=pytest.mark.slow) for moment in of]


@pytest.mark.parametrize("size", some(1000, of=BEFORE))
def test_a_disk_that_is_full_before_its_policies_are_there(warm: Warm, whole: Path, tmp_path: Path, size: int):
    with tmpfs(tmp_path / "outputs") as outputs:
        resize(outputs, f"{size}k")
        require_full(warm.run(*WORDS, outputs=outputs), outputs)
        resize(outputs, "64m")
        require_same(warm, outputs, whole)


@pytest.mark.parametrize("free", some(of=BEHIND))
def test_a_disk_that_is_full_behind_training(warm: Warm, whole: Path, tmp_path: Path, free: int):
    with tmpfs(tmp_path / "outputs") as outputs:
        for stage in ("base", "sft", "rl"):
            shutil.copytree(whole / "artifacts" / stage, outputs / "artifacts" / stage)
        resize(outputs, f"{used(outputs) + free}k")
        require_full(warm.run(*WORDS, outputs=outputs), outputs)
        resize(outputs, "64m")
        require_same(warm, outputs, whole)


def test_read_only_outputs(warm: Warm, whole: Path, tmp_path: Path):
    kept = shutil.copytree(whole, tmp_path / "kept")
    next((kept / "results" / "dev").glob("*.json")).unlink()
    with mounted(tmp_path / "outputs", "--bind", str(kept)) as outputs:
        subprocess.run(["mount", "-o", "remount,ro,bind", outputs], check=True)
        done = warm.run(*WORDS, outputs=outputs)
        assert done.code == 1
        assert done.err == f"error: {outputs} is read-only; {done.err.partition('; ')[2]}"
        assert done.err.count("\n") == 1
        assert artifacts(outputs) == [outputs / path.relative_to(whole) for path in artifacts(whole)]
    require_same(warm, kept, whole)


@pytest.mark.slow
def test_a_folder_that_vanishes_while_a_policy_trains(tmp_path: Path):
    words = (*TINY, "sft.args.max_steps=100000", "sft.args.logging_steps=1000")
    outputs, elsewhere = tmp_path / "outputs", tmp_path / "elsewhere"
    process = start(*words, outputs=outputs)
    while not list(outputs.glob("artifacts/sft/*.partial/*")):  # the trainer makes a folder when it starts
        assert process.poll() is None, finish(process)
        time.sleep(0.01)
    time.sleep(2)
    outputs.rename(elsewhere)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, "Traceback" in out) == (1, False)
    assert err.startswith(f"error: the folder {outputs}")
    assert "has vanished while it was in use; put it back" in err
    assert err.count("\n") == 1
    assert not outputs.exists()
    assert [path.parent.name for path in artifacts(elsewhere)] == ["base"]
    require_intact(elsewhere)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_whatever_a_library_says_of_a_full_disk_is_one_sentence(error: Exception, tmp_path: Path):
    told = ValueError("of the library")
    told.__cause__ = error
    assert str(disk.explain(told, tmp_path)).startswith("no space is left in ")


def test_torch_says_what_we_take_for_a_full_disk(tmp_path: Path):
    with tmpfs(tmp_path / "small") as folder:
        resize(folder, "64k")
        with pytest.raises(RuntimeError) as told:
            torch.save({"weights": torch.zeros(100_000)}, folder / "weights.pt")
        assert disk.explain(told.value, folder) == f"no space is left in {folder}; make room, and {disk.ON}"


# What the store needs of a file system


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has tried no file system yet."""
    monkeypatch.setattr(filesystem, "_EXCLUDES", {})
    filesystem.check.cache_clear()
    yield
    filesystem.check.cache_clear()


@pytest.mark.usefixtures("untried")
def test_a_good_file_system_is_left_as_it_was(tmp_path: Path, recwarn: pytest.WarningsRecorder):
    filesystem.check(tmp_path / "new" / "artifacts")
    assert list((tmp_path / "new" / "artifacts").iterdir()) == []
    assert not recwarn


@pytest.mark.usefixtures("untried")
def test_a_file_system_that_cannot_rename_folders_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match=r"cannot rename a folder in one step \(Invalid cross-device link\)"):
        filesystem.check(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, None])
def test_without_locks_of_the_system_files_take_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
):
    """None: the system grants every lock, as some network file systems do."""

    def flock(*_: object) -> None:
        if number is not None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.warns(UserWarning, match="no working locks, so they are files there: start one command at a time"):
        filesystem.check(tmp_path)
    first, second = (filesystem.lock(tmp_path / "key.lock") for _ in range(2))
    with first.acquire(blocking=False), pytest.raises(TimeoutError):
        second.acquire(blocking=False)
    with second.acquire(blocking=False):
        pass


def test_the_store_tries_its_file_system_before_it_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tried = []
    monkeypatch.setattr(filesystem, "check", tried.append)
    from tests.unit.test_store import step

    made = step(tmp_path, "a")
    tmp_path.joinpath("write").mkdir()
    assert [Store(tmp_path).carry_out(made) for _ in range(2)] == [True, False]
    assert tried == [tmp_path]
