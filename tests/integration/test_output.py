"""Standard output that nobody reads, or that is not UTF-8, ends no run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.project import Project

RUN = [sys.executable, "-m", "runner", "run"]


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_run_goes_on_when_nobody_reads_its_output(
    project: Project, schedule: str
) -> None:
    tasks = [
        {"id": "A", "do": ["write a: a"]},
        {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
    ]
    project.plan(tasks, schedule=schedule)
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        RUN, cwd=project.root, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert project.states() == {"A": "completed", "B": "completed"}
    assert project.git("show", "HEAD:b") == "b"


@pytest.mark.parametrize(
    "argv", [["check"], ["status"], ["graph"], ["skip", "B"], ["init", "--yes"]]
)
def test_a_command_whose_output_nobody_reads_has_done_its_work(
    project: Project, argv: list[str]
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}, {"id": "B"}])
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [*RUN[:-1], *argv],
        cwd=project.root,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (0, b"")
    if argv[0] == "skip":
        assert project.records()["B"]["skipped"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_output_lacks_are_replaced(
    project: Project, encoding: str
) -> None:
    project.plan([{"id": "A", "title": "Añadir ☃", "do": ["write a: a"]}])
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    ran = subprocess.run(
        RUN, cwd=project.root, capture_output=True, env=env, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "1 completed" in ran.stdout.decode(encoding)
    assert "Traceback" not in ran.stderr.decode(encoding)


def test_paths_are_utf_8_whatever_the_locale(project: Project) -> None:
    shell = ["sh", "-c", "mkdir größe; echo ☃ > größe/a; git add -A; : größe"]
    task = {"id": "A", "files": ["größe/**"], "agent": {"command": shell}}
    project.plan([{**task, "do": []}])
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    env = {**os.environ, **locale}
    ran = subprocess.run(
        RUN, cwd=project.root, capture_output=True, env=env, check=False
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert ran.stdout.isascii()
    assert project.git("show", "HEAD:größe/a") == "☃"


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_end_no_command(project: Project, closed: str) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    for argv in ("run", "log A", "diff A", "check"):
        command = f'"$0" -m runner {argv} {closed}'
        ran = subprocess.run(
            ["sh", "-c", command, sys.executable], cwd=project.root, check=False
        )
        assert ran.returncode == 0, argv
    assert project.states() == {"A": "completed"}
    assert project.git("show", "HEAD:a") == "a"
