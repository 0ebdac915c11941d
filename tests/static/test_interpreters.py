"""Which Pythons `.ci/run` chooses, on machines made of stubs that answer as an
interpreter does.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / ".ci" / "interpreters.py"


class Machine:
    """Folders with stubs: the system's Python, those on PATH, those of pyenv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.system = folder / "system" / "python3"

    def python(self, path: str, version: str, ensurepip: str = "ensurepip") -> None:
        """A stub that gives this version, whatever its name."""
        self.program(path, f'echo "{version} {ensurepip}"; echo "$0"')

    def program(self, path: str, script: str) -> None:
        stub = self.folder / path
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(f"#!/bin/sh\n{script}\n")
        stub.chmod(0o755)

    def chosen(self) -> list[str]:
        """Lines `VERSION PATH`, paths relative to the machine's folder."""
        done = self.run()
        assert done.returncode == 0, done.stderr
        return [
            line.replace(f"\t{self.folder}/", " ") for line in done.stdout.splitlines()
        ]

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(PROGRAM), "--system", str(self.system)],
            env={"PATH": str(self.folder / "path"), "HOME": str(self.folder / "home")},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_system_and_the_newest_are_chosen_oldest_first(machine: Machine) -> None:
    machine.python("system/python3", "3.11.2")
    machine.python("home/.pyenv/versions/3.13.0/bin/python3.13", "3.13.0")
    assert machine.chosen() == [
        "3.11.2 system/python3",
        "3.13.0 home/.pyenv/versions/3.13.0/bin/python3.13",
    ]


def test_at_most_three_are_chosen_and_the_system_is_one(machine: Machine) -> None:
    machine.python("system/python3", "3.12.1")
    for minor in (11, 13, 14):
        machine.python(f"path/python3.{minor}", f"3.{minor}.0")
    assert machine.chosen() == [
        "3.11.0 path/python3.11",
        "3.12.1 system/python3",
        "3.14.0 path/python3.14",
    ]


def test_none_in_between_is_chosen(machine: Machine) -> None:
    machine.python("system/python3", "3.11.2")
    machine.python("path/python3.11", "3.11.7")
    machine.python("path/python3.12", "3.12.1")
    machine.python("path/python3.13", "3.13.0")
    assert machine.chosen() == [
        "3.11.2 system/python3",
        "3.13.0 path/python3.13",
    ]


def test_versions_are_compared_as_numbers(machine: Machine) -> None:
    machine.python("system/python3", "3.11.9")
    machine.python("path/python3.11", "3.11.10")
    assert machine.chosen() == ["3.11.9 system/python3", "3.11.10 path/python3.11"]


def test_the_version_that_an_interpreter_gives_decides_and_not_its_name(
    machine: Machine,
) -> None:
    machine.python("system/python3", "3.10.12")
    machine.python("path/python3.15", "3.12.4")
    assert machine.chosen() == ["3.12.4 path/python3.15"]


@pytest.mark.parametrize("script", ["exit 127", "echo 3.13.0 ensurepip", "true"])
def test_a_shim_that_cannot_run_is_no_python(machine: Machine, script: str) -> None:
    machine.python("system/python3", "3.11.2")
    machine.program("path/python3.13", script)
    assert machine.chosen() == ["3.11.2 system/python3"]


def test_one_version_is_chosen_once_and_then_the_system_is_preferred(
    machine: Machine,
) -> None:
    machine.python("system/python3", "3.11.2")
    machine.python("path/python3.11", "3.11.2")
    assert machine.chosen() == ["3.11.2 system/python3"]


def test_a_python_that_cannot_make_environments_is_left_out_with_the_reason(
    machine: Machine,
) -> None:
    machine.python("system/python3", "3.11.2", ensurepip="-")
    machine.python("path/python3.12", "3.12.1")
    assert machine.chosen() == ["3.12.1 path/python3.12"]
    assert (
        f"{machine.system} has no ensurepip (Debian: python3-venv)"
        in machine.run().stderr
    )


def test_a_machine_without_a_suitable_python_is_refused(machine: Machine) -> None:
    machine.python("path/python3", "3.10.12")
    done = machine.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no CPython 3.11 or later on this machine\n"
