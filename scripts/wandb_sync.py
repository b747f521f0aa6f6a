"""Upload the offline runs of sweeps to Weights & Biases.

    python scripts/wandb_sync.py demo              the runs of one sweep
    python scripts/wandb_sync.py                   all of them
    python scripts/wandb_sync.py demo --dry-run    what it would upload

Stages come first, then results, then aggregates, each in the order in which they began. A run is uploaded once;
stopped by Ctrl-C or an error, the same command goes on. Runs that are still being written are left out.
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genclspp.runs import uploads
from genclspp.suggest import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="name of a sweep (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be uploaded, and upload nothing")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="the root of all results (default: outputs)"
    )
    args = parser.parse_args()
    try:
        found = uploads.find(args.outputs, args.names)
        print(describe(found, args.outputs))
        if args.dry_run:
            print(
                "\n".join(f"  {run.group}: {run.name}" for run in found.waiting), end="\n" if found.waiting else ""
            )
        elif found.waiting:
            upload(found, args.outputs)
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


def describe(found: uploads.Offline, outputs: Path) -> str:
    """What is there, in a sentence or two."""
    if not (found.waiting or found.uploaded or found.unfinished):
        return f"no offline runs in {outputs / 'wandb'}"
    kinds = Counter(run.job_type if run.job_type in uploads.LAST else "stage" for run in found.waiting)
    listed = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items())
    lines = [f"to upload: {listed or 'nothing'}; uploaded before: {found.uploaded}"]
    if found.unfinished:
        lines.append(f"left out: {found.unfinished} that a sweep is writing, or was when it was killed")
    return "\n".join(lines)


def upload(found: uploads.Offline, outputs: Path) -> None:
    count, done = len(found.waiting), 0
    again = "the same command goes on"
    try:
        print(f"to {uploads.log_in(outputs)}:", flush=True)
        for done, run in enumerate(uploads.upload(found.waiting), 1):
            print(f"  {done}/{count} {run.name}", flush=True)
    except uploads.Stopped as error:
        raise UserError(f"{error}; {done} of {count} were uploaded, {again}") from None
    except KeyboardInterrupt:
        print(f"\ninterrupted: {done} of {count} were uploaded, {again}", file=sys.stderr, flush=True)
        os._exit(130)  # at a usual exit, wandb may wait for its service for ever, and that one for the server


if __name__ == "__main__":
    main()
