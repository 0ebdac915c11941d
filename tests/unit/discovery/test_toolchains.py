"""The set-up and the test command that a repository names, by kind of project."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from runner.discovery.proposal import propose
from runner.discovery.toolchains import toolchains


@dataclass(frozen=True)
class MemoryFiles:
    """Files that are held in memory: path → text."""

    texts: dict[str, str]

    def __contains__(self, path: object) -> bool:
        return path in self.texts

    def below(self, folder: str) -> list[str]:
        start = f"{folder}/" if folder else ""
        return sorted(path for path in self.texts if path.startswith(start))

    def read(self, path: str) -> str:
        return self.texts.get(path, "")


VENV = (
    "python3 -m venv .venv && echo '*' > .venv/.gitignore && .venv/bin/pip install -q"
)
NEWER_VENV = VENV.replace("-m venv", "-m venv --upgrade-deps")
BLIB = "mkdir -p blib && echo '*' > blib/.gitignore"
ON_PATH = "PATH=$PWD/.venv/bin:$PATH"
BUILD = "mkdir -p _build && echo '*' > _build/.gitignore"
TOUCH = (
    "find . -name aclocal.m4 -exec touch {} +"
    " && find . '(' -name configure -o -name '*.in' ')' -exec touch {} +"
)
PYTEST = "[tool.pytest.ini_options]\n"
PROJECT = "[project]\nname = 'x'\n"


def _package(**fields: object) -> str:
    return json.dumps({"name": "x", **fields})


def _found(texts: dict[str, str]) -> tuple[str | None, str | None, bool]:
    """The first toolchain's set-up and test, and whether the test is sure."""
    chains = toolchains(MemoryFiles(texts))
    if not chains:
        return None, None, False
    setup, test = chains[0].setup, chains[0].test
    return (
        setup.command if setup else None,
        test.command if test else None,
        bool(test and test.is_sure),
    )


NODE = _package(scripts={"test": "vitest run"}, devDependencies={"vitest": "3"})


@pytest.mark.parametrize(
    ("texts", "setup", "test"),
    [
        ({"package.json": NODE, "package-lock.json": ""}, "npm ci", "npm test"),
        (
            {"package.json": NODE, "pnpm-lock.yaml": ""},
            "pnpm install --frozen-lockfile",
            "pnpm test",
        ),
        (
            {"package.json": NODE, "yarn.lock": "", ".yarnrc.yml": ""},
            "yarn install --immutable",
            "yarn test",
        ),
        (
            {"package.json": NODE, "bun.lock": ""},
            "bun install --frozen-lockfile",
            "bun run test",
        ),
        ({"package.json": NODE}, "npm install --no-package-lock", "npm test"),
        (
            {"package.json": _package(scripts={"test": "node --test"})},
            None,
            "npm test",
        ),
        ({"Cargo.toml": "", "Cargo.lock": ""}, "cargo fetch --locked", "cargo test"),
        ({"go.mod": "", "go.sum": ""}, "go mod download", "go test ./..."),
        ({"go.mod": ""}, None, "go test ./..."),
        ({"go.mod": "module x\n\ngo 1.15\n"}, None, "go test ./..."),
        ({"go.mod": "module x\n\ngo 1.9\n"}, None, "go test -vet=off ./..."),
        (
            {"Gemfile": "", "Rakefile": "Rake::TestTask.new"},
            "bundle check || bundle install",
            "bundle exec rake test",
        ),
        ({"Rakefile": "", ".rspec": ""}, None, "rspec"),
        (
            {"composer.json": _package(scripts={"test": "phpunit"})},
            "composer install",
            "composer test",
        ),
        ({"pom.xml": "", "mvnw": ""}, None, "./mvnw -q test"),
        ({"build.gradle.kts": ""}, None, "gradle test"),
        ({"mix.exs": "", "mix.lock": ""}, "mix deps.get", "mix test"),
        ({"dune-project": ""}, None, "dune test"),
        (
            {"Makefile.PL": "", "Build.PL": "", "t/basic.t": ""},
            f"{BLIB} && perl Makefile.PL && make",
            "make test",
        ),
        (
            {"Build.PL": "", "t/unit/basic.t": ""},
            f"{BLIB} && perl Build.PL && ./Build",
            "./Build test",
        ),
        (
            {"CMakeLists.txt": "include(CTest)"},
            f"{BUILD} && cmake -S . -B _build && cmake --build _build",
            "cmake --build _build && ctest --test-dir _build --output-on-failure",
        ),
        (
            {"meson.build": "subdir('test')", "test/meson.build": "test('a', a)"},
            f"{BUILD} && meson setup _build && meson compile -C _build",
            "meson test -C _build",
        ),
        (
            {"configure.ac": "", "configure": "", "Makefile.am": "TESTS = a"},
            f"{TOUCH} && {BUILD} && cd _build && ../configure && make",
            "make -C _build check",
        ),
        (
            {"configure.ac": "", "Makefile.am": "SUBDIRS = src tests"},
            f"autoreconf -fi && {BUILD} && cd _build && ../configure && make",
            "make -C _build check",
        ),
        ({"Makefile": "all:\n\ntest: all\n\t./t\n"}, None, "make test"),
        ({"Makefile": "check:\n\t./t\n"}, None, "make check"),
        ({"justfile": "test *args:\n  pytest\n"}, None, "just test"),
        ({"Taskfile.yml": "tasks:\n  test:\n    cmd: x\n"}, None, "task test"),
    ],
)
def test_a_project_is_set_up_and_tested_as_its_own_files_say(
    texts: dict[str, str], setup: str | None, test: str
) -> None:
    assert _found(texts) == (setup, test, True)


