"""The repository's git configuration, read once and cached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from runner.repo.command import Git
from runner.repo.environment import AUTHOR


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
        if not self._value("extensions.objectFormat"):
            return "sha1"
        # git heeds the extension in repositories of its second version alone
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

    @property
    def filters(self) -> frozenset[str]:
        """The names of the filters (Git LFS, for example) that are configured."""
        return frozenset(
            [*self._names("filter", "clean"), *self._names("filter", "process")]
        )

    @property
    def merge_drivers(self) -> frozenset[str]:
        """The names of the merge drivers that are configured."""
        return frozenset(self._names("merge", "driver"))

    @property
    def is_shared(self) -> bool:
        """Whether several users share the repository, so that git gives its files other
        modes than their folders have.
        """
        return bool(self._value("core.sharedRepository"))

    @property
    def promisor_remotes(self) -> tuple[str, ...]:
        """The remotes that a partial clone lacks objects of; none for a full clone."""
        return tuple(self._names("remote", "promisor"))

    @cached_property
    def excludes_file(self) -> Path:
        """The user's own file of ignored paths."""
        return self._user_file("core.excludesFile", "ignore")

    @cached_property
    def attributes_file(self) -> Path:
        """The user's own file of attributes."""
        return self._user_file("core.attributesFile", "attributes")

    def _user_file(self, key: str, name: str) -> Path:
        """The file that the key gives, or else the one of that name in the folder where
        git looks for it.
        """
        configured = self._value(key)
        if configured.startswith(("~", "%(")):
            # a user's home, or where git is installed
            configured = self._git.text(["config", "--path", key]).strip()
        if configured:
            return Path(configured)
        env = self._git.env
        folder = env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "/"), ".config")
        return Path(folder, "git", name)

    @cached_property
    def _values(self) -> Mapping[str, str]:
        """Every key with its last value. Git writes sections and names in lower case."""
        values = {}
        for item in self._git.text(["config", "-z", "--list"]).split("\0"):
            key, _, value = item.partition("\n")
            values[key] = value.strip()
        return values

    def _value(self, key: str) -> str:
        return self._values.get(key.lower(), "")

    def _names(self, section: str, name: str) -> Iterator[str]:
        """The subsections of the section that have the name, such as `lfs` in
        `filter.lfs.clean`.
        """
        for key in self._values:
            if key.startswith(f"{section}.") and key.endswith(f".{name}"):
                subsection = key.removeprefix(f"{section}.").removesuffix(name)
                if subsection:
                    yield subsection.removesuffix(".")
