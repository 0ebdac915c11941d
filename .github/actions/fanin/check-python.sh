#!/usr/bin/env bash
# Ends the job with the remedy where fanin cannot run: on Windows, and if python3 is older than it needs, as on
# ubuntu-22.04, which has 3.10.
set -euo pipefail
if [ "${RUNNER_OS:-}" = Windows ]; then
  echo "::error title=fanin::fanin does not run on Windows: use a Linux or macOS runner (runs-on, control-runs-on)."
  exit 2
fi
if ! command -v python3 >/dev/null; then
  has="this runner has no python3"
elif ! python3 -I -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  has="this runner's python3 is $(python3 -I -c 'import platform; print(platform.python_version())')"
else
  exit 0
fi
echo "::error title=fanin::fanin needs Python 3.11 or later, but $has: use ubuntu-24.04 or later, or run actions/setup-python in a step before."
exit 2
