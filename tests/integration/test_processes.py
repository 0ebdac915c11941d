"""Agents that behave as programs do on a bad day: ended on time, reported, cleaned up.

An agent that ignores SIGTERM, one that leaves a daemon, one that holds its output open,
and the bounded log are shown in test_isolation; a repository inside the repository in
test_isolation too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner.agents import process
from runner.agents.cookie import COOKIE, kill_by_cookie
from runner.policy.redaction import Secrets
from tests.integration.test_hostile import beside_good
from tests.support.crashes import ROOT
from tests.support.own_sleep import own_seconds, sleeps
from tests.support.project import Project

DOUBLE_FORK = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(3): os.close(fd)
        os.execvp("sleep", ["sleep", "SECONDS"])
    os._exit(0)
os.wait()
open("a", "w").write("x")
"""


@pytest.mark.parametrize("torn", ["", "a", "0123456789abcdef"])
def test_cookie_torn_by_a_crash_ends_nobody(torn: str) -> None:
    other = subprocess.Popen(
        ["sleep", "60"], env={"PATH": "/usr/bin:/bin", COOKIE: f"{torn:0<32}"}
    )
    try:
        # empty in the middle of exec
        while not Path(f"/proc/{other.pid}/environ").read_bytes():
            time.sleep(0.01)
        kill_by_cookie(torn)
        assert other.poll() is None
        kill_by_cookie(f"{torn:0<32}")
        assert other.wait(10) == -9
    finally:
        other.kill()
        other.wait()


def test_daemon_forked_twice_into_a_session_of_its_own_is_ended(
    project: Project,
) -> None:
    seconds = own_seconds()
    script = DOUBLE_FORK.replace("SECONDS", seconds)
    _, record = beside_good(project, f"exec {sys.executable} -c '{script}'")
    assert record["status"] == "completed"
    assert not sleeps(seconds)


# neither the group, nor the session, nor the environment says where it comes from
ESCAPED = "env -i setsid sh -c '(sleep {0} & sleep {0}) & exec sleep {0}' &"


