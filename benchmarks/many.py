"""A store that has grown: python benchmarks/many.py [--sweeps 5 --turns 3] [--keep DIR]

Makes up sweeps of 2,000 records each, with their ledgers, over 2,200 artifacts that they share. Measures what a
user waits for: status, prune, a table of one sweep, and one more tiny cell, in turn with one in an empty store.
Seconds are those of the clock and, as others may use the machine too, of the processor.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CELL = (
    *("model=tiny", "tracking=none", "rl=none", "decode=ppl", "sft.args.max_steps=2"),
    *("dataset.train_size=24", "dataset.validation_size=8", "dataset.test_size=8"),
)
TABLE = ("--columns", "infer", "--baseline", "infer=zero_shot", "--format", "csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=5, help="of 2,000 records each (5)")
    parser.add_argument("--turns", type=int, default=3, help="of one more cell in each of both stores (3)")
    parser.add_argument("--keep", type=Path, help="folder of the stores, used again if it is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        grown, empty = ((args.keep or Path(folder)) / name for name in ("grown", "empty"))
        if not grown.exists():
            write(grown, args.sweeps)
        found: dict[str, object] = {
            "records": len(list(grown.glob("results/*/*.json"))),
            "artifacts": len(list(grown.glob("artifacts/*/*/manifest.json"))),
            "status_seconds": script("status", "sweep0", outputs=grown),
            "status_of_all_seconds": script("status", *(f"sweep{k}" for k in range(args.sweeps)), outputs=grown),
            "prune_seconds": script("prune", outputs=grown),
            "table_seconds": script("make_tables", "sweep0", *TABLE, outputs=grown),
        }
        cells(empty, "sweep0", 0), cells(grown, "sweep0", 0)  # the base model, and the disk's cache
        turns = [[cells(store, "sweep0", turn + 1) for store in (empty, grown)] for turn in range(args.turns)]
        for place, of in enumerate(("clock", "processor")):
            alone, among = (statistics.median(each[place] for each in taken) for taken in zip(*turns, strict=True))
            found[f"cell_by_{of}"] = {"empty": alone, "grown": among, "ratio": round(among / alone, 2)}
    print(json.dumps(found, indent=1))


def write(outputs: Path, sweeps: int) -> None:
    """The records of the first sweep with their artifacts; the others have the same cells under other names."""
    from benchmarks import synthetic
    from genclspp.runs.ledger import Entry, Ledger
    from genclspp.store.files import write_json
    from genclspp.store.manifests import write_manifest

    os.fsync = lambda _: None  # a made-up store need not outlive a power failure
    synthetic.write(outputs, "sweep0", synthetic.Size(cells=200, seeds=10, examples=200, labels=6))
    for folder in sorted((outputs / "artifacts").glob("*/*")):
        took = {"seconds": 1.0, "memory": None, "device": "cpu", "work": {"amount": 1.0, "kind": "tiny"}}
        write_manifest(folder, {"stage": folder.parent.name, "version": 1, "inputs": {}, **took})
    first = [(path.name, json.loads(path.read_text())) for path in (outputs / "results/sweep0").glob("*.json")]
    for place in range(sweeps):
        folder = outputs / "results" / f"sweep{place}"
        ledger = Ledger(folder)
        for number, (name, record) in enumerate(sorted(first), 1):
            steps = [(role, f"{role}/{record[f'artifact/{role}']}") for role in ("sft", "score", "predict")]
            entry = Entry(number, record["typed/words"], name.removesuffix(".json"), steps=tuple(steps))
            write_json(folder / name, {**record, "name": folder.name})
            ledger.note(entry, "done")


def script(name: str, *words: str, outputs: Path) -> tuple[float, float]:
    return timed(f"scripts/{name}.py", *words, "--outputs", str(outputs))


def cells(outputs: Path, name: str, seed: int) -> tuple[float, float]:
    """A sweep of one new cell."""
    return timed("run.py", "-m", *CELL, f"seed={1000 + seed}", f"name={name}", f"outputs={outputs}")


def timed(*command: str) -> tuple[float, float]:
    """Seconds of a command that a user types, by the clock and of the processor."""
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    start, used = time.perf_counter(), processor()
    subprocess.run(
        [sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=os.environ | quiet
    )
    return round(time.perf_counter() - start, 2), round(processor() - used, 2)


def processor() -> float:
    """Seconds of the processor that children have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
