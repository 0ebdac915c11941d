"""Python projects: which tool installs them, and how their tests are run.

A project without a lock file gets a virtual environment in `.venv`, with itself in it
and what it names for its tests.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from runner.discovery.files import (
    Files,
    Found,
    Toolchain,
    read_ini,
    read_toml,
    table,
    words,
)

_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "noxfile.py")
# lock file → (what installs it, what runs a program of its environment)
_LOCK_FILES = {
    "uv.lock": ("uv sync --frozen", "uv run --frozen"),
    "poetry.lock": ("poetry install", "poetry run"),
    "pdm.lock": ("pdm install --frozen-lockfile", "pdm run"),
    "Pipfile.lock": ("pipenv sync --dev", "pipenv run"),
}
# names of extras and groups for tests, the closest first
_TEST_NAMES = ("test", "tests", "testing", "dev", "develop")
_REQUIREMENTS = (
    *("requirements-test.txt", "requirements-tests.txt", "test-requirements.txt"),
    *("requirements_test.txt", "requirements/test.txt", "requirements/tests.txt"),
    *("tests/requirements.txt", "test/requirements.txt", "requirements-dev.txt"),
    *("dev-requirements.txt", "requirements_dev.txt", "requirements/dev.txt"),
    "requirements/development.txt",
)
# what runs the tests → the package that has it, if Python does not
_RUNNER_PACKAGES = {
    "stestr": "stestr",
    "trial": "twisted",
    "nose2": "nose2",
    "zope": "zope.testrunner",
    "unittest": "",
}
# Without this file git would see thousands of new files where .venv is not ignored.
_NEW_VENV = "python3 -m venv .venv && echo '*' > .venv/.gitignore"
# Python brings an old pip that knows no groups, and before 3.12 a setuptools as old, which
# tests that build something are not made for.
_NEWER_VENV = _NEW_VENV.replace("-m venv", "-m venv --upgrade-deps")
_POSARGS = re.compile(r"\{posargs:?([^{}]*)\}|\{args:?([^{}]*)\}")
_TEST_RUNNERS = ("pytest", "py.test", "unittest", "trial", "stestr", "nose2", "zope")
# tox's `{env:NAME:default}`, and what a variable may be without being read by the shell
_TOX_DEFAULT = re.compile(r"\{env:\w+:([^{}]*)\}")
_TOX_VARIABLE = re.compile(r"([A-Za-z_]\w*)\s*=\s*((?:\$PWD)?[\w./:,+@%=-]*)")
# A test in a folder for tests of a package, such as `src/package/part/tests/test_a.py`.
_TEST_OF_PACKAGE = re.compile(r"((?:src/)?[^/]+)/(?:.*/)?tests?/(?:.*/)?test_\w+\.py")
# What only pytest runs: unittest knows no functions.
_OF_PYTEST = re.compile(r"^(?:import pytest|from pytest|def test_)", re.MULTILINE)
_PLAIN_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.\-\[\],<>=!~ ]*")


def python_toolchain(files: Files) -> Toolchain | None:
    """How the project at the root is set up and tested; None if there is none."""
    source = next((path for path in _PROJECT_FILES if path in files), None)
    if source is None:
        return None
    project = _Project(files, read_toml(files, "pyproject.toml"))
    test = project.test()
    for path, (command, prefix) in _LOCK_FILES.items():
        if path in files:
            setup = Found(command, path)
            return Toolchain("Python", setup, project.run_by(prefix, test))
    setup = Found(project.setup_command(), *project.setup_source(source))
    return Toolchain("Python", setup, project.run_by(".venv/bin/python -m", test))


def _run_by(prefix: str, test: Found) -> Found:
    """The test run in the project's environment."""
    command = test.command
    if prefix.endswith("-m"):
        # A module is found without activating the environment.
        command = re.sub(r"^python3? -m ", "", command)
        command = re.sub(r"^py\.test\b", "pytest", command)
        command = re.sub(r"^coverage run (?:-\S+ )*-m ", "", command)
        if command.startswith("python"):
            prefix = prefix.removesuffix(" -m")
            command = re.sub(r"^python3?\s*", "", command)
        elif not _is_test(command):
            # It may be no module, and is found on PATH.
            return replace(test, command=command)
    return Found(f"{prefix} {command}", test.source, test.what, test.is_sure)


