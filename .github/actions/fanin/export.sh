#!/usr/bin/env bash
# Writes the action's hash-locked requirements from uv.lock.
set -euo pipefail
cd "$(dirname "$0")/../../.."
export UV_NO_PROGRESS=1
flags=(--frozen --quiet --no-emit-project --no-header --no-annotate --format requirements-txt)
uv export "${flags[@]}" --no-dev >.github/actions/fanin/requirements-full.txt
uv export "${flags[@]}" --only-group task-leg >.github/actions/fanin/requirements-task.txt
