"""Whatever a sweep looks like: each step is computed once, after what it needs, and no slot is idle in vain."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genclspp.cluster.driver import TRIES, Driver, Ended
from genclspp.cluster.schedule import RECORD
from genclspp.cluster.simulation import Simulation
from genclspp.cluster.slots import _last_words
from genclspp.cluster.worker import Job, Outcome
from genclspp.runs.graph import artifacts_of
from genclspp.runs.ledger import Entry
from genclspp.runs.plan import Plan
from genclspp.store.artifacts import Artifact, Step, Store, Work, stage

STORE = Store(Path("nowhere"))


@stage("node", version=1, work=lambda number, seconds, needs: Work(seconds))
def node(number: int, seconds: float, needs: Sequence[Artifact], out: Path) -> None:
    raise AssertionError("only planned")


def step(number: int, seconds: float, *needs: Step) -> Step:
    return STORE.step(partial(node, number=number, seconds=seconds, needs=[each.artifact for each in needs]))


@dataclass
class Sweep:
    """The part of an `Outlook` that a driver needs."""

    steps: list[list[Step]]
    cells: list = field(init=False)

    def __post_init__(self) -> None:
        self.cells = [
            SimpleNamespace(outputs="outputs", sweep="dev", seed=place) for place in range(len(self.steps))
        ]

    def entry(self, cell) -> Entry:
        return Entry(cell.seed + 1, "", f"cell{cell.seed}")


def drive(
    sweep: Sweep, slots: int, outcome=lambda job: Outcome("done"), plan=None
) -> tuple[list[Ended], Simulation]:
    found = {str(each.artifact.key): each for steps in sweep.steps for each in steps if each.artifact.key}

    def seconds(job: Job) -> float:
        return found[job.key].work.amount if job.key in found else float(job.key is not None)

    room = Simulation(slots, seconds, outcome)
    driver = Driver(sweep, plan, room, lambda each: each.work.amount, str)
    return list(driver.carry_out()), room


@st.composite
def sweeps(draw) -> Sweep:
    """Cells that share trainings: each takes one step of every layer, which needs those before it in the cell."""
    made: dict[tuple[int, ...], Step] = {}
    cells = []
    for _ in range(draw(st.integers(1, 8))):
        path: tuple[int, ...] = ()
        steps: list[Step] = []
        for layer in range(draw(st.integers(1, 4))):
            path = (*path, draw(st.integers(0, 2)))
            if path not in made:
                seconds = draw(st.sampled_from([1.0, 2.0, 5.0, 20.0]))
                made[path] = step(hash(path) % 10**9 + layer, seconds, *steps[-1:])
            steps.append(made[path])
        cells.append(steps)
    return Sweep(cells)


@settings(max_examples=150, deadline=None)
@given(sweeps(), st.integers(1, 4))
def test_each_step_is_computed_once_after_what_it_needs_and_no_slot_is_idle_without_reason(sweep, slots):
    ended, room = drive(sweep, slots)
    steps = [each.task for each in ended if each.task.step]
    distinct = {each.artifact.key: each for steps in sweep.steps for each in steps}
    assert Counter(task.name for task in steps) == Counter(distinct.keys())
    seen: set[str] = set()
    for task in steps:
        assert {each.key for each in artifacts_of(task.step)} <= seen
        seen.add(task.name)
    records = [each.cells[0] for each in ended if each.task.kind == RECORD]
    assert sorted(records) == list(range(len(sweep.steps)))
    work = sum(each.work.amount for each in distinct.values())
    longest = max(sum(each.work.amount for each in steps) for steps in sweep.steps)
    # Graham's bound for schedules in which a slot is idle only while nothing may start.
    assert max(work / slots, longest) <= room.now + 1e-6 <= work / slots + longest + 1e-6


@settings(max_examples=100, deadline=None)
@given(sweeps(), st.integers(1, 3), st.data())
def test_a_failed_step_costs_the_cells_that_need_it_and_no_other(sweep, slots, data):
    keys = sorted({str(each.artifact.key) for steps in sweep.steps for each in steps})
    bad = data.draw(st.sampled_from(keys))
    ended, _ = drive(
        sweep, slots, lambda job: Outcome("failed", "it broke") if job.key == bad else Outcome("done")
    )
    needing = {place for place, steps in enumerate(sweep.steps) if bad in {each.artifact.key for each in steps}}
    lost = [place for each in ended if each.outcome.state == "failed" for place in each.cells]
    whole = [each.cells[0] for each in ended if each.task.kind == RECORD]
    assert sorted(lost) == sorted(needing)
    assert sorted(whole) == sorted(set(range(len(sweep.steps))) - needing)


def test_the_longest_chain_comes_first():
    short = [[step(number, 1.0)] for number in range(6)]
    first = step(10, 4.0)
    chain = [first, step(11, 2.0, first)]
    _, room = drive(Sweep([*short, chain]), 2)
    assert room.now == 6.0


def test_a_record_does_not_wait_for_the_rest():
    cells = [[step(number, 1.0)] for number in range(5)]
    ended, _ = drive(Sweep(cells), 1)
    kinds = ["record" if each.task.kind == RECORD else "step" for each in ended]
    assert kinds == ["step", "record"] * 5


def test_a_step_that_another_sweep_computes_is_looked_for_again():
    tries = Counter[str]()

    def outcome(job: Job) -> Outcome:
        tries[str(job.key)] += 1
        return Outcome("busy" if job.key and tries[job.key] < 9 else "done")

    ended, _ = drive(Sweep([[step(1, 1.0)]]), 1, outcome)
    assert [each.outcome.state for each in ended] == ["done", "done"]


def test_a_step_whose_machine_was_lost_is_tried_so_many_times():
    tries = []

    def outcome(job: Job) -> Outcome:
        tries.append(job.key)
        return Outcome("busy", "the machine was lost")

    ended, _ = drive(Sweep([[step(1, 1.0)]]), 1, outcome)
    assert len(tries) == TRIES
    assert [each.outcome.sentence for each in ended] == [f"the machine was lost, {TRIES} times"]


def test_a_cell_is_planned_again_once_what_decides_on_its_steps_is_there():
    decides = step(1, 3.0)
    later = step(2, 1.0, decides)
    unknown = step(
        3, 1.0, Step(STORE, partial(node, number=0, seconds=1.0, needs=[Artifact("node", None, Path())]), "")
    )
    assert unknown.artifact.key is None
    plans = []

    def plan(cell) -> Plan:
        plans.append(cell.seed)
        return Plan(STORE, None, [decides, later])

    ended, room = drive(Sweep([[decides, unknown], [step(4, 1.0)]]), 2, plan=plan)
    assert plans == [0]
    assert [each.task.name for each in ended if each.task.step][-1] == later.artifact.key
    assert sorted(each.cells[0] for each in ended if each.task.kind == RECORD) == [0, 1]
    assert room.now == 4.0


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("computing\nos._exit(3) was called\n", "; its last words: os._exit(3) was called"),
        (
            "Killed here\n2026-01-01 10:00:00,1 WARNING py.warnings: a.py:1: FutureWarning: old\n  warn(old)\n\n",
            "; its last words: Killed here",
        ),
        ("2026-01-01 10:00:00,1 INFO x: fine\n", ", without a word: it was killed, or ran out of memory"),
    ],
)
def test_last_words_are_no_warnings(tmp_path: Path, written: str, told: str):
    (tmp_path / "log").write_text(written)
    assert _last_words(tmp_path / "log") == told
