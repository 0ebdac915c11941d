#!/usr/bin/env bash
# Installs fanin's own Python environment at $FANIN_VENV, from hash-locked requirements and with compiled bytecode.
# Task jobs get the short list, without networkx and PyGithub, because a matrix pays for this once per task.
set -euo pipefail
lock="$FANIN_HOME/.github/actions/fanin/requirements-$FANIN_SET.txt"
if [ -f "$FANIN_VENV/.complete" ]; then
  echo "fanin's environment was restored from the cache"
  exit 0
fi
rm -rf "$FANIN_VENV"
unset UV_INDEX_URL UV_EXTRA_INDEX_URL UV_PROJECT_ENVIRONMENT UV_PYTHON VIRTUAL_ENV PYTHONHOME PYTHONPATH || true
python3 -m compileall -q "$FANIN_HOME/runner" & # while the packages are installed
compiling=$!
if command -v uv >/dev/null; then
  uv venv --quiet --python "$(command -v python3)" "$FANIN_VENV"
  uv pip install --quiet --python "$FANIN_VENV/bin/python" --require-hashes --only-binary :all: --compile-bytecode -r "$lock"
else
  python3 -m venv --without-pip "$FANIN_VENV"
  python3 -m pip --python "$FANIN_VENV/bin/python" install --quiet --disable-pip-version-check --require-hashes \
    --only-binary :all: -r "$lock"
fi
wait "$compiling" || true
touch "$FANIN_VENV/.complete"
