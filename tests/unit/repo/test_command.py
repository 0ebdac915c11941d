"""Git is started in the folder and with the files of the caller, and ended in time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import pytest

from runner.core.errors import (
    EnvironmentBroken,
    GitFailed,
    GitStopped,
    UsageProblem,
)
from runner.repo import command
from runner.repo.command import Git, isolated_git

# more than a pipe takes at once
MANY = 2**17


@pytest.fixture
def git(tmp_path: Path) -> Git:
    repository = isolated_git(tmp_path)
    repository.run(["init", "-q"])
    return repository


@pytest.mark.parametrize(
    ("variable", "path", "message"),
    [
        ("GIT_PYTHON_GIT_EXECUTABLE=/nowhere", None, ""),
        ("UNUSED=", "/nowhere", "git is not installed or not on PATH"),
    ],
)
def test_git_is_the_one_on_path(
    git: Git, variable: str, path: str | None, message: str
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from runner.repo import repository;"
        "repository.Repository(Path(sys.argv[1]), os.environ).git.run(['version'])"
    )
    name, _, value = variable.partition("=")
    env = {**os.environ, name: value, "PATH": path or os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code, str(git.cwd)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.rpartition("EnvironmentBroken: ")[2].startswith(message)
    assert (done.returncode == 0) == (not message)


def test_git_is_started_by_its_absolute_path_without_a_program_between(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argvs = tmp_path / "argvs"
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nps -o args= -p $PPID >> {argvs}\necho "$0"\n')
    program.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    path = os.pathsep.join(["relative", str(program.parent), os.environ["PATH"]])
    env = {**git.env, "PATH": path}
    assert git.with_env(env).text(["version"]).strip() == str(program)
    # the parent is this process
    (parent,) = argvs.read_text().splitlines()
    assert "pytest" in parent or "python" in parent


def test_a_folder_that_is_gone_is_an_error_and_git_does_not_run_elsewhere(
    git: Git, tmp_path: Path
) -> None:
    missing = isolated_git(tmp_path / "missing")
    with pytest.raises(GitFailed, match="cannot change to"):
        missing.run(["rev-parse", "--git-dir"])


def test_git_runs_in_a_session_of_its_own(git: Git) -> None:
    process = git.start(["cat-file", "--batch"])
    assert os.getsid(process.pid) == process.pid
    process.close()


def test_standard_input_is_no_file_on_a_disk(git: Git) -> None:
    kind = git.with_config("alias.kind=!readlink /proc/self/fd/0 #")
    assert kind.run(["kind"], stdin=b"text").startswith(b"/memfd:")


def test_input_and_output_are_bytes_and_not_changed(git: Git) -> None:
    data = bytes(range(256)) + b"\n\n"
    object_id = git.text(["hash-object", "-w", "--stdin"], stdin=data).strip()
    assert git.run(["cat-file", "blob", object_id]) == data


def test_output_can_go_to_a_file(git: Git) -> None:
    data = b"x" * MANY
    object_id = git.text(["hash-object", "-w", "--stdin"], stdin=data).strip()
    with tempfile.TemporaryFile() as sink:
        assert git.run(["cat-file", "blob", object_id], stdout=sink) == b""
        sink.seek(0)
        assert sink.read() == data


def test_a_status_that_the_caller_expects_is_no_error(git: Git) -> None:
    argv = ["config", "no.such"]
    assert git.text(argv, ok=(0, 1)) == ""
    with pytest.raises(GitFailed) as raised:
        git.run(argv)
    assert (raised.value.argv, raised.value.status) == (("config", "no.such"), 1)


@pytest.mark.parametrize("run", [Git.start, Git.run], ids=["start", "run"])
def test_a_machine_without_git_is_named_with_the_remedy(
    tmp_path: Path, run: Callable[[Git, Sequence[str]], object]
) -> None:
    git = Git(tmp_path, {"PATH": str(tmp_path)})
    with pytest.raises(EnvironmentBroken, match="git is not installed") as raised:
        run(git, ["version"])
    assert "install git 2.38 or newer" in str(raised.value)


def test_a_process_that_writes_much_to_stderr_is_not_stopped_by_it(
    git: Git, tmp_path: Path
) -> None:
    # Git warns of a ref and a tag of one name, each time that it is asked for.
    git.run(["commit", "-q", "--allow-empty", "-m", "first"])
    name = "n" * 200
    git.run(["branch", name])
    git.run(["tag", name])
    process = git.start(["cat-file", "--batch-check"])
    for _ in range(MANY // len(name)):
        process.send(f"{name}\n".encode())
        assert b"commit" in process.stdout.readline()
    process.close()


def _slow(git: Git, seconds: int, then: str = "") -> Git:
    """Git with the command `slow`."""
    return git.with_config(f"alias.slow=!sleep {seconds}; {then}")


def test_git_is_ended_at_its_time_limit(git: Git) -> None:
    slow = _slow(git, 600)._replace(timeout=0.2)
    with pytest.raises(GitFailed, match="it was stopped after 0 s"):
        slow.run_unchecked(["slow"])


def _silent(tmp_path: Path, then: str) -> Git:
    """A git that closes its output at once, and then does something."""
    program = tmp_path / "programs" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexec >&- 2>&-\n{then}\n")
    program.chmod(0o755)
    return Git(tmp_path, {"PATH": f"{program.parent}:{os.environ['PATH']}"})


def test_the_end_of_git_is_waited_for_without_looking_for_it_time_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = _silent(tmp_path, "sleep 0.2; exit 3")
    # what `Popen.wait` sleeps by
    monkeypatch.setattr(subprocess, "time", None)
    assert silent.status(["version"]) == 3


def test_the_end_of_git_is_seen_where_the_system_does_not_tell_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert _silent(tmp_path, "sleep 0.2; exit 3").status(["version"]) == 3


def test_a_git_that_has_closed_its_output_is_ended_at_its_time_limit(
    tmp_path: Path,
) -> None:
    silent = _silent(tmp_path, "sleep 600")._replace(timeout=0.2)
    with pytest.raises(GitFailed, match="it was stopped after 0 s"):
        silent.run_unchecked(["version"])


def test_a_git_beside_other_work_prints_more_than_a_pipe_takes(git: Git) -> None:
    printing = git.with_config(f"alias.slow=!head -c {MANY} /dev/zero")
    with printing.beside(["slow"]) as output:
        assert len(output()) == MANY


def test_a_git_beside_other_work_that_fails_is_an_error(git: Git) -> None:
    refused = pytest.raises(GitFailed, match="single revision")
    with git.beside(["rev-parse", "--verify", "nothing"]) as output, refused:
        output()


def test_a_git_that_nobody_waits_for_ends_with_the_work_beside_it(
    git: Git, tmp_path: Path
) -> None:
    with _slow(git, 600, f"touch {tmp_path}/late").beside(["slow"]):
        [popen] = command._running
    assert popen.returncode is not None
    assert not command._running


def test_a_git_beside_other_work_has_the_time_of_its_limits(git: Git) -> None:
    slow = _slow(git, 600)._replace(timeout=0.2)
    with (
        slow.beside(["slow"]) as output,
        pytest.raises(GitStopped, match="it was stopped after 0 s"),
    ):
        output()


def test_git_is_ended_soon_after_its_run_was_cancelled(
    git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "CANCEL_GRACE", 0.2)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(GitFailed, match="it was stopped with the run"):
        _slow(git, 600)._replace(cancel=cancel).run(["slow"])


def test_a_git_that_ends_soon_after_the_cancel_is_not_stopped(git: Git) -> None:
    cancel = threading.Event()
    cancel.set()
    done = _slow(git, 0, "echo done")._replace(cancel=cancel)
    assert done.run(["slow"]) == b"done\n"


def test_git_ends_when_fanin_ends(git: Git) -> None:
    ended = threading.Event()

    def end() -> None:
        # On a busy machine, git may not have started yet.
        while not ended.wait(0.1):
            command.end_all()

    ending = threading.Thread(target=end)
    ending.start()
    try:
        assert _slow(git, 600).run_unchecked(["slow"]).status != 0
    finally:
        ended.set()
        ending.join()


def test_many_messages_do_not_stop_a_git_whose_output_goes_to_a_file(
    git: Git,
) -> None:
    noisy = f"head -c {MANY} /dev/zero >&2; echo done"
    with tempfile.TemporaryFile() as sink:
        done = _slow(git, 0, noisy).run_unchecked(["slow"], stdout=sink)
        assert len(done.stderr) <= MANY // 2
        sink.seek(0)
        assert sink.read() == b"done\n"


def test_git_is_ended_when_it_prints_too_much(git: Git) -> None:
    bounded = _slow(git, 0, f"head -c {MANY} /dev/zero")._replace(max_output=MANY - 1)
    with pytest.raises(GitStopped, match="more than"):
        bounded.run(["slow"])
    assert len(bounded._replace(max_output=MANY).run(["slow"])) == MANY


def test_a_long_lived_git_is_ended_when_an_answer_takes_too_long(git: Git) -> None:
    process = _slow(git, 600)._replace(timeout=0.2).start(["slow"])
    process.send(b"question\n")
    assert process.stdout.read() == b""
    process.close()


def test_a_long_lived_git_may_take_its_time_between_two_requests(
    git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_OVERSEER_SECONDS", 0.01)
    passed = 0
    clock = SimpleNamespace(monotonic=lambda: monotonic() + passed, sleep=sleep)
    monkeypatch.setattr(command, "time", clock)
    process = git._replace(timeout=600).start(["cat-file", "--batch-check"])
    process.send(b"HEAD\n")
    assert process.stdout.readline() == b"HEAD missing\n"
    process.answered()
    passed = 1200
    sleep(0.2)  # and none of many looks at it ends it
    process.send(b"HEAD\n")
    assert process.stdout.readline() == b"HEAD missing\n"
    process.close()


def test_a_long_lived_git_ends_when_fanin_ends(git: Git) -> None:
    process = _slow(git, 600).start(["slow"])
    process.send(b"question\n")
    command.end_all()
    assert process.stdout.read() == b""
    process.close()


def test_a_busy_git_ends_when_it_is_closed(
    git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_KILL_GRACE", 0.2)
    process = _slow(git, 600).start(["slow"])
    process.close()
    assert process.wait() < 0


def test_a_repository_of_another_user_is_a_sentence_with_the_way_out(
    tmp_path: Path,
) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    # git's own tests set this variable.
    git = isolated_git(tmp_path)
    git = git._replace(
        config=(), env={**git.env, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    )
    with pytest.raises(UsageProblem) as refused:
        git.status(["rev-parse", "HEAD"])
    assert "belongs to another user" in refused.value.message
    assert refused.value.advice.endswith(f"safe.directory {tmp_path}")
