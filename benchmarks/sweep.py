"""What token trees do for whole sweeps: the demo and the 3 x 3 matrix, with trees and without them.

pip install -e ".[offline]"
python benchmarks/sweep.py --json sweep.json
python benchmarks/sweep.py demo --json sweep.json     # one of them

Without trees, every stage takes the way of a model that cannot read them: padded sequences in SFT and scoring,
TRL's own GRPO, `model.generate`. Each sweep starts from nothing, in a process of its own; the two ways take turns.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import measure as bench

ROOT = Path(__file__).resolve().parent.parent
SWEEPS = {
    "demo": ["-m", "model=minilm", "strategy=icl,numeric", "decode=ppl"],
    "matrix": [
        "-m",
        "model=minilm",
        "strategy@train=zero_shot,icl,numeric",
        "strategy@infer=zero_shot,icl,numeric",
        "decode=ppl",
        "rl=none",
    ],
}
WITHOUT = """
import runpy, sys
from genclspp.trees import support
support._mismatch = lambda *_: "switched off to measure"
sys.argv[0] = "run.py"
runpy.run_path("run.py", run_name="__main__")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", help=f"of {', '.join(SWEEPS)}; all where none is named")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], help="overrides, such as dataset.train_size=300")
    parser.add_argument("--json")
    args = parser.parse_args()
    unknown = [name for name in args.sweeps if name not in SWEEPS]
    if unknown:
        parser.error(f"unknown sweep {unknown[0]!r}; expected one of {', '.join(SWEEPS)}")
    bench.report([compare(name, args) for name in args.sweeps or SWEEPS], args.json)


def compare(name: str, args: argparse.Namespace) -> dict:
    runs = defaultdict(list)
    for turn in range(args.turns):
        for way, program in (("without", ["-c", WITHOUT]), ("with", ["run.py"])):
            runs[way].append(sweep([*program, *SWEEPS[name], *args.set], args.threads))
            print(f"{name}, turn {turn + 1}, {way} trees: {runs[way][-1]}", file=sys.stderr, flush=True)
    medians = {way: statistics.median(run["seconds"] for run in done) for way, done in runs.items()}
    stages = {
        f"{stage} ratio": round(runs["without"][-1][stage] / max(seconds, 0.1), 1)
        for stage, seconds in runs["with"][-1].items()
        if stage not in ("seconds", "records")
    }
    return {
        "sweep": name,
        "overrides": " ".join(args.set),
        "seconds_without": medians["without"],
        "seconds_with": medians["with"],
        "ratio": round(medians["without"] / medians["with"], 2),
        **stages,
        "accuracies": [runs[way][-1]["records"] for way in runs],
    }


def sweep(words: list[str], threads: int) -> dict:
    """Run it from nothing: seconds in all and by stage, and the accuracies."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as outputs:
        start = time.perf_counter()
        command = [sys.executable, *words, "tracking=none", f"outputs={outputs}"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        seconds = round(time.perf_counter() - start, 1)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        found: dict = defaultdict(float)
        for path in Path(outputs).glob("artifacts/*/*/manifest.json"):
            manifest = json.loads(path.read_text())
            found[manifest["stage"]] += manifest["seconds"]
        accuracies = re.findall(r"accuracy ([\d.]+) %", done.stdout)
    kept = {stage: round(found[stage], 1) for stage in ("sft", "rl", "score") if stage in found}
    return {"seconds": seconds, **kept, "records": accuracies}


if __name__ == "__main__":
    main()
