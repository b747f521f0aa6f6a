#!/usr/bin/env bash
# The demo on a fresh machine: installs, then runs the sweep that everyone starts with, with RL on 64 prompts (by
# default 256). Arguments go to run.py.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
exec .venv/bin/python run.py -m strategy=icl,numeric decode=ppl rl.examples=64 name=demo "$@"
