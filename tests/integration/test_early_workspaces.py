"""Workspaces are prepared while verify runs, for the tasks that become ready if it is
green. No agent starts in one before, and nothing is left of the others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.attempt import capture, preparation, workspace_pool
from runner.attempt.context import AttemptContext
from runner.attempt.early_workspaces import EarlyWorkspace, EarlyWorkspaces, Preparation
from runner.attempt.pooled_workspaces import PooledWorkspaces
from runner.attempt.preparation import SetupCommand
from runner.attempt.slots import Slots
from runner.attempt.workspace_pool import WorkspacePool
from runner.repo.origin import origin_of
from runner.repo.repository import Repository
from tests.integration.test_crash import end, start, wait_until
from tests.support.own_sleep import own_seconds, sleeps
from tests.support.project import Project, Quiet
from tests.support.shell import until

BRANCH = "fanin/task-000"
SETUP = "mkdir tools && touch tools/made && pwd >> $SEEN"


@pytest.fixture(autouse=True)
def _any_set_up_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "SLOW_SETUP", -1.0)


@pytest.fixture
def seen(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file for what setup, agents and verify have to say; all that is made for a run
    is below `tmp` beside it.
    """
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    project.write(".gitignore", "tools/\n")
    return tmp_path / "seen"


def shell(task_id: str, command: str, **fields: Any) -> dict[str, Any]:
    return {"id": task_id, "agent": {"command": ["sh", "-c", command]}, **fields}


def plan(project: Project, seen: Path, verify: str, **settings: Any) -> None:
    """A, and B that needs it. Verify is for the tree with the work of A alone."""
    said = "echo agent $FANIN_TASK $PWD >> $SEEN; test -e tools/made"
    # not in the workspace for work that was red
    unlanded = "! git cat-file -e HEAD:a"
    project.plan(
        [
            shell(
                "A", f"{said} && {unlanded} && echo $FANIN_ATTEMPT > a", max_attempts=2
            ),
            shell("B", f"{said} && cp a b", depends_on=["A"], max_attempts=1),
        ],
        **{
            "schedule": "rolling",
            "max_concurrent": 2,
            "setup": SETUP,
            "verify": f"test -e a || exit 0; test ! -e b || exit 0; {verify}",
            "verify_retries": 0,
            "env": {"SEEN": str(seen)},
            **settings,
        },
    )


# the candidate is checked out for somebody else than verify
CHECKED_OUT = (
    "grep -qs $(git rev-parse HEAD) $TMPDIR/fanin-*/pooled-*/*/.git/packed-refs"
)
SET_UP = "grep -q early- $SEEN"


@pytest.mark.parametrize(
    ("workspaces", "prepared"), [("fresh", SET_UP), ("pooled", CHECKED_OUT)]
)
def test_a_workspace_is_prepared_before_verify_has_ended_and_its_agent_starts_after(
    project: Project, seen: Path, workspaces: str, prepared: str
) -> None:
    env = {"SEEN": str(seen), "TMPDIR": str(seen.parent / "tmp")}
    verify = f"{until(prepared)} && echo green >> $SEEN"
    plan(project, seen, verify, workspace=workspaces, env=env)
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    said = seen.read_text().splitlines()
    [place] = [line.split()[2] for line in said if line.startswith("agent B")]
    assert said.index("green") < said.index(f"agent B {place}")
    if workspaces == "fresh":
        # set up once, before verify was green
        assert said.count(place) == 1
        assert said.index(place) < said.index("green")
        [log] = project.root.glob(".git/fanin/runs/*/2/*/setup.log")
        assert log.exists()
    assert project.git("show", "HEAD:b") == "1"
    assert list((seen.parent / "tmp").iterdir()) == []
    project.git("fsck", "--strict")


def place_of(seen: Path, task_id: str) -> str:
    """Where the task's only agent was."""
    said = seen.read_text().splitlines()
    [place] = [line.split()[2] for line in said if line.startswith(f"agent {task_id}")]
    return place


