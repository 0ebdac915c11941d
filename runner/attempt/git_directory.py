"""Git directories that are written from memory: each agent's own, and those that fanin
captures its work with.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runner.core.errors import GitFailed
from runner.core.folders import remove_folder
from runner.repo.environment import AUTHOR
from runner.repo.origin import Origin, alternates, quoted_path

_SHALLOW, _EXCLUDES = "shallow", "info/exclude"
_BORROWED = (_SHALLOW, _EXCLUDES)
_NAME, _EMAIL = "fanin agent", AUTHOR["GIT_AUTHOR_EMAIL"]
# Of the commits that an agent makes in its checkout, as git writes authors.
AGENT_IDENTITY = f"{_NAME} <{_EMAIL}>"
_FILE = "file"  # in a folder in which the file system is tried
# An ä in both ways of Unicode: Apple's older file systems give one back as the other.
_COMPOSED, _DECOMPOSED = "\u00e4", "a\u0308"
_AGENT = f"[user]\n\tname = {_NAME}\n\temail = {_EMAIL}\n".encode()


class Seed(NamedTuple):
    """The contents of a git directory that borrows an origin's objects and ignore files.

    They are in memory and not on the disk, where every agent of the run could change
    what the next ones are given. `objects` are the origin's folders of objects.
    """

    files: Mapping[str, bytes]
    objects: tuple[Path, ...] = ()

    @classmethod
    def of(cls, origin: Origin, scratch: Path) -> Seed:
        """Those of a new git directory below `scratch`, as `git init` would make it there.

        Raises GitFailed if the disk does not take a file.
        """
        with _refused_by_disk():
            config = _config(origin.object_format, scratch)
        files = {"HEAD": b"ref: refs/heads/master\n", "config": config.encode()}
        return cls(files).borrowing(origin)

    def borrowing(self, origin: Origin) -> Seed:
        """The same for another origin with the same object format."""
        files = {name: self.files[name] for name in self.files if name not in _BORROWED}
        return self._replace(
            files={**files, **_borrowed(origin)},
            objects=(origin.git_dir / "objects", *origin.objects),
        )

    @property
    def _has_links(self) -> bool:
        """Whether the file system has symbolic links."""
        return b"symlinks = false" not in self.files["config"]

    def environment(self, git_dir: Path) -> dict[str, str]:
        """The variables with which git works in a directory that `write_for_capture` has
        made, and finds the origin's objects.
        """
        folders = [os.fsdecode(quoted_path(each, b'":\\')) for each in self.objects]
        return {
            "GIT_DIR": str(git_dir),
            "GIT_OBJECT_DIRECTORY": str(git_dir),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.pathsep.join(folders),
        }

    def write_for_capture(self, git_dir: Path) -> None:
        """Make a git directory for fanin, which has no refs and is its own folder of
        objects. The folder may be there, empty.

        Raises GitFailed if the disk does not take it.
        """
        # Of the refs git asks only whether they are there. A link takes no block of the
        # disk, as a folder does.
        folders = [] if self._has_links else ["refs"]
        _write(git_dir, self.files, folders, may_exist=True)
        if self._has_links:
            with _refused_by_disk():
                (git_dir / "refs").symlink_to(".")

    def write_for_agent(self, git_dir: Path, branch: str, commit: str) -> None:
        """Make an agent's git directory: the branch, the only one, is at the commit."""
        # one file, where a loose ref and its log take eight
        header = "# pack-refs with: peeled fully-peeled sorted \n"
        further_files = {
            "config": self.files["config"] + _AGENT,
            "HEAD": f"ref: refs/heads/{branch}\n".encode(),
            "packed-refs": f"{header}{commit} refs/heads/{branch}\n".encode(),
            "objects/info/alternates": alternates(self.objects),
        }
        files = {**self.files, **further_files}
        # A program may add to the file of ignored paths, which is in a folder that has
        # to be there. No name in it is one of those that git has below `objects/info`.
        is_link = self._has_links and _EXCLUDES not in files
        _write(git_dir, files, ["refs"] if is_link else ["refs", "info"])
        if is_link:
            with _refused_by_disk():
                (git_dir / "info").symlink_to("objects/info")


