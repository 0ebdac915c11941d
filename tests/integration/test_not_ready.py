"""What fails before an agent starts costs its task nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runner.attempt import attempt
from runner.core.errors import NotStarted, UsageProblem
from tests.support.project import Project, Quiet


@pytest.fixture
def partial_clone(project: Project, tmp_path: Path) -> Project:
    """A clone without the blobs of the files that are not checked out."""
    project.write("folder/large.bin", "content\n")
    project.plan([{"id": "A", "do": ["append folder/large.bin: more"]}])
    project.git("config", "uploadpack.allowFilter", "true")
    project.git("config", "uploadpack.allowAnySHA1InWant", "true")
    clone = Project(tmp_path / "clone", project.log)
    url = f"file://{project.root}"
    options = ["--filter=blob:none", "--sparse", "--template="]
    project.git("clone", "-q", *options, url, str(clone.root))
    return clone


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_partial_clone_is_completed_before_the_first_agent_starts(
    partial_clone: Project, schedule: str
) -> None:
    partial_clone.run(schedule=schedule)
    assert partial_clone.states() == {"A": "completed"}
    assert partial_clone.git("show", "HEAD:folder/large.bin") == "content\nmore"


def test_a_partial_clone_without_its_remote_is_refused_at_the_start(
    partial_clone: Project, project: Project
) -> None:
    shutil.rmtree(project.root)
    with pytest.raises(UsageProblem, match="partial clone, and 1 object of main"):
        partial_clone.run()
    assert not partial_clone.log.exists()


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_checkout_that_cannot_be_made_is_no_attempt(
    project: Project, schedule: str
) -> None:
    project.write("lost.txt", "content that only this file has\n")
    project.plan([{"id": "A", "do": ["write a: a"]}])
    blob = project.git("rev-parse", "HEAD:lost.txt")
    stored = project.root / ".git" / "objects" / blob[:2] / blob[2:]
    aside = stored.rename(project.root.parent / "aside")
    observer = Quiet()
    outcome = project.run(observer, schedule=schedule)
    failure = observer.fan_ins[0].failed["A"]
    assert failure.kind == "not_ready"
    assert failure.message.startswith("the agent was not started: ")
    assert outcome.stop_reason == "no task in this batch made progress"
    assert not project.log.exists()

    aside.rename(stored)
    project.run(schedule=schedule)
    record = project.records()["A"]
    assert (record["status"], record["attempts"]) == ("completed", 1)


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_an_agent_that_the_system_cannot_run_is_no_attempt(
    project: Project, tmp_path: Path, schedule: str
) -> None:
    program = tmp_path / "agent"
    program.write_bytes(b"\x7fELF of no machine")
    program.chmod(0o755)
    project.plan([{"id": "A", "agent": {"command": [str(program)]}}])
    observer = Quiet()
    outcome = project.run(observer, schedule=schedule)
    failure = observer.fan_ins[0].failed["A"]
    assert failure.kind == "not_ready"
    assert failure.message.startswith("the agent was not started: cannot start ")
    assert outcome.stop_reason == "no task in this batch made progress"


def test_where_the_tasks_verify_cannot_start_the_agents_work_is_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot_start(*_: object) -> None:
        raise NotStarted("cannot start sh: Resource temporarily unavailable")

    monkeypatch.setattr(attempt, "run_verify", cannot_start)
    project.plan([{"id": "A", "do": ["write a: a"], "verify": "true"}], max_attempts=1)
    project.run()
    error = project.records()["A"]["error"]
    assert error["kind"] == "environment"
    assert error["message"].startswith("verify was not started: cannot start sh")
    [ref] = project.git(
        "for-each-ref", "--format=%(refname)", "refs/fanin/kept"
    ).split()
    assert project.git("show", f"{ref}:a") == "a"
