"""`fanin log`, `diff` and `kept` during a run, after it, and from another work tree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.project import Project

_LOGS = "*/1/*/agent.log"
_ESCAPE = "\x1b]0;title\x07\x1b[31mred\x1b[0m \u202eover"

_HOSTILE = f"print({_ESCAPE!a}); open('c', 'w').write('c\\n')"


@pytest.fixture
def ended(project: Project) -> Project:
    """A has landed with B, C has failed in verify after it printed something hostile."""
    project.plan(
        [
            {"id": "A", "do": ["print first", "write a: a"]},
            {"id": "B", "do": ["write b: b"]},
            {
                "id": "C",
                "agent": {"command": [sys.executable, "-c", _HOSTILE]},
                "verify": "echo wrong; false",
            },
            {"id": "D", "depends_on": ["C"], "do": ["write d: d"]},
        ],
        max_attempts=1,
    )
    project.run()
    return project


def test_log_diff_and_kept_after_a_run(ended: Project) -> None:
    assert ended.cli("log", "A").stdout == "first\n"
    diff = ended.cli("diff", "A").stdout
    assert "+a\n" in diff
    assert "b/b" not in diff  # B landed with the same commit
    assert "--- /dev/null\n+++ b/c\n" in ended.cli("diff", "C").stdout
    other = ended.root.parent / "other"
    ended.git("worktree", "add", "-q", "--detach", str(other))
    listed = ended.cli("-C", str(other), "kept", "--json")
    report = json.loads(listed.stdout)
    [row] = report["kept"]
    assert (row["task"], row["attempt"]) == ("C", 1)
    assert ended.git(*row["look"].split()[1:]).count("+c") == 1
    ended.git(*row["take"].split()[1:])
    assert (ended.root / "c").read_text() == "c\n"
    assert f"look:  {row['look']}" in ended.cli("kept").stdout
    assert ended.cli("-C", str(other), "log", "A").stdout == "first\n"


def test_a_log_that_is_there_is_printed_whatever_has_become_of_the_plan(
    ended: Project,
) -> None:
    ended.write("tasks.yml", "tasks: [\n")
    ended.commit("a plan that cannot be read")
    assert ended.cli("log", "A").stdout == "first\n"
    missing = ended.cli("log", "A", "--attempt", "2")
    assert missing.returncode == 2
    assert "not valid YAML" in missing.stderr


def test_show_tells_everything_of_a_task(ended: Project) -> None:
    report = json.loads(ended.cli("show", "C", "--json").stdout)
    assert (report["state"], report["attempt_count"]) == ("failed", 1)
    [attempt] = report["attempts"]
    assert (attempt["state"], attempt["failure"]["kind"]) == ("failed", "verify")
    assert Path(attempt["log"]).read_text() == f"{_ESCAPE}\n"
    assert [work["ref"] for work in report["kept"]] == [attempt["kept"]]
    status = json.loads(ended.cli("status", "--json").stdout)
    [row] = [task for task in status["tasks"] if task["id"] == "C"]
    assert (row["log"], row["kept"]) == (attempt["log"], attempt["kept"])
    assert (row["failure"], row["phase"], row["elapsed"]) == ("verify", None, None)
    assert row["seconds"] >= 0
    assert (status["run"]["active"], status["run"]["branch"]) == (False, "main")
    shown = ended.cli("show", "C").stdout
    assert "attempt 1: failed" in shown
    assert "\n    │ wrong\n" in shown
    assert f"log: {attempt['log']}" in shown
    assert "\x1b" not in shown
    landed = ended.cli("show", "A").stdout
    assert "state: completed\nlanded with: " in landed
    assert landed.endswith("prompt:\n  print first\n  write a: a\n")
    assert "depends on: C (failed)" in ended.cli("show", "D").stdout
    unknown = ended.cli("show", "AA")
    assert (unknown.returncode, unknown.stdout) == (2, "")


def test_a_log_is_cleaned_unless_it_is_asked_for_raw(ended: Project) -> None:
    assert ended.cli("log", "C").stdout == "red \ufffdover\n"
    assert ended.cli("log", "C", "--raw").stdout == f"{_ESCAPE}\n"


def test_what_there_is_nothing_of_is_said_with_exit_code_2(ended: Project) -> None:
    for argv, said in (
        (["log", "AA"], "did you mean A?"),
        (["log", "D"], "D has not started yet"),
        (["log", "A", "--attempt", "2"], "attempts with a log: 1"),
        (["diff", "D"], "D has changed nothing yet"),
        (["kept", "prune"], "nothing says what to delete"),
        (["kept", "prune", "A"], "no work of A is kept"),
        (["kept", "prune", "--older-than", "old"], "is no age"),
    ):
        done = ended.cli(*argv)
        assert (done.returncode, done.stdout) == (2, ""), argv
        assert said in done.stderr


def test_prune_deletes_what_meets_every_condition(ended: Project) -> None:
    assert ended.cli("kept", "prune", "--landed").stdout == "nothing to delete\n"
    older = ended.cli("kept", "prune", "C", "--older-than", "30d")
    assert older.stdout == "nothing to delete\n"
    assert ended.cli("kept", "prune", "C").stdout.startswith(
        "deleted refs/fanin/kept/C"
    )
    assert ended.cli("kept").stdout.startswith("no work is kept")


def test_no_program_of_the_repository_is_run(ended: Project) -> None:
    ran = ended.root.parent / "ran"
    for key in ("diff.external", "core.pager", "pager.diff", "diff.evil.textconv"):
        ended.git("config", key, f"touch {ran};")
    ended.git("config", "diff.evil.command", f"touch {ran};")
    (ended.root / ".git/info/attributes").write_text("* diff=evil\n")
    assert "+a\n" in ended.cli("diff", "A").stdout
    assert "+c\n" in ended.cli("diff", "C").stdout
    assert not ran.exists()


def test_logs_of_downloaded_artifacts_are_read(ended: Project, tmp_path: Path) -> None:
    results = next((ended.root / ".git/fanin/runs").glob("*/1"))
    downloaded = tmp_path / "downloaded"
    downloaded.mkdir()
    for folder in results.glob("0*"):
        folder.rename(downloaded / f"fanin-1.1-{folder.name}-a1-r1")
    read = ended.cli("log", "A", "--from", str(downloaded))
    assert read.stdout == "first\n"
    for log in downloaded.glob("*/agent.log"):
        log.unlink()
        log.symlink_to("/etc/passwd")
    assert ended.cli("log", "A", "--from", str(downloaded)).returncode == 2
    unknown = ended.cli("log", "AA", "--from", str(downloaded))
    assert "did you mean A?" in unknown.stderr


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")


@pytest.mark.parametrize("flags", [[], ["--follow"]])
def test_an_attempt_whose_agent_did_not_start_says_why_it_has_no_log(
    project: Project, flags: list[str]
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}], setup="echo no such tool; false")
    project.run()
    missing = project.cli("log", "A", *flags)
    assert missing.returncode == 2
    assert "attempt 1 of A has no log: setup failed (exit status 1)" in missing.stderr
    assert "fanin show A  has the whole reason" in missing.stderr
    assert "no such tool" in project.cli("show", "A").stdout


def test_a_log_that_somebody_deleted_is_said_to_be_deleted(ended: Project) -> None:
    for log in (ended.root / ".git/fanin/runs").glob(_LOGS):
        log.unlink()
    assert "it may have been deleted" in ended.cli("log", "A").stderr


def test_the_log_of_an_agent_that_has_not_started_yet(
    project: Project, tmp_path: Path
) -> None:
    go_on = tmp_path / "go on"
    project.plan(
        [{"id": "A", "do": ["write a: a"]}],
        setup=f"until [ -e {str(go_on)!r} ]; do sleep 0.1; done",
        sandbox="off",
    )
    run = subprocess.Popen([sys.executable, "-m", "runner", "run"], cwd=project.root)
    _wait_until(lambda: any((project.root / ".git/fanin/runs").glob("*/1/*/setup.log")))
    early = project.cli("log", "A")
    assert "the agent of attempt 1 of A has not started yet" in early.stderr
    assert "fanin log A -f  waits for it" in early.stderr
    run.kill()
    run.wait()
    ended = project.cli("log", "A")
    assert "attempt 1 of A was interrupted before its agent started" in ended.stderr
    go_on.touch()


def test_during_a_run_a_log_is_followed_and_finished_work_is_shown(
    project: Project,
) -> None:
    go_on = project.root.parent / "go-on"
    waits = (
        "import os, time\n"
        "print('begun', flush=True)\n"
        f"while not os.path.exists({str(go_on)!r}): time.sleep(0.02)\n"
        "print('done', flush=True)\n"
        "open('b', 'w').write('b')\n"
    )
    agent = {"command": [sys.executable, "-c", waits]}
    project.plan([{"id": "A", "do": ["write a: a"]}, {"id": "B", "agent": agent}])
    environ = {**os.environ, "FAKE_AGENT_LOG": str(project.log)}
    command = [sys.executable, "-m", "runner"]
    running = subprocess.Popen(
        [*command, "run"], cwd=project.root, env=environ, stdout=subprocess.DEVNULL
    )
    runs = project.root / ".git/fanin/runs"
    _wait_until(lambda: bool(list(runs.glob("*/1/*/result.json"))))
    output = project.root.parent / "followed"
    with output.open("w") as stream:
        followed = subprocess.Popen(
            [*command, "log", "B", "-f"], cwd=project.root, stdout=stream
        )
        stopped = subprocess.Popen(
            [*command, "log", "B", "--follow"],
            cwd=project.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    _wait_until(lambda: output.read_text() == "begun\n")
    assert stopped.stdout is not None
    assert stopped.stdout.readline() == b"begun\n"
    stopped.send_signal(signal.SIGINT)
    assert stopped.communicate() == (b"", b"")
    assert stopped.returncode == 130
    finished = project.cli("diff", "A")
    assert "+a\n" in finished.stdout
    assert finished.stderr == "A: attempt 1, finished, not landed\n"
    status = json.loads(project.cli("status", "--json").stdout)
    tasks = status["tasks"]
    assert status["run"]["active"]
    assert [task["phase"] for task in tasks] == [None, "working"]
    assert [task["elapsed"] is None for task in tasks] == [True, False]
    assert Path(tasks[1]["log"]).read_text() == "begun\n"
    states = [(task["state"], task["reason"]) for task in tasks]
    done = "attempt 1: its agent is done; its work has not landed yet"
    assert states == [("finished", done), ("in_progress", "attempt 1: working")]
    assert "B is at work" in project.cli("diff", "B").stderr
    other = project.root.with_name("other")
    project.git("worktree", "add", "-q", "-b", "other", str(other))
    elsewhere = project.cli("-C", str(other), "status").stdout
    shown = "a run is at work for main; to see it:  fanin status --branch main\n"
    assert elsewhere.endswith(f"2 ready\n{shown}")
    assert shown not in project.cli("status").stdout
    go_on.touch()
    assert followed.wait() == 0
    assert output.read_text() == "begun\ndone\n"
    assert running.wait() == 0


def test_after_a_run_was_killed_nothing_is_said_to_be_in_progress(
    project: Project,
) -> None:
    go_on = project.root.parent / "go-on"
    waits = (
        "import os, time\n"
        "print('begun', flush=True)\n"
        f"while not os.path.exists({str(go_on)!r}): time.sleep(0.02)\n"
    )
    agent = {"command": [sys.executable, "-c", waits]}
    project.plan([{"id": "A", "agent": agent}, {"id": "B", "depends_on": ["A"]}])
    command = [sys.executable, "-m", "runner"]
    running = subprocess.Popen(
        [*command, "run"], cwd=project.root, stdout=subprocess.DEVNULL
    )
    runs = project.root / ".git/fanin/runs"
    _wait_until(lambda: any(log.stat().st_size for log in runs.glob(_LOGS)))
    watched = subprocess.Popen(
        [*command, "status", "--watch"], cwd=project.root, stdout=subprocess.PIPE
    )
    assert watched.stdout is not None
    assert b" A in_progress: attempt 1" in watched.stdout.readline()
    assert b" B pending" in watched.stdout.readline()
    running.kill()
    running.wait()
    while b" A interrupted: attempt 1: its run was killed" not in (
        line := watched.stdout.readline()
    ):
        assert line
    watched.send_signal(signal.SIGINT)
    assert watched.wait() == 130
    watched.stdout.close()
    assert "1 interrupted, 1 pending" in project.cli("status").stdout
    go_on.touch()
