"""`fanin accept` lets kept work land that a person answers for, and never what nobody may
answer for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_requests import When, ended, pending
from tests.support.command import say
from tests.support.crashes import kill_at
from tests.support.project import Project

OUTSIDE: list[dict[str, Any]] = [
    {"id": "A", "files": ["a"], "do": ["write other: o"], "max_attempts": 1},
    {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
]


def kept(project: Project) -> list[str]:
    refs = project.git("for-each-ref", "--format=%(refname)", "refs/fanin/kept")
    return refs.splitlines()


def accepted(project: Project, *argv: str) -> dict[str, Any]:
    said = say(project.root, "accept", *argv, "--json")
    assert said.code == 0, said.err
    return dict(json.loads(said.out))


def refused(project: Project, *argv: str) -> str:
    head = project.git("rev-parse", "HEAD")
    said = say(project.root, "accept", *argv)
    assert (said.code, said.out) == (2, "")
    assert project.git("rev-parse", "HEAD") == head
    assert project.git("status", "--porcelain") == ""
    assert kept(project)
    return said.err


def test_work_outside_of_the_tasks_files_lands_and_frees_the_tasks_behind_it(
    project: Project,
) -> None:
    project.plan(OUTSIDE, verify="test -e other || test ! -e b")
    project.run()
    assert project.states()["A"] == "failed"
    planned = accepted(project, "A", "--dry-run")
    assert (planned["outcome"], planned["paths"]) == ("dry_run", ["other"])
    assert project.states()["A"] == "failed"
    assert accepted(project, "A")["paths"] == ["other"]
    record = project.records()["A"]
    assert (record["status"], record["attempts"]) == ("completed", 1)
    assert record["changed"] == ["other +1 -0"]
    assert project.subjects()[0] == "A: do A"
    assert kept(project) == []
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    assert say(project.root, "undo", "A", "--with-dependents").code == 0
    assert project.states() == {"A": "pending", "B": "pending"}


@pytest.mark.parametrize(
    ("path", "is_named"), [("other", True), ("other\\nof two lines", False)]
)
@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_the_end_of_a_run_names_accept_only_for_work_that_may_land(
    project: Project, schedule: str, path: str, is_named: bool
) -> None:
    command = ["sh", "-c", f"printf x > \"$(printf '{path}')\""]
    task = {"id": "A", "files": ["a"], "agent": {"command": command}}
    project.plan([task], max_attempts=1)
    ran = project.cli("run", "--schedule", schedule)
    assert "fanin diff A" in ran.stdout
    assert ("fanin accept A" in ran.stdout) is is_named
    assert (say(project.root, "accept", "A").code == 0) is is_named


def test_a_protected_path_must_be_named_and_size_need_not(project: Project) -> None:
    project.plan(
        [{"id": "A", "do": ["write x: x", "write secret/y: y"], "max_attempts": 1}],
        protected=["secret/**"],
        limits={"files": 1},
    )
    project.run()
    assert "secret/y is a protected path" in refused(project, "A")
    accepted(project, "A", "--allow", "secret/**")
    assert (project.root / "secret" / "y").read_text() == "y\n"
    message = project.git("log", "-1", "--format=%B")
    assert "Not verified." in message  # there is no verify to run


def test_verify_must_be_green_or_the_commit_says_that_it_was_not_asked(
    project: Project,
) -> None:
    project.plan(OUTSIDE, verify="test ! -e other", verify_retries=0)
    project.run()
    assert "verify is red (exit status 1): test ! -e other" in refused(project, "A")
    accepted(project, "A", "--unverified")
    message = project.git("log", "-1", "--format=%B")
    assert "Accepted by a person. Not verified." in message
    assert project.records()["A"]["accepted"] == "unverified"
    rows = json.loads(say(project.root, "status", "--json").out)["tasks"]
    assert rows[0]["reason"] == "accepted by a person, not verified"
    assert "Fanin-Task: A" in message


def test_a_conflict_lands_as_the_person_has_resolved_it(project: Project) -> None:
    project.write("shared", "one\n")
    project.plan(
        [
            {"id": "A", "do": ["replace shared: one -> A"]},
            {"id": "B", "do": ["replace shared: one -> B", "write b: b"]},
        ],
        limits={"max_rounds": 1},
    )
    project.run()
    problem = refused(project, "B")
    assert "conflict with the branch in shared" in problem
    assert "git switch -c resolved" in problem
    project.git("switch", "-qc", "resolved", kept(project)[0])
    project.git("merge", "-q", "main", check=False)
    project.write("shared", "A and B\n")
    project.commit("resolved")
    project.git("switch", "-q", "main")
    assert accepted(project, "B", "--from", "resolved")["paths"] == ["b", "shared"]
    assert (project.root / "shared").read_text() == "A and B\n"
    assert project.states() == {"A": "completed", "B": "completed"}


def test_a_part_that_is_left_out_is_named_and_unfinished_work_must_be(
    project: Project,
) -> None:
    script = "echo x > $FANIN_TASK; echo x > CLAUDE.md; test $FANIN_TASK = A"
    tasks: list[dict[str, Any]] = [{"id": "A", "files": ["a"]}, {"id": "B"}]
    agent = {"command": ["sh", "-c", script]}
    project.plan(tasks, max_attempts=1, agent=agent)
    project.run()
    planned = say(project.root, "accept", "A", "--dry-run")
    assert "  left out: CLAUDE.md is a protected path" in planned.out
    (left_out,) = accepted(project, "A")["left_out"]
    assert left_out.startswith("CLAUDE.md")
    assert not (project.root / "CLAUDE.md").exists()
    problem = refused(project, "B")
    assert "the work of B is unfinished: " in problem
    work = project.git("rev-parse", kept(project)[0])
    assert f"fanin accept B --from {work[:10]}" in problem
    assert accepted(project, "B", "--from", work[:10])["paths"] == ["B"]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (
            lambda project: project.write("key", "token-0123456789abcdef\n"),
            "holds the value of MY_KEY",
        ),
        (
            lambda project: (project.root / "link").symlink_to("../../outside"),
            "is a symlink out of the repository",
        ),
        (lambda project: project.write("a\nb", "x"), "a\\nb"),
        (
            lambda project: project.write("tasks.yml", "version: 1\n"),
            "fanin's own file",
        ),
    ],
    ids=["secret", "link", "name", "plan"],
)
def test_what_nobody_may_answer_for_is_refused(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Project], object],
    what: str,
) -> None:
    monkeypatch.setenv("MY_KEY", "token-0123456789abcdef")
    agent = {"command": ["false"], "env": ["MY_KEY"]}
    project.plan([{"id": "A"}], agent=agent)
    project.git("switch", "-qc", "work")
    make(project)
    project.commit("work")
    project.git("switch", "-q", "main")
    project.git("update-ref", "refs/fanin/kept/other", "work")
    argv = ["A", "--from", "work", "--allow", "**", "--unverified"]
    assert what in refused(project, *argv)


def test_a_task_that_waits_for_others_or_has_landed_is_refused(
    project: Project,
) -> None:
    project.plan(OUTSIDE)
    project.run()
    assert "A, which B depends on, is not completed" in refused(
        project, "B", "--from", "HEAD"
    )
    accepted(project, "A")
    said = say(project.root, "accept", "A", "--from", "HEAD")
    assert (said.code, "A is completed" in said.err) == (2, True)


def test_a_run_in_progress_lets_it_land_and_goes_on_with_what_is_free(
    project: Project,
) -> None:
    tasks = [*OUTSIDE, {"id": "X", "do": ["sleep 1", "write x: x"]}]
    project.plan(tasks, schedule="rolling", max_concurrent=2)

    def ask() -> None:
        said = say(project.root, "accept", "A")
        assert said.out.startswith("recorded: accept A; the run in progress"), said
        [row] = json.loads(say(project.root, "status", "--json").out)["requests"]
        assert (row["kind"], row["tasks"], row["allow"]) == ("accept", ["A"], [])

    seen = When(ended("X"), ask)
    project.run(seen)
    assert any(note.startswith("as asked for: accept A, in ") for note in seen.notes)
    assert project.states() == dict.fromkeys("ABX", "completed")
    assert pending(project) == []


def test_killed_before_it_lands_the_work_waits_and_once_it_has_it_is_completed(
    project: Project, tmp_path: Path
) -> None:
    project.plan(OUTSIDE)
    project.run()
    head = project.git("rev-parse", "HEAD")
    kill_at(project, "after objects", tmp_path / "m", "accept", "A")
    assert (project.git("rev-parse", "HEAD"), project.states()["A"]) == (head, "failed")
    kill_at(project, "after landing", tmp_path / "n", "accept", "A")
    assert "A is completed" in refused(project, "A")
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    assert project.subjects().count("A: do A") == 1
