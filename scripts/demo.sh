#!/usr/bin/env bash
# The main job on a fresh machine: sets up, then runs the sweep that everyone starts with. Arguments go to run.py.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
exec .venv/bin/python run.py -m strategy=icl,numeric decode=ppl name=demo "$@"
