"""Save a view of sweeps in Weights & Biases: results, training curves, RL health and cost, the best cells first.

    python scripts/wandb_workspace.py pilot_sst5 pilot_trec6
    python scripts/wandb_workspace.py demo --dry-run            what it would save

Made from the records of the sweeps and the same description of metrics as the page. Made again, it replaces the
view of the same sweeps. It needs an API key (`wandb login`), the runs in Weights & Biases (scripts/wandb_sync.py
uploads those that are offline), and pip install -e '.[workspace]'.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp.report import records
from genclspp.runs import uploads, workspace
from genclspp.suggest import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help="name of a sweep: a folder in OUTPUTS/results")
    parser.add_argument("--dry-run", action="store_true", help="print what would be saved, and save nothing")
    parser.add_argument("--project", default="genclspp", help="in Weights & Biases (default: genclspp)")
    parser.add_argument("--entity", help="user or team in Weights & Biases (default: that of the API key)")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="the root of all results (default: outputs)"
    )
    args = parser.parse_args()
    try:
        view = workspace.plan(args.names, records.read_sweeps(args.outputs / "results", args.names))
        if args.dry_run:
            print(f"would save the view {view.title!r} in {args.entity or 'your entity'}/{args.project}:")
            print(workspace.outline(view))
            return
        uploads.log_in(args.outputs)
        print(f"saved the view {view.title!r}: {workspace.save(view, args.entity, args.project)}")
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