@pytest.mark.parametrize(
    ("texts", "setup", "test"),
    [
        (
            {"pyproject.toml": PROJECT + PYTEST},
            f"{VENV} -e . pytest",
            ".venv/bin/python -m pytest",
        ),
        (
            {
                "pyproject.toml": f"{PROJECT}[project.optional-dependencies]\n"
                f"docs = ['s']\ntests = ['a']\n{PYTEST}"
            },
            f"{VENV} -e '.[tests]' pytest",
            ".venv/bin/python -m pytest",
        ),
        (
            {"pyproject.toml": f"{PROJECT}[dependency-groups]\ntest = ['a']\n{PYTEST}"},
            f"{NEWER_VENV} -e . --group test pytest",
            ".venv/bin/python -m pytest",
        ),
        (
            {"pyproject.toml": PROJECT + PYTEST, "requirements-dev.txt": "a"},
            f"{VENV} -e . -r requirements-dev.txt pytest",
            ".venv/bin/python -m pytest",
        ),
        (
            {
                "setup.py": "",
                "tox.ini": "[testenv]\ndeps =\n  hypothesis>=6\n  -r{toxinidir}/dev.txt\n"
                "  py27: mock\ncommands =\n  pytest -ra {posargs:tests}\n",
                "dev.txt": "a",
            },
            f"{VENV} -e . 'hypothesis>=6' -r dev.txt pytest",
            f"{ON_PATH} .venv/bin/python -m pytest -ra tests",
        ),
        (
            {
                "setup.py": "",
                "tox.ini": "[testenv]\ndeps = -r test-requirements.txt\n"
                "commands =\n  py313: pytest -n auto\n  pytest tests\n",
                "test-requirements.txt": "a",
            },
            f"{VENV} -e . -r test-requirements.txt pytest",
            f"{ON_PATH} .venv/bin/python -m pytest tests",
        ),
        (
            {
                "setup.py": "",
                "tox.ini": "[testenv]\ncommands = python -m unittest -v\n",
            },
            f"{VENV} -e .",
            f"{ON_PATH} .venv/bin/python -m unittest -v",
        ),
        (
            {
                "setup.py": "",
                "tox.ini": "[testenv]\nsetenv =\n  PYTHONPATH={toxinidir}/tests\n"
                "  LEVEL = {env:LEVEL:1}\n  py27: A=1\n  B = $(id)\n  C = {envdir}\n"
                "deps =\n  {env:DEP_PYTEST:pytest}\n  {env:DEP_OTHER}\n"
                "commands = pytest -vv\n",
            },
            f"{VENV} -e . pytest",
            f"{ON_PATH} PYTHONPATH=$PWD/tests LEVEL=1 .venv/bin/python -m pytest -vv",
        ),
        (
            {
                "setup.py": "",
                "tox.ini": "[testenv]\ncommands = stestr run --slowest {posargs}\n",
            },
            f"{VENV} -e . stestr",
            f"{ON_PATH} .venv/bin/python -m stestr run --slowest",
        ),
        (
            {"setup.py": "", ".stestr.conf": "[DEFAULT]\ntest_path=tests\n"},
            f"{VENV} -e . stestr",
            ".venv/bin/python -m stestr run",
        ),
        (
            {"tox.ini": "[testenv]\ncommands = python -m unittest\n"},
            "python3 -m venv --without-pip .venv && echo '*' > .venv/.gitignore",
            f"{ON_PATH} .venv/bin/python -m unittest",
        ),
        (
            {"setup.py": "", "setup.cfg": "[tool:pytest]\naddopts = -q\n"},
            f"{VENV} -e . pytest",
            ".venv/bin/python -m pytest",
        ),
        (
            {"setup.py": "", "noxfile.py": 'session.run("pytest", "-q")'},
            f"{VENV} -e . pytest",
            ".venv/bin/python -m pytest",
        ),
        (
            {"pyproject.toml": PROJECT, "tests/test_a.py": "import pytest\n"},
            f"{VENV} -e . pytest",
            ".venv/bin/python -m pytest tests",
        ),
        (
            {"pyproject.toml": PROJECT, "tests/a/test_a.py": "def test_a(): ...\n"},
            f"{VENV} -e . pytest",
            ".venv/bin/python -m pytest tests",
        ),
        (
            {
                "setup.py": "",
                "docs/tests/test_d.py": "def test_d(): ...\n",
                "p/__init__.py": "",
                "p/part/tests/test_a.py": "import unittest\n",
                "src/q/__init__.py": "",
                "src/q/test/test_b.py": "def test_b(): ...\n",
            },
            f"{VENV} -e . pytest",
            ".venv/bin/python -m pytest p src/q",
        ),
        (
            {
                "pyproject.toml": f"{PROJECT}[tool.hatch.envs.default.scripts]\n"
                "test = 'pytest {args:tests}'\n"
            },
            f"{VENV} -e . pytest",
            ".venv/bin/python -m pytest tests",
        ),
        (
            {"pyproject.toml": PROJECT + PYTEST, "uv.lock": ""},
            "uv sync --frozen",
            "uv run --frozen pytest",
        ),
        (
            {"pyproject.toml": PROJECT + PYTEST, "poetry.lock": ""},
            "poetry install",
            "poetry run pytest",
        ),
    ],
)
def test_a_python_project_is_tested_in_an_environment_of_its_own(
    texts: dict[str, str], setup: str, test: str
) -> None:
    assert _found(texts) == (setup, test, True)


