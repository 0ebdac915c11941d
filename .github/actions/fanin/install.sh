#!/usr/bin/env bash
# Installs fanin's own Python environment at $FANIN_VENV, from the hash-locked list $FANIN_SET: `task` for task jobs,
# without networkx and PyGithub, because a matrix pays for this once per task; `continue` for the job that makes one call
# of the API; `jobs` for the others. `next` also makes the environment of the task jobs, at $FANIN_LEGS_VENV, because it
# is the one that saves to the cache.
#
# uv installs in a quarter of the time that pip needs. Most machines have none: then the one of the lock is downloaded,
# directly or, where an index is set or that fails, by pip. If pip fails too, pip installs everything.
set -euo pipefail
unset UV_INDEX_URL UV_EXTRA_INDEX_URL UV_PROJECT_ENVIRONMENT UV_PYTHON VIRTUAL_ENV PYTHONHOME PYTHONPATH || true
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV || true
# The working directory holds the repository's files. No module or settings of uv may come from there.
export PYTHONSAFEPATH=1 UV_NO_CONFIG=1
mirror="${PIP_INDEX_URL:-${UV_DEFAULT_INDEX:-}}"
# Machines that reach the index through a mirror tell pip.
export UV_DEFAULT_INDEX="${mirror:-https://pypi.org/simple}"

requirements="$FANIN_HOME/.github/actions/fanin/requirements"
locked=(--quiet --require-hashes --no-deps --only-binary :all:)
# Compiling all bytecode takes longer than the rest, and pays only for an environment that later jobs restore.
uv_bytecode=(--compile-bytecode)
pip_bytecode=(--compile)
if [ "${FANIN_CACHE:-none}" = none ]; then
  uv_bytecode=()
  pip_bytecode=(--no-compile)
fi

fetch_uv() {
  [ -z "$mirror" ] && python3 -I "$FANIN_HOME/.github/actions/fanin/fetch_uv.py" "$FANIN_HOME/uv.lock" "$1"
}

fetch_uv_with_pip() {
  python3 -m pip install --disable-pip-version-check "${locked[@]}" --no-compile --target "$1" -r "$requirements-uv.txt"
}

find_uv() {
  uv="$(command -v uv || true)"
  if [ -z "$uv" ]; then
    local tools="$FANIN_VENV-uv"
    rm -rf "$tools"
    if fetch_uv "$tools/bin/uv" || fetch_uv_with_pip "$tools"; then
      uv="$tools/bin/uv"
    fi
  fi
}

install_with_uv() {
  "$uv" venv --quiet --python "$(command -v python3)" "$1" &&
    "$uv" pip install --python "$1/bin/python" "${locked[@]}" ${uv_bytecode[@]+"${uv_bytecode[@]}"} -r "$2"
}

install_with_pip() {
  rm -rf "$1"
  python3 -m venv --without-pip "$1"
  python3 -m pip --python "$1/bin/python" install --disable-pip-version-check "${locked[@]}" "${pip_bytecode[@]}" -r "$2"
}

install() {
  local venv="$1" lock="$requirements-$2.txt"
  rm -rf "$venv"
  if [ -z "$uv" ] || ! install_with_uv "$venv" "$lock"; then
    install_with_pip "$venv" "$lock"
  fi
  touch "$venv/.complete"
}

add_traces() {
  local lock="$requirements-traces.txt"
  { [ -n "$uv" ] && "$uv" pip install --python "$FANIN_VENV/bin/python" "${locked[@]}" -r "$lock"; } ||
    python3 -m pip --python "$FANIN_VENV/bin/python" install --disable-pip-version-check "${locked[@]}" -r "$lock"
}

# A job without the cache ignores what may be there: nothing but its own install may have made it.
restored=""
if [ "${FANIN_CACHE:-none}" != none ] && [ -f "$FANIN_VENV/.complete" ]; then
  restored=1
  echo "fanin's environment was restored from the cache"
fi
compiling=""
if [ -z "$restored" ] && [ "${FANIN_CACHE:-none}" != none ]; then
  python3 -m compileall -q "$FANIN_HOME/runner" & # while the packages are installed
  compiling=$!
fi
if [ -z "$restored" ] || [ -n "${FANIN_LEGS_VENV:-}" ]; then
  find_uv
fi
if [ -z "$restored" ]; then
  install "$FANIN_VENV" "$FANIN_SET"
fi
if [ -n "${FANIN_LEGS_VENV:-}" ]; then
  install "$FANIN_LEGS_VENV" task
fi
# Traces: installed only where a variable names a collector, and again in each job.
if [ "$FANIN_SET" != continue ] && [ -n "${OTEL_EXPORTER_OTLP_ENDPOINT:-}${OTEL_EXPORTER_OTLP_TRACES_ENDPOINT:-}" ]; then
  [ -n "${uv+set}" ] || find_uv
  add_traces || echo "::warning title=fanin::no traces are sent: the packages that send them could not be installed"
fi
if [ -n "$compiling" ]; then
  wait "$compiling" || true
fi
