"""What has become of the cells of a sweep? python scripts/status.py NAME …

Shows which cells are done, running, pending, failed or skipped, since when and why; also while the sweep runs, and
after a crash. The command that started the sweep continues it.
"""

import argparse
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp.runs.ledger import Entry, Ledger
from genclspp.suggest import hint

STYLES = {"done": "green", "running": "cyan", "pending": "dim", "failed": "red", "skipped": "yellow"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a sweep: a folder in OUTPUTS/results")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="the root of all results (default: outputs)"
    )
    args = parser.parse_args()
    console = Console(highlight=False)
    for name in args.names:
        folder = args.outputs / "results" / name
        if not (folder / "ledger").is_dir():
            known = sorted(path.parent.name for path in (args.outputs / "results").glob("*/ledger"))
            sys.exit(f"error: no sweep {name!r} in {folder.parent}; {hint(name, known)}")
        show(name, Ledger(folder).read(), console)


def show(name: str, entries: list[Entry], console: Console) -> None:
    counts = Counter(entry.state for entry in entries)
    console.print(f"{name}: {len(entries)} cells, " + ", ".join(f"{counts[s]} {s}" for s in STYLES if counts[s]))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("", "cell", "state", "since", "why, and the log"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        since = datetime.fromisoformat(entry.since).astimezone().strftime("%m-%d %H:%M:%S")
        state = f"[{STYLES[entry.state]}]{entry.state}[/]"
        why = "\n".join(text for text in (entry.sentence, entry.log if entry.state == "failed" else "") if text)
        table.add_row(str(entry.number), entry.heading or entry.record, state, since, why)
    console.print(table)


if __name__ == "__main__":
    main()
