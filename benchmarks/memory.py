"""Is memory given back between cells?

python benchmarks/memory.py
python benchmarks/memory.py --vary dataset      # cells that share no data and no prompt

Runs the real command line in this process, a sweep of cells with SFT and RL of a tiny model that differ in their
seed, and notes the resident memory after each. Prints the slope of a line through all but the first ones, in MB
per cell, and ends with exit code 1 if it is above `--limit`.
"""

import argparse
import gc
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from genclspp import pipeline
from genclspp.cli import main as program

WORDS = (
    *("-m", "model=tiny", "tracking=none", "threads=1", "decode=ppl", "strategy=icl", "name=memory"),
    *("dataset.train_size=60", "dataset.validation_size=40", "dataset.test_size=60", "sft.args.max_steps=2"),
    *("rl=grpo", "rl.examples=4", "rl.args.num_generations=2", "rl.args.per_device_train_batch_size=4"),
)


def resident() -> float:
    """MB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 1e6


def _slope(values: list[float]) -> float:
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=50)
    parser.add_argument("--first", type=int, default=10, help="cells that do not count, as libraries still load")
    parser.add_argument("--limit", type=float, default=0.5, help="MB per cell")
    parser.add_argument("--vary", choices=["seed", "dataset"], default="seed")
    parser.add_argument("--objects", action="store_true", help="also print which objects have become more")
    args = parser.parse_args()
    found: list[float] = []
    counts: list[Counter[str]] = []
    run = pipeline.run

    def noted(*given, **named):
        record = run(*given, **named)
        found.append(resident())
        if args.objects:
            gc.collect()
            counts.append(Counter(type(each).__name__ for each in gc.get_objects()))
        return record

    pipeline.run = noted
    with tempfile.TemporaryDirectory() as outputs:
        seeds = f"{'seed' if args.vary == 'seed' else 'dataset.seed'}={','.join(map(str, range(args.cells)))}"
        sys.argv = ["run.py", *WORDS, seeds, f"outputs={outputs}"]
        program.main()
    slope, late = (_slope(found[first:]) for first in (args.first, len(found) // 2))
    print(" ".join(f"{each:.0f}" for each in found))
    print(f"{len(found)} cells: {slope:+.2f} MB per cell behind the first {args.first}; second half {late:+.2f}")
    if args.objects:
        grown = counts[-1] - counts[args.first]
        print(dict(grown.most_common(30)))
    sys.exit(slope > args.limit)


if __name__ == "__main__":
    main()
