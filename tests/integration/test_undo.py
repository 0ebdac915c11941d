"""`fanin undo` takes landed tasks out of the branch again, their work and their progress,
whatever landed beside and after them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_requests import When, ended, pending
from tests.support.command import say
from tests.support.crashes import kill_at
from tests.support.project import Project

SHARED = "".join(f"line {number}\n" for number in range(1, 13))
# A and B change different lines of one file, so that no commit says what is whose.
TASKS: list[dict[str, Any]] = [
    {"id": "A", "do": ["replace shared: line 2 -> two", "write a: a"]},
    {"id": "B", "do": ["replace shared: line 9 -> nine", "binary b"]},
    {"id": "C", "depends_on": ["B"], "do": ["replace shared: line 12 -> twelve"]},
]
WITHOUT_A = SHARED.replace("line 9", "nine").replace("line 12", "twelve")


@pytest.fixture(
    scope="module",
    params=[
        {},
        {"commit_strategy": "individual"},
        {"schedule": "rolling", "max_concurrent": 3},
    ],
    ids=["batch", "individual", "rolling"],
)
def landed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A repository in which three tasks have landed."""
    folder = tmp_path_factory.mktemp("landed")
    project = Project(folder / "repo", folder / "log")
    project.root.mkdir()
    project.git("init", "-q", "-b", "main")
    project.set_identity()
    project.write("shared", SHARED)
    project.plan(TASKS, **request.param)
    project.run()
    assert project.states() == {"A": "completed", "B": "completed", "C": "completed"}
    return project


@pytest.fixture
def copy(landed: Project, tmp_path: Path) -> Project:
    shutil.copytree(landed.root, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy", tmp_path / "log")


def asked(project: Project, *argv: str) -> str:
    said = say(project.root, *argv)
    assert said.code == 0, said.err
    return said.out


def refused(project: Project, *argv: str) -> str:
    said = say(project.root, *argv)
    assert (said.code, said.out) == (2, "")
    return said.err


def test_a_task_is_taken_out_and_what_landed_with_and_after_it_stays(
    copy: Project,
) -> None:
    head = copy.git("rev-parse", "HEAD")
    planned = json.loads(asked(copy, "undo", "A", "--dry-run", "--json"))
    assert (planned["outcome"], planned["commit"]) == ("dry_run", None)
    assert copy.git("rev-parse", "HEAD") == head

    report = json.loads(asked(copy, "undo", "A", "--json"))
    assert (report["tasks"], report["paths"]) == (["A"], ["a", "shared"])
    assert report["commit"] == copy.git("rev-parse", "HEAD")
    assert copy.git("rev-parse", "HEAD~1") == head
    assert copy.git("status", "--porcelain") == ""
    assert (copy.root / "shared").read_text() == WITHOUT_A
    assert not (copy.root / "a").exists()
    assert (copy.root / "b").exists()
    records = copy.records()
    assert {task: record["status"] for task, record in records.items()} == {
        "A": "pending",
        "B": "completed",
        "C": "completed",
    }
    assert records["A"]["attempts"] == 1
    assert json.loads(asked(copy, "show", "A", "--json"))["commit"] is None
    assert "A has not landed" in refused(copy, "undo", "A")

    undone = copy.git("rev-parse", "HEAD^{tree}")
    copy.git("revert", "--no-edit", "HEAD")
    assert copy.git("rev-parse", "HEAD^{tree}") == copy.git(
        "rev-parse", f"{head}^{{tree}}"
    )
    asked(copy, "undo", "A")
    assert copy.git("rev-parse", "HEAD^{tree}") == undone

    copy.run()
    assert copy.states() == {"A": "completed", "B": "completed", "C": "completed"}
    assert (copy.root / "shared").read_text() == WITHOUT_A.replace("line 2", "two")


ONLY_BATCHES = pytest.mark.parametrize("landed", [{}], ids=["batch"], indirect=True)


@ONLY_BATCHES
def test_landed_dependents_are_named_and_go_with_it_if_asked_for(
    copy: Project,
) -> None:
    problem = refused(copy, "undo", "B")
    assert "C builds on B and landed too" in problem
    assert "fanin undo B --with-dependents" in problem
    assert "undo: B, C" in asked(copy, "undo", "B", "--with-dependents")
    assert (copy.root / "shared").read_text() == SHARED.replace("line 2", "two")
    assert not (copy.root / "b").exists()
    assert copy.states() == {"A": "completed", "B": "pending", "C": "pending"}


@ONLY_BATCHES
def test_a_conflict_is_told_and_nothing_changes(copy: Project) -> None:
    text = (copy.root / "shared").read_text()
    copy.write("shared", text.replace("two", "2"))
    head = copy.commit("by hand")
    problem = refused(copy, "undo", "A")
    assert "A cannot be taken out: conflict in shared" in problem
    assert copy.git("rev-parse", "HEAD") == head
    assert copy.git("status", "--porcelain") == ""


def test_what_only_the_first_repository_knows_is_not_guessed_in_a_clone(
    landed: Project, tmp_path: Path
) -> None:
    landed.git("clone", "-q", str(landed.root), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone", landed.log)
    trailers = "%(trailers:key=Fanin-Task,valueonly,separator= )"
    landings = landed.git("log", f"--format={trailers}").splitlines()
    if "A" in landings:  # a commit of its own says what A has changed
        asked(clone, "undo", "A")
        assert (clone.root / "shared").read_text() == WITHOUT_A
    else:
        assert "changed the same files" in refused(clone, "undo", "A")


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_run_in_progress_takes_the_task_out_when_its_agents_have_ended(
    project: Project, schedule: str
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["sleep 1", "write b: b"]},
            {"id": "C", "depends_on": ["B"], "do": ["write c: c"]},
            {"id": "X", "do": ["write x: x"]},
        ],
        schedule=schedule,
        max_concurrent=2,
    )

    def ask() -> None:
        shown = asked(project, "undo", "X")
        assert shown.startswith("recorded: undo X; the run in progress applies it")
        [row] = json.loads(say(project.root, "status", "--json").out)["requests"]
        assert (row["kind"], row["tasks"]) == ("undo", ["X"])

    seen = When(ended("B"), ask)
    project.run(seen)
    assert any(note.startswith("as asked for: undo X, in ") for note in seen.notes)
    assert project.states() == dict.fromkeys("ABCX", "completed")
    assert project.records()["X"]["attempts"] == 2
    assert pending(project) == []
    subjects = project.subjects()
    assert "Undo X" in subjects
    assert project.git("status", "--porcelain") == ""


