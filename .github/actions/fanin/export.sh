#!/usr/bin/env bash
# Writes the action's hash-locked requirements from uv.lock.
set -euo pipefail
cd "$(dirname "$0")/../../.."
export UV_NO_PROGRESS=1
flags=(--frozen --quiet --no-emit-project --no-header --no-annotate --format requirements-txt)
# PyGithub imports these only to sign in as a GitHub App, which fanin does not, and they are large.
unused=(--no-emit-package cryptography --no-emit-package pycparser)
export_group() {
  uv export "${flags[@]}" "${@:3}" --only-group "$1" >".github/actions/fanin/requirements-$2.txt"
}
export_group task-leg task
export_group jobs jobs "${unused[@]}"
export_group continue continue "${unused[@]}"
export_group traces traces
export_group installer uv
