"""Make tables from the records of sweeps: mean ± sd over seeds, gains over a baseline, intervals, corrected tests.

    python scripts/make_tables.py pairings                    the tables of conf/table/pairings.yaml
    python scripts/make_tables.py pairings --format latex     … for a paper; markdown, csv
    python scripts/make_tables.py pairings --save             … all three, into outputs/report/pairings
    python scripts/make_tables.py mine --table cost           what the sweep "mine" cost: conf/table/cost.yaml
    python scripts/make_tables.py pilot_sst5 pilot_trec6 --rows name --columns rl --baseline rl=matched

Cells that differ only in seed are averaged. The baseline of a cell is the cell with the choices named and all else
equal. Gains are tested on the predictions in OUTPUTS/artifacts; without them a table shows means alone, and says
so. docs/tables.md tells how to read a table and how to describe one.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp.cli import errors, tables
from genclspp.runs.terminal import until_read
from genclspp.suggest import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables.add_options(parser)
    try:
        with until_read():
            tables.make(parser.parse_args())
    except (UserError, OSError) as error:
        sys.exit(f"error: {errors.explain(error)}")


if __name__ == "__main__":
    main()
