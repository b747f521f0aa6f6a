"""What earlier steps have taken tells what like ones will."""

from functools import partial
from pathlib import Path

import pytest

from genclspp.runs.estimates import Estimates
from genclspp.store.artifacts import Step, Store, Work, stage
from genclspp.store.files import write_json


@stage("read", version=1, work=lambda amount, kind: Work(amount, kind))
def read(amount: float, kind: str, out: Path) -> None:
    raise AssertionError("only planned")


def step(root: Path, amount: float, kind: str = "small") -> Step:
    return Store(root).step(partial(read, amount=amount, kind=kind))


def spend(root: Path, amount: float, seconds: float, *, kind: str = "small", threads: int = 1) -> None:
    """A manifest of an earlier step."""
    written = {"stage": "read", "work": {"amount": amount, "kind": kind}}
    here = root / "read" / f"{amount}{kind}{threads}" / "manifest.json"
    write_json(here, {**written, "seconds": seconds, "bytes": 10 * amount, "threads": threads})


def test_time_is_in_proportion_to_the_work(tmp_path: Path):
    spend(tmp_path, 10, 5)
    spend(tmp_path, 30, 15)
    at = Estimates(tmp_path, 1)
    assert at.seconds(step(tmp_path, 100)) == pytest.approx(50)
    assert at.size(step(tmp_path, 100)) == pytest.approx(200)


def test_only_like_steps_count(tmp_path: Path):
    spend(tmp_path, 10, 5)
    at = Estimates(tmp_path, 1)
    assert at.seconds(step(tmp_path, 10, "large")) is None
    assert at.size(step(tmp_path, 10, "large")) is None


def test_steps_with_as_many_threads_come_first(tmp_path: Path):
    spend(tmp_path, 10, 5, threads=1)
    spend(tmp_path, 10, 3, threads=2)
    assert [Estimates(tmp_path, count).seconds(step(tmp_path, 10)) for count in (1, 2, 4)] == [5, 3, 4]


def test_manifests_of_before_tell_nothing(tmp_path: Path):
    write_json(tmp_path / "read" / "old" / "manifest.json", {"stage": "read", "seconds": 4})
    assert Estimates(tmp_path).seconds(step(tmp_path, 10)) is None
