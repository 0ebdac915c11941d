"""`retry` and `skip` while a run goes on: recorded before the command returns, applied
when tasks are next chosen, whoever is killed in between.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.core.events import AttemptEnded, BatchMerged, RunEvent
from runner.local.journal import Journal
from tests.integration.test_crash import began
from tests.support.crashes import Died, die_after, die_before, kill_at
from tests.support.project import Project, Quiet

BOTH_SCHEDULES = pytest.mark.parametrize("schedule", ["batch", "rolling"])


class When(Quiet):
    """Does something once, in the middle of the run, at the first such event."""

    def __init__(
        self, is_moment: Callable[[RunEvent], bool], deed: Callable[[], object]
    ) -> None:
        super().__init__()
        self._is_moment, self._deed = is_moment, deed
        self._done = False

    def observe(self, event: RunEvent) -> None:
        super().observe(event)
        if not self._done and self._is_moment(event):
            self._done = True
            self._deed()


def ended(task: str) -> Callable[[RunEvent], bool]:
    return lambda event: isinstance(event, AttemptEnded) and event.task == task


def asked(project: Project, *argv: str) -> str:
    done = project.cli(*argv)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pending(project: Project) -> list[Path]:
    return list((project.root / ".git" / "fanin" / "requests").glob("*.json"))


@BOTH_SCHEDULES
def test_retry_and_skip_are_applied_by_the_run_that_is_in_progress(
    project: Project, schedule: str
) -> None:
    """A has failed for good when B ends; C would be next."""
    tasks: list[dict[str, Any]] = [
        {"id": "A", "do": ["fail once why", "write a: a"], "max_attempts": 1},
        {"id": "B", "do": ["sleep 1", "write b: b"]},
        {"id": "C", "depends_on": ["B"], "do": ["write c: c"]},
        {"id": "D", "depends_on": ["C"], "do": ["write d: d"]},
    ]
    project.plan(tasks, schedule=schedule, max_concurrent=2)

    def ask() -> None:
        shown = asked(project, "retry", "A")
        assert shown.startswith("recorded: retry A; the run in progress applies it")
        assert asked(project, "retry", "A") == shown  # recorded once
        asked(project, "skip", "C", "--satisfied")
        if schedule == "batch":  # a rolling run has a free slot and may have it already
            assert_status_shows_requests(project)

    seen = When(ended("B"), ask)
    project.run(seen)
    records = project.records()
    assert {
        task: record["status"] for task, record in records.items()
    } == dict.fromkeys("ABCD", "completed")
    assert records["A"]["attempts"] == 2
    assert records["C"]["skipped"]
    assert "C" not in began(project)
    assert pending(project) == []
    assert project.runner().journal.state().unrecorded == ()
    assert "as asked for: retry A" in seen.notes


def assert_status_shows_requests(project: Project) -> None:
    document = json.loads(project.cli("status", "--json").stdout)
    assert document["requests"] == [
        {
            "kind": "retry",
            "tasks": ["A"],
            "branch": "main",
            "redo": False,
            "failed": False,
            "message": "",
        },
        {"kind": "skip", "tasks": ["C"], "branch": "main", "satisfied": True},
    ]
    shown = project.cli("status").stdout
    assert "asked for: retry A;" in shown
    assert "asked for: skip C;" in shown


def test_a_free_slot_of_a_rolling_run_takes_a_request_at_once(
    project: Project, tmp_path: Path
) -> None:
    """B does not end before A has run again, and nothing else happens meanwhile."""
    again = tmp_path / "again"
    script = f"""
    case $FANIN_TASK$FANIN_ATTEMPT in
        A1) exit 1 ;;
        A2) touch {again} ;;
        *) until [ -e {again} ]; do sleep 0.1; done ;;
    esac
    touch $FANIN_TASK
    """
    project.plan(
        [{"id": task, "max_attempts": 1} for task in "AB"],
        schedule="rolling",
        max_concurrent=2,
        timeout="120s",
        agent={"command": ["sh", "-c", script]},
    )
    later = threading.Timer(0.5, lambda: asked(project, "retry", "A"))
    project.run(When(lambda event: isinstance(event, BatchMerged), later.start))
    later.join()
    assert project.states() == {"A": "completed", "B": "completed"}


@BOTH_SCHEDULES
def test_redo_runs_a_task_again_that_has_landed_meanwhile(
    project: Project, schedule: str
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["append a: x"], "allow_empty": True},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ],
        schedule=schedule,
        max_concurrent=1,
    )
    project.run(When(ended("B"), lambda: asked(project, "retry", "A", "--redo")))
    assert project.states() == {"A": "completed", "B": "completed"}
    assert project.records()["A"]["attempts"] == 2
    assert began(project) == ["A", "B", "A"]


def test_what_has_landed_meanwhile_stays_and_the_run_says_so(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}], schedule="rolling")
    seen = When(ended("A"), lambda: asked(project, "skip", "A"))
    project.run(seen)
    assert project.states() == {"A": "completed"}
    assert any("skip A: A is completed" in note for note in seen.notes)
    assert pending(project) == []


def test_what_is_wrong_is_refused_while_a_run_goes_on(project: Project) -> None:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )
    refused: list[int] = []

    def ask() -> None:
        for argv in (["retry", "A"], ["retry", "X"], ["skip", "A"]):
            refused.append(project.cli(*argv).returncode)

    seen = When(ended("B"), ask)
    project.run(seen)
    assert refused == [2, 2, 2]
    assert seen.notes == []


def test_a_request_at_the_very_end_of_a_run_is_applied_before_it_lets_go(
    project: Project,
) -> None:
    """After the run has looked for the last time."""
    project.plan([{"id": "A", "do": ["fail no"], "max_attempts": 1}])
    runner = project.runner()
    record = runner.journal.record

    def ask_first(event: str, **fields: object) -> None:
        if event == "end":
            asked(project, "retry", "--failed")
        record(event, **fields)

    runner.journal.record = ask_first  # type: ignore[method-assign]
    runner()
    assert project.subjects()[:2] == ["Retry A", "Record failed attempts of A"]
    assert pending(project) == []
    # it has not failed any more
    assert asked(project, "retry", "--failed") == "nothing to do\n"
    assert project.subjects()[0] == "Retry A"


def test_a_command_that_finds_the_run_ended_applies_its_request_itself(
    project: Project,
) -> None:
    """The lock is still held, and the run looks no more."""
    project.plan([{"id": "A", "do": ["fail no"], "max_attempts": 1}])
    project.run()
    journal = Journal(project.root / ".git")
    with journal.locked():
        child = subprocess.Popen(
            [sys.executable, "-m", "runner", "retry", "A"],
            cwd=project.root,
            stdout=subprocess.PIPE,
            text=True,
        )
        while not pending(project):
            assert child.poll() is None
    shown, _ = child.communicate()
    assert child.returncode == 0
    assert shown.startswith(
        "note: as asked for: retry A\nrecorded: retry A; continue with"
    )
    assert project.subjects()[0] == "Retry A"
    assert pending(project) == []


def test_a_request_from_another_work_tree_is_applied_to_the_branch_that_it_names(
    project: Project, tmp_path: Path
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["fail once why", "write a: a"], "max_attempts": 1},
            {"id": "B", "do": ["sleep 1", "write b: b"]},
        ]
    )
    project.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = Project(tmp_path / "side", project.log)

    def ask() -> None:
        assert "when it next chooses" in asked(side, "retry", "A", "--branch", "main")
        assert "when it ends: it works on main" in asked(side, "skip", "A")

    project.run(When(ended("B"), ask))
    assert project.states("main") == {"A": "completed", "B": "completed"}
    assert project.records("side")["A"]["skipped"]
    assert side.subjects()[0] == "Skip A"
    assert side.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("schedule", "moment"),
    [
        ("batch", "written"),
        ("batch", "in the journal"),
        ("batch", "landed"),
        ("rolling", "landed"),
    ],
)
def test_a_request_survives_a_kill_of_the_run_and_grants_one_attempt(
    project: Project, schedule: str, moment: str
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["fail no"], "max_attempts": 1},
            {"id": "B", "depends_on": [], "do": ["sleep 1", "write b: b"]},
        ],
        schedule=schedule,
        max_concurrent=2,
    )

    def ask() -> None:
        asked(project, "retry", "A")
        if moment == "written":
            raise Died

    runner = project.runner(When(ended("B"), ask))
    if moment == "in the journal":
        die_after(runner, "requested")
        assert len(pending(project)) == 1
    elif moment == "landed":
        die_before(runner, "recorded")
    else:
        with pytest.raises(Died):
            runner()
    project.run()
    assert project.records()["A"]["attempts"] == 2
    assert began(project).count("A") == 2
    assert began(project).count("B") == 1
    assert pending(project) == []
    assert project.runner().journal.state().unrecorded == ()


def test_a_command_takes_what_a_dead_run_has_left(project: Project) -> None:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            *({"id": task, "depends_on": ["A"], "do": ["fail no"]} for task in "BC"),
        ]
    )

    def ask() -> None:
        asked(project, "skip", "B")
        raise Died

    with pytest.raises(Died):
        project.run(When(ended("A"), ask))
    assert len(pending(project)) == 1
    shown = asked(project, "skip", "C")
    assert shown == "note: as asked for: skip B\nskip: C; continue with  fanin run\n"
    assert project.subjects()[:2] == ["Skip C", "Skip B"]
    assert pending(project) == []
    project.run()
    assert began(project) == ["A"]


@pytest.mark.parametrize(
    ("step", "command", "field"),
    [
        ("before rename", "skip", None),
        ("after rename", "skip", "skipped"),
        ("after rename", "hold", "gate"),
    ],
)
def test_a_command_that_is_killed_leaves_a_whole_request_or_none(
    project: Project, tmp_path: Path, step: str, command: str, field: str | None
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    journal = Journal(project.root / ".git")
    journal.record("run", run="r1", branch="main", scratch=None)
    with journal.locked():
        kill_at(project, step, tmp_path / "steps", command, "A")
        assert len(journal.requests.read()) == bool(field)
        journal.sweep()
    left = {path.name for path in journal.requests.folder.iterdir()}
    assert left == {"lock", *(path.name for path in pending(project))}
    project.run()
    record = project.records()["A"]
    assert (record["status"] == "pending") == bool(field)
    assert field is None or record[field] is True


def test_a_command_undoes_a_landing_that_was_killed(
    project: Project, tmp_path: Path
) -> None:
    """First that of a run, then its own."""
    project.write("shop.py", "one\n")
    project.plan(
        [
            {"id": "A", "do": ["replace shop.py: one -> two", "write new: new"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )
    die_after(project.runner(), "landing")
    project.write("shop.py", "two\n")
    project.write("new", "new\n")
    (project.root / ".git" / "index.lock").touch()
    kill_at(project, "before landing", tmp_path / "x", "skip", "B")
    assert project.git("status", "--porcelain") == ""
    project.write(".fanin/progress.json", "")
    (project.root / ".git" / "index.lock").touch()
    assert asked(project, "skip", "B") == "skip: B; continue with  fanin run\n"
    assert project.git("status", "--porcelain") == ""
    project.run()
    assert project.subjects()[:2] == ["A: do A", "Skip B"]
    assert project.git("status", "--porcelain") == ""
    assert began(project) == ["A"]


def test_a_request_that_changes_nothing_commits_nothing(project: Project) -> None:
    project.plan([{"id": "A"}])
    asked(project, "skip", "A")
    head = project.git("rev-parse", "HEAD")
    assert asked(project, "skip", "A").startswith("A is already skipped; continue")
    assert project.git("rev-parse", "HEAD") == head


def test_a_message_reaches_the_prompts_until_the_task_lands(project: Project) -> None:
    """Said while the run goes on, and durable: the run only reads it when it chooses."""
    project.plan(
        [
            {
                "id": "A",
                "do": ["expect > use TLS", "fail until 3", "write a: a"],
                "max_attempts": 1,
            },
            {"id": "B", "do": ["sleep 1", "write b: b"]},
        ]
    )
    said = "use TLS\x1b[2J 1.3\u200b\nand log it"

    def ask() -> None:
        asked(project, "retry", "A", "--message", said)

    project.run(When(ended("B"), ask))
    assert project.records()["A"]["message"] == "use TLS\ufffd[2J 1.3\nand log it"
    assert project.records()["A"]["attempts"] == 2
    # another one without a message leaves it
    asked(project, "retry", "A")
    project.run()
    record = project.records()["A"]
    assert (record["status"], record["attempts"]) == ("completed", 3)
    assert "message" not in record


def test_a_message_that_is_empty_or_too_long_is_refused(project: Project) -> None:
    project.plan([{"id": "A", "do": ["fail no"]}])
    for message in (" ", "x" * 4_001):
        done = project.cli("retry", "A", "--message", message)
        assert done.returncode == 2
        assert "--message has" in done.stderr