def _write(
    git_dir: Path,
    files: Mapping[str, bytes],
    folders: Iterable[str] = (),
    *,
    may_exist: bool = False,
) -> None:
    """Make the folder, with these folders and files in it. GitFailed if the disk does not
    take it.
    """
    top = str(git_dir)
    with _refused_by_disk():
        git_dir.mkdir(parents=True, exist_ok=may_exist)
        for name in _with_parents([*folders, *_folders_of(files)]):
            os.mkdir(f"{top}/{name}")  # noqa: PTH102 - a Path for each takes twice as long
        for name, data in files.items():
            (git_dir / name).write_bytes(data)


@contextmanager
def _refused_by_disk() -> Iterator[None]:
    """Turns what the disk refuses into an error of git."""
    try:
        yield
    except OSError as error:
        raise GitFailed(["init"], 128, str(error)) from None


def _config(object_format: str, scratch: Path) -> str:
    """The settings that `git init` writes: they say what the file system can."""
    version, extensions = 0, ""
    if object_format != "sha1":
        version, extensions = 1, f"[extensions]\n\tobjectformat = {object_format}\n"
    lines = [f"repositoryformatversion = {version}"]
    folder = Path(tempfile.mkdtemp(prefix="seed-", dir=scratch))
    try:
        lines.append(f"filemode = {str(_keeps_modes(folder)).lower()}")
        lines += ["bare = false", "logallrefupdates = true"]
        if not _has_links(folder):
            lines.append("symlinks = false")
        if (folder / _FILE.swapcase()).exists():
            lines.append("ignorecase = true")
        if sys.platform == "darwin":
            (folder / _COMPOSED).touch()
            is_decomposed = (folder / _DECOMPOSED).exists()
            lines.append(f"precomposeunicode = {str(is_decomposed).lower()}")
    finally:
        remove_folder(folder)
    settings = "".join(f"\t{line}\n" for line in lines)
    return f"[core]\n{settings}{extensions}"


def _keeps_modes(folder: Path) -> bool:
    """Whether a file can be run only once that is allowed; makes the file."""
    file = folder / _FILE
    file.touch(mode=0o600)
    is_always_allowed = file.stat().st_mode & stat.S_IXUSR
    file.chmod(0o700)
    return bool(not is_always_allowed and file.stat().st_mode & stat.S_IXUSR)


def _has_links(folder: Path) -> bool:
    try:
        (folder / "link").symlink_to(_FILE)
    except OSError:
        return False
    return True


def _borrowed(origin: Origin) -> dict[str, bytes]:
    """The files by which a git directory uses the origin's ignore files."""
    # The last pattern in the file wins, as the repository's own exclude file does in git.
    excludes = [*origin.excludes, origin.git_dir / "info" / "exclude"]
    patterns = [path.read_bytes() for path in excludes if path.is_file()]
    files = {}
    if any(map(_has_patterns, patterns)):
        files[_EXCLUDES] = b"\n".join(patterns)
    shallow = origin.git_dir / _SHALLOW
    if shallow.exists():  # a clone without its history, as on GitHub Actions
        files[_SHALLOW] = shallow.read_bytes()
    return files


def _has_patterns(text: bytes) -> bool:
    """Whether an ignore file has more than comments, such as those that git puts there."""
    lines = text.splitlines()
    return any(line.strip() and not line.startswith(b"#") for line in lines)


def _folders_of(files: Iterable[str]) -> list[str]:
    return [name.rpartition("/")[0] for name in files if "/" in name]


def _with_parents(folders: Iterable[str]) -> list[str]:
    """The folders and those that they are in, parents first."""
    names = set()
    for folder in folders:
        parts = folder.split("/")
        names |= {"/".join(parts[: end + 1]) for end in range(len(parts))}
    return sorted(names)
