"""Do two slots take half the time of one? python benchmarks/slots.py --data DIR

A sweep of 12 cells that share four trainings (two strategies x two seeds, three decoders) with SmolLM2, on Ray: on
one slot, then on two, one thread in each, nothing reused. Two slots cannot take less than the longest chain of
stages, nor less than half of all work; both are added up from what the stages took on one slot.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from genclspp.report import records
from genclspp.store.manifests import manifest

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder or file for dataset.path")
    parser.add_argument("--train", type=int, default=100, help="training examples (default: 100)")
    parser.add_argument("--test", type=int, default=100, help="test examples (default: 100)")
    args = parser.parse_args()
    words = ["-m", "model=smollm2", "dataset=local", f"dataset.path={args.data}", "strategy=zero_shot,icl"]
    words += ["seed=0,1", "decode=ppl,ppl_sum,greedy", "rl=none", "tracking=none", "hydra/launcher=ray"]
    words += [f"dataset.train_size={args.train}", f"dataset.test_size={args.test}", "dataset.validation_size=20"]
    with tempfile.TemporaryDirectory() as folder:
        # Convert the weights and let the file system cache what Python imports: not what is measured.
        one = Path(folder)
        run([*words[:4], "dataset.test_size=4", "sft=none", "rl=none", "tracking=none", f"outputs={one}"])
        took = {}
        for slots in (1, 2):
            start = time.monotonic()
            run([*words, f"hydra.launcher.slots={slots}", f"name=slots{slots}", f"outputs={one}"])
            took[slots] = time.monotonic() - start
            if slots == 1:
                work, longest = spent(one)
                forget(one)
        bound = max(longest, work / 2)
        print(f"one slot {took[1]:.1f} s, two slots {took[2]:.1f} s: {took[1] / took[2]:.2f} times as fast")
        print(f"stages on one slot {work:.1f} s, the longest chain {longest:.1f} s: bound {bound:.1f} s")
        print(f"two slots take {took[2] / bound:.2f} times the bound")


def run(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    print(
        "\n".join(line for line in done.stdout.split("\n") if re.match(r"  \w+ +computed|time:", line)), flush=True
    )


def spent(outputs: Path) -> tuple[float, float]:
    """Seconds of all stages, and of the longest chain of a cell, that of its test examples."""
    found: dict[Path, float] = {}
    chains = []
    for record in records.read(outputs / "results" / "slots1"):
        chain = 0.0
        for name, key in record.items():
            if name.startswith("artifact/") and (path := next((outputs / "artifacts").glob(f"*/{key}"), None)):
                found[path] = manifest(path)["seconds"]
                chain += 0.0 if name.endswith("_validation") else found[path]
        chains.append(chain)
    return sum(found.values()), max(chains)


def forget(outputs: Path) -> None:
    """Remove all that a sweep has computed but the model."""
    for folder in (outputs / "artifacts").glob("*"):
        if folder.name not in ("base", "convert"):
            shutil.rmtree(folder)
    (outputs / "artifacts").mkdir(exist_ok=True)


if __name__ == "__main__":
    main()
