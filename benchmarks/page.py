"""Page and table of a large sweep: python benchmarks/page.py [--cells 200 --seeds 3 --examples 1000 --labels 77]

Makes up a sweep (benchmarks/synthetic.py), makes a table of all its cells and its page, and opens that in
Chromium from a file, with the network off. Prints seconds and peak memory of making both, the size of the page,
and how long it takes to open, to filter and sort cells, to show charts, and to step through examples: medians,
from the change to the painted view.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

CHROMIUM = "/usr/bin/chromium"
TURNS = 9
TABLE = ("make_tables.py", "made_up", "--columns", "infer", "--baseline", "infer=zero_shot", "--format", "csv")


def main() -> None:
    from benchmarks import synthetic

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in vars(synthetic.Size()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--keep", type=Path, help="folder for records and page (default: a temporary one)")
    args = parser.parse_args()
    size = synthetic.Size(args.cells, args.seeds, args.examples, args.labels)
    with tempfile.TemporaryDirectory() as folder:
        outputs = args.keep or Path(folder)
        synthetic.write(outputs, "made_up", size)
        page = outputs / "report" / "made_up" / "index.html"
        found = {"cells": size.cells, **make("table", *TABLE, "--outputs", str(outputs))}
        found |= make("page", "dashboard.py", "made_up", "--outputs", str(outputs), "--out", str(page))
        found |= {"megabytes": round(page.stat().st_size / 1e6, 1), **browse(page)}
    print(json.dumps(found, indent=1))


def make(what: str, script: str, *words: str) -> dict[str, float]:
    """Seconds and peak memory of a command that a user types."""
    start = time.perf_counter()
    subprocess.run([sys.executable, f"scripts/{script}", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # its peak is that of the largest child so far
    return {
        f"{what}_seconds": round(seconds, 1),
        f"{what}_peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2),  # Linux counts in KiB
    }


def browse(page: Path) -> dict[str, float]:
    """Milliseconds in the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = [open_page(browser, page) for _ in range(3)]
        shown = browser.new_context(offline=True).new_page()
        shown.goto(page.as_uri())
        settle(shown)
        words = ("icl", "numeric", "grpo")
        found = {
            "open_ms": statistics.median(opened),
            "filter_ms": median(lambda turn: go(shown, f"#q={words[turn % 3]}")),
            "sort_ms": median(lambda turn: go(shown, f"#sort={'-' * (turn % 2)}gain")),
            "baseline_ms": median(lambda turn: go(shown, f"#base=train={('icl', 'numeric')[turn % 2]}")),
            "first_example_ms": go(shown, "#tab=compare&show=differ"),
            "next_example_ms": median(lambda turn: press(shown, "ArrowRight")),
            "filter_examples_ms": median(lambda turn: go(shown, f"#tab=compare&show={'ab'[turn % 2]}")),
            "first_charts_ms": go(shown, "#tab=cell"),
        }
        browser.close()
    return {name: round(value) for name, value in found.items()}


def open_page(browser: Any, page: Path) -> float:
    context = browser.new_context(offline=True)
    shown = context.new_page()
    start = time.perf_counter()
    shown.goto(page.as_uri())
    settle(shown)
    milliseconds = 1000 * (time.perf_counter() - start)
    context.close()
    return milliseconds


def settle(shown: Any) -> None:
    """Wait until what the address asks for is drawn and painted."""
    shown.wait_for_selector("html[data-drawn]", state="attached")
    shown.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


TIMED = """(change) => new Promise((done) => {
  const root = document.documentElement;
  const start = performance.now();
  new MutationObserver((_, watch) => {
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
  }).observe(root, { attributeFilter: ["data-drawn"] });
  if (change.startsWith("#")) location.hash = change;
  else document.body.dispatchEvent(new KeyboardEvent("keydown", { key: change, bubbles: true }));
})"""


def go(shown: Any, address: str) -> float:
    """Milliseconds from a changed address to its painted view."""
    return float(shown.evaluate(TIMED, address))


def press(shown: Any, key: str) -> float:
    return float(shown.evaluate(TIMED, key))


def median(measure: Callable[[int], float]) -> float:
    return statistics.median(measure(turn) for turn in range(TURNS))


if __name__ == "__main__":
    main()
