"""The files of a repository as discovery reads them, and what it finds in them."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from configparser import ConfigParser, Error
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from runner.core.regular_file import open_regular

# Bytes. A file that tells how to build a project is a small part of this.
MAX_FILE = 2**20


class Files(Protocol):
    """The files that are or could be in a commit. Paths use `/`."""

    def __contains__(self, path: object) -> bool: ...

    def below(self, folder: str) -> list[str]:
        """The sorted paths below the folder; "" is the root."""
        ...

    def read(self, path: str) -> str:
        """The text of the file; "" if there is none that may be read."""
        ...


@dataclass(frozen=True)
class DiskFiles:
    """Files below `root`; `paths` are those that git does not ignore.

    Reads nothing through a symbolic link: it may lead out of the repository.
    """

    root: Path
    paths: frozenset[str]
    _texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, paths: Iterable[str]) -> DiskFiles:
        """The files at these paths below the folder."""
        return cls(root, frozenset(paths))

    def __contains__(self, path: object) -> bool:
        return path in self.paths

    def below(self, folder: str) -> list[str]:
        start = f"{folder}/" if folder else ""
        return sorted(path for path in self.paths if path.startswith(start))

    def read(self, path: str) -> str:
        if path not in self.paths:
            return ""
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def _read(self, path: str) -> str:
        file = self.root / path
        if Path(os.path.realpath(file)) != Path(os.path.realpath(self.root)) / path:
            return ""
        stream = open_regular(file)
        if stream is None:
            return ""
        with stream:
            data = stream.read(MAX_FILE + 1)
        return "" if len(data) > MAX_FILE else data.decode(errors="replace")


@dataclass(frozen=True)
class Found:
    """A shell command that the repository names.

    `source` is the file that says so, `what` what it says there. If not `is_sure`, the
    command is a guess that a person has to confirm.
    """

    command: str
    source: str
    what: str = ""
    is_sure: bool = True

    @property
    def reason(self) -> str:
        """Where the command comes from, in a few words."""
        return f"{self.source}: {self.what}" if self.what else self.source


@dataclass(frozen=True)
class Toolchain:
    """How one kind of project is set up and tested; None for what is not known."""

    name: str
    setup: Found | None = None
    test: Found | None = None


def read_toml(files: Files, path: str) -> dict[str, Any]:
    """The TOML file; {} if there is none, or it is not TOML."""
    try:
        return tomllib.loads(files.read(path))
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def read_json(files: Files, path: str) -> dict[str, Any]:
    """The JSON object in the file; {} if there is none, or it is no object."""
    try:
        value = json.loads(files.read(path))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_ini(text: str) -> ConfigParser:
    """The sections of an INI file; none if it is not one."""
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except Error:
        return ConfigParser(interpolation=None)
    return parser


def table(value: object, *keys: str) -> dict[str, Any]:
    """The table at these keys of a nested table; {} if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def words(value: object) -> list[str]:
    """The texts of a list; [] if it is no list."""
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, str)]
