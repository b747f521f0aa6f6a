"""How do sweeps stand? python scripts/status.py NAME …

Shows which cells are done, running, pending, failed or skipped, since when and why; the stages that they need and
share; and how long the rest may take; also while a sweep runs, and after a crash. The command that started the
sweep continues it.

    python scripts/status.py NAME --watch    redraws this every second until the sweep is over, or Ctrl-C
"""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp.runs import standing, watch
from genclspp.runs.terminal import until_read
from genclspp.suggest import UserError, hint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a sweep: a folder in OUTPUTS/results")
    parser.add_argument("--watch", action="store_true", help="go on until the sweep is over, or Ctrl-C")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="the root of all results (default: outputs)"
    )
    args = parser.parse_args()
    for name in args.names:
        folder = args.outputs / "results" / name
        if not (folder / "ledger").is_dir():
            known = sorted(path.parent.name for path in (args.outputs / "results").glob("*/ledger"))
            sys.exit(
                f"error: no sweep {name!r} in {folder.parent}; {hint(name, known) if known else 'there is none'}"
            )
    console = Console(highlight=False)
    if not args.watch:
        for name in args.names:
            try:
                found = standing.read(name, args.outputs, time.time())
            except UserError as error:
                sys.exit(f"error: {error}")
            console.print(watch.board(name, found))
            for entry in found.entries:
                if entry.log:
                    print(f"log of cell {entry.number}: {entry.log}")  # in one line, to be copied
    elif len(args.names) > 1:
        sys.exit(f"error: --watch shows one sweep; found {len(args.names)}: {', '.join(args.names)}")
    else:
        name = args.names[0]
        try:
            watch.watch(lambda: standing.read(name, args.outputs, time.time()), name, console, watch.pause)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    with until_read():
        main()
