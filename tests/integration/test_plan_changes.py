"""Plans that a person changes: after a task was completed, and while a run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import threading
from typing import Any

import pytest

from runner.core.errors import UsageProblem
from runner.core.events import BatchChosen, RunEvent
from tests.integration.test_crash import began
from tests.support.project import Project, Quiet
from tests.support.shell import AS_PERSON

_NOTE = "A was changed in the plan after completion, and will not run again"


def test_a_completed_task_whose_text_has_changed_is_named_and_runs_again_on_request(
    project: Project,
) -> None:
    after = {"id": "B", "depends_on": ["A"], "do": ["write b: b"]}
    project.plan([{"id": "A", "do": ["append a: one"]}, after])
    assert project.cli("run").returncode == 0
    project.plan([{"id": "A", "do": ["append a: two"]}, after])

    checked = project.cli("check")
    assert _NOTE in checked.stdout
    assert "fanin retry A --redo" in checked.stdout
    assert "changed in the plan since" in project.cli("status").stdout
    ran = project.cli("run")
    assert ran.returncode == 0
    assert _NOTE in ran.stdout + ran.stderr

    assert project.cli("retry", "A", "--redo").returncode == 0
    assert project.states() == {"A": "pending", "B": "completed"}
    assert project.cli("run").returncode == 0
    assert project.git("show", "HEAD:a").splitlines() == ["one", "two"]
    assert project.records()["A"]["attempts"] == 2
    assert _NOTE not in project.cli("check").stdout


@pytest.mark.parametrize(
    "argv", [("retry", "A"), ("skip", "A"), ("skip", "A", "--satisfied")]
)
def test_retry_and_skip_refuse_a_completed_task_and_change_nothing(
    project: Project, argv: tuple[str, ...]
) -> None:
    project.plan([{"id": "A", "do": ["append a: one"]}])
    assert project.cli("run").returncode == 0
    head = project.git("rev-parse", "HEAD")
    refused = project.cli(*argv)
    assert refused.returncode == 2
    assert "A is completed" in refused.stderr
    assert project.git("rev-parse", "HEAD") == head


def test_redo_takes_the_tick_of_a_plan_back(project: Project) -> None:
    project.plan([])
    plan = "# Tasks: x\n\n## Phase 1: Setup\n\n- [X] T001 Make a\n- [X] T002 Make b\n"
    project.write("specs/001-x/tasks.md", plan)
    settings = json.dumps({"plan": "specs/001-x/tasks.md", "agent": "claude"})
    project.write("fanin.yml", settings)
    project.commit()
    redone = project.cli("retry", "T001", "--redo")
    assert redone.returncode == 0, redone.stderr
    ticked = project.git("show", "HEAD:specs/001-x/tasks.md").splitlines()
    assert ticked[-2:] == ["- [ ] T001 Make a", "- [X] T002 Make b"]


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_plan_that_is_reworked_during_a_run_has_no_stale_edge_and_loses_no_result(
    project: Project, schedule: str
) -> None:
    settings: dict[str, Any] = {"schedule": schedule, "max_concurrent": 2}
    first = {"id": "A", "do": ["sleep 0.5", "write a: a"]}
    renamed = ["sleep 0.5", "append d: d"]
    before = [
        first,
        {"id": "D", "do": renamed},
        {"id": "B", "depends_on": ["A"], "do": ["append order: B"]},
        {"id": "C", "depends_on": ["B"], "do": ["append order: C"]},
        {"id": "F", "depends_on": ["C"], "do": ["write f: f"]},
    ]
    # B and C change places, D is called E, F is gone.
    after = [
        first,
        {"id": "E", "do": renamed},
        {"id": "B", "depends_on": ["C"], "do": ["append order: B"]},
        {"id": "C", "depends_on": ["A"], "do": ["append order: C"]},
    ]

    class Person(Quiet):
        def observe(self, event: RunEvent) -> None:
            if isinstance(event, BatchChosen) and not self.batches:
                project.plan(after, **settings)
            super().observe(event)

    project.plan(before, **settings)
    person = Person()
    outcome = project.run(person)
    assert outcome.stop_reason is None
    assert project.git("show", "HEAD:order").splitlines() == ["C", "B"]
    assert project.git("show", "HEAD:d").splitlines() == ["d"]
    assert not (project.root / "f").exists()
    states = project.states()
    assert {task: states[task] for task in "AEBC"} == dict.fromkeys("AEBC", "completed")
    # The finished work of the old name is kept and named.
    [kept] = [fan_in.kept["D"] for fan_in in person.fan_ins if "D" in fan_in.kept]
    assert project.git("show", f"{kept}:d") == "d"
    [refused] = [
        fan_in.failed["D"] for fan_in in person.fan_ins if "D" in fan_in.failed
    ]
    assert "no longer in the plan" in refused.message


def test_redo_says_where_a_mark_is_that_it_cannot_take_back(project: Project) -> None:
    project.plan([])
    done = "---\nid: task-1\ntitle: Make a\nstatus: Done\n---\nMake it.\n"
    project.write("backlog/completed/task-1 - Make-a.md", done)
    project.write("backlog/tasks/task-2 - Make-b.md", done.replace("-1", "-2"))
    project.write("fanin.yml", json.dumps({"plan": "backlog", "agent": "claude"}))
    head = project.commit()
    refused = project.cli("retry", "task-1", "--redo")
    assert refused.returncode == 2, refused.stdout
    assert "the plan marks task-1 as completed" in refused.stderr
    assert project.git("rev-parse", "HEAD") == head
    assert project.cli("retry", "task-2", "--redo").returncode == 0


class Breaks(Quiet):
    """A person commits a broken plan, or none, while the first tasks are at work."""

    def __init__(self, project: Project, text: str | None) -> None:
        super().__init__()
        self._project, self._text = project, text

    def observe(self, event: RunEvent) -> None:
        super().observe(event)
        if isinstance(event, BatchChosen) and len(self.batches) == 1:
            file = self._project.root / "tasks.yml"
            if self._text is None:
                file.unlink()
            else:
                file.write_text(file.read_text() + self._text)
            self._project.commit("by a person")


@pytest.mark.parametrize("text", ["  - {id: B}\n", None], ids=["broken", "gone"])
@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_plan_that_breaks_during_a_run_stops_it_once_what_had_started_has_landed(
    project: Project, schedule: str, text: str | None
) -> None:
    tasks: list[dict[str, Any]] = [
        {"id": "A", "do": ["sleep 0.5", "write a: a"]},
        {"id": "F", "do": ["fail once why", "write f: f"]},
        {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
    ]
    project.plan(tasks, schedule=schedule, max_concurrent=2)
    with pytest.raises(UsageProblem) as stopped:
        project.run(Breaks(project, text))
    assert stopped.value.exit_code == 2
    first, *_ = str(stopped.value).splitlines()
    assert first.startswith("tasks.yml")
    commit = project.git("rev-parse", "HEAD")[:10]
    assert f"with main at {commit}; what had finished has landed" in str(stopped.value)
    assert "continue with  fanin run" in str(stopped.value)
    assert project.git("show", "HEAD:a") == "a"
    assert project.records()["F"]["attempts"] >= 1
    state = project.runner().journal.state()
    assert (state.run, state.open, state.unrecorded) == (None, (), ())

    project.plan(tasks, schedule=schedule, max_concurrent=2)
    project.run()
    assert project.states() == dict.fromkeys("AFB", "completed")
    assert project.records()["F"]["attempts"] == 2
    assert began(project).count("A") == 1


BROKEN = "version: 1\ntasks:\n  - {id: A}\n"


def test_a_fix_that_is_not_committed_is_named_with_the_commit_that_was_read(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    valid = (project.root / "tasks.yml").read_text()
    project.write("tasks.yml", BROKEN)
    commit = project.commit()[:10]
    assert "read as committed" not in project.cli("run").stderr
    project.write("tasks.yml", valid)
    for command in (["run"], ["run", "--dry-run"], ["status"], ["retry", "A"]):
        refused = project.cli(*command)
        assert refused.returncode == 2
        assert "tasks.yml:3: " in refused.stderr
        assert f"tasks.yml is read as committed in {commit}; " in refused.stderr
        assert "the version in the work tree has no problem" in refused.stderr
        assert "git commit -m 'Fix the plan' tasks.yml" in refused.stderr
    project.write("tasks.yml", BROKEN + "  - {id: B}\n")
    refused = project.cli("run")
    assert "the version in the work tree has problems too" in refused.stderr


@pytest.mark.parametrize("answer", ["y", "n"])
def test_at_a_terminal_run_offers_to_commit_the_fix(
    project: Project, answer: str
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    valid = (project.root / "tasks.yml").read_text()
    project.write("tasks.yml", BROKEN)
    project.commit()
    project.write("tasks.yml", valid)
    project.write("staged", "mine\n")
    project.git("add", "staged")
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    child = subprocess.Popen(
        [sys.executable, "-m", "runner", "run"],
        cwd=project.root,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "FAKE_AGENT_LOG": str(project.log)},
    )
    os.close(theirs)
    reader = threading.Thread(target=drain, args=(ours,))
    reader.start()
    _, problem = child.communicate()
    reader.join()
    assert b"tasks.yml is read as committed in" in problem
    if answer == "y":
        assert child.returncode == 0, problem
        assert project.subjects()[:2] == ["A: do A", "Fix the plan"]
        assert project.git("diff", "--cached", "--name-only") == "staged"
    else:
        assert child.returncode == 2
        assert project.subjects()[0] == "change"


def drain(terminal: int) -> None:
    """Read what a program writes to its terminal, which would block it otherwise."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 4096):
            pass


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_commit_during_a_run_refuses_no_story_behind_one_in_review(
    project: Project, schedule: str
) -> None:
    stories = [f"1-{number}-story" for number in range(1, 7)]
    lines = [f"  {story}: ready-for-dev\n" for story in stories]
    project.write("sprint-status.yaml", "development_status:\n" + "".join(lines))
    for story in stories:
        project.write(f"{story}.md", "# Story\n\n## Story\n\nDo it.\n")
    commit = (
        f"git -C {project.root} {AS_PERSON} commit -q --allow-empty -m 'by a person'"
    )
    script = (
        f"echo $FANIN_TASK >>{project.root}/../tries; echo >$FANIN_TASK; "
        f"case $FANIN_TASK in 1-4-*) {commit} ;; esac"
    )
    settings = {
        "plan": {"path": "sprint-status.yaml", "source": "bmad"},
        "agent": {"command": ["sh", "-c", script]},
        "sandbox": "off",
        "schedule": schedule,
        "parallel": True,
        "max_concurrent": 2,
    }
    project.write("fanin.yml", json.dumps(settings))
    project.commit("plan")
    project.run()
    assert (project.root.parent / "tries").read_text().split() == stories
    assert "by a person" in project.subjects()
    assert set(project.states().values()) == {"completed"}
