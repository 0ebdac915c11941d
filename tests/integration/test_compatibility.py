"""The steps of docs/compatibility.md on one small project of each ecosystem: init, doctor,
a run that lands, and a run whose broken line does not.

A project whose tool is not on this machine is no parameter here. Python's needs nothing
but Python.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.compatibility.__main__ import MIN_TESTS, try_project
from benchmarks.compatibility.report import Result

PYTHON = {
    "tox.ini": "[testenv]\nsetenv =\n  NAME = {env:OTHER:calc}\n"
    "commands = python -m unittest discover -s tests -t .\n",
    "calc.py": "def twice(number):\n    return 2 * number\n",
    "tests/__init__.py": "",
    "tests/test_calc.py": "import os\nfrom unittest import TestCase\n\n"
    "from calc import twice\n\n\nclass TestTwice(TestCase):\n"
    + "".join(
        f"    def test_{n}(self):\n"
        f"        assert (twice({n}), os.environ['NAME']) == ({2 * n}, 'calc')\n\n"
        for n in range(MIN_TESTS)
    ),
}
NODE = {
    "package.json": '{"name": "calc", "scripts": {"test": "node --test"}}',
    "calc.js": "exports.twice = (number) => 2 * number;\n",
    "calc.test.js": 'const test = require("node:test");\n'
    'const assert = require("node:assert");\n'
    'const { twice } = require("./calc.js");\n'
    + "".join(
        f'test("{n}", () => assert.equal(twice({n}), {2 * n}));\n'
        for n in range(MIN_TESTS)
    ),
}
# The format string would not pass the `go vet` that a newer `go test` runs first.
GO = {
    "go.mod": "module example.org/calc\n\ngo 1.12\n",
    "calc.go": "package calc\n\nfunc Twice(number int) int { return 2 * number }\n",
    "calc_test.go": 'package calc\n\nimport "testing"\n\n'
    + "".join(
        f"func Test{n}(t *testing.T) {{\n\tt.Logf(string(rune({n}))+string({n}))\n"
        f"\tif Twice({n}) != {2 * n} {{\n\t\tt.Fail()\n\t}}\n}}\n\n"
        for n in range(MIN_TESTS)
    ),
}
# ecosystem → (its tool, the project's files, the test command that init finds)
PROJECTS = {
    "Python": (
        "python3",
        PYTHON,
        "PATH=$PWD/.venv/bin:$PATH NAME=calc .venv/bin/python -m unittest discover -s tests -t .",
    ),
    "Node": ("npm", NODE, "npm test"),
    "Go": ("go", GO, "go test -vet=off ./..."),
}
HERE = [name for name, (tool, _, _) in PROJECTS.items() if shutil.which(tool)]


@pytest.mark.parametrize("ecosystem", HERE)
def test_a_small_project_is_set_up_and_tested_and_a_broken_line_does_not_land(
    ecosystem: str, tmp_path: Path
) -> None:
    _, files, verify = PROJECTS[ecosystem]
    root, logs = tmp_path / "project", tmp_path / "logs"
    logs.mkdir()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    result = Result("calc", ecosystem, "1")
    try_project(root, ecosystem, logs, result)
    assert (result.verify, result.tests) == (verify, MIN_TESTS)
