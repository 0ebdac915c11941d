"""Prints the Pythons that the tests run under, one a line: version, tab, path. The
first one gets the whole suite.

A candidate counts by the version that it prints itself, so a pyenv shim that cannot run
is no Python. Of all released CPythons that pyproject.toml allows, the oldest, the
system's and the newest are chosen: what breaks between them breaks in one of them. Runs
on Python 3.8 and later.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
NEWEST_MINOR = 19
QUESTION = """
import importlib.util, platform, sys
if platform.python_implementation() == "CPython" and sys.version_info.releaselevel == "final":
    print(platform.python_version(), "-" if importlib.util.find_spec("ensurepip") is None else "ensurepip")
    print(getattr(sys, "_base_executable", sys.executable))
"""


class Interpreter(NamedTuple):
    version: tuple[int, ...]
    path: str

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


def candidates(system: str, oldest_minor: int) -> list[str]:
    """Paths that may be a Python: the system's first, then those on PATH, then pyenv's."""
    names = [
        "python3",
        *(f"python3.{minor}" for minor in range(oldest_minor, NEWEST_MINOR + 1)),
    ]
    folders = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted(pyenv.glob("versions/*/bin"))
    paths = [Path(system), *(folder / name for folder in folders for name in names)]
    by_file: dict[Path, str] = {}
    for path in paths:
        if os.access(path, os.X_OK):
            by_file.setdefault(path.resolve(), str(path))
    return list(by_file.values())


def ask(path: str) -> Interpreter | None:
    """The interpreter at this path; None if it does not run, is no released CPython or
    cannot make environments.
    """
    try:
        answer = subprocess.run(
            [path, "-c", QUESTION],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+) (\S+)\n(.+)\n", answer.stdout)
    if match is None:
        return None
    if match[4] == "-":
        print(
            f"{path} has no ensurepip (Debian: python3-venv) and is left out",
            file=sys.stderr,
        )
        return None
    return Interpreter((int(match[1]), int(match[2]), int(match[3])), match[5])


def choose(
    interpreters: Iterable[Interpreter], system: Interpreter | None
) -> list[Interpreter]:
    """The oldest, the system's and the newest; of two with one version, the earlier one."""
    by_version: dict[tuple[int, ...], Interpreter] = {}
    for interpreter in interpreters:
        by_version.setdefault(interpreter.version, interpreter)
    if not by_version:
        return []
    chosen = {min(by_version), max(by_version)}
    if system is not None:
        chosen.add(system.version)
    return [by_version[version] for version in sorted(chosen)]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--system", default="/usr/bin/python3")
    system_path = arguments.parse_args().system
    required = re.search(
        r'requires-python = ">=3\.(\d+)"',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
    )
    assert required, "pyproject.toml has no requires-python"
    oldest = (3, int(required[1]))
    answers = {path: ask(path) for path in candidates(system_path, oldest[1])}
    suitable = {
        path: answer
        for path, answer in answers.items()
        if answer and answer.version >= oldest
    }
    chosen = choose(suitable.values(), suitable.get(system_path))
    if not chosen:
        print(
            f"no CPython {oldest[0]}.{oldest[1]} or later on this machine",
            file=sys.stderr,
        )
        return 1
    for interpreter in chosen:
        print(interpreter, interpreter.path, sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
