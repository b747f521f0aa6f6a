"""How a sweep stands, from its ledger and artifacts, and what people see of it while it runs."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from genclspp.runs import standing, watch
from genclspp.runs.ledger import Entry, Ledger, State
from genclspp.runs.standing import Standing
from tests.cli import ROOT, environment

NOW = 1_800_000_000.0
STATES: list[State] = ["pending", "running", "done", "failed", "skipped"]
SINCE = "2027-01-15T08:00:00+00:00"  # NOW


def entry(number: int, state: State, heading: str = "", **more: Any) -> Entry:
    steps = more.pop("steps", (("sft", f"sft/{number // 2}"), ("predict", f"predict/{number}")))
    works = more.pop("works", (("", 1.0),) * len(steps))
    return Entry(number, heading, f"cell{number}", state, SINCE, steps=steps, works=works, **more)


def finish(root: Path, name: str, seconds: float, at: float) -> None:
    """Leave an artifact that took `seconds` and was finished `at` a time."""
    manifest = root / "artifacts" / name / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"seconds": seconds}))
    os.utime(manifest, (at, at))


def drawn(shown: Any, width: int, height: int = 50, *, is_terminal: bool = True) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, height=height, force_terminal=is_terminal, color_system=None).print(shown)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Four cells, of which two each share their SFT: two are done, the third runs its SFT, the last is to come."""
    ledger = Ledger(tmp_path / "results" / "pilot")
    for number in range(4):
        one = entry(number, "pending", f"strategy=icl seed={number}")
        ledger.note(one, "done" if number < 2 else "pending", since=SINCE)
    finish(tmp_path, "sft/0", 100, NOW - 30)
    finish(tmp_path, "predict/0", 10, NOW - 20)
    finish(tmp_path, "predict/1", 20, NOW - 10)
    return tmp_path


def test_a_standing_knows_what_runs_what_is_shared_and_what_is_left(sweep: Path):
    ledger = Ledger(sweep / "results" / "pilot")
    third = entry(2, "pending", "strategy=icl seed=2")
    with ledger.running(third):
        ledger.note(third, "running", since=SINCE)
        found = standing.read("pilot", sweep, NOW + 40)
    assert [one.state for one in found.entries] == ["done", "done", "running", "pending"]
    assert found.doing(found.entries[2]) == ("sft", "sft/1", 40)
    assert found.doing(found.entries[3]) is None
    assert found.shares["sft/1"] == 2
    assert [(role.name, role.done, role.steps, role.cells, role.seconds) for role in found.roles] == [
        ("sft", 1, 2, 4, 100),
        ("predict", 2, 4, 4, 30),
    ]
    assert found.left() == "about 1m30 left"  # 100 - 40 of the SFT, and twice 15
    assert (found.is_over, found.is_idle) == (False, False)
    (told,) = [line for line in drawn(watch.board("pilot", found), 100) if " running " in line]
    assert told.endswith("sft 40 s, for 2 cells, 0/2")


def test_a_stage_began_when_the_one_before_it_ended(sweep: Path):
    found = standing.read("pilot", sweep, NOW + 40)
    finish(sweep, "sft/1", 5, NOW + 15)
    third = entry(2, "running")
    later = Standing([third], {**found.done, "sft/1": (5, NOW + 15)}, NOW + 40)
    assert later.doing(third) == ("predict", "predict/2", 25)


def test_a_stage_that_took_longer_than_expected_counts_as_nothing_left(sweep: Path):
    found = standing.read("pilot", sweep, NOW + 1000)
    running = [*found.entries[:2], entry(2, "running"), entry(3, "done")]
    assert Standing(running, found.done, NOW + 1000).left() == "about 15 s left"


def test_a_cell_on_its_own_keeps_its_place_or_comes_last(sweep: Path):
    ledger = Ledger(sweep / "results" / "pilot")
    known, new = ledger.alone("cell2", []), ledger.alone("another", [])
    assert (known.number, known.heading) == (2, "strategy=icl seed=2")
    assert (new.number, new.heading) == (5, "")


def test_what_is_left_is_in_proportion_to_its_work():
    done, known = (
        entry(0, "done", works=(("full", 10.0), ("", 1.0))),
        {"sft/0": (100.0, NOW), "predict/0": (10.0, NOW)},
    )
    more, other = (entry(2, "pending", works=((kind, 30.0), ("", 2.0))) for kind in ("full", "lora"))
    assert Standing([done, more], known, NOW).left() == "about 5m20 left"
    assert Standing([done, other], known, NOW).left() == "at least 20 s left"


