"""Kill a sweep at random moments and continue it: python benchmarks/soak.py --kills 30

A 3 × 3 matrix of train and inference prompts with SFT and RL of a tiny model, in one process and on Ray. After
each kill, what was adopted must be whole and what it was before; at the end the records must be those of a sweep
that nobody disturbed. --eight: eight processes want the same SFT at once, and the one that computes it is killed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.cli import TINY, artifacts, finish, start
from tests.soak import MATRIX, Soak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kills", type=int, default=30, help="how often, in each of both ways to run (default: 30)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--only", choices=("process", "ray"), help="one of both")
    parser.add_argument("--eight", action="store_true", help="eight processes that want the same SFT instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.eight:
            eight(Path(folder))
            return
        runs = {"process": (MATRIX, ("driver", "rename"), (4.0, 30.0))}
        runs["ray"] = ((*MATRIX, "hydra/launcher=ray"), ("driver", "worker", "rename"), (8.0, 45.0))
        for name, (words, ways, seconds) in runs.items():
            if args.only in (None, name):
                root = Path(folder) / name
                root.mkdir()
                soak = Soak(words, ways, root, Random(args.seed), seconds)
                for line in soak.rounds(args.kills):
                    print(f"{time.strftime('%H:%M:%S')} {name}: {line}", flush=True)


def eight(outputs: Path) -> None:
    """Let eight processes train the same policy, and kill the one that does."""
    words = (*TINY, "sft.args.max_steps=60", "decode=ppl")
    processes = [start(*words, f"name=sweep{number}", outputs=outputs) for number in range(8)]
    stages = [outputs / "results" / f"sweep{number}" / "ledger" / "stages" for number in range(8)]
    while not (found := [place for place, folder in enumerate(stages) if list(folder.glob("sft-*.json"))]):
        time.sleep(0.05)
    time.sleep(1)
    processes[found[0]].kill()
    codes = [finish(process).code for process in processes]
    made = artifacts(outputs, "sft")
    print(f"killed process {found[0]}; exit codes {codes}; policies: {len(made)}")
    assert len(made) == 1
    assert sorted(codes) == [-9, *[0] * 7]


if __name__ == "__main__":
    main()
