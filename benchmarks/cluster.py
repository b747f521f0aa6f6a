"""What a large sweep would take on many slots, and what driving it costs: python benchmarks/cluster.py

Simulated: train x infer x decode x seed, 10,000 cells, with the seconds that stages of SmolLM2 took, on slots
whose clock jumps. The time that it takes is compared with what no schedule can beat: the longest chain of work, or
all work divided by the slots. What the driver needs for a task is real time. --ray also hands jobs that do nothing
to workers of Ray on this machine, and says what one costs.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from genclspp.cluster.driver import Driver
from genclspp.cluster.simulation import Simulation
from genclspp.cluster.worker import Job, Outcome
from genclspp.runs.ledger import Entry
from genclspp.store.artifacts import Step, Store, Work, stage

# Seconds of SmolLM2 on two cores, rounded means: SFT, RL and scores of scripts/demo.sh (999 training examples, 64
# prompts in RL, 200 test examples), completions of 300 questions of trec6.
TOOK = {"sft": 123.0, "rl": 57.0, "score": 21.0, "complete": 13.0, "predict": 0.2, "record": 0.3}


def _stage(name: str) -> Any:
    def run(of: str, needs: Sequence[Any], out: Path) -> None:
        raise AssertionError("only simulated")

    return stage(name, version=1, work=lambda **_: Work(TOOK[name]))(run)


STAGES = {name: _stage(name) for name in TOOK}


@dataclass
class Sweep:
    """The part of an `Outlook` that a driver needs: cells that share trainings, scores and completions."""

    count: int
    cells: list[Any] = field(default_factory=list)
    steps: list[list[Step]] = field(default_factory=list)

    def __post_init__(self) -> None:
        store, made = Store(Path("nowhere")), {}

        def step(kind: str, of: str, *needs: Step) -> Step:
            call = partial(STAGES[kind], of=of, needs=[each.artifact for each in needs])
            return made.setdefault((kind, of), store.step(call, kind))

        seeds = -(-self.count // 100)
        for seed, train, infer, decode in product(range(seeds), range(5), range(5), range(4)):
            sft = step("sft", f"{train} {seed}")
            rl = step("rl", f"{train} {seed}", sft)
            read = [step("score", f"{train} {infer} {seed} {split}", rl) for split in ("test", "validation")]
            if decode == 0:
                read += [step("complete", each.call.keywords["of"], each) for each in read]
            predict = step("predict", f"{train} {infer} {decode} {seed}", *read)
            self.steps.append([sft, rl, *read, predict])
            self.cells.append(SimpleNamespace(outputs="outputs", sweep="large", place=len(self.cells)))

    def entry(self, cell: Any) -> Entry:
        return Entry(cell.place + 1, f"cell={cell.place}", str(cell.place))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--ray", action="store_true", help="hand jobs to Ray as well")
    args = parser.parse_args()
    sweep = Sweep(args.cells)
    distinct = {step.artifact.key: step for steps in sweep.steps for step in steps}
    counts = Counter(step.stage.name for step in distinct.values())
    print(f"{len(sweep.cells)} cells, stages {dict(counts)}")
    work = sum(step.work.amount for step in distinct.values()) + len(sweep.cells) * TOOK["record"]
    longest = max(_longest(steps) for steps in sweep.steps) + TOOK["record"]
    for slots in args.slots:
        room = Simulation(slots, lambda job: distinct[job.key].work.amount if job.key else TOOK["record"])
        start = time.perf_counter()
        driver = Driver(sweep, None, room, lambda step: step.work.amount, str)  # type: ignore[arg-type]
        ended = sum(1 for _ in driver.carry_out())
        cost = (time.perf_counter() - start) / ended * 1000
        bound = max(longest, work / slots)
        print(
            f"{slots:4} slots: {room.now / 3600:8.2f} h, {room.now / bound:.3f} times the bound "
            f"({bound / 3600:.2f} h); the driver needs {cost:.2f} ms a task, {ended} tasks"
        )
    if args.ray:
        _measure_ray()


def _longest(steps: Sequence[Step]) -> float:
    """Seconds of the longest chain of a cell."""
    ends: dict[str, float] = {}
    for step in steps:
        before = max((ends[each.key] for each in step.call.keywords["needs"]), default=0.0)
        ends[str(step.artifact.key)] = before + step.work.amount
    return max(ends.values())


def _measure_ray() -> None:
    """Hand over 500 jobs that only plan a cell and find its step there already, as a record does."""
    from hydra import compose as compose_config
    from hydra import initialize_config_dir

    from genclspp.cli import compose
    from genclspp.cluster import slots

    compose.register()
    with initialize_config_dir(compose.CONF, version_base="1.3"):
        cell = compose.cell(compose_config("config", ["model=tiny", "tracking=none"], return_hydra_config=True))
    slots.work = _nothing
    job = Job(cell, "", Entry(1, "", "cell"), 1, ".", "log", str)
    with slots.Slots(None, None, {}) as room:
        for _ in _drain(room, job, 20):  # workers start
            pass
        start = time.perf_counter()
        count = sum(1 for _ in _drain(room, job, 500))
        print(f"Ray: {(time.perf_counter() - start) / count * 1000:.2f} ms from one job to the next")


def _nothing(job: Job) -> Outcome:
    return Outcome("done")


def _drain(room: Any, job: Job, count: int) -> Iterator[Any]:
    left = running = count
    while running:
        while left and room.fits("predict"):
            room.start("predict", job)
            left -= 1
        for each in room.wait(1.0):
            running -= 1
            yield each


if __name__ == "__main__":
    main()
