"""Ends that nobody planned: Ctrl-C, kill -9, a torn journal. Finished work survives and
runs once.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.core.errors import UsageProblem
from runner.core.event_lines import read_events
from runner.local.journal import Journal
from runner.repo.repository import Repository
from tests.support import crashes
from tests.support.crashes import Died, die_after
from tests.support.own_sleep import own_seconds, sleeps
from tests.support.project import Project, Quiet


def start(project: Project) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "runner", "run"],
        cwd=project.root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={
            **os.environ,
            "FAKE_AGENT_LOG": str(project.log),
            "PYTHONFAULTHANDLER": "1",
        },
        preexec_fn=_hear_ctrl_c,
    )


def _hear_ctrl_c() -> None:
    """A shell without job control gives its background jobs, the tests too, an ignored
    SIGINT, which fanin respects.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def began(project: Project) -> list[str]:
    lines = project.log.read_text().splitlines() if project.log.exists() else []
    return [json.loads(line)["task"] for line in lines if '"began"' in line]


def results(project: Project) -> list[Path]:
    return list((project.root / ".git" / "fanin" / "runs").glob("*/*/*/result.json"))


def end(child: subprocess.Popen[str]) -> str:
    """What it said until its end; where it stands, if it does not end."""
    try:
        output, _ = child.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGABRT)  # faulthandler writes every thread's stack
        output, _ = child.communicate()
        pytest.fail(output)
    return output


def test_ctrl_c_ends_the_agents_lands_what_had_finished_and_exits_130(
    project: Project,
) -> None:
    seconds = own_seconds()
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "do": [f"daemon {seconds}", "hang"]},
        ]
    )
    child = start(project)
    wait_until(lambda: len(results(project)) == 1 and len(began(project)) == 2)
    child.send_signal(signal.SIGINT)
    output = end(child)
    assert child.returncode == 130, output
    assert "■ B stopped; costs no attempt" in output
    assert "stopped: 1 landed, 1 will run again\ncontinue with  fanin run" in output
    # an interrupted attempt is not counted
    assert project.states() == {"A": "completed", "B": "pending"}
    assert (project.root / "a").exists()
    assert not sleeps(seconds)
    assert project.git("status", "--porcelain") == ""


def test_a_terminal_that_is_closed_ends_the_run_like_ctrl_c(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}, {"id": "B", "do": ["hang"]}])
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "runner", "run"],
        cwd=project.root,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "FAKE_AGENT_LOG": str(project.log), "TERM": "xterm"},
        preexec_fn=_own_terminal,
    )
    os.close(theirs)
    wait_until(lambda: len(results(project)) == 1 and len(began(project)) == 2)
    os.close(ours)
    child.wait(120)
    assert project.runner().journal.state().run is None  # it has ended what it began
    assert project.states() == {"A": "completed", "B": "pending"}
    assert (project.root / "a").exists()


