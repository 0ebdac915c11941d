"""What somebody else changes in the repository during a run is named with the attempts
that ran meanwhile; an agent's commit is not built on before a person has decided.
"""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.errors import DecisionNeeded, EnvironmentBroken, GitFailed
from runner.core.events import CheckoutChanged
from runner.core.outside_changes import OutsideChange
from runner.local import checkout_changes
from runner.local.run import Answers
from runner.repo import work_tree
from runner.repo.checkout_state import CheckoutFiles, CheckoutState
from tests.support.project import Project, Quiet

# What an agent does in the repository itself, $0 → (part, names) as the run tells it.
CHANGES = {
    "BRANCH": ('git -C "$0" branch evil', ("branch", ("evil",))),
    "TAG": ('git -C "$0" tag evil', ("ref", ("refs/tags/evil",))),
    "CONFIG": (
        'git -C "$0" config core.fsmonitor false; echo "*.x" >>"$0/.git/info/exclude"',
        ("configuration", ("core.fsmonitor", "info/exclude")),
    ),
    "HOOK": (
        'printf "#!/bin/sh\\n" >"$0/.git/hooks/post-merge"',
        ("hooks", ("post-merge",)),
    ),
    "STAGED": (
        'echo x >"$0/staged"; git -C "$0" add staged',
        ("files", ("staged",)),
    ),
    "STASH": ('git -C "$0" stash -q', ("stash", ())),
    "EDIT": ('echo edited >"$0/README.md"', ("files", ("README.md",))),
    "COMMIT": (
        'git -C "$0" -c user.name=Ann commit -qm "in passing" --allow-empty',
        ("branch", ("main",)),
    ),
    "HEAD": ('git -C "$0" checkout -q evil', ("head", ())),
}


@pytest.fixture
def project(project: Project) -> Project:
    """One with an identity in its configuration: agents are not given that of the tests."""
    project.set_identity()
    return project


