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
exec .venv/bin/python -m pytest -m "not slow and not gpu"