def run_shell(folder: Path, script: str, **options: Any) -> process.Outcome:
    return process.run(
        ["sh", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        stdin=None,
        log=folder / "agent.log",
        **{"timeout": 60, **options},
    )


@pytest.mark.parametrize(
    ("then", "ended"),
    [("sleep 0.2", "exited"), ("sleep 60", "timeout"), ("exec sleep 60", "cancelled")],
)
def test_what_leaves_its_session_and_has_no_environment_is_ended(
    tmp_path: Path, then: str, ended: str
) -> None:
    cancel = threading.Event()
    if ended == "cancelled":
        threading.Timer(0.5, cancel.set).start()
    timeout = 0.5 if ended == "timeout" else 60
    seconds = own_seconds()
    script = f"{ESCAPED.format(seconds)} {then}"
    outcome = run_shell(tmp_path, script, timeout=timeout, cancel=cancel)
    assert outcome.end_reason == ended
    assert not sleeps(seconds)


def test_the_end_of_one_program_ends_nothing_of_another(tmp_path: Path) -> None:
    """Both leave a process without an environment, which only its own end ends."""
    (tmp_path / "other").mkdir()
    others, own = own_seconds(), own_seconds()
    wait = "touch started; until test -e goes-on; do sleep 0.05; done"
    script = f"env -i setsid sleep {others} & {wait}; kill -0 $!"
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(run_shell, tmp_path / "other", script)
        while not (tmp_path / "other" / "started").exists():
            time.sleep(0.01)
        run_shell(tmp_path, ESCAPED.format(own))
        assert not sleeps(own)
        (tmp_path / "other" / "goes-on").touch()
        assert other.result().exit_code == 0
    assert not sleeps(others)


def test_everything_ends_with_a_fanin_that_is_killed(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from runner.agents import process
folder = Path(sys.argv[1])
process.run(["sh", "-c", sys.argv[2]], cwd=folder, env={"PATH": os.environ["PATH"]},
            stdin=None, log=folder / "agent.log", timeout=60)
"""
    seconds = own_seconds()
    script = f"{ESCAPED.format(seconds)} touch started; sleep 60"
    argv = [sys.executable, "-c", code, str(tmp_path), script]
    fanin = subprocess.Popen(argv, cwd=ROOT)
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    fanin.kill()
    fanin.wait()
    while sleeps(seconds):
        time.sleep(0.01)


def test_a_program_ends_with_the_supervisor_that_it_kills(tmp_path: Path) -> None:
    seconds = own_seconds()
    script = f"kill -9 $PPID; exec sleep {seconds}"
    assert run_shell(tmp_path, script).exit_code == -9
    assert not sleeps(seconds)


@pytest.mark.parametrize(
    ("script", "exit_code"), [("exit 7", 7), ("kill -9 $$", -9), ("kill -SEGV $$", -11)]
)
def test_the_exit_of_a_program_is_told_as_it_was(
    tmp_path: Path, script: str, exit_code: int
) -> None:
    assert run_shell(tmp_path, script).exit_code == exit_code


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT"])
def test_a_signal_that_fanin_ignores_is_not_ignored_by_a_program(
    name: str, tmp_path: Path
) -> None:
    number = signal.Signals[f"SIG{name}"]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        outcome = run_shell(tmp_path, f"kill -{name} $$; echo ignored")
    finally:
        signal.signal(number, before)
    assert outcome.exit_code == -number


def test_a_program_is_given_its_environment_and_nothing_else(tmp_path: Path) -> None:
    run_shell(tmp_path, "exec env")
    names = {
        line.split("=")[0] for line in (tmp_path / "agent.log").read_text().split()
    }
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", COOKIE}


def test_a_process_that_is_found_in_the_middle_of_exec_is_ended(tmp_path: Path) -> None:
    """Its environment is empty then, and these are there most of the time."""
    cookie = "f" * 32
    again = tmp_path / "again"
    again.write_text('exec sh "$0"\n')
    env = {"PATH": os.environ["PATH"], COOKIE: cookie}
    started = [subprocess.Popen(["sh", str(again)], env=env) for _ in range(8)]
    try:
        kill_by_cookie(cookie)
        for each in started:
            assert each.wait(10) == -9
    finally:
        for each in started:
            each.kill()
            each.wait()


def test_agent_that_closes_its_streams_is_waited_for_and_still_ended_on_time(
    project: Project,
) -> None:
    seconds = own_seconds()
    script = f"exec <&- >&- 2>&-; echo x > a; exec sleep {seconds}"
    _, record = beside_good(project, script, timeout=1)
    assert record["error"]["kind"] == "timeout"
    assert not sleeps(seconds)


def test_agent_that_closes_its_streams_and_goes_on_is_not_cut_short(
    project: Project,
) -> None:
    _, record = beside_good(project, "exec <&- >&- 2>&-; sleep 0.5; echo x > a")
    assert record["status"] == "completed"


def test_a_log_has_at_once_what_the_program_has_printed(tmp_path: Path) -> None:
    key = "s3cret-value-of-a-key"
    script = (
        f"printf 'at work\\nkey: {key[:9]}'; until test -e half; do sleep 0.02; done; "
        f"printf '{key[9:]}\\n'; until test -e all; do sleep 0.02; done"
    )
    secrets = Secrets({key: "KEY"})
    log = tmp_path / "agent.log"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_shell, tmp_path, script, secrets=secrets)
        # The beginning of the key waits for what follows it.
        wait_for_text(log, "at work\nkey: ")
        (tmp_path / "half").touch()
        wait_for_text(log, "at work\nkey: ***\n")
        (tmp_path / "all").touch()
        assert running.result().tail == "at work\nkey: ***\n"


def wait_for_text(path: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.01)


def test_the_end_of_the_output_has_no_sequences_and_no_secret_between_them(
    tmp_path: Path,
) -> None:
    key = "s3cret-value-of-a-key"
    words = rf"\033[31mred\033[0m \033]0;title\007plain {key[:9]}\033[1m{key[9:]}"
    outcome = run_shell(tmp_path, f"printf '{words}'", secrets=Secrets({key: "KEY"}))
    assert outcome.tail == "red plain ***"


def test_a_log_that_cannot_be_written_ends_no_program(tmp_path: Path) -> None:
    (tmp_path / "agent.log").symlink_to("/dev/full")
    outcome = run_shell(tmp_path, "echo one; sleep 0.1; echo two")
    assert (outcome.exit_code, outcome.tail) == (0, "one\ntwo\n")
    assert outcome.log_error == "No space left on device"


def test_a_gigabyte_of_output_is_bounded_on_the_disk_and_in_memory(
    tmp_path: Path,
) -> None:
    """In a process of its own, whose peak memory is then told by the system."""
    script = """
import json, resource, sys
from pathlib import Path
from runner.agents import process
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
log = Path(sys.argv[1])
done = process.run(["head", "-c", "1000000000", "/dev/zero"], cwd=log.parent, env={"PATH": "/usr/bin:/bin"},
                   stdin=None, log=log, timeout=250)
print(json.dumps([done.exit_code, done.end_reason, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""
    log = tmp_path / "agent.log"
    told = subprocess.run(
        [sys.executable, "-c", script, str(log)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    code, ended, grown = json.loads(told)
    assert (code, ended) == (0, "exited")
    assert log.stat().st_size < 17 * 2**20
    assert grown < 64 * 2**10  # KiB


@pytest.mark.parametrize(
    "said",
    [r"\377\376\200 caf\351", "::error::boo", "::set-output name=x::y", r"\033[2J\000"],
)
def test_output_that_is_no_text_or_speaks_to_the_machine_is_only_a_log(
    project: Project, said: str
) -> None:
    seen, record = beside_good(project, f"printf '{said}\\n'; exit 1")
    assert record["error"]["kind"] == "agent_error"
    assert "\x1b" not in record["error"]["log_tail"]
    assert seen.results["BAD", 1].failure is not None


@pytest.mark.parametrize(
    "deed", ["rm -rf ../checkout", 'cd ..; rm -rf -- "$OLDPWD"; mkdir checkout']
)
def test_agent_that_deletes_its_checkout_fails_by_name(
    project: Project, deed: str
) -> None:
    _, record = beside_good(project, deed)
    assert record["status"] == "failed"
    assert project.git("ls-tree", "--name-only", "HEAD", "README.md") == "README.md"


def test_agent_that_deletes_the_git_folder_of_its_checkout_is_read_all_the_same(
    project: Project,
) -> None:
    _, record = beside_good(project, "rm -rf .git; echo x > a")
    assert record["status"] == "completed"


def test_merge_that_the_agent_left_in_progress_is_taken_as_the_tree_it_left(
    project: Project,
) -> None:
    script = (
        "git config user.email a@b; git config user.name a; git checkout -q -b side; echo one > f; git add f;"
        "git commit -qm one; git checkout -q -; echo two > f; git add f; git commit -qm two; git merge side; echo x > a"
    )
    _, record = beside_good(project, script)
    assert record["status"] == "completed"
    # the markers are what the agent left; verify is for that
    assert "<<<<<<<" in project.git("show", "HEAD:f")
    assert not (project.root / ".git" / "MERGE_HEAD").exists()


def test_very_many_small_files_are_refused_by_number_and_nothing_is_left(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    many = 'import os\nfor i in range(20000):\n    os.makedirs(f"d{i % 100}", exist_ok=True)\n'
    many += '    open(f"d{i % 100}/f{i}", "w").close()\n'
    _, record = beside_good(project, f"exec {sys.executable} -c '{many}'")
    assert (
        "20000 files changed, more than limits.files = 100"
        in record["error"]["message"]
    )
    assert list((tmp_path / "tmp").iterdir()) == []


def test_all_programs_are_ended_at_once_even_one_that_ignores_sigterm(
    tmp_path: Path,
) -> None:
    started, log = threading.Event(), tmp_path / "log"
    script = "import signal, time; signal.signal(15, 1); print('x', flush=True)"
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(
            process.run,
            [sys.executable, "-c", f"{script}; time.sleep(3600)"],
            cwd=tmp_path,
            env={},
            stdin=None,
            log=log,
            timeout=600,
            echo=lambda _: started.set(),
        )
        assert started.wait(30)
        process.end_all()
        outcome = ended.result(60)
    # nobody waited for it to end by itself
    assert (outcome.exit_code, outcome.end_reason) == (-9, "exited")
