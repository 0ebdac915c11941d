"""The repository's git configuration, read once and cached."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from runner.repo.command import AUTHOR, Git


class Committer(NamedTuple):
    """Author and committer as a commit has them: `NAME <EMAIL>`."""

    author: str
    committer: str


class Configuration:
    """The configuration that `git` sees."""

    def __init__(self, git: Git) -> None:
        self._git = git

    @cached_property
    def object_format(self) -> str:
        """sha1 or sha256."""
        return self._git.text(["rev-parse", "--show-object-format"]).strip()

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Variables that make fanin the author if no identity is configured."""
        for part in ("name", "email"):
            in_environment = f"GIT_AUTHOR_{part.upper()}" in self._git.env
            if not self._value(f"user.{part}") and not in_environment:
                return AUTHOR
        return {}

    @cached_property
    def committer(self) -> Committer | None:
        """Author and committer as git itself would write them; None if git must be
        asked for each commit.
        """
        # with a date in the environment git must write the commit
        env = self._git.env
        if "GIT_AUTHOR_DATE" in env or "GIT_COMMITTER_DATE" in env:
            return None
        author = self._ident("GIT_AUTHOR_IDENT")
        committer = self._ident("GIT_COMMITTER_IDENT")
        if author is None or committer is None:
            return None
        return Committer(author, committer)

    def _ident(self, variable: str) -> str | None:
        done = self._git.run_unchecked(["var", variable], env=self.identity)
        # NAME <EMAIL> SECONDS TIMEZONE
        fields = done.stdout.decode("utf-8", "replace").strip().rsplit(" ", 2)
        # a name in another encoding is left to git as well
        if done.status or len(fields) != 3 or "\ufffd" in fields[0]:
            return None
        return fields[0]

    @cached_property
    def filters(self) -> frozenset[str]:
        """The names of the filters (Git LFS, for example) that are configured."""
        keys = self._git.text(
            ["config", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process)$"],
            ok=(0, 1),
        ).splitlines()
        return frozenset(key.split(".", 1)[1].rpartition(".")[0] for key in keys)

    @cached_property
    def merge_drivers(self) -> frozenset[str]:
        """The names of the merge drivers that are configured."""
        keys = self._git.text(
            ["config", "--name-only", "--get-regexp", r"^merge\..*\.driver$"], ok=(0, 1)
        ).splitlines()
        return frozenset(key.split(".", 1)[1].rpartition(".")[0] for key in keys)

    @cached_property
    def is_shared(self) -> bool:
        """Whether several users share the repository, so that git gives its files other
        modes than their folders have.
        """
        return bool(self._value("core.sharedRepository"))

    @property
    def promisor_remotes(self) -> tuple[str, ...]:
        """The remotes that a partial clone lacks objects of; none for a full clone."""
        keys = self._git.text(
            ["config", "--name-only", "--get-regexp", r"^remote\..*\.promisor$"],
            ok=(0, 1),
        ).splitlines()
        return tuple(key.split(".", 1)[1].rpartition(".")[0] for key in keys)

    @property
    def excludes_file(self) -> Path:
        """The user's own file of ignored paths."""
        configured = self._git.text(
            ["config", "--path", "core.excludesFile"], ok=(0, 1)
        ).strip()
        if configured:
            return Path(configured)
        env = self._git.env
        folder = env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "/"), ".config")
        return Path(folder, "git", "ignore")

    def _value(self, key: str) -> str:
        return self._git.text(["config", key], ok=(0, 1)).strip()
