#!/bin/sh
# Ends the job with the remedy where fanin cannot run. For any POSIX shell, since there may be no bash.
set -eu
refuse() {
  echo "::error title=fanin::$1"
  exit 2
}
server="${GITHUB_SERVER_URL:-https://github.com}"
host="${server#*://}"
host="${host%%[:/]*}"
case "$host" in
  # The same hosts as in the client of upload-artifact and download-artifact.
  github.com | *.ghe.com | *.localhost) ;;
  *) refuse "fanin does not run on GitHub Enterprise Server ($host): upload-artifact 4 and later, which hands results on, does not support it. Use github.com or ghe.com." ;;
esac
for program in bash git python3; do
  if ! command -v "$program" >/dev/null; then
    # setup-python brings a Python, and only that.
    case "$program" in
      python3) remedy="use ubuntu-24.04 or later, or run actions/setup-python in a step before" ;;
      *) remedy="use ubuntu-24.04 or later, or install $program in the image of the runner or container" ;;
    esac
    refuse "fanin needs $program, but this machine has none: $remedy."
  fi
done
if ! python3 -I -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  version="$(python3 -I -c 'import platform; print(platform.python_version())')"
  refuse "fanin needs Python 3.11 or later, but this machine's python3 is $version: use ubuntu-24.04 or later, or run actions/setup-python in a step before."
fi