def test_while_only_verify_runs_a_workspace_is_set_up_ahead_although_that_is_fast(
    project: Project, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "SLOW_SETUP", 1000.0)
    plan(project, seen, until(SET_UP), setup=f"{SETUP}; sleep 0.2")
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    assert "early-" in place_of(seen, "B")


def test_while_another_agent_works_no_workspace_is_set_up_ahead_if_that_is_fast(
    project: Project, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "SLOW_SETUP", 1000.0)
    said = "echo agent $FANIN_TASK $PWD >> $SEEN"
    b_works = until("grep -q 'agent B' $SEEN")
    project.plan(
        [
            shell("A", f"{said}; touch a"),
            shell("B", f"{said}; touch b", depends_on=["A"]),
            shell("C", f"{b_works}; touch c"),
        ],
        schedule="rolling",
        max_concurrent=3,
        setup=f"{SETUP}; sleep 0.2",
        verify="true",
        env={"SEEN": str(seen)},
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert "early-" not in place_of(seen, "B")


def test_without_set_up_a_large_checkout_is_made_while_only_verify_runs(
    project: Project, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "SLOW_SETUP", 1000.0)
    monkeypatch.setattr(workspace_pool, "_MIN_CHECKOUT_TIME", -1.0)
    monkeypatch.setattr(workspace_pool, "_MIN_FILES", 0)
    said = "echo agent $FANIN_TASK $PWD >> $SEEN"
    is_made = until("ls $TMPDIR/fanin-*/early-*-space/checkout/a")
    project.plan(
        [
            shell("A", f"{said}; touch a"),
            shell("B", f"{said}; cp a b", depends_on=["A"]),
        ],
        schedule="rolling",
        max_concurrent=2,
        verify=f"test -e a || exit 0; test ! -e b || exit 0; {is_made}",
        verify_retries=0,
        env={"SEEN": str(seen), "TMPDIR": str(seen.parent / "tmp")},
    )
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    assert "early-" in place_of(seen, "B")
    assert project.git("ls-tree", "--name-only", "HEAD", "b") == "b"
    assert list((seen.parent / "tmp").iterdir()) == []


@pytest.mark.parametrize("workspaces", ["fresh", "pooled"])
@pytest.mark.parametrize("first", ["green", "red"])
def test_a_person_commits_while_a_workspace_is_prepared(
    project: Project, seen: Path, first: str, workspaces: str
) -> None:
    go_on = seen.parent / "go-on"
    prepared = until(SET_UP if workspaces == "fresh" else CHECKED_OUT)
    verdict = "true" if first == "green" else "grep -q 2 a"
    told = f"touch $SEEN.prepared; {until(f'test -e {go_on}')}"
    env = {"SEEN": str(seen), "TMPDIR": str(seen.parent / "tmp")}
    # The first attempt of A alone is waited for.
    verify = f"grep -q 2 a || {{ {prepared} && {told}; }}; {verdict}"
    slow = f"{SETUP}; case $PWD in *early-*|*verify-*) ;; *) sleep 3.1;; esac"
    plan(project, seen, verify, workspace=workspaces, env=env, setup=slow)
    child = start(project)
    wait_until(seen.with_name("seen.prepared").exists)
    project.write("persons", "text\n")
    project.git("add", "persons")
    project.git("commit", "-qm", "by a person")
    go_on.touch()
    said = end(child)
    assert child.returncode == 0, said
    assert project.states() == {"A": "completed", "B": "completed"}
    attempts = {task: each["attempts"] for task, each in project.records().items()}
    assert attempts == {"A": 1 if first == "green" else 2, "B": 1}
    assert project.git("show", "HEAD:persons") == "text"
    # B has started from the work that was green
    assert project.git("show", "HEAD:b") == str(attempts["A"])
    assert project.git("status", "--porcelain") == ""
    assert project.git("for-each-ref", "refs/fanin/base") == ""
    assert list((seen.parent / "tmp").iterdir()) == []
    project.git("fsck", "--strict")


def test_within_walls_a_workspace_is_prepared_before_verify_has_ended(
    project: Project, seen: Path
) -> None:
    seen.touch()
    verify = f"{until(SET_UP)} && echo green >> $SEEN"
    plan(project, seen, verify, sandbox={"write": [str(seen)]})
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    said = seen.read_text().splitlines()
    [place] = [line.split()[2] for line in said if line.startswith("agent B")]
    assert said.count(place) == 1
    assert said.index(place) < said.index("green")


@pytest.mark.parametrize("workspaces", ["fresh", "pooled"])
def test_what_is_prepared_for_a_red_tree_is_given_up_and_costs_no_attempt(
    project: Project, seen: Path, workspaces: str
) -> None:
    # A's first attempt is red, once the workspace for B is prepared or being prepared.
    prepared = SET_UP if workspaces == "fresh" else "true"
    plan(project, seen, f"{until(prepared)}; grep -q 2 a", workspace=workspaces)
    observer = Quiet()
    project.run(observer)
    assert project.states() == {"A": "completed", "B": "completed"}
    records = project.records()
    assert records["A"]["attempts"] == 2
    assert records["B"]["attempts"] == 1
    said = seen.read_text().splitlines()
    started = [line.split()[1] for line in said if line.startswith("agent")]
    assert started == ["A", "A", "B"]
    assert project.git("show", "HEAD:b") == "2"
    assert list((seen.parent / "tmp").iterdir()) == []
    assert project.git("for-each-ref", "refs/fanin/base") == ""


def test_a_set_up_that_fails_early_is_repeated_by_the_attempt(
    project: Project, seen: Path
) -> None:
    setup = f"{SETUP}; case $PWD in *early-*) exit 1;; esac"
    plan(project, seen, until(SET_UP), setup=setup)
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    [place] = [
        line.split()[2]
        for line in seen.read_text().splitlines()
        if line.startswith("agent B")
    ]
    assert "early-" not in place


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_kill_leave_nothing_of_what_was_prepared(
    project: Project, seen: Path, ending: signal.Signals
) -> None:
    long = {name: own_seconds() for name in ("setup", "verify")}
    again = seen.parent / "again"
    waits = {name: f"test -e {again} || sleep {long[name]}" for name in long}
    # that of A is slow enough to be made in advance the next time
    slow = f"*verify-*) ;; *) test -e {again} || sleep 3.1;;"
    setup = f"{SETUP}; case $PWD in *early-*) {waits['setup']};; {slow} esac"
    plan(project, seen, waits["verify"], setup=setup)
    child = start(project)
    wait_until(lambda: seen.exists() and "early-" in seen.read_text())
    wait_until(lambda: all(map(sleeps, long.values())))
    child.send_signal(ending)
    end(child)
    again.touch()
    if ending is signal.SIGINT:
        assert not any(map(sleeps, long.values()))
        assert list((seen.parent / "tmp").iterdir()) == []
    project.run()
    assert not any(map(sleeps, long.values()))
    assert list((seen.parent / "tmp").iterdir()) == []
    assert project.states() == {"A": "completed", "B": "completed"}
    assert {task: each["attempts"] for task, each in project.records().items()} == {
        "A": 1,
        "B": 1,
    }


# -- one by one --


class Prepared:
    """Early workspaces of a commit that is in a quarantine of the project."""

    def __init__(self, project: Project, scratch: Path, *, pooled: bool) -> None:
        self.project = project
        self.origin = origin_of(project.root)
        self.slots = Slots()

        def tree_of(commit: str) -> str:
            return project.git("rev-parse", f"{commit}^{{tree}}")

        self.pool = WorkspacePool(self.origin, scratch, tree_of)
        self.source: WorkspacePool | PooledWorkspaces = self.pool
        if pooled:
            self.source = PooledWorkspaces(self.pool, scratch, "touch made")
        self.early = EarlyWorkspaces(
            self.source,
            self.origin,
            scratch,
            AttemptContext({"PATH": "/usr/bin:/bin"}, slots=self.slots),
            threads=2,
        )

    def wanted(self, commit: str) -> Preparation:
        return Preparation(commit, BRANCH, SetupCommand("touch made", 60.0), (), {})


@pytest.fixture(params=["fresh", "pooled"])
def prepared(
    request: pytest.FixtureRequest, project: Project, tmp_path: Path
) -> Iterator[Prepared]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = Prepared(project, scratch, pooled=request.param == "pooled")
    with made.pool:
        yield made
        made.early.close()
        if isinstance(made.source, PooledWorkspaces):
            made.source.__exit__(None, None, None)


def test_a_workspace_outlives_the_quarantine_that_its_commit_was_in(
    project: Project, prepared: Prepared, tmp_path: Path
) -> None:
    repo = Repository(project.root, os.environ)
    head = project.git("rev-parse", "HEAD")
    with repo.quarantine() as quarantine:
        blobs = {"new": quarantine.write_blob(b"new\n")}
        tree = quarantine.write_tree(repo.tree(head), blobs)
        commit = quarantine.commit_tree(tree, [head], "candidate")
        wanted = prepared.wanted(commit)
        prepared.early.prepare(wanted, quarantine.folder)
        early = prepared.early.claim(wanted)
        assert isinstance(early, EarlyWorkspace)
        early._done.result()
        quarantine.adopt([commit], [head])
    space = early.acquire(commit, tmp_path / "asked", BRANCH, early.slot.number)
    assert space.is_ready
    assert {file.name for file in space.checkout.iterdir()} >= {"new", "made"}
    git = ["git", "-C", str(space.checkout)]
    shown = subprocess.run(
        [*git, "show", "HEAD:new"], capture_output=True, text=True, check=True
    )
    assert (shown.stdout, shown.stderr) == ("new\n", "")
    (space.checkout / "new").write_text("changed\n")
    captured = capture.capture(space)
    assert captured.tree is not None
    early.release(tmp_path / "asked")
    early.slot.release()


def test_what_a_workspace_is_made_of_stays_until_it_is_made(
    project: Project, prepared: Prepared, tmp_path: Path
) -> None:
    commit, go_on = project.git("rev-parse", "HEAD"), tmp_path / "go-on"
    setup = SetupCommand(until(f"test -e {go_on}"), 60.0)
    wanted = Preparation(commit, BRANCH, setup, (), {})
    prepared.early.prepare(wanted, tmp_path / "no-objects")
    is_over = threading.Event()
    prepared.early.when_at_rest(is_over.set)
    early = prepared.early.claim(wanted)
    assert early is not None
    assert not is_over.is_set()
    go_on.touch()
    assert is_over.wait(60)
    assert early._done.done()
    again = threading.Event()
    prepared.early.when_at_rest(again.set)
    assert again.wait(60)
    early.give_up()


@pytest.mark.parametrize("path", ["new", "README.md", "made", ".git/config"])
def test_a_workspace_in_which_another_agent_wrote_is_not_used(
    project: Project, prepared: Prepared, tmp_path: Path, path: str
) -> None:
    commit = project.git("rev-parse", "HEAD")
    wanted = prepared.wanted(commit)
    prepared.early.prepare(wanted, tmp_path / "no-objects")
    early = prepared.early.claim(wanted)
    assert early is not None
    checkout = early._done.result().space.checkout
    (checkout / path).write_text("planted\n")
    slot = early.slot.number
    space = early.acquire(commit, tmp_path / "scratch" / "B", BRANCH, slot)
    file = space.checkout / path
    assert not file.exists() or "planted" not in file.read_text()
    early.release(tmp_path / "scratch" / "B")


def test_a_workspace_of_another_commit_is_not_given_and_is_removed(
    project: Project, prepared: Prepared, tmp_path: Path
) -> None:
    first = project.git("rev-parse", "HEAD")
    project.write("more", "more\n")
    second = project.commit("the head has moved")
    objects = tmp_path / "no-objects"
    objects.mkdir()
    prepared.early.prepare(prepared.wanted(first), objects)
    assert prepared.early.claim(prepared.wanted(second)) is None
    assert len(prepared.early) == 1
    prepared.early.keep([second])
    assert len(prepared.early) == 0
    assert prepared.early.claim(prepared.wanted(first)) is None
    prepared.early.close()
    assert prepared.slots.take().number == 0
    assert not list((tmp_path / "scratch").glob("early-*[0-9a-f]/cookie"))
