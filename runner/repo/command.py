"""Runs git: the one place that starts it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.core.errors import GitFailed

# No user or system configuration: a filter, hook or signing key of theirs must not act
# on an agent's files.
_SAFE_CONFIG = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.quotePath=false",
    "core.autocrlf=false",
    "advice.addEmbeddedRepo=false",
    "protocol.allow=never",
    "core.untrackedCache=false",
    "safe.directory=*",
    "init.defaultBranch=fanin",
    "commit.gpgSign=false",
)
AUTHOR = {
    "GIT_AUTHOR_NAME": "fanin",
    "GIT_AUTHOR_EMAIL": "fanin@users.noreply.github.com",
    "GIT_COMMITTER_NAME": "fanin",
    "GIT_COMMITTER_EMAIL": "fanin@users.noreply.github.com",
}


def git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which git sees no inherited repository and no configuration but
    what fanin gives it.
    """
    kept = {
        name: value for name, value in environ.items() if not name.startswith("GIT_")
    }
    return {
        **kept,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        # what a seed plants, whatever git's own default becomes
        "GIT_DEFAULT_REF_FORMAT": "files",
        "LC_ALL": "C",
        **AUTHOR,
    }


def git(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    stdout: object = subprocess.PIPE,
) -> bytes:
    """Run git without any configuration but fanin's; its output. GitFailed on a
    non-zero status.
    """
    config = [part for setting in _SAFE_CONFIG for part in ("-c", setting)]
    done = subprocess.run(
        ["git", *config, *argv],
        cwd=cwd,
        env={**git_environment(os.environ), **(env or {})},
        input=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        # Ctrl-C is fanin's to handle: work must not be lost while it is captured
        start_new_session=True,
    )  # type: ignore[call-overload]
    if done.returncode:
        raise GitFailed(argv, done.returncode, done.stderr.decode("utf-8", "replace"))
    return done.stdout or b""
