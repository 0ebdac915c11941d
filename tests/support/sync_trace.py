"""What of a repository would survive a power failure, by the system calls of a run.

strace writes them down, those of git included. A write to a file is durable after an
fsync of the file, a new name after one of its folder.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

# Those that change files or names, make them durable, or change the working folder.
CALLS = (
    *("open", "openat", "creat", "mkdir", "mkdirat", "write", "pwrite64", "writev"),
    *("copy_file_range", "sendfile", "fsync", "fdatasync", "rename", "renameat"),
    *("renameat2", "link", "linkat", "unlink", "unlinkat", "rmdir", "chdir"),
)
_LINE = re.compile(r"(\d+) +(.*)")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?:<(.*?)>)?")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FOLDER = re.compile(r"AT_FDCWD<(.*?)>|\d+<(.*?)>")
_DESCRIPTOR = re.compile(r"\d+<(.*?)>")


@dataclass(frozen=True)
class Call:
    """One system call; `paths` are absolute, as far as they are known."""

    name: str
    paths: tuple[str, ...]
    text: str
    made: bool = False  # by open: the file may be new
    thread: str = ""  # its number


def trace(argv: Sequence[str], folder: Path, log: Path, **env: str) -> str:
    """Run the command under strace, with its system calls in `log`; its output."""
    return trace_calls(CALLS, argv, folder, log, {**os.environ, **env})


def trace_calls(
    names: Sequence[str],
    argv: Sequence[str],
    folder: Path,
    log: Path,
    environ: Mapping[str, str],
) -> str:
    """`trace` of the system calls with these names, in this environment."""
    strace = [
        *("strace", "-f", "-y", "-qq", "-s", "200", "--seccomp-bpf", "-o", str(log)),
        *("-e", f"trace={','.join(names)}"),
    ]
    ran = subprocess.run(
        [*strace, *argv],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout + ran.stderr


def calls(log: Path) -> Iterator[Call]:
    """The calls that succeeded, in the order of their ends."""
    begun: dict[str, str] = {}
    folders: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        thread, text = match[1], match[2]
        if text.endswith(_UNFINISHED):
            begun[thread] = text.removesuffix(_UNFINISHED)
            continue
        if resumed := _RESUMED.fullmatch(text):
            text = begun.pop(thread, "") + resumed[2]
        call = _parsed(text, thread, folders)
        if call is not None:
            yield replace(call, thread=thread)


def _parsed(text: str, thread: str, folders: dict[str, str]) -> Call | None:
    match = _CALL.match(text)
    if match is None or int(match[3]) < 0:
        return None
    name, arguments, opened = match[1], match[2], match[4]
    if working := re.search(r"AT_FDCWD<(.*?)>", arguments):
        folders[thread] = working[1]
    if name in {"open", "openat", "creat"}:
        made = name == "creat" or "O_CREAT" in arguments
        return Call(name, (opened or "",), arguments, made)
    if name in {"write", "pwrite64", "writev", "fsync", "fdatasync"}:
        first = _DESCRIPTOR.match(arguments)
        return Call(name, (first[1] if first else "",), arguments)
    if name in {"copy_file_range", "sendfile"}:
        targets = _DESCRIPTOR.findall(arguments)
        target = targets[-1] if name == "copy_file_range" else targets[0]
        return Call(name, (target,), arguments)
    base = folders.get(thread, "")
    if name == "chdir":
        folders[thread] = _absolute(_texts(arguments)[0], base)
        return None
    if name == "mount":
        has_source = not arguments.startswith("NULL")
        return Call(name, (_absolute(_texts(arguments)[has_source], base),), arguments)
    at = [first or second for first, second in _FOLDER.findall(arguments)]
    paths = []
    for number, path in enumerate(_texts(arguments)):
        paths.append(_absolute(path, at[number] if number < len(at) else base))
    return Call(name, tuple(paths), arguments)


def _texts(arguments: str) -> list[str]:
    return _TEXT.findall(arguments)


def _absolute(path: str, folder: str) -> str:
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


@dataclass
class Disk:
    """The files and names below `root` that are not on the disk yet.

    What is there at the start is on the disk.
    """

    root: str
    known: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, root: Path) -> Disk:
        known = {str(path) for path in root.rglob("*")}
        return cls(str(root), {str(root), *known})

    def apply(self, call: Call) -> None:
        first = call.paths[0].removesuffix(" (deleted)") if call.paths else ""
        match call.name:
            case "open" | "openat" | "creat":
                if call.made and first not in self.known:
                    self._add(first)
            case "mkdir" | "mkdirat":
                self._add(first)
            case "write" | "pwrite64" | "writev" | "copy_file_range" | "sendfile":
                if self._is_inside(first):
                    self.written.add(first)
            case "fsync" | "fdatasync":
                self.written.discard(first)
                self.named = {path for path in self.named if _folder_of(path) != first}
            case "rename" | "renameat" | "renameat2" | "link" | "linkat":
                self._name(*call.paths[:2])
                if call.name.startswith("rename"):
                    self._remove(first)
            case "unlink" | "unlinkat" | "rmdir":
                self._remove(first)

    def _is_inside(self, path: str) -> bool:
        return path.startswith(f"{self.root}/")

    def _add(self, path: str) -> None:
        if self._is_inside(path):
            self.known.add(path)
            self.named.add(path)

    def _name(self, old: str, new: str) -> None:
        """Give what `old` names the name `new`, with all that is below it."""
        for paths in (self.known, self.written, self.named):
            for path in [each for each in paths if each.startswith(f"{old}/")]:
                paths.add(new + path.removeprefix(old))
        if old in self.written and self._is_inside(new):
            self.written.add(new)
        elif old not in self.written:
            self.written.discard(new)
        self._add(new)

    def _remove(self, path: str) -> None:
        for paths in (self.known, self.written, self.named):
            gone = [each for each in paths if each.startswith(f"{path}/")]
            paths.difference_update([path, *gone])

    def lacks(self, path: str) -> list[str]:
        """What of the file would be lost: its content, its name or a folder's name."""
        lost = []
        if path in self.written:
            lost.append(f"the content of {path}")
        while self._is_inside(path):
            if path in self.named:
                lost.append(f"the name {path}")
            path = _folder_of(path)
        return lost


Check = Callable[[Disk, Call], list[str]]


def broken(log: Path, disk: Disk, checks: Mapping[str, Check]) -> dict[str, list[str]]:
    """Ask each check before every call is applied; what they said, by their names."""
    said: dict[str, list[str]] = {name: [] for name in checks}
    for call in calls(log):
        for name, check in checks.items():
            said[name] += check(disk, call)
        disk.apply(call)
    return said
