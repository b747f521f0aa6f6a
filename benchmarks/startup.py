"""How long --cfg job and --help take, beside a bare Hydra app with one config: python benchmarks/startup.py

Both run in turn under the same interpreter, so that a busy machine slows both. Prints medians and their ratio;
the exit code is 1 where a ratio reaches 1.4.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ACCEPTED = 1.4
PEER = """
import hydra


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(config):
    pass


main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    slow = False
    with tempfile.TemporaryDirectory() as folder:
        peer = Path(folder) / "app.py"
        peer.write_text(PEER)
        peer.with_name("config.yaml").write_text("seed: 0\n")
        for words in (["--cfg", "job"], ["--help"]):
            ours, theirs = compare([ROOT / "run.py", *words], [peer, *words], repeats)
            slow |= ours / theirs >= ACCEPTED
            print(
                f"{' '.join(words):10} genclspp {ours:.3f} s   bare Hydra app {theirs:.3f} s   "
                f"ratio {ours / theirs:.2f} (accepted: below {ACCEPTED})"
            )
    sys.exit(int(slow))


def compare(ours: list[Path | str], theirs: list[Path | str], repeats: int) -> tuple[float, float]:
    """Median seconds of two commands that are run in turn; the first run of each is not counted."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats + 1)][1:]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


def seconds(command: list[Path | str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
