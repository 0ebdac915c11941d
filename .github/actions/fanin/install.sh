#!/usr/bin/env bash
# Installs fanin's own Python environment at $FANIN_VENV, from hash-locked requirements. Task jobs get the short list,
# without networkx and PyGithub, because a matrix pays for this once per task. `next` also makes the environment of the
# task jobs, at $FANIN_LEGS_VENV, because it is the one that saves to the cache.
set -euo pipefail
unset UV_INDEX_URL UV_EXTRA_INDEX_URL UV_PROJECT_ENVIRONMENT UV_PYTHON VIRTUAL_ENV PYTHONHOME PYTHONPATH || true

# Compiling all bytecode takes longer than the rest, and pays only for an environment that later jobs restore.
uv_bytecode=(--compile-bytecode)
pip_bytecode=(--compile)
if [ "${FANIN_CACHE:-none}" = none ]; then
  uv_bytecode=()
  pip_bytecode=(--no-compile)
fi

install() {
  local venv="$1" lock="$FANIN_HOME/.github/actions/fanin/requirements-$2.txt"
  rm -rf "$venv"
  if command -v uv >/dev/null; then
    uv venv --quiet --python "$(command -v python3)" "$venv"
    uv pip install --quiet --python "$venv/bin/python" --require-hashes --only-binary :all: \
      ${uv_bytecode[@]+"${uv_bytecode[@]}"} -r "$lock"
  else
    python3 -m venv --without-pip "$venv"
    python3 -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check --require-hashes \
      --only-binary :all: "${pip_bytecode[@]}" -r "$lock"
  fi
  touch "$venv/.complete"
}

compiling=""
# A job without the cache ignores what may be there: nothing but its own install may have made it.
if [ "${FANIN_CACHE:-none}" != none ] && [ -f "$FANIN_VENV/.complete" ]; then
  echo "fanin's environment was restored from the cache"
else
  if [ "${FANIN_CACHE:-none}" != none ]; then
    python3 -m compileall -q "$FANIN_HOME/runner" & # while the packages are installed
    compiling=$!
  fi
  install "$FANIN_VENV" "$FANIN_SET"
fi
if [ -n "${FANIN_LEGS_VENV:-}" ]; then
  install "$FANIN_LEGS_VENV" task
fi
if [ -n "$compiling" ]; then
  wait "$compiling" || true
fi