def agent(project: Project, script: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", script, str(project.root)]}


def changed(observer: Quiet) -> list[CheckoutChanged]:
    return [each for each in observer.events if isinstance(each, CheckoutChanged)]


def changes_by_task(observer: Quiet) -> dict[str, list[OutsideChange]]:
    by_task: dict[str, list[OutsideChange]] = {}
    for event in changed(observer):
        for attempt in event.attempts:
            by_task.setdefault(attempt.task, []).extend(event.changes)
    return by_task


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_each_change_beside_a_run_is_named_with_the_attempt_that_ran_meanwhile(
    project: Project, schedule: str
) -> None:
    tasks = []
    landed = "README.md"
    for task_id, (script, _) in CHANGES.items():
        # A landing locks the index, which git of an agent does not wait for.
        seen = f'git -C "$0" cat-file -e main:{landed} 2>&-'
        wait = f"until {seen}; do sleep 0.02; done"
        landed = f"own-{task_id}"
        own = f"echo {task_id} >{landed}"
        tasks.append(
            {"id": task_id, "agent": agent(project, f"{wait}; {script}; {own}")}
        )
    project.plan(tasks, schedule=schedule, max_concurrent=1)
    project.run(observer := Quiet())
    assert set(project.states("main").values()) == {"completed"}
    by_task = changes_by_task(observer)
    for task_id, (_, expected) in CHANGES.items():
        told = [(change.part, change.names) for change in by_task[task_id]]
        assert expected in told, task_id
    (moved,) = [each for each in by_task["COMMIT"] if each.part == "branch"]
    assert [commit.subject for commit in moved.commits] == ["in passing"]
    assert moved.commits[0].author.startswith("Ann <")
    # The next commit's message says so.
    messages = project.git("log", "--format=%B", "main")
    assert "beside this run: evil was created at" in messages
    assert "“in passing” by Ann" in messages
    assert messages.count("beside this run: evil was created") == 1


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_what_fanin_itself_does_is_not_reported(
    project: Project, schedule: str
) -> None:
    project.git("pack-refs", "--all")
    project.plan(
        [
            {"id": "A", "do": ["write a: a", "commit in its own checkout"]},
            {"id": "B", "do": ["write a: b"]},
            {"id": "C", "do": ["write c: c", "fail late"], "max_attempts": 2},
            {"id": "D", "depends_on": ["A"], "do": ["write d: d"]},
        ],
        schedule=schedule,
        max_concurrent=2,
        verify="true",
    )
    project.run(observer := Quiet())
    assert project.states()["D"] == "completed"
    assert changed(observer) == []


# Each commits on the branch of the repository, as a person's program would.
AS_AGENT = 'git -C "$0" -c user.name="fanin agent" -c user.email=fanin@users.noreply.github.com'
DOUBTFUL = {
    "its identity": (
        f"{AS_AGENT} commit -qm sly --allow-empty; echo a >a",
        "has the identity of fanin's agents",
    ),
    "its work": (
        'echo a | tee a >"$0/a"; git -C "$0" add a; git -C "$0" commit -qm sly',
        "has a as A made it",
    ),
    "nothing else": (
        'echo a >"$0/a"; git -C "$0" add a; git -C "$0" commit -qm sly',
        "changes a, and A left no change",
    ),
}


@pytest.mark.parametrize(
    ("how", "schedule", "decision"),
    [
        ("its identity", "batch", "reset"),
        ("its identity", "rolling", "trust"),
        ("its work", "batch", "trust"),
        ("its work", "rolling", "reset"),
        ("nothing else", "batch", "reset"),
        ("nothing else", "rolling", "trust"),
    ],
)
def test_an_agents_commit_on_the_branch_stops_the_run_until_a_person_decides(
    project: Project, how: str, schedule: str, decision: str
) -> None:
    script, reason = DOUBTFUL[how]
    task = {"id": "A", "files": ["a"], "agent": agent(project, script)}
    project.plan([task], schedule=schedule, max_attempts=1)
    before = project.git("rev-parse", "HEAD")
    for _ in range(2):
        with pytest.raises(DecisionNeeded, match=reason) as raised:
            project.run()
        assert raised.value.exit_code == 4
        assert project.subjects()[0] == "sly"
    doubtful = project.git("rev-parse", "HEAD")
    if decision == "reset":
        project.git("reset", "-q", "--keep", before)
        project.run()
    else:
        project.runner(answers=Answers([doubtful[:10]]))()
        assert doubtful in project.git("rev-list", "HEAD").split()
    expected = "failed" if how == "nothing else" else "completed"
    assert project.states() == {"A": expected}
    assert (decision == "trust") == ("sly" in project.subjects())


# What an agent plants beside its commit, so that git fails at another branch.
_MAKE_COMMIT = "hash-object -w -t commit --literally --stdin"
UNREADABLE = {
    "no parent": (
        'git -C "$0" cat-file commit HEAD | sed "1aparent $(printf %040d 7)" | '
        f'git -C "$0" {_MAKE_COMMIT} >"$0/.git/refs/heads/a"'
    ),
    "no commit's text": (
        f'echo x | git -C "$0" {_MAKE_COMMIT} >"$0/.git/refs/heads/a"'
    ),
    "no object": 'printf "%040d\\n" 7 >"$0/.git/refs/heads/a"',
    "no name of an object": 'echo x >"$0/.git/refs/heads/a"',
}


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_branch_that_git_cannot_read_hides_no_commit_on_another(
    project: Project, how: str
) -> None:
    script = f"{UNREADABLE[how]}; {DOUBTFUL['its identity'][0]}"
    task = {"id": "A", "files": ["a"], "agent": agent(project, script)}
    project.plan([task], max_attempts=1)
    with pytest.raises(DecisionNeeded, match=DOUBTFUL["its identity"][1]):
        project.run()
    assert project.subjects()[0] == "sly"


def test_an_agents_commit_with_a_parent_that_does_not_exist_stops_the_run(
    project: Project,
) -> None:
    script = (
        f"{DOUBTFUL['its identity'][0]}; {UNREADABLE['no parent']}; "
        'git -C "$0" update-ref refs/heads/main $(cat "$0/.git/refs/heads/a")'
    )
    task = {"id": "A", "files": ["a"], "agent": agent(project, script)}
    project.plan([task], max_attempts=1)
    with pytest.raises(DecisionNeeded, match=DOUBTFUL["its identity"][1]):
        project.run()


def test_a_commit_of_a_person_is_built_on(project: Project) -> None:
    script = 'echo p >"$0/p"; git -C "$0" add p; git -C "$0" commit -qm mine; echo a >a'
    project.plan([{"id": "A", "files": ["a"], "agent": agent(project, script)}])
    done = project.cli("run")
    assert done.returncode == 0, done.stderr
    assert project.subjects()[:2] == ["A: do A", "mine"]
    text = " ".join(done.stdout.split())
    # while it happens, and at the end
    assert text.count("changed beside this run: main moved to") == 2
    assert text.count("(meanwhile ran A)") == 2


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
@pytest.mark.parametrize("path", ["info/exclude", "info/attributes", "packed-refs"])
def test_a_pipe_at_which_git_would_wait_ends_the_run_and_loses_nothing(
    project: Project, path: str, schedule: str
) -> None:
    pipe = project.root / ".git" / path
    script = f'mkfifo "$0/.git/pipe" && mv "$0/.git/pipe" "$0/.git/{path}"; echo x >own'
    project.plan([{"id": "A", "agent": agent(project, script)}], schedule=schedule)
    with pytest.raises(
        EnvironmentBroken, match=f"not a regular file: .*{path}"
    ) as told:
        project.run()
    assert "remove it, then run again" in told.value.advice
    pipe.unlink()
    project.run()
    assert project.states("main") == {"A": "completed"}
    assert project.records("main")["A"]["attempts"] == 1


def test_a_change_whose_reading_failed_is_named_by_the_next_look(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failures = CheckoutFiles.read, iter([True])

    def fails_once(self: CheckoutFiles, *of: Any) -> CheckoutState:
        is_look = of[-1] != CheckoutState()
        if is_look and next(failures, False):
            raise GitFailed(["for-each-ref"], 128, "interrupted")
        return read(self, *of)

    monkeypatch.setattr(CheckoutFiles, "read", fails_once)
    script = 'git -C "$0" tag evil; echo x >own'
    project.plan([{"id": "A", "agent": agent(project, script)}])
    project.run(observer := Quiet())
    assert any("interrupted" in note for note in observer.notes)
    told = [(each.part, each.names) for each in changes_by_task(observer)["A"]]
    assert told == [("ref", ("refs/tags/evil",))]


def test_a_change_of_which_git_could_not_tell_all_is_named_by_the_next_look(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_changes, failures = checkout_changes.other_changes, iter([True])

    def fails_once(*of: Any) -> list[OutsideChange]:
        if next(failures, False):
            raise GitFailed(["config"], 128, "interrupted")
        return other_changes(*of)

    monkeypatch.setattr(checkout_changes, "other_changes", fails_once)
    script, reason = DOUBTFUL["its identity"]
    task = {"id": "A", "files": ["a"], "agent": agent(project, script)}
    project.plan([task], max_attempts=1)
    with pytest.raises(DecisionNeeded, match=reason):
        project.run(observer := Quiet())
    assert any("interrupted" in note for note in observer.notes)
    assert [each.part for each in changes_by_task(observer)["A"]] == ["branch"]


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_pipe_as_attributes_in_the_work_tree_ends_the_run_before_it_lands(
    project: Project, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_tree, "STATUS_SECONDS", 1.0)
    script = 'mkfifo "$0/.gitattributes"; echo x >own'
    project.plan([{"id": "A", "agent": agent(project, script)}], schedule=schedule)
    with pytest.raises(EnvironmentBroken, match=r"not a regular file: .*gitattributes"):
        project.run()
    (project.root / ".gitattributes").unlink()
    project.run()
    assert project.states("main") == {"A": "completed"}
    assert project.records("main")["A"]["attempts"] == 1
