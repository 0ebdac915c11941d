"""On GitHub Actions, kept work is on the remote, and the next leg starts from it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.repo.remote import Remote
from runner.repo.repository import Repository
from tests.support.jobs import Jobs
from tests.support.project import Project

GOES_ON = "The work of attempt 1 is in the current folder"
SECRET = "a-value-that-is-long-enough-to-be-searched"


@pytest.fixture
def jobs(project: Project, tmp_path: Path) -> Jobs:
    return Jobs(project, tmp_path)


def kept(jobs: Jobs) -> dict[str, str]:
    """Task id → the commit that the remote keeps for it."""
    form = "--format=%(refname) %(objectname)"
    found = {}
    for line in jobs.git("for-each-ref", form, "refs/fanin/").splitlines():
        ref, commit = line.split()
        found[ref.split("/")[3].rpartition("-")[0]] = commit
    return found


def landed(jobs: Jobs, path: str) -> list[str]:
    return jobs.git("show", f"main:{path}").splitlines()


def record(jobs: Jobs, task_id: str) -> dict[str, Any]:
    text = jobs.git("show", "main:.fanin/progress.json")
    return dict(json.loads(text)["tasks"][task_id])


def test_what_policy_let_through_is_pushed_gone_on_with_and_deleted_at_the_end(
    project: Project, jobs: Jobs
) -> None:
    project.write("shared", "first\n")
    workflow = ".github/workflows/a.yml"
    tasks: list[dict[str, Any]] = [
        {"id": "quick", "do": ["append shared: quick"]},
        {"id": "late", "do": ["append shared: late", "write late: x"]},
        # fails unless its prompt says so
        {"id": "crashed", "do": ["append crashed: one", f"expect {GOES_ON}"]},
        {
            "id": "flow",
            "do": [f"write {workflow}: x", "append flow: x", "fail once by design"],
            "allow": [workflow],
        },
        {
            "id": "refused",
            "do": ["write CLAUDE.md: x", "append refused: x", "fail once by design"],
            "max_attempts": 1,
        },
        {
            "id": "outside",
            "files": ["none"],
            "do": ["write outside: x"],
            "max_attempts": 1,
        },
        {
            "id": "leaky",
            "do": [f"write leaky: {SECRET}", "fail once by design"],
            "max_attempts": 1,
        },
    ]
    project.plan(tasks, max_concurrent=8)
    settings = (project.root / "fanin.yml").read_text()
    project.write(
        "fanin.yml", settings.replace("FAKE_AGENT_LOG", "FAKE_AGENT_LOG\n  - TOKEN")
    )
    project.commit()
    jobs.publish()
    jobs.environ["TOKEN"] = SECRET
    jobs.environ["FANIN_MAY_CHANGE_WORKFLOWS"] = "true"
    first = jobs.next()
    assert first.code == 0, first.log
    assert {entry["work"] for entry in jobs.matrix(first)} == {""}
    jobs.tasks(first)
    merged = jobs.merge(first, FANIN_LATER_ROUNDS="1")
    on_remote = kept(jobs)
    assert set(on_remote) == {"late", "crashed", "outside"}
    accept = f"fanin accept outside --from {on_remote['outside']}"
    assert f"**To let it land:** `{accept}` in a clone" in merged.summary
    assert jobs.git("show", f"{on_remote['late']}:shared").splitlines() == [
        "first",
        "late",
    ]
    assert (
        "which no kept work is pushed with" in record(jobs, "flow")["error"]["message"]
    )
    assert "is a protected path" in record(jobs, "refused")["error"]["message"]
    assert "holds the value of TOKEN" in record(jobs, "leaky")["error"]["message"]
    assert record(jobs, "quick")["artifact"] == "fanin-4711.1-000-a1-r1"
    assert record(jobs, "crashed")["artifact"] == "fanin-4711.1-002-a1-r1"
    project.git("pull", "-q", str(jobs.origin), "main")
    project.git("remote", "add", "origin", "https://github.com/o/r.git")
    page = "https://github.com/o/r/actions/runs/4711/job/70002"
    assert f"crashed ran on GitHub: {page}, artifact fanin-4711.1-002-a1-r1" in (
        project.cli("status").stdout
    )
    log = project.cli("log", "crashed")
    assert page in log.stderr
    assert "gh run download 4711 --name fanin-4711.1-002-a1-r1 --dir DIR" in log.stderr
    # no branch, so that it starts nothing
    assert jobs.git("for-each-ref", "--format=%(refname)", "refs/heads") == (
        "refs/heads/main"
    )
    again = jobs.as_chosen(merged)
    work = {entry["task"]: entry["work"] for entry in jobs.matrix(again)}
    gone_on_with = {task: on_remote[task] for task in ("late", "crashed")}
    assert work == {**gone_on_with, "flow": ""}
    jobs.tasks(again)
    jobs.merge(again)
    states = jobs.states()
    assert {states[name] for name in ("quick", "late", "crashed", "flow")} == {
        "completed"
    }
    assert landed(jobs, "shared") == ["first", "quick", "late"]
    assert landed(jobs, "crashed") == ["one"]
    assert set(kept(jobs)) == {"outside"}
    # a clone gets it from there, and a person lets it land
    project.git("pull", "-q", str(jobs.origin), "main")
    refs = "refs/fanin/kept/*:refs/fanin/kept/*"
    project.git("fetch", "-q", str(jobs.origin), refs)
    accepted = project.cli("accept", "outside")
    assert accepted.returncode == 0, accepted.stderr
    assert project.states()["outside"] == "completed"


def test_a_leg_without_the_work_starts_from_the_base_and_says_so(
    project: Project, jobs: Jobs
) -> None:
    project.plan([{"id": "A", "do": ["append a: one", "fail once by design"]}])
    jobs.publish()
    first = jobs.next()
    jobs.tasks(first)
    merged = jobs.merge(first, FANIN_LATER_ROUNDS="1")
    again = jobs.as_chosen(merged)
    (entry,) = jobs.matrix(again)
    assert entry["work"] == kept(jobs)["A"]
    # as where the checkout of the work has failed
    entry["work"] = ""
    again.outputs["matrix"] = json.dumps({"include": [entry]})
    jobs.tasks(again)
    (artifact,) = jobs.artifacts.glob("*-a2-*")
    result = json.loads((artifact / "result.json").read_text())
    assert "without the work of attempt 1" in result["warnings"][0]
    assert result["succeeded"]


def test_work_that_cannot_be_pushed_is_a_warning_and_the_batch_lands(
    project: Project, jobs: Jobs
) -> None:
    tasks = [
        {"id": "A", "do": ["append a: one", "fail once by design"]},
        {"id": "B", "do": ["write b: b"]},
    ]
    project.plan(tasks)
    jobs.publish()
    hook = jobs.origin / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in refs/fanin/*) exit 1;; esac\n')
    hook.chmod(0o755)
    first = jobs.next()
    jobs.tasks(first)
    merged = jobs.merge(first)
    assert merged.code == 0, merged.log
    assert "work that is to be gone on with cannot be pushed" in merged.log
    assert jobs.states()["B"] == "completed"


def test_refs_of_a_remote_are_set_listed_and_deleted(
    project: Project, tmp_path: Path
) -> None:
    origin = tmp_path / "origin.git"
    subprocess.run(
        ["git", "clone", "-q", "--bare", str(project.root), str(origin)], check=True
    )
    project.git("remote", "add", "origin", f"file://{origin}")
    head = project.git("rev-parse", "HEAD")
    remote = Remote(Repository(project.root, {}), "", "https://github.com")
    one, other = "refs/fanin/kept/A-1/a1-r.1", "refs/fanin/kept/B-1/a1-r.1"
    assert remote.set_refs({one: head, other: head}) is None
    project.write("x", "x")
    newer = project.commit("newer")
    # wherever it was
    assert remote.set_refs({one: newer}) is None
    assert remote.set_refs({one: head}) is None
    assert remote.refs(["refs/fanin/kept/A-1/*"]) == [one]
    assert remote.set_refs({one: None}) is None
    assert remote.refs(["refs/fanin/*"]) == [other]
    assert remote.set_refs({}) is None
    project.git("remote", "set-url", "origin", f"file://{tmp_path}/nowhere")
    assert remote.refs(["refs/fanin/*"]) == []
    assert remote.set_refs({one: head})


def test_a_clone_can_undo_a_task_that_changed_the_same_file_as_another(
    project: Project, jobs: Jobs
) -> None:
    text = "".join(f"line {number}\n" for number in range(1, 10))
    project.write("shared", text)
    project.plan(
        [
            {"id": "A", "do": ["replace shared: line 2 -> two"]},
            {"id": "B", "do": ["replace shared: line 8 -> eight"]},
        ]
    )
    jobs.publish()
    first = jobs.next()
    jobs.tasks(first)
    merged = jobs.merge(first)
    assert merged.code == 0, merged.log
    refs = "refs/fanin/landed/*:refs/fanin/landed/*"
    project.git("pull", "-q", str(jobs.origin), "main")
    refused = project.cli("undo", "A")
    assert refused.returncode == 2
    assert f"git fetch origin '{refs}'" in refused.stderr
    project.git("fetch", "-q", str(jobs.origin), refs)
    undone = project.cli("undo", "A")
    assert undone.returncode == 0, undone.stderr
    assert (project.root / "shared").read_text() == text.replace("line 8", "eight")