def _own_terminal() -> None:
    """Only of its own controlling terminal does a program hear that it is gone."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_kill_9_then_a_new_run_lands_what_had_finished_without_running_it_again(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "do": ["sleep 1.5", "write b: b"]},
            {"id": "C", "depends_on": ["A"], "do": ["write c: c"]},
        ]
    )
    child = start(project)
    wait_until(lambda: len(results(project)) == 1 and len(began(project)) == 2)
    [log] = (project.root / ".git/fanin/runs").glob("*/events.jsonl")
    # The result is written before its event.
    wait_until(lambda: b'"attempt_ended"' in log.read_bytes())
    child.kill()
    end(child)
    logged = [event.event for event in read_events(log)]
    assert "attempt_ended" in logged
    assert "run_ended" not in logged
    seen = Quiet()
    project.run(seen)
    assert began(project).count("A") == 1
    assert project.states() == {"A": "completed", "B": "completed", "C": "completed"}
    # the attempt that died with the machine counts
    assert project.records()["B"]["attempts"] == 2
    assert any("did not end" in note for note in seen.notes)
    assert "no_result): fanin was killed while the attempt ran" in (
        project.cli("show", "B").stdout
    )
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
@pytest.mark.parametrize("phase", ["setup", "verify of the base"])
def test_a_kill_before_the_agent_starts_costs_no_attempt(
    project: Project, tmp_path: Path, schedule: str, phase: str
) -> None:
    waiting = tmp_path / "waiting"
    command = f"[ -e {waiting} ] || {{ touch {waiting}; sleep 60; }}"
    settings = {"setup" if phase == "setup" else "verify": command}
    project.plan(
        [{"id": "A", "do": ["write a: a"]}],
        schedule=schedule,
        sandbox="off",
        verify_base="check",
        **settings,
    )
    child = start(project)
    runs = project.root / ".git/fanin/runs"
    wait_until(lambda: waiting.exists() and any(runs.glob("*/1/*/attempt.json")))
    child.kill()
    end(child)
    project.run()
    assert project.states() == {"A": "completed"}
    assert project.records()["A"]["attempts"] == 1


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
@pytest.mark.parametrize("damage", ["empty", "gone"])
def test_what_a_power_failure_took_of_results_comes_back_from_the_journal(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schedule: str,
    damage: str,
) -> None:
    monkeypatch.setenv("FAKE_AGENT_LOG", str(project.log))
    project.plan([{"id": "A", "do": ["write a: a"]}], schedule=schedule)
    crashes.kill_at(project, "before objects", tmp_path / "steps", "run")
    git_dir = project.root / ".git"
    # only the journal had an fsync
    for folder in git_dir.glob("fanin/runs/*/1"):
        if damage == "gone":
            shutil.rmtree(folder)
            continue
        for file in (folder / "manifest.json", *folder.glob("results/*/*")):
            file.write_bytes(b"")
    for ref in git_dir.glob("refs/fanin/base/*"):
        ref.write_bytes(b"")
    project.run()
    assert project.states() == {"A": "completed"}
    assert project.records()["A"]["attempts"] == 1
    assert len(began(project)) == 1
    assert not list(git_dir.glob("refs/fanin/base/*"))


@pytest.mark.parametrize("event", ["landing", "batch"])
def test_kill_between_the_journal_line_and_the_deed_is_made_good(
    project: Project, event: str
) -> None:
    project.write("shop.py", "one\n")
    project.plan([{"id": "A", "do": ["replace shop.py: one -> two", "write new: new"]}])
    die_after(project.runner(), event)
    # a fast-forward killed in the middle: new files, the old HEAD, and a lock
    if event == "landing":
        project.write("shop.py", "two\n")
        project.write("new", "new\n")
        (project.root / ".git" / "index.lock").touch()
    project.run()
    assert project.states() == {"A": "completed"}
    assert (project.root / "shop.py").read_text() == "two\n"
    assert project.git("status", "--porcelain") == ""
    assert len(began(project)) == 1
    assert project.subjects().count("A: do A") == 1


def test_object_that_was_being_written_is_not_left_among_the_others(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, before = (
        Repository(project.root, os.environ),
        set((project.root / ".git" / "objects").rglob("*")),
    )

    def die(_fd: int) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", die)
        with pytest.raises(Died):
            repo.commit_tree(
                repo.tree("HEAD"), [project.git("rev-parse", "HEAD")], "told\n"
            )
    assert not [
        path
        for path in set((project.root / ".git" / "objects").rglob("*")) - before
        if path.is_file()
    ]
    Journal(repo.git_dir).sweep()
    assert not list((repo.git_dir / "fanin").iterdir())


def test_landing_whose_commit_was_collected_since_is_done_over_again(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    die_after(project.runner(), "landing")
    project.git("gc", "-q", "--prune=now")
    project.run()
    assert project.states() == {"A": "completed"}
    assert began(project) == ["A"]


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_batch_that_was_chosen_while_work_waited_lands_where_that_work_has_landed(
    project: Project, schedule: str
) -> None:
    needs = {"A": [], "B": ["A"], "C": ["B"]}
    chain = [
        {"id": task, "depends_on": ids, "do": [f"write {task}: x"]}
        for task, ids in needs.items()
    ]
    project.plan(chain, schedule=schedule, max_concurrent=1)
    project.write("A", "precious\n")
    die_after(project.runner(), "landing", 2)  # of B, on the branch where A waits
    with pytest.raises(UsageProblem, match="finished work waits"):
        project.run()
    (project.root / "A").unlink()
    project.run()
    assert project.states("main") == dict.fromkeys("ABC", "completed")
    assert (project.root / "C").exists()
    assert began(project) == ["A", "B", "C"]


def test_work_of_a_dead_run_that_must_wait_does_not_take_the_next_run_with_it(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("branch", "other")
    project.write("a", "precious\n")
    die_after(project.runner(), "landing")
    seen = Quiet()
    ended = project.run(seen, branch="other")
    assert (ended.branch, ended.waiting_branch) == ("other", None)
    assert project.states("other") == {"A": "completed"}
    [waiting] = project.runner().journal.state().waiting
    assert waiting.target == "main"
    assert project.states(waiting.branch) == {"A": "completed"}
    assert any(f"continuing on {waiting.branch}." in note for note in seen.notes)
    assert f"finished work waits on {waiting.branch};" in project.cli("status").stdout


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_work_of_a_dead_run_whose_branch_is_gone_lands_on_the_branch_of_the_next_run(
    project: Project, schedule: str
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ],
        schedule=schedule,
    )
    project.git("switch", "-q", "-c", "feature")
    die_after(project.runner(), "landing")
    project.git("switch", "-q", "main")
    project.git("branch", "-q", "-D", "feature")
    seen = Quiet()
    assert project.run(seen).branch == "main"
    assert any("the branch feature is gone" in note for note in seen.notes)
    assert project.states("main") == {"A": "completed", "B": "completed"}
    assert began(project) == ["A", "B"]


def test_work_of_a_dead_run_whose_branch_is_gone_is_kept_if_the_plan_is_another(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("switch", "-q", "-c", "feature")
    die_after(project.runner(), "landing")
    project.git("switch", "-q", "main")
    project.git("branch", "-q", "-D", "feature")
    project.plan([{"id": "A", "do": ["write other: a"]}])
    project.run()
    assert project.states("main") == {"A": "completed"}
    assert (project.root / "other").exists()
    assert not (project.root / "a").exists()
    kept = project.git("for-each-ref", "--format=%(refname)", "refs/fanin/kept")
    assert "a" in project.git("ls-tree", "--name-only", kept).splitlines()


def test_torn_journal_line_is_passed_over(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    folder = project.root / ".git" / "fanin"
    folder.mkdir()
    (folder / "journal.jsonl").write_bytes(b'{"event": "run", "run": "x", "bra')
    project.run()
    assert project.states() == {"A": "completed"}


def test_unreadable_progress_stops_with_exit_2_and_is_not_overwritten(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.write(".fanin/progress.json", "{ not json")
    project.commit()
    shown = project.cli("run")
    assert shown.returncode == 2
    assert ".fanin/progress.json" in shown.stderr
    assert (project.root / ".fanin" / "progress.json").read_text() == "{ not json"
