"""What the jobs take from the agent and from what it wrote on a runner, as a process of an unprivileged user
with a stand-in of sudo.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import pwd
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.actions.agent_rights import limit_agent, policy_of, with_runner_hidden
from runner.actions.workflow_io import JobIO
from runner.agents import privileges
from runner.agents.privileges import Account, Machine
from runner.core.sandbox import SandboxSettings
from tests.support.jobs import Jobs
from tests.support.project import Project
from tests.support.sudo_standin import USER, SudoStandIn

HOSTED = {"RUNNER_ENVIRONMENT": "github-hosted", "FANIN_KEEP_SUDO": "false"}
needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="only root can become another user",
)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="fanin-rights-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(call: Callable[[], Any]) -> Any:
    """What the call returns in a process of another user."""
    account = pwd.getpwnam(USER)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        answer = "failed"
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            answer = call()
        finally:
            os.write(theirs, json.dumps(answer).encode())
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    return answer


def machine_in(folder: Path, sudo: SudoStandIn) -> Machine:
    """A machine with Docker's socket, which is open as to a member of its group."""
    docker = folder / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(docker))
    docker.chmod(0o666)
    (folder / "ptrace_scope").write_text("0\n")
    sockets = (str(docker), str(folder / "none.sock"))
    return Machine(sockets, sudo.rule, folder / "ptrace_scope")


@needs_root
@pytest.mark.parametrize(
    ("environ", "with_visudo", "left"),
    [
        (HOSTED, True, []),
        (HOSTED, False, ["sudo needs no password"]),
        (
            {**HOSTED, "RUNNER_ENVIRONMENT": "self-hosted"},
            True,
            ["sudo needs no password", "docker.sock is open"],
        ),
        ({**HOSTED, "FANIN_KEEP_SUDO": "true"}, True, None),
    ],
    ids=["taken", "kept by the machine", "not GitHub's", "kept by input"],
)
def test_an_agent_has_neither_sudo_nor_docker_and_the_job_says_what_is_left(
    open_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    with_visudo: bool,
    left: list[str] | None,
) -> None:
    sudo = SudoStandIn(open_folder, with_visudo=with_visudo)
    machine = machine_in(open_folder, sudo)
    monkeypatch.setenv("PATH", f"{sudo.programs}:/usr/bin:/bin")
    monkeypatch.setattr(privileges, "own_account", lambda: Account(USER, ("docker",)))

    def limited() -> list[object]:
        before = privileges.ways_to_root(machine)
        printed = io.StringIO()
        limit_agent(environ, JobIO({}, printed), machine)
        return [before, printed.getvalue(), privileges.ways_to_root(machine)]

    try:
        before, text, after = as_nobody(limited)
    finally:
        sudo.stop()
    docker = f"{open_folder}/docker.sock is open"
    assert before == ["sudo needs no password", docker]
    for each in left or ():
        assert each in text
    assert ("::warning" in text) == bool(left)
    if environ is not HOSTED:
        assert after == before
        assert "docker" in sudo.groups.read_text()
        assert not sudo.rule.exists()
        return
    assert after == left
    assert sudo.groups.read_text() == "users\n"
    assert stat.S_IMODE((open_folder / "docker.sock").stat().st_mode) == 0o600
    assert machine.ptrace_scope.read_text() == "1\n"
    assert not list(sudo.rules.glob("*.new"))


@needs_root
def test_the_variables_of_the_job_are_hidden_from_programs_of_its_user() -> None:
    def environ_of_parent() -> list[str]:
        """What a child sees, before and after."""
        seen = []
        # As after the start of a program: to become another user hides a process too.
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
        for hide in (False, True):
            if hide:
                privileges.hide_this_process()
            ours, theirs = os.pipe()
            if os.fork() == 0:
                path = f"/proc/{os.getppid()}/environ"
                os.set_inheritable(theirs, True)
                os.dup2(theirs, 1)
                script = f"cat {path} >/dev/null 2>&1 && echo read || echo hidden"
                # Another program: a mere copy of the process would be hidden as well.
                os.execv("/bin/sh", ["sh", "-c", script])
            os.close(theirs)
            with os.fdopen(ours) as pipe:
                seen.append(pipe.read().strip())
        return seen

    assert as_nobody(environ_of_parent) == ["read", "hidden"]


def test_only_a_job_that_the_action_started_changes_or_says_anything() -> None:
    assert not policy_of({"RUNNER_ENVIRONMENT": "github-hosted"}).drops
    assert not policy_of({}).reports
    assert policy_of(HOSTED).drops


def test_walls_of_the_task_job_hide_what_the_runner_keeps(tmp_path: Path) -> None:
    (tmp_path / ".credentials").touch()
    environ = {
        "RUNNER_TEMP": str(tmp_path / "_work/_temp"),
        "RUNNER_WORKSPACE": str(tmp_path / "_work/repository"),
    }
    given = SandboxSettings(mode="auto", hide=("~/diary",))
    assert with_runner_hidden(given, environ) == SandboxSettings(
        mode="auto",
        hide=("~/diary", environ["RUNNER_TEMP"], str(tmp_path / ".credentials")),
    )
    assert with_runner_hidden(given, {}) == given


def test_an_agent_within_walls_reaches_no_file_of_the_job(
    project: Project, tmp_path: Path
) -> None:
    later_steps = tmp_path / "github-env"
    later_steps.touch()
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions", environ={"RUNNER_TEMP": str(tmp_path)})
    manifest = tmp_path / "actions" / "manifest.json"
    script = f"cat {manifest} >stolen; echo LD_PRELOAD=x >>{later_steps}; echo a >a"
    command = ["sh", "-c", script]
    project.plan([{"id": "A", "agent": {"command": command}}], sandbox="auto")
    jobs.publish()
    chosen = jobs.next()
    leg = jobs.task(chosen, "A")
    assert leg.outputs["succeeded"] == "true", leg.log
    assert "walls: " in leg.log
    merged = jobs.merge(chosen)
    assert merged.code == 0, merged.log
    assert jobs.git("show", "main:a") == "a"
    assert jobs.git("show", "main:stolen") == ""
    assert later_steps.read_text() == ""


def test_a_test_that_an_agent_wrote_reaches_no_file_of_job_verify(
    project: Project, tmp_path: Path
) -> None:
    later_steps = tmp_path / "github-env"
    later_steps.touch()
    (tmp_path / "actions").mkdir()
    limits = {"RUNNER_TEMP": str(tmp_path), "FANIN_KEEP_SUDO": "false"}
    jobs = Jobs(project, tmp_path / "actions", environ=limits)
    manifest = tmp_path / "actions" / "manifest.json"
    # It is red where it can read the file.
    script = f"echo LD_PRELOAD=x >>{later_steps}; ! cat {manifest}"
    agent = {"command": ["sh", "-c", f"echo '{script}' >check.sh"]}
    verify = "! test -e check.sh || sh check.sh"
    tasks = [{"id": "A", "agent": agent}]
    project.plan(tasks, sandbox="auto", verify=verify)
    jobs.publish()
    chosen = jobs.next()
    leg = jobs.task(chosen, "A")
    assert leg.outputs["succeeded"] == "true", leg.log
    verdict = tmp_path / "verdict.json"
    verified = jobs.verify(chosen, verdict)
    assert "walls: " in verified.log
    assert json.loads(verdict.read_text())["failed"] == {}, verified.log
    assert later_steps.read_text() == ""
    # The tests run as root, or on a machine that fanin does not change.
    titles = re.findall("title=(Agents can do more than their task)", verified.log)
    assert len(titles) == 1
