"""Which artifacts does nothing need any more? python scripts/prune.py [--delete]

An artifact is kept while a record names it, or a cell of a sweep that is to come, runs, or has failed; base models
are always kept. Delete the records of a sweep (outputs/results/NAME), and what only they need can go. Without
--delete nothing is touched.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp.cli import errors
from genclspp.report.figures import size
from genclspp.runs import prune
from genclspp.suggest import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delete", action="store_true", help="remove them")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="the root of all results (default: outputs)"
    )
    args = parser.parse_args()
    if not (args.outputs / "artifacts").is_dir():
        sys.exit(f"error: {args.outputs} holds no artifacts; expected the root of all results, such as outputs")
    try:
        found = prune.find(args.outputs)
        show(found, Console(highlight=False))
        if args.delete:
            delete(found)
    except (UserError, OSError) as error:
        sys.exit(f"error: {errors.explain(error)}")


def show(found: list[prune.Leftover], console: Console) -> None:
    if not found:
        console.print("everything in the store is needed")
        return
    stages = defaultdict(list)
    for leftover in found:
        stages[leftover.stage].append(leftover.size)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("stage", "not needed", "disk"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage, sizes in stages.items():
        table.add_row(stage, str(len(sizes)), size(sum(sizes)))
    table.add_row("all", str(len(found)), size(sum(each.size for each in found)))
    console.print(table)


def delete(found: list[prune.Leftover]) -> None:
    gone = [leftover for leftover in found if leftover.delete()]
    print(f"deleted {len(gone)} artifact{'s' * (len(gone) != 1)}, {size(sum(leftover.size for leftover in gone))}")
    if len(gone) < len(found):
        print(f"kept {len(found) - len(gone)}, which a process is computing")


if __name__ == "__main__":
    main()