@pytest.mark.parametrize(
    ("folder", "discover"),
    [
        ("tests", "-s tests -t ."),
        ("p/tests", "-s p -t ."),
        ("src/p/tests", "-s src/p -t src"),
    ],
)
def test_tests_that_no_file_names_are_a_guess(folder: str, discover: str) -> None:
    texts = {"setup.py": "", "p/__init__.py": "", "src/p/__init__.py": ""}
    texts[f"{folder}/test_a.py"] = "class TestA(unittest.TestCase):\n    def test_a():"
    assert _found(texts)[1:] == (
        f".venv/bin/python -m unittest discover {discover}",
        False,
    )


@pytest.mark.parametrize(
    ("command", "test"),
    [
        ("python runtests.py {posargs}", f"{ON_PATH} .venv/bin/python runtests.py"),
        ("./run-tests --fast", f"{ON_PATH} ./run-tests --fast"),
        ("py312: python a.py\n  python b.py", f"{ON_PATH} .venv/bin/python b.py"),
    ],
)
def test_a_command_of_tox_that_may_run_the_tests_is_a_guess(
    command: str, test: str
) -> None:
    texts = {"setup.py": "", "tox.ini": f"[testenv]\ncommands =\n  {command}\n"}
    assert _found(texts) == (f"{VENV} -e . pytest", test, False)


@pytest.mark.parametrize(
    "texts",
    [
        {"package.json": _package(scripts={"test": 'echo "Error: no test specified"'})},
        {"package.json": "[]"},
        {"package.json": "{" * 100_000},
        {"pyproject.toml": "[[["},
        {"pyproject.toml": "tool = 5\nproject = []"},
        {"setup.py": "", "tox.ini": "no section\n"},
        {"setup.py": "", "tox.ini": "[testenv]\ncommands = pytest; rm -rf $HOME\n"},
        {"Makefile": "test := 5\ncheck != date\n"},
        {"Makefile.PL": "", "t/data.txt": ""},
        {"README.md": ""},
    ],
)
def test_what_names_no_test_gives_none(texts: dict[str, str]) -> None:
    assert _found(texts)[1] is None


def test_a_makefile_is_asked_if_nothing_else_names_a_test() -> None:
    makefile = {"Makefile": "test:\n\tpytest\n"}
    assert _found({**makefile, "pyproject.toml": PROJECT + PYTEST})[1] == (
        ".venv/bin/python -m pytest"
    )
    setup, test, sure = _found({**makefile, "pyproject.toml": PROJECT})
    assert (test, sure) == ("make test", True)
    assert setup == f"{VENV} -e . pytest"


def test_of_two_toolchains_the_one_that_names_a_test_is_first() -> None:
    texts = {"package.json": _package(), "Cargo.toml": ""}
    chains = toolchains(MemoryFiles(texts))
    assert [chain.name for chain in chains] == ["Cargo", "npm"]


@pytest.mark.parametrize(
    ("texts", "writes"),
    [
        ({"setup.py": ""}, False),
        ({"setup.py": "", ".gitignore": "build/\n# *.pyc\n"}, False),
        ({"setup.py": "", ".gitignore": "build/\n__pycache__/\n"}, True),
        ({"setup.py": "", ".gitignore": "*.py[cod]\n"}, True),
        ({"setup.py": "", ".gitignore": "**/*.pyc\n"}, True),
        ({"package.json": NODE}, True),
    ],
)
def test_python_writes_no_bytecode_where_git_would_see_it(
    texts: dict[str, str], writes: bool
) -> None:
    env = propose(MemoryFiles(texts), None, None).env
    assert list(env) == ([] if writes else ["PYTHONDONTWRITEBYTECODE"])