def test_what_cannot_be_done_now_waits_and_the_run_goes_on(project: Project) -> None:
    project.plan(
        [
            {"id": "X", "do": ["write x: x"]},
            {"id": "B", "depends_on": ["X"], "do": ["write b: b"]},
            {"id": "C", "depends_on": ["B"], "do": ["write c: c"]},
            {"id": "D", "depends_on": ["C"], "do": ["fail no"], "max_attempts": 1},
        ]
    )

    def ask() -> None:
        asked(project, "undo", "X", "--with-dependents")
        project.write("x", "a person works on it\n")

    seen = When(ended("B"), ask)
    project.run(seen)
    assert project.states() == {**dict.fromkeys("XBC", "completed"), "D": "failed"}
    [request] = pending(project)
    waits = [note for note in seen.notes if note.startswith("undo X on main must wait")]
    assert len(waits) == 2  # between two batches, and at the end
    project.git("checkout", "-q", "x")
    assert "note: as asked for: undo X" in asked(project, "skip", "D")
    assert not request.exists()
    assert project.states() == dict.fromkeys("XBCD", "pending")


@pytest.mark.parametrize("step", ["after objects", "before landing", "after landing"])
def test_killed_anywhere_undo_is_done_or_not_and_can_be_asked_again(
    project: Project, tmp_path: Path, step: str
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.run()
    kill_at(project, step, tmp_path / "n", "undo", "A")
    again = say(project.root, "undo", "A")
    assert again.code == (2 if step == "after landing" else 0), again.err
    assert project.git("status", "--porcelain") == ""
    assert not (project.root / "a").exists()
    assert project.states() == {"A": "pending"}
    assert project.subjects().count("Undo A") == 1
