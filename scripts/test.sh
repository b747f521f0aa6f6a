#!/usr/bin/env bash
# Sets up, then lints, checks types and runs the tests. Arguments go to pytest (and then only pytest runs).
set -euo pipefail
source "$(dirname "$0")/setup.sh"
if [ $# -gt 0 ]; then
  exec .venv/bin/python -m pytest "$@"
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports --no-logo
# One process per core, one thread each: two that share all cores spend most of their time waiting for each other.
export OMP_NUM_THREADS=1
exec .venv/bin/python -m pytest -m "not slow and not gpu" -n auto --dist loadfile
