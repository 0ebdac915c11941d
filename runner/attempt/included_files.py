"""Which ignored files of a person's work tree a checkout gets, and what they bring along:
secrets, and paths that no result may have.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from runner.attempt.file_copy import FileCopier
from runner.core.errors import EnvironmentBroken
from runner.core.plurals import pluralize, some_of
from runner.policy import secret_files
from runner.policy.include_rules import IncludeRules
from runner.policy.paths import leaves_tree, too_long
from runner.policy.redaction import NONE, Secrets
from runner.repo.command import isolated_git
from runner.repo.origin import Origin

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# A pipe would hold us, a link would lead elsewhere.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_NAMED_PATHS = 3  # that a sentence names
_OWN_FOLDER = ".fanin"
_MAX_KEYS = 2**24  # bytes of a file of certificates

UNNAMED = "holds secrets, and its full name is not listed"
LINK_OUT = "is a link out of the repository"
UNREADABLE = "cannot be read"
TOO_LARGE = "holds secrets, and is too large to look for them in results"
IN_THE_WAY = "has another file of the repository in its place"
TOO_DEEP = "has a path that is too long"


class FileState(NamedTuple):
    """Size in bytes and time of change in nanoseconds, by which a change is noticed."""

    size: int
    mtime_ns: int


class Included(NamedTuple):
    """What a checkout got: path → state of each file and link, the folders that it got
    whole, the secrets in the files, and path → reason of what was left out.
    """

    files: Mapping[str, FileState] = MappingProxyType({})
    folders: frozenset[str] = frozenset()
    secrets: Secrets = NONE
    left_out: Mapping[str, str] = MappingProxyType({})

    def __bool__(self) -> bool:
        return bool(self.files or self.folders)

    def covers(self, path: str) -> bool:
        """Whether the path came from the person's work tree or is in a folder that did."""
        if path in self.files:
            return True
        end = path.find("/")
        while end != -1:
            if path[:end] in self.folders:
                return True
            end = path.find("/", end + 1)
        return False

    @property
    def summary(self) -> str:
        """The number of files and their size."""
        size = sum(state.size for state in self.files.values())
        return f"{pluralize(len(self.files), 'file')}, {size / 2**20:,.1f} MiB"

    @property
    def notes(self) -> list[str]:
        """A sentence for each reason for which files were left out."""
        by_reason: dict[str, list[str]] = {}
        for path, reason in sorted(self.left_out.items()):
            by_reason.setdefault(reason, []).append(path)
        return [
            f"not included: {some_of(paths[:_NAMED_PATHS], len(paths))}: {reason}"
            for reason, paths in by_reason.items()
        ]


NOTHING = Included()


class _InTheWay(Exception):
    """The checkout has a file or a link where a folder is to be."""


def include(
    checkout: Path,
    patterns: Sequence[str],
    origin: Origin,
    plain: Collection[str] = (),
    cancel: threading.Event | None = None,
) -> Included:
    """Copy the ignored files that the patterns match into a fresh checkout.

    What the checkout has already stays as it is. `plain` are values that are not secret.
    Raises EnvironmentBroken if the disk does not take a file, or once `cancel` is set.
    """
    if not patterns or origin.work_tree is None:
        return NOTHING
    visit = _Visit(IncludeRules(patterns), origin.work_tree, plain, checkout, cancel)
    return visit(_ignored(origin, origin.work_tree))


def look(
    patterns: Sequence[str], origin: Origin, plain: Collection[str] = ()
) -> Included:
    """What a checkout would get now; nothing is copied."""
    if not patterns or origin.work_tree is None:
        return NOTHING
    visit = _Visit(IncludeRules(patterns), origin.work_tree, plain)
    return visit(_ignored(origin, origin.work_tree))


def secrets_of(
    patterns: Sequence[str], origin: Origin, plain: Collection[str] = ()
) -> Secrets:
    """The secrets in the files that a checkout would get now."""
    if not IncludeRules(patterns).may_name_secrets:
        return NONE
    return look(patterns, origin, plain).secrets


def _ignored(origin: Origin, work_tree: Path) -> list[str]:
    """The ignored files and folders of the work tree; a folder's path ends with a slash,
    and what is in it is not listed.
    """
    argv = ["ls-files", "-z", "-o", "-i", "--directory", "--exclude-standard"]
    for file in origin.excludes:
        if file.is_file():
            argv.append(f"--exclude-from={file}")
    listed = isolated_git(work_tree).run(argv)
    return [os.fsdecode(path) for path in listed.split(b"\0") if path]


