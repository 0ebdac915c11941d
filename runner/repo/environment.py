"""The environment and the configuration that git processes get."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

# The user's own configuration holds, except for what would change a result, run a
# program or start maintenance while fanin works.
REPOSITORY_CONFIG = (
    "core.hooksPath=/dev/null",
    "core.quotePath=false",
    "merge.directoryRenames=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "merge.autoStash=false",
    "submodule.recurse=false",
    "commit.gpgSign=false",
    "merge.verifySignatures=false",
    "merge.renames=true",
    "diff.renames=true",
    "advice.detachedHead=false",
)
# No user or system configuration: a filter, hook or signing key of theirs must not act
# on an agent's files.
ISOLATED_CONFIG = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.quotePath=false",
    "core.autocrlf=false",
    "advice.addEmbeddedRepo=false",
    "protocol.allow=never",
    "core.untrackedCache=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
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
# What git needs of the machine's variables to find its programs, libraries and
# temporary files; no secret is in one of these.
_MACHINE = (
    "PATH",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "DEVELOPER_DIR",
)
# inherited variables that say who commits and how git is configured, not which
# repository it works in
_HARMLESS = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG_")


def inherited_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that every git process starts from.

    A hook's GIT_DIR, for example, would send git to another repository.
    """
    plain = {
        name: value for name, value in environ.items() if not name.startswith("GIT_")
    }
    return {**plain, "LANGUAGE": "C", "LC_ALL": "C"}


def repository_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for git in the user's own repository.

    Inherited GIT_* variables (a hook's, another tool's) would point git elsewhere, so
    only those for identity and configuration are let through.
    """
    allowed = {
        name: value
        for name, value in environ.items()
        if not name.startswith("GIT_") or name.startswith(_HARMLESS)
    }
    return {
        **allowed,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def repository_config(environ: Mapping[str, str], root: Path) -> Sequence[str]:
    """The configuration for git in the repository at `root`.

    On GitHub Actions another user may own the checkout: a job in a container runs as
    root in a folder of the machine's user. The workflow itself checked it out.
    """
    if environ.get("GITHUB_ACTIONS") != "true":
        return REPOSITORY_CONFIG
    return (*REPOSITORY_CONFIG, f"safe.directory={root}")


def git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which git, and a program that a file of an agent makes it start,
    sees no secret, no inherited repository and no configuration but what fanin gives it.
    """
    allowed = {}
    for name, value in environ.items():
        if name in _MACHINE:
            allowed[name] = value
        elif not name.startswith("GIT_"):
            # in place of what every git process inherits
            allowed[name] = ""
    return {
        **allowed,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        # what a seed is copied from, whatever git's own default becomes
        "GIT_DEFAULT_REF_FORMAT": "files",
        "LC_ALL": "C",
        **AUTHOR,
    }
