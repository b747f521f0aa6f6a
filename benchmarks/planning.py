"""How long planning takes: python benchmarks/planning.py [--cells 200] [--examples 10000]

Composes a sweep over seeds on one generated data set, makes its cells and plans them, as a sweep does before its
first cell starts. Hydra's composition is measured apart, and so are the imports of torch, TRL and the like, which
the run needs anyway. Nothing is trained.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--examples", type=int, default=10_000, help="of the training split (10000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder) / "data", args.examples)
        measure(args.cells, Path(folder))


def measure(cells: int, folder: Path) -> None:
    from hydra import compose as compose_config
    from hydra import initialize_config_dir

    from genclspp.cli import compose

    compose.register()
    words = ["model=tiny", "dataset=local", f"dataset.path={folder / 'data'}", "tracking=none"]
    words += [f"outputs={folder / 'outputs'}"]

    def configs() -> list[Any]:
        with initialize_config_dir(compose.CONF, version_base="1.3"):
            return [
                compose_config("config", [*words, f"seed={seed}"], return_hydra_config=True)
                for seed in range(cells)
            ]

    composed = timed("Hydra's composition", configs, cells)
    timed("imports of libraries", import_libraries, cells)
    made = timed("cells from configurations", lambda: [compose.cell(config) for config in composed], cells)
    timed("plans", lambda: plan(made), cells)


def plan(cells: list[Any]) -> None:
    from genclspp import pipeline
    from genclspp.runs.plan import Memory

    memory, keys, count = Memory(), set(), 0
    for cell in cells:
        steps = pipeline.plan(cell, memory).steps
        keys.update(step.artifact.key for step in steps)
        count += len(steps)
    assert len(keys) == count  # every seed has its own


def import_libraries() -> None:
    import datasets  # noqa: F401
    import peft  # noqa: F401
    from trl import GRPOTrainer, SFTTrainer  # noqa: F401


def timed(what: str, work: Callable[[], Any], cells: int) -> Any:
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    print(f"{what:28} {seconds:7.2f} s in all   {1000 * seconds / cells:7.2f} ms a cell")
    return result


def write_data(folder: Path, count: int) -> None:
    """Random words under six labels."""
    random = Random(0)
    folder.mkdir()
    for split, size in (("train", count), ("validation", 500), ("test", 1000)):
        rows = (
            {"text": " ".join(f"w{random.randrange(2000)}" for _ in range(15)), "label": f"label {k % 6}"}
            for k in range(size)
        )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