class _Visit:
    """One walk through the ignored files, which copies them into `checkout` if there is
    one.
    """

    def __init__(
        self,
        rules: IncludeRules,
        work_tree: Path,
        plain: Collection[str],
        checkout: Path | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        self._rules, self._plain, self._cancel = rules, plain, cancel
        self._work_tree, self._checkout = work_tree, checkout
        self._copier = FileCopier()
        self._above_checkout = _identities_above(checkout)
        self._files: dict[str, FileState] = {}
        self._folders: set[str] = set()
        self._secrets = NONE
        self._left_out: dict[str, str] = {}

    def __call__(self, ignored: Sequence[str]) -> Included:
        for path in ignored:
            name = path.rstrip("/")
            if name.split("/")[0].casefold() == _OWN_FOLDER:
                continue
            if path.endswith("/"):
                self._ignored_folder(name)
            elif self._rules.includes(name):
                self._single_file(name)
        return Included(
            self._files, frozenset(self._folders), self._secrets, self._left_out
        )

    def _ignored_folder(self, path: str) -> None:
        """Take the folder whole, or the files in it that the patterns match."""
        remaining = [path]
        while remaining:
            folder = remaining.pop()
            if too_long(f"{folder}/x"):
                self._left_out[folder] = TOO_DEEP
            elif self._rules.includes_all_below(folder):
                self._whole_folder(folder)
            else:
                remaining += self._matching_files(folder)

    def _matching_files(self, folder: str) -> list[str]:
        """Take the files of a folder that the patterns match; the folders in it."""
        inside, files = [], []
        with suppress(OSError), _opened(self._work_tree, folder) as source:
            if _identity(os.fstat(source)) in self._above_checkout:
                return []
            with os.scandir(source) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}"
                    if entry.name.casefold() == ".git":
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        inside.append(path)
                    elif self._rules.includes(path):
                        files.append(path)
        for path in files:
            self._single_file(path)
        return inside

    def _single_file(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        is_secret = secret_files.is_secret_path(path)
        try:
            with self._folders_at(parent) as (source, target):
                self._file(source, target, path, name, is_secret)
        except _InTheWay:
            self._left_out[path] = IN_THE_WAY
        except OSError:
            self._left_out[path] = UNREADABLE

    @contextmanager
    def _folders_at(self, path: str) -> Iterator[tuple[int, int | None]]:
        """A folder of the work tree, and that of the checkout as `_target_folder`."""
        with (
            _opened(self._work_tree, path) as source,
            self._target_folder(path) as target,
        ):
            yield source, target

    @contextmanager
    def _target_folder(self, path: str) -> Iterator[int | None]:
        """The folder of the checkout, made if need be; None without a checkout.

        Raises _InTheWay if a file or link of the repository is in its place.
        """
        if self._checkout is None:
            yield None
            return
        folder = os.open(self._checkout, _FOLDER)
        try:
            for name in path.split("/") if path else ():
                outer = folder
                folder, _ = _made_folder(outer, name)
                os.close(outer)
            yield folder
        finally:
            os.close(folder)

    def _whole_folder(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        is_secret = any(map(secret_files.is_secret_folder, path.split("/")))
        try:
            with self._folders_at(parent) as (source, target):
                if self._folder(source, target, path, name, is_secret):
                    self._folders.add(path)
        except _InTheWay:
            self._left_out[path] = IN_THE_WAY
        except OSError:
            self._left_out[path] = UNREADABLE

    def _folder(
        self, source: int, target: int | None, path: str, name: str, is_secret: bool
    ) -> bool:
        """Take a folder with all that is in it; whether it is new in the checkout."""
        if self._cancel is not None and self._cancel.is_set():
            raise EnvironmentBroken("stopped", "run again")
        if too_long(path):
            self._left_out[path] = TOO_DEEP
            return False
        try:
            inner = os.open(name, _FOLDER, dir_fd=source)
        except OSError:
            self._left_out[path] = UNREADABLE
            return False
        inner_target = None
        is_new = True
        try:
            status = os.fstat(inner)
            if _identity(status) in self._above_checkout:
                return False
            if target is not None:
                try:
                    inner_target, is_new = _made_folder(target, name)
                except _InTheWay:
                    self._left_out[path] = IN_THE_WAY
                    return False
            self._entries(inner, inner_target, path, is_secret)
            if inner_target is not None and is_new:
                # last: a folder may be read-only, and each entry changes its time
                _set_status(inner_target, status)
        finally:
            os.close(inner)
            if inner_target is not None:
                os.close(inner_target)
        return is_new

    def _entries(
        self, source: int, target: int | None, path: str, is_secret: bool
    ) -> None:
        with os.scandir(source) as entries:
            inside = list(entries)
        for entry in inside:
            name = entry.name
            inner = f"{path}/{name}"
            if name.casefold() == ".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                secret_folder = is_secret or secret_files.is_secret_folder(name)
                self._folder(source, target, inner, name, secret_folder)
            else:
                secret = is_secret or secret_files.is_secret_name(name)
                self._file(source, target, inner, name, secret)

    def _file(
        self, source: int, target: int | None, path: str, name: str, is_secret: bool
    ) -> None:
        """Take one file or link. Others, such as sockets, are of no use in a checkout."""
        try:
            file = os.open(name, _FILE, dir_fd=source)
        except OSError:
            self._link(source, target, path, name)
            return
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                return
            data = self._searched(file, path, name) if is_secret else None
            if is_secret and data is None:
                return
            if target is None or self._copy(file, target, name, status, data, path):
                self._files[path] = FileState(status.st_size, status.st_mtime_ns)
        finally:
            os.close(file)

    def _searched(self, file: int, path: str, name: str) -> bytes | None:
        """The content of a file of secrets, which are noted; None if it is left out."""
        data = os.pread(file, secret_files.MAX_BYTES + 1, 0)
        if not self._rules.names(path):
            is_key = name.casefold().endswith(".pem")
            if is_key and secret_files.is_public(name, os.pread(file, _MAX_KEYS, 0)):
                return b""
            self._left_out[path] = UNNAMED
            return None
        if len(data) > secret_files.MAX_BYTES:
            self._left_out[path] = TOO_LARGE
            return None
        self._secrets |= secret_files.secrets_in(path, data, self._plain)
        return data

    def _copy(
        self,
        file: int,
        target: int,
        name: str,
        status: os.stat_result,
        data: bytes | None,
        path: str,
    ) -> bool:
        """Whether the file is the checkout's now; one that is there already stays."""
        try:
            # What was searched for secrets is what the checkout gets.
            self._copier.copy(file, target, name, status, data or None)
        except FileExistsError:
            return False
        except OSError as error:
            raise _not_copied(path, error) from None
        return True

    def _link(self, source: int, target: int | None, path: str, name: str) -> None:
        """Make the same link, if the file is one that stays inside of the repository."""
        try:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if not stat.S_ISLNK(status.st_mode):
                raise PermissionError
            leads_to = os.readlink(name, dir_fd=source)
        except OSError:
            self._left_out[path] = UNREADABLE
            return
        if leaves_tree(path, leads_to):
            self._left_out[path] = LINK_OUT
            return
        if target is not None:
            try:
                os.symlink(leads_to, name, dir_fd=target)
            except FileExistsError:
                return
            except OSError as error:
                raise _not_copied(path, error) from None
            times = (status.st_atime_ns, status.st_mtime_ns)
            os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
        self._files[path] = FileState(len(leads_to), status.st_mtime_ns)


def _made_folder(outer: int, name: str) -> tuple[int, bool]:
    """A folder of the checkout, opened, and whether it is new.

    Raises _InTheWay if something else has its name.
    """
    is_new = True
    try:
        os.mkdir(name, dir_fd=outer)
    except FileExistsError:
        is_new = False
    except OSError as error:
        raise _not_copied(name, error) from None
    try:
        return os.open(name, _FOLDER, dir_fd=outer), is_new
    except OSError:
        raise _InTheWay from None


def _not_copied(path: str, error: OSError) -> EnvironmentBroken:
    message = f"cannot copy {path} into the checkout: {error.strerror}"
    return EnvironmentBroken(message, "make room on the disk")


@contextmanager
def _opened(root: Path, path: str) -> Iterator[int]:
    """A folder below `root`; no part of the path may be a link."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in path.split("/") if path else ():
            outer = folder
            folder = os.open(name, _FOLDER, dir_fd=outer)
            os.close(outer)
        yield folder
    finally:
        os.close(folder)


def _set_status(folder: int, status: os.stat_result) -> None:
    os.fchmod(folder, status.st_mode & 0o777)
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _identities_above(checkout: Path | None) -> frozenset[tuple[int, int]]:
    """The folders that the checkout is in: a copy of one would have the checkout in it."""
    if checkout is None:
        return frozenset()
    return frozenset(_identity(folder.stat()) for folder in checkout.resolve().parents)
