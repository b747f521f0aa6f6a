"""Make the page of sweeps: one HTML file that opens from the disk, with the network off.

    python scripts/dashboard.py pairings                # outputs/report/pairings/index.html
    python scripts/dashboard.py pilot_sst5 pilot_trec6  # one page about both
    python scripts/dashboard.py pairings --watch        # while the sweep runs: made again when records change

docs/page.md says what the page shows. Nothing is trained; records and artifacts stay as they are.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp.cli import errors
from genclspp.report import page, results
from genclspp.report.page import Outstanding
from genclspp.report.page.content import counted
from genclspp.report.results import Results
from genclspp.runs.ledger import Ledger
from genclspp.store.files import write_text
from genclspp.suggest import UserError

EVERY = 2.0  # seconds between two looks at the records


def main() -> None:
    args = arguments()
    out = args.out or args.outputs / "report" / "+".join(args.names) / "index.html"
    try:
        work = watch if args.watch else make
        work(args.names, args.outputs, out)
    except (UserError, OSError) as error:
        sys.exit(f"error: {errors.explain(error)}")
    except KeyboardInterrupt:
        print()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a sweep: a folder in OUTPUTS/results")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="the root of all results (default: outputs)"
    )
    parser.add_argument("--out", type=Path, help="the file (default: OUTPUTS/report/NAME/index.html)")
    parser.add_argument("--watch", action="store_true", help="make it again when records change, until Ctrl-C")
    return parser.parse_args()


def make(names: Sequence[str], outputs: Path, out: Path) -> None:
    """Make the page, and say where it is."""
    missing = [one for name in names for one in outstanding(outputs / "results" / name)]
    # A sweep that has only begun has no records, but cells that are to come.
    begun = {one.sweep for one in missing}
    read = [name for name in names if name not in begun or any((outputs / "results" / name).glob("*.json"))]
    found = results.read(read, outputs) if read else Results([], outputs / "artifacts")
    write_text(out, page.make(names, found, missing))
    print(f"{out}: {len(found.records)} records" + (f"; {counted(missing)}" if missing else ""), flush=True)


def outstanding(folder: Path) -> list[Outstanding]:
    """The cells of a sweep that have no result, in the order of the sweep."""
    if not (folder / "ledger").is_dir():
        return []
    return [
        Outstanding(folder.name, entry.heading, entry.state, entry.sentence, entry.log)
        for entry in Ledger(folder).read()
        if entry.state != "done"
    ]


def watch(names: Sequence[str], outputs: Path, out: Path) -> None:
    """Make the page, and again whenever records or the states of cells change, until it is interrupted."""
    before: list[object] | None = None
    while True:
        now = state(names, outputs)  # before making the page, so that no change in between is missed
        if now != before:
            make(names, outputs, out)
        before = now
        time.sleep(EVERY)


def state(names: Sequence[str], outputs: Path) -> list[object]:
    """What the page depends on."""
    folders = [outputs / "results" / name for name in names]
    records = [(path, path.stat().st_mtime_ns) for folder in folders for path in sorted(folder.glob("*.json"))]
    return [records, [outstanding(folder) for folder in folders]]


if __name__ == "__main__":
    main()
