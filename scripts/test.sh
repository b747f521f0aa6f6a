#!/usr/bin/env bash
# Installs, then lints, checks types and runs the tests. Given arguments, it runs only pytest, with these.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
source scripts/fetch_tokenizers.sh
if [ $# -gt 0 ]; then
  exec .venv/bin/python -m pytest "$@"
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports --no-logo
# One process per core, one thread each: processes that share cores spend most of their time waiting for each other.
export OMP_NUM_THREADS=1
exec .venv/bin/python -m pytest -m "not slow" -n auto --dist loadfile --no-loadscope-reorder