@dataclass(frozen=True)
class _Project:
    files: Files
    pyproject: dict[str, Any]

    # -- tests --

    def run_by(self, prefix: str, test: Found | None) -> Found | None:
        """The test in the project's environment, with the variables of tox if tox's."""
        if test is None:
            return None
        found = _run_by(prefix, test)
        if "testenv" not in test.what:
            return found
        variables = self._tox_variables()
        if prefix.startswith(".venv/"):
            # tox has the programs of its environment on PATH.
            variables.insert(0, "PATH=$PWD/.venv/bin:$PATH")
        return replace(found, command=" ".join([*variables, found.command]))

    def test(self) -> Found | None:
        """The test command without its environment."""
        return (
            self._of_tox()
            or self._of_hatch()
            or self._of_pytest()
            or self._of_stestr()
            or self._of_nox()
            or self._of_folder()
            or self._of_packages()
            or self._of_unknown_tox()
        )

    def _of_pytest(self) -> Found | None:
        if table(self.pyproject, "tool", "pytest"):
            return Found("pytest", "pyproject.toml", "tool.pytest")
        for path, section in (
            ("pytest.ini", "pytest"),
            (".pytest.ini", "pytest"),
            ("tox.ini", "pytest"),
            ("setup.cfg", "tool:pytest"),
        ):
            if read_ini(self.files.read(path)).has_section(section):
                return Found("pytest", path, f"[{section}]")
        return None

    def _of_stestr(self) -> Found | None:
        if ".stestr.conf" in self.files:
            return Found("stestr run", ".stestr.conf")
        if table(self.pyproject, "tool", "stestr"):
            return Found("stestr run", "pyproject.toml", "tool.stestr")
        return None

    def _of_tox(self) -> Found | None:
        for path, text in self._tox_files():
            section = _section(text, "testenv")
            for line in section.get("commands", "").splitlines():
                command = _without_posargs(line)
                # `py313: pytest -n auto` is for some environments only.
                if _is_test(command) and not command.split()[0].endswith(":"):
                    return Found(command, path, "[testenv] commands")
        run = table(self.pyproject, "tool", "tox", "env_run_base")
        for argv in run.get("commands", []):
            command = shlex.join(words(argv))
            if _is_test(command):
                return Found(command, "pyproject.toml", "tool.tox")
        return None

    def _of_unknown_tox(self) -> Found | None:
        """tox's first command, a guess: nobody knows whether it runs tests."""
        for path, text in self._tox_files():
            section = _section(text, "testenv")
            for line in section.get("commands", "").splitlines():
                command = _without_posargs(line)
                is_for_all = bool(command) and not command.split()[0].endswith(":")
                if is_for_all and _is_plain(command):
                    what = "[testenv] commands"
                    return Found(command, path, what, is_sure=False)
        return None

    def _tox_files(self) -> list[tuple[str, str]]:
        legacy = table(self.pyproject, "tool", "tox").get("legacy_tox_ini", "")
        return [
            ("tox.ini", self.files.read("tox.ini")),
            ("pyproject.toml", legacy if isinstance(legacy, str) else ""),
            ("setup.cfg", self.files.read("setup.cfg").replace("[tox:", "[")),
        ]

    def _tox_variables(self) -> list[str]:
        """What tox sets for its tests, as assignments; only plain values."""
        found: dict[str, str] = {}
        for _, text in self._tox_files():
            section = _section(text, "testenv")
            lines = section.get("setenv", "") + "\n" + section.get("set_env", "")
            for line in _TOX_DEFAULT.sub(r"\1", lines).splitlines():
                in_checkout = re.sub(r"\{(?:toxinidir|tox_root)\}", "$PWD", line)
                if match := _TOX_VARIABLE.fullmatch(in_checkout.strip()):
                    found.setdefault(match[1], match[2])
        return [f"{name}={value}" for name, value in found.items()]

    def _of_hatch(self) -> Found | None:
        for name, environment in table(self.pyproject, "tool", "hatch", "envs").items():
            script = table(environment, "scripts").get("test", "")
            lines = [script] if isinstance(script, str) else words(script)
            for line in lines:
                command = _without_posargs(line)
                if _is_test(command):
                    return Found(command, "pyproject.toml", f"hatch's {name}.test")
        return None

    def _of_nox(self) -> Found | None:
        if re.search(
            r"session\.run\(\s*[\"']pytest[\"']", self.files.read("noxfile.py")
        ):
            return Found("pytest", "noxfile.py", "session.run")
        return None

    def _of_folder(self) -> Found | None:
        for folder in ("tests", "test"):
            names = self.files.below(folder)
            tests = [path for path in names if re.search(r"(^|/)test_\w+\.py$", path)]
            if not tests:
                continue
            if self._are_for_pytest(tests):
                return Found(f"pytest {folder}", folder, "holds tests for pytest")
            command = f"unittest discover -s {folder} -t ."
            return Found(command, folder, "holds tests", is_sure=False)
        return None

    def _of_packages(self) -> Found | None:
        tests: dict[str, list[str]] = {}
        for path in self.files.below(""):
            match = _TEST_OF_PACKAGE.fullmatch(path)
            if match and f"{match[1]}/__init__.py" in self.files:
                tests.setdefault(match[1], []).append(path)
        if not tests:
            return None
        packages = [shlex.quote(package) for package in tests]
        if self._are_for_pytest(chain.from_iterable(tests.values())):
            what = "holds tests for pytest"
            return Found(f"pytest {' '.join(packages)}", packages[0], what)
        # It takes one folder, and the one that its packages are imported from.
        folder = "src" if packages[0].startswith("src/") else "."
        command = f"unittest discover -s {packages[0]} -t {folder}"
        return Found(command, packages[0], "holds tests", is_sure=False)

    def _are_for_pytest(self, paths: Iterable[str]) -> bool:
        return any(_OF_PYTEST.search(self.files.read(path)) for path in paths)

    # -- set-up --

    def setup_command(self) -> str:
        """Make an environment, and install the project with what its tests need."""
        argv = [*self._own_package(), *self._requirements()]
        argv += [package for package in self._runner() if package not in argv]
        if not argv:
            return _NEW_VENV.replace("-m venv", "-m venv --without-pip")
        installs = f".venv/bin/pip install -q {' '.join(argv)}"
        venv = _NEWER_VENV if self._groups() else _NEW_VENV
        return f"{venv} && {installs}"

    def _runner(self) -> list[str]:
        """The package that runs the tests; [] if it comes with Python."""
        test = self.test()
        command = test.command.split()[:4] if test else []
        for name, package in _RUNNER_PACKAGES.items():
            if name in command:
                return [package] if package else []
        return ["pytest"]

    def setup_source(self, default: str) -> tuple[str, str]:
        """The file that names what the tests need, and what it says."""
        if extras := self._extras():
            return "pyproject.toml", f"extra {extras[0]}"
        if groups := self._groups():
            return "pyproject.toml", f"group {groups[0]}"
        if paths := self._requirement_files():
            return paths[0], ""
        return default, ""

    def _own_package(self) -> list[str]:
        if "setup.py" not in self.files and not self._is_package():
            return []
        extras = self._extras()
        return ["-e", shlex.quote(f".[{','.join(extras)}]") if extras else "."]

    def _is_package(self) -> bool:
        return bool({"project", "build-system"} & set(self.pyproject)) or (
            read_ini(self.files.read("setup.cfg")).has_section("metadata")
        )

    def _extras(self) -> list[str]:
        names = set(table(self.pyproject, "project", "optional-dependencies"))
        setup_cfg = read_ini(self.files.read("setup.cfg"))
        if setup_cfg.has_section("options.extras_require"):
            names |= set(setup_cfg.options("options.extras_require"))
        return [name for name in _TEST_NAMES if name in names][:1]

    def _groups(self) -> list[str]:
        names = table(self.pyproject, "dependency-groups")
        return [name for name in _TEST_NAMES if name in names][:1]

    def _requirement_files(self) -> list[str]:
        return [path for path in _REQUIREMENTS if path in self.files][:1]

    def _requirements(self) -> list[str]:
        argv: list[str] = []
        for group in self._groups():
            argv += ["--group", group]
        files = [f"-r {path}" for path in self._requirement_files()]
        return [*argv, *dict.fromkeys([*files, *self._tox_requirements()])]

    def _tox_requirements(self) -> list[str]:
        """What tox installs for its tests: plain names and requirement files."""
        arguments: list[str] = []
        for _, text in self._tox_files():
            named = _section(text, "testenv").get("deps", "")
            for line in _TOX_DEFAULT.sub(r"\1", named).splitlines():
                name = line.split("#")[0].strip()
                path = name.removeprefix("-r").strip().removeprefix("{toxinidir}/")
                if name.startswith("-r") and path in self.files:
                    arguments.append(f"-r {shlex.quote(path)}")
                elif _PLAIN_REQUIREMENT.fullmatch(name):
                    arguments.append(shlex.quote(name))
        return [*dict.fromkeys(arguments)]


def _section(text: str, name: str) -> dict[str, str]:
    parser = read_ini(text)
    return dict(parser[name]) if parser.has_section(name) else {}


def _without_posargs(line: str) -> str:
    """The command with what it does without arguments of a person."""
    return " ".join(_POSARGS.sub(r"\1\2", line).split())


def _is_plain(command: str) -> bool:
    """Whether the command is one line without anything that a shell or tox replaces."""
    return not any(sign in command for sign in "{}\\&|;<>$`")


def _is_test(command: str) -> bool:
    """Whether the command is one line of a test runner, complete as it is."""
    if not command or not _is_plain(command):
        return False
    return any(runner in command.split()[:4] for runner in _TEST_RUNNERS)
