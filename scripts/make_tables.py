"""Make a table from the records of sweeps: means over seeds, and paired differences from a baseline.

    python scripts/make_tables.py pilot_rl --rows dataset --columns rl --baseline rl=matched
    python scripts/make_tables.py pilot_sst5 pilot_trec6 --rows name --columns rl --baseline rl=matched

Cells that differ only in seed are averaged. The baseline of a cell is the cell with the same seed that differs
only in the choices named. Intervals of differences need the predictions in OUTPUTS/artifacts; without them, the
table shows the differences over seeds. Nothing is trained or written.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp.cli import errors
from genclspp.report import grid, layout, paired, records, sheets
from genclspp.suggest import UserError


def main() -> None:
    args = arguments()
    try:
        found = records.read_sweeps(args.outputs / "results", args.names)
        scores = paired.reader(args.outputs / "artifacts", args.metric)
        made = grid.build(found, scores, args.rows, args.columns, args.baseline, args.metric)
    except (UserError, OSError) as error:
        sys.exit(f"error: {errors.explain(error)}")
    write(made, args.format)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a sweep: a folder in OUTPUTS/results")
    parser.add_argument(
        "--rows", nargs="+", metavar="WORD", help="what rows differ in (default: all that columns do not show)"
    )
    parser.add_argument(
        "--columns", nargs="+", metavar="WORD", default=[], help="what columns differ in (default: nothing)"
    )
    parser.add_argument("--baseline", nargs="+", metavar="WORD=CHOICE", default=[], help="what to compare with")
    parser.add_argument("--metric", default="accuracy", help="any number in the records (default: accuracy)")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="the root of all results (default: outputs)"
    )
    parser.add_argument("--format", choices=["text", "markdown", "csv"], default="text")
    return parser.parse_args()


def write(made: grid.Grid, format: str) -> None:
    if format == "text":
        sheets.show(layout.readable(made), Console(highlight=False))
    elif format == "markdown":
        print(sheets.markdown(layout.readable(made)), end="")
    else:
        sheet = layout.numbers(made)
        print(sheets.comma_separated(sheet), end="")
        print("\n".join(sheet.notes), file=sys.stderr)  # stdout holds nothing but CSV


if __name__ == "__main__":
    main()
