#!/bin/sh
# Ends the job with the remedy where fanin cannot run. For any POSIX shell, since there may be no bash.
set -eu
refuse() {
  echo "::error title=fanin::$1"
  exit 2
}
image="use ubuntu-24.04 or later, or install it in the image of the runner or container"
python="use ubuntu-24.04 or later, or run actions/setup-python in a step before"
server="${GITHUB_SERVER_URL:-https://github.com}"
host="${server#*://}"
host="${host%%[:/]*}"
# The same hosts as in the client of upload-artifact and download-artifact.
case "$host" in github.com | *.ghe.com | *.localhost) supported=1 ;; *) supported="" ;; esac
if [ -z "$supported" ]; then
  refuse "fanin does not run on GitHub Enterprise Server ($host): upload-artifact 4 and later, which hands results on, does not support it. Use github.com or ghe.com."
fi
if ! command -v bash >/dev/null; then
  refuse "fanin needs bash, but this machine has none: $image."
fi
if ! command -v git >/dev/null; then
  refuse "fanin needs git, but this machine has none: $image."
fi
if ! command -v python3 >/dev/null; then
  refuse "fanin needs python3, but this machine has none: $python."
fi
if ! python3 -I -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  version="$(python3 -I -c 'import platform; print(platform.python_version())')"
  refuse "fanin needs Python 3.11 or later, but this machine's python3 is $version: $python."
fi
