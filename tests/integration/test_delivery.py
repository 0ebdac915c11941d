"""`deliver: pull-request` on one machine, against the stand-in of GitHub on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.core.errors import UsageProblem
from runner.local.run import Answers
from tests.support.forge_jobs import published
from tests.support.github.forge import Forge, Repository
from tests.support.project import Project, Quiet
from tests.support.report_files import data_of, texts_of

CHAIN = [
    {"id": "A", "do": ["write a: a"]},
    {"id": "B", "do": ["write b: b"], "depends_on": ["A"]},
]


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with Forge(tmp_path / "forge") as running:
        yield running


@pytest.fixture
def repository(
    project: Project, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> Repository:
    """The project's repository on GitHub, which it has as its remote."""
    project.plan(CHAIN, deliver="pull-request")
    made = published(project, forge)
    project.git("remote", "add", "origin", f"http://127.0.0.1:{forge.port}/o/r")
    project.git("fetch", "-q", "origin")
    monkeypatch.delenv("GH_TOKEN", raising=False)
    monkeypatch.setenv("GITHUB_TOKEN", forge.token)
    return made


def own_branches(project: Project) -> list[str]:
    listed = project.git(
        "for-each-ref", "--format=%(refname:short)", "refs/heads/fanin"
    )
    return listed.split()


def work_of(project: Project, branch: str) -> tuple[str, dict[str, list[object]]]:
    """The files of a branch but for the progress, and what this says beside times."""
    files = project.git("ls-tree", "-r", branch).splitlines()
    tree = "\n".join(line for line in files if not line.endswith("progress.json"))
    compared = ("status", "attempts", "changed", "summary", "request", "agent")
    records = {
        task_id: [record.get(name) for name in compared]
        for task_id, record in project.records(branch).items()
    }
    return tree, records


def test_kept_work_is_taken_to_the_branch_of_the_run_and_not_to_that_of_the_person(
    project: Project, repository: Repository
) -> None:
    first = {"id": "A", "do": ["write a: a", "fail no"]}
    project.plan([first, CHAIN[1]], deliver="pull-request")
    project.run(max_attempts=1)
    head = project.git("rev-parse", "main")
    [row] = json.loads(project.cli("kept", "--json").stdout)["kept"]
    assert row["take"] == f"fanin accept A --from {row['ref']}"
    for command in (("kept",), ("show", "A")):
        assert f"  take:  {row['take']}\n" in project.cli(*command).stdout
    report = data_of(project.cli("report", "-o", "-").stdout)
    assert texts_of(report, "A")["failures"][0]["take"] == row["take"]
    done = project.cli(*row["take"].split()[1:])
    assert done.returncode == 0, done.stderr
    (branch,) = own_branches(project)
    assert project.states(branch)["A"] == "completed"
    assert project.git("rev-parse", "main") == head


def test_a_run_keeps_one_pull_request_and_the_next_goes_on_with_it(
    project: Project, forge: Forge, repository: Repository
) -> None:
    seen = Quiet()
    base = project.git("rev-parse", "main")
    project.run(seen, max_rounds=1)
    (branch,) = own_branches(project)
    assert project.git("rev-parse", "main") == base, "nothing lands on the base"
    assert project.states(branch) == {"A": "completed", "B": "pending"}
    assert repository.git.tip(branch) == project.git("rev-parse", branch)
    (pull,) = repository.pulls.values()
    assert (pull["head"]["ref"], pull["base"]["ref"]) == (branch, "main")
    assert "| ✅ | A: do A | a +1 -0 |" in pull["body"]
    pull["draft"] = True

    # commands on the base are about the branch that has the work
    status = project.cli("status", "--all")
    address = f"{forge.server_url}/o/r/pull/1"
    where = f"the work is on {branch}, and main lacks it: {address} (draft)"
    assert where in status.stdout, status.stderr
    assert re.search(r"A +completed", status.stdout)
    report = json.loads(project.cli("status", "--json").stdout)
    assert report["delivery"] == {
        "branch": branch,
        "base": "main",
        "pull_request": address,
        "state": "draft",
    }
    assert report["counts"] == {"completed": 1, "ready": 1}
    assert "A is completed" in project.cli("skip", "A", "--dry-run").stderr

    # meanwhile the base moves, there and here, and somebody pushes to the pull request
    repository.git.commit_files("main", {"rival": "x\n"}, "Rival")
    repository.git.commit_files(branch, {"fix": "y\n"}, "Fix")
    project.write("local", "z\n")
    project.commit("local")
    project.run(seen)
    assert own_branches(project) == [branch]
    assert project.states(branch) == {"A": "completed", "B": "completed"}
    files = project.git("ls-tree", "-r", "--name-only", branch).splitlines()
    assert {"a", "b", "rival", "fix", "local"} <= set(files)
    (pull,) = repository.pulls.values()
    assert "| ✅ | B: do B | b +1 -0 |" in pull["body"]
    assert not pull["draft"], "the run has ended"
    url = f"{forge.server_url}/o/r/pull/1"
    assert f"the work is in {url}, ready for review" in seen.notes
    assert forge.unknown == []

    # merged in whatever way, it is over, even before the base is pulled
    repository.merge_pull(1, "rebase")
    done = project.run(seen)
    assert own_branches(project) == [branch]
    assert done.snapshot.progress.records["B"].status == "completed"
    assert len(repository.pulls) == 1


def test_a_closed_pull_request_is_asked_about_and_given_up_or_reopened(
    project: Project, repository: Repository
) -> None:
    project.run(max_rounds=1)
    (branch,) = own_branches(project)
    (pull,) = repository.pulls.values()
    pull["state"] = "closed"
    asked = project.cli("run")
    assert asked.returncode == 2
    assert f"the work of its branch {branch}" in asked.stderr
    assert "fanin run --reopen" in asked.stderr
    assert "fanin run --abandon" in asked.stderr
    assert project.states(branch) == {"A": "completed", "B": "pending"}

    project.runner(answers=Answers(closed_pull="reopen"), max_rounds=1)()
    assert pull["state"] == "open"
    assert project.states(branch) == {"A": "completed", "B": "completed"}

    pull["state"] = "closed"
    tip = project.git("rev-parse", branch)
    project.runner(answers=Answers(closed_pull="abandon"))()
    (other,) = own_branches(project)
    assert other != branch
    assert project.states(other) == {"A": "completed", "B": "completed"}
    kept = f"refs/fanin/abandoned/{branch.removeprefix('fanin/')}"
    assert project.git("rev-parse", kept) == repository.git.resolve(kept) == tip
    assert branch not in repository.git.branches()


def test_the_tree_is_that_of_a_run_on_the_branch_and_a_conflict_with_it_stops(
    project: Project, repository: Repository
) -> None:
    project.run(deliver="branch", branch="direct")
    project.run(schedule="rolling")
    (branch,) = own_branches(project)
    assert work_of(project, branch) == work_of(project, "direct")
    tip = project.git("rev-parse", branch)
    repository.git.commit_files("main", {"a": "other\n"}, "Rival")
    with pytest.raises(UsageProblem, match="have both changed a, so the run cannot"):
        project.run()
    assert project.git("rev-parse", branch) == tip