def test_steps_that_are_not_known_yet_are_shared_by_nobody():
    cells = [entry(number, "pending", steps=(("mine", "mine/0"), ("sft", ""))) for number in range(3)]
    found = Standing(cells, {}, NOW)
    assert [(role.name, role.steps) for role in found.roles] == [("mine", 1), ("sft", 3)]
    assert found.left() is None


words = st.dictionaries(st.sampled_from(["train", "infer", "decode", "seed", "x"]), st.text("ab+_", max_size=60))


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(STATES), words), min_size=1, max_size=60),
    st.sampled_from([(80, 24), (120, 40), (100, 20)]),
)
def test_the_live_view_fits_the_terminal(cells: list[tuple[State, dict[str, str]]], size: tuple[int, int]):
    entries = [
        entry(number, state, " ".join(f"{word}={choice}" for word, choice in chosen.items()), sentence="why " * 30)
        for number, (state, chosen) in enumerate(cells)
    ]
    lines = drawn(watch.board("pilot", Standing(entries, {}, NOW), size), *size)
    assert len(lines) <= size[1]
    assert all(len(line) <= size[0] for line in lines)
    if any(state == "running" for state, _ in cells):
        assert any(" running " in line for line in lines[1:])
    assert "pending" in lines[0] or all(state != "pending" for state, _ in cells)


def test_where_nothing_can_be_redrawn_there_is_a_line_a_minute_and_one_at_the_end():
    now, out = [NOW], io.StringIO()

    def read() -> Standing:
        state: State = "done" if now[0] >= NOW + 150 else "running"
        return Standing([entry(1, state, "seed=1")], {"sft/0": (40, NOW + 20)}, now[0])

    def pause() -> None:
        now[0] += 1

    watch.watch(read, "pilot", Console(file=out, width=40), pause)
    lines = out.getvalue().splitlines()
    assert [line.partition(" ")[2] for line in lines] == [
        "pilot: 1 cell, 1 running · cell 1 seed=1: predict 0 s, 1/2",
        "pilot: 1 cell, 1 running · cell 1 seed=1: predict 40 s, 1/2",
        "pilot: 1 cell, 1 running · cell 1 seed=1: predict 1m40, 1/2",
        "pilot: 1 cell, 1 done",
    ]


def command(root: Path, *words: str) -> list[str]:
    return [sys.executable, "scripts/status.py", "pilot", *words, "--outputs", str(root)]


def test_a_finished_sweep_shows_its_last_state_and_ends(sweep: Path):
    ledger = Ledger(sweep / "results" / "pilot")
    for number in (2, 3):
        ledger.note(entry(number, "pending", f"strategy=icl seed={number}"), "failed", "training diverged")
    done = subprocess.run(command(sweep, "--watch"), cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "pilot: 4 cells, 2 done, 2 failed" in done.stdout


def test_ctrl_c_ends_the_view_and_nothing_is_written(sweep: Path):
    def files() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in sweep.rglob("*") if path.is_file()}

    before, (ours, theirs) = files(), pty.openpty()
    process = subprocess.Popen(
        command(sweep, "--watch"), cwd=ROOT, env=environment(TERM="xterm"), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    told = b""
    while b"nothing is running" not in told:
        told += os.read(ours, 4096)
    time.sleep(1.2)  # one more look
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    os.close(ours)
    assert b"Traceback" not in told
    assert files() == before


def test_only_one_sweep_can_be_watched(sweep: Path):
    Ledger(sweep / "results" / "other").note(entry(1, "done"), "done")
    done = subprocess.run(command(sweep, "other", "--watch"), cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, "error: --watch shows one sweep; found 2: pilot, other\n")


def test_of_a_huge_sweep_what_needs_attention_is_listed():
    states = {0: "failed", 700: "running"}
    entries = [entry(number, states.get(number, "done")) for number in range(1000)]
    lines = drawn(watch.board("pilot", Standing(entries, {}, NOW)), 120)
    assert any(" failed " in line for line in lines)
    assert any(" running " in line for line in lines)
    assert sum(bool(re.search(r"cell\d+ +done ", line)) for line in lines) == watch.MOST - 2
    assert "… and 500 done" in lines
