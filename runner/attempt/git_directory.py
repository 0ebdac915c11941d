"""Git directories that are written from memory: each agent's own, and those that fanin
captures its work with.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.repo.command import AUTHOR, isolated_git
from runner.repo.origin import Origin, alternates

# git makes them when it needs them
_ON_DEMAND = ("objects/pack", "refs/heads", "refs/tags")
_SHALLOW = "shallow"
_NAME, _EMAIL = "fanin agent", AUTHOR["GIT_AUTHOR_EMAIL"]
# Of the commits that an agent makes in its checkout, as git writes authors.
AGENT_IDENTITY = f"{_NAME} <{_EMAIL}>"
_AGENT = f"[user]\n\tname = {_NAME}\n\temail = {_EMAIL}\n".encode()


@dataclass(frozen=True)
class Seed:
    """The contents of a git directory that borrows an origin's objects and ignore files.

    They are in memory and not on the disk, where every agent of the run could change
    what the next ones are given.
    """

    folders: tuple[str, ...]
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, origin: Origin, scratch: Path) -> Seed:
        """Let git make one below `scratch`: its contents depend on the file system.

        Raises GitFailed if git cannot.
        """
        folder = Path(tempfile.mkdtemp(prefix="seed-", dir=scratch))
        try:
            # no template: its hooks and files are copied for every agent
            object_format = f"--object-format={origin.object_format}"
            isolated_git(folder).run(
                ["init", "-q", "--template=", object_format, str(folder)]
            )
            empty = cls._read(folder / ".git")
        finally:
            remove_folder(folder)
        return empty.borrowing(origin)

    @classmethod
    def _read(cls, git_dir: Path) -> Seed:
        folders, files = {"info", "objects/info"}, {}
        for path in git_dir.rglob("*"):
            name = str(path.relative_to(git_dir))
            if name in _ON_DEMAND:
                continue
            if path.is_dir():
                folders.add(name)
            elif path.is_file():
                files[name] = path.read_bytes()
        return cls(tuple(sorted(folders)), files)

    def borrowing(self, origin: Origin) -> Seed:
        """The same for another origin with the same object format."""
        files = {name: self.files[name] for name in self.files if name != _SHALLOW}
        return replace(self, files={**files, **_borrowed(origin)})

    def write(
        self, git_dir: Path, further_files: Mapping[str, bytes] | None = None
    ) -> None:
        """Make the git directory, with `further_files` in place of its own.

        Raises GitFailed if the disk does not take it.
        """
        parent = str(git_dir)
        files = {**self.files, **(further_files or {})}
        try:
            git_dir.mkdir(parents=True)
            for name in self.folders:  # parents come first
                os.mkdir(f"{parent}/{name}")  # noqa: PTH102 - a Path for each takes twice as long
            for name, data in files.items():
                (git_dir / name).write_bytes(data)
        except OSError as error:
            raise GitFailed(["init"], 128, str(error)) from None

    def write_for_agent(self, git_dir: Path, branch: str, commit: str) -> None:
        """Make an agent's git directory: the branch, the only one, is at the commit."""
        # one file, where a loose ref and its log take eight
        header = "# pack-refs with: peeled fully-peeled sorted \n"
        further_files = {
            "config": self.files["config"] + _AGENT,
            "HEAD": f"ref: refs/heads/{branch}\n".encode(),
            "packed-refs": f"{header}{commit} refs/heads/{branch}\n".encode(),
        }
        self.write(git_dir, further_files)


def _borrowed(origin: Origin) -> dict[str, bytes]:
    """The files by which a git directory uses the origin's objects and ignore files."""
    # The last pattern in the file wins, as the repository's own exclude file does in git.
    excludes = [*origin.excludes, origin.git_dir / "info" / "exclude"]
    patterns = [path.read_bytes() for path in excludes if path.is_file()]
    folders = [origin.git_dir / "objects", *origin.objects]
    files = {
        "info/exclude": b"\n".join(patterns),
        "objects/info/alternates": alternates(folders),
    }
    shallow = origin.git_dir / _SHALLOW
    if shallow.exists():  # a clone without its history, as on GitHub Actions
        files[_SHALLOW] = shallow.read_bytes()
    return files
