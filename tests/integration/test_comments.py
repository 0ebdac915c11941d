"""Commands in comments on pull requests: the job against a stand-in of GitHub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from runner.actions.workflow_io import JobIO, read_context
from runner.comments.job import CommentOptions, comment_job
from runner.core.errors import FaninError
from runner.fan_in import kept_refs
from runner.github_api.comments import CommentApi
from runner.repo.remote import Remote
from runner.repo.repository import Repository
from tests.support.github.forge import Forge
from tests.support.github.forge import Repository as OnForge
from tests.support.github.forge_comments import answers, reactions, review, say
from tests.support.project import Project

NAME = "octo/work"
RIGHTS = {"contents": "write", "actions": "write", "pull-requests": "write"}
CALLER = (
    "on: {workflow_dispatch: {inputs: {fanin-state: {type: string}}}}\n"
    "permissions: {}\njobs: {}\n"
)
TASKS: list[dict[str, Any]] = [
    {"id": "A", "do": ["write a: a"]},
    {"id": "B", "do": ["write b: b"], "depends_on": ["A"]},
    {"id": "C", "do": ["fail no luck"], "max_attempts": 1},
    {"id": "D", "do": ["write d: d"], "gate": True},
    {"id": "docs/E: 1.2", "do": ["ask Which one?", "write e: e"]},
]


@dataclass
class Pulls:
    """A repository on the forge in which a run's branch has its pull request."""

    forge: Forge
    project: Project
    folder: Path
    on_forge: OnForge
    number: int
    branch: str
    output: StringIO = field(default_factory=StringIO)

    def comment(self, body: str, login: str = "ada", **more: Any) -> dict[str, Any]:
        """Somebody comments, and the job does what it does; the event."""
        event = say(self.forge, self.on_forge, self.number, login, body, **more)
        assert self.job(event) == 0
        return event

    def job(self, event: dict[str, Any], rights: dict[str, str] | None = None) -> int:
        """The job for an event, in a fresh shallow checkout of main; its exit code."""
        work = self.folder / f"job-{len(list(self.folder.iterdir()))}"
        origin = f"{self.forge.server_url}/{NAME}"
        argv = ["git", "clone", "-q", "--depth=1", "--branch=main", origin, str(work)]
        subprocess.run(argv, check=True)
        payload = work / ".git" / "event.json"
        payload.write_text(json.dumps(event))
        environ = {
            **os.environ,
            "GITHUB_RUN_ID": "99",
            "GITHUB_REPOSITORY": NAME,
            "GITHUB_EVENT_NAME": "issue_comment",
            "GITHUB_EVENT_PATH": str(payload),
            "GITHUB_API_URL": self.forge.api_url,
            "GITHUB_SERVER_URL": self.forge.server_url,
            "FANIN_TOKEN": self.forge.mint(RIGHTS if rights is None else rights),
        }
        context = read_context(environ)
        repo = Repository(work, environ)
        api = CommentApi(context.token, context.repository, context.api_url)
        return comment_job(
            repo,
            Remote(repo, context.token, context.server_url),
            api,
            context,
            JobIO(environ, self.output),
            CommentOptions("fanin.yml", environ=environ),
        )

    @property
    def head(self) -> str:
        return self.on_forge.git.git("rev-parse", f"refs/heads/{self.branch}")

    def record(self, task: str) -> dict[str, Any]:
        text = self.on_forge.git.read(self.head, ".fanin/progress.json")
        record: dict[str, Any] = json.loads(text)["tasks"][task]
        return record


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """On a run's branch A and B have landed, C has failed, D waits at its gate, and E
    asks.
    """
    folder = tmp_path_factory.mktemp("landed")
    project = Project(folder / "repo", folder / "log")
    project.root.mkdir()
    project.git("init", "-q", "-b", "main")
    project.set_identity()
    project.write(".github/workflows/fanin.yml", CALLER)
    project.plan(TASKS)
    project.git("switch", "-qc", "fanin/4711")
    project.run()
    return project


@pytest.fixture
def pulls(landed: Project, tmp_path: Path) -> Iterator[Pulls]:
    """The branch has its pull request, and ada may write."""
    project = Project(tmp_path / "repo", tmp_path / "log")
    shutil.copytree(landed.root, project.root, symlinks=True)
    with Forge(tmp_path / "forge") as forge:
        on_forge = forge.create(NAME, {"README.md": "hello"})
        on_forge.writers.add("ada")
        where = str(forge.root / f"{NAME}.git")
        project.git("push", "-qf", where, "main", "fanin/4711")
        pull = on_forge.open_pull("fanin/4711")
        folder = tmp_path / "jobs"
        folder.mkdir()
        yield Pulls(forge, project, folder, on_forge, pull["number"], "fanin/4711")
        assert forge.unknown == []


def test_what_a_person_asks_for_is_one_commit_and_starts_the_next_round(
    pulls: Pulls,
) -> None:
    before = pulls.head
    asked = pulls.comment('Good work.\n\n/fanin retry C "Try $(the) `other` @way."\n')
    git = pulls.on_forge.git
    assert git.git("rev-parse", f"{pulls.head}^") == before
    assert git.git("diff", "--name-only", before, pulls.head) == ".fanin/progress.json"
    message = git.git("log", "-1", "--format=%B", pulls.head)
    comment_id = asked["comment"]["id"]
    assert message == f"Retry C\n\nFanin-Comment: {comment_id} (ada)"
    record = pulls.record("C")
    assert (record["status"], record["allowed"]) == ("failed", 2)
    assert record["message"] == "Try $(the) `other` @way."
    [dispatch] = pulls.on_forge.dispatches
    # On main, where the run of such a branch was started and has its group.
    assert (dispatch.workflow, dispatch.ref) == ("fanin.yml", "main")
    state = json.loads(dispatch.inputs["fanin-state"])
    assert (state["branch"], state["pull_request"]) == (pulls.branch, None)
    assert state["pull_requests"] == {pulls.branch: "main"}
    assert reactions(pulls.on_forge, asked) == ["+1"]
    [answer] = answers(pulls.on_forge)
    assert answer.startswith(
        f"`/fanin retry C`: {pulls.forge.server_url}/{NAME}/commit/"
    )
    assert pulls.head in answer
    assert answer.endswith(" The next round has been started.")

    pulls.comment("/fanin approve D\n/fanin hold D")
    assert "Only the first command" in answers(pulls.on_forge)[-1]
    assert pulls.record("D")["gate"] is False
    pulls.comment("/fanin approve D")
    assert "D is already free to start." in answers(pulls.on_forge)[-1]
    assert len(pulls.on_forge.dispatches) == 3
    pulls.comment("/fanin hold D")
    assert len(pulls.on_forge.dispatches) == 3

    pulls.comment("/fanin reply 'docs/E: 1.2' \"<!-- -->The `first`, it's @best.\"")
    assert "`/fanin reply 'docs/E: 1.2'`: " in answers(pulls.on_forge)[-1]
    [question] = pulls.record("docs/E: 1.2")["questions"]
    assert question["answer"] == "The `first`, it's @best."
    assert git.git("diff", "--name-only", f"{pulls.head}^", pulls.head) == (
        ".fanin/progress.json"
    )
    assert len(pulls.on_forge.dispatches) == 4

    pulls.comment("/fanin undo A")
    assert "B builds on A and landed too" in answers(pulls.on_forge)[-1]
    asked = pulls.comment("/fanin undo A --with-dependents")
    assert reactions(pulls.on_forge, asked) == ["+1"]
    assert "It changes `a, b`." in answers(pulls.on_forge)[-1]
    assert set(git.files(pulls.head)) & {"a", "b"} == set()
    assert len(pulls.on_forge.dispatches) == 4


def test_who_may_not_ask_and_what_is_no_command_changes_nothing(pulls: Pulls) -> None:
    before = pulls.head
    command = "/fanin undo B"

    def silent(body: str, login: str = "ada", **more: Any) -> None:
        calls = len(pulls.forge.calls("POST", ""))
        pulls.comment(body, login, **more)
        assert len(pulls.forge.calls("POST", "")) == calls

    silent(command, "github-actions[bot]")
    silent(command, by_app=True)
    silent(f"> {command}")
    silent(f"```\n{command}\n```")
    stranger = pulls.comment(command, "eve")
    assert reactions(pulls.on_forge, stranger) == ["-1"]
    assert answers(pulls.on_forge) == []

    def refused(event: dict[str, Any], why: str) -> None:
        assert pulls.job(event) == 0
        assert why in answers(pulls.on_forge)[-1]
        assert pulls.head == before

    def asks(body: str = command) -> dict[str, Any]:
        return say(pulls.forge, pulls.on_forge, pulls.number, "ada", body)

    edited = asks()
    pulls.on_forge.comments[edited["comment"]["id"]]["body"] = "/fanin hold A"
    refused(edited, "the comment has changed since")
    assert reactions(pulls.on_forge, edited) == ["confused"]
    deleted = asks()
    del pulls.on_forge.comments[deleted["comment"]["id"]]
    refused(deleted, "the comment has changed since")
    refused(asks("/fanin undo B; rm -rf /"), "there is no task B;")
    refused(asks("/fanin merge"), "merge is no command here")
    refused(asks('/fanin reply C "Yes."'), "C has no question to answer")
    hostile = "/fanin undo <img/src=x>@ada#1"
    refused(asks(hostile), "&lt;img/src=x&gt;")
    assert "@ada" not in answers(pulls.on_forge)[-1]
    pull = pulls.on_forge.pulls[pulls.number]
    pull["head"]["repo"]["full_name"] = "eve/work"
    refused(asks(), "from a fork")
    assert pulls.on_forge.dispatches == []


def test_a_retry_is_told_what_the_review_says_on_the_tasks_lines(
    pulls: Pulls,
) -> None:
    def reviewed(path: str, *said: tuple[str, str], **more: Any) -> None:
        review(pulls.on_forge, pulls.number, path, 1, pulls.head, *said, **more)

    reviewed("b", ("ada", "Of another task."))
    reviewed("a", ("ada", "Solved."), resolved=True)
    reviewed("a", ("ada", "Of before."), created="2026-01-01T00:00:00Z")
    reviewed("a", ("ada", "Deleted lines."), side="LEFT")
    before = pulls.head
    none = pulls.comment("/fanin retry A --from-review")
    assert (
        "no open review comment is on lines that A wrote" in answers(pulls.on_forge)[-1]
    )
    assert reactions(pulls.on_forge, none) == ["confused"]
    reviewed("a", ("ada", "Why `a`?"), ("eve", "Drop it."))

    pulls.project.git("remote", "add", "origin", f"{pulls.forge.server_url}/{NAME}")
    env = {"GITHUB_TOKEN": pulls.forge.token, "GITHUB_API_URL": pulls.forge.api_url}
    locally = pulls.project.cli("retry", "A", "--from-review", env=env)
    assert locally.returncode == 0, locally.stderr
    assert pulls.head == before
    pulls.comment('/fanin retry A --from-review "Be brief."')
    told = (
        "Comments of the review on lines that you wrote:\n\nada on a, line 1:\nWhy `a`?"
    )
    assert pulls.project.records()["A"]["message"] == told
    assert pulls.record("A")["message"] == f"Be brief.\n\n{told}"
    assert pulls.record("A")["status"] == "pending"
    prompt = pulls.project.cli("task", "A", "--show-prompt").stdout
    assert "> ada on a, line 1:\n> Why `a`?" in prompt


def test_kept_work_is_accepted_by_its_full_id_alone(pulls: Pulls) -> None:
    git = pulls.on_forge.git
    head = pulls.head
    tree = git.write_tree(
        git.resolve(head, "tree"), {"c": ("100644", git.blob(b"c\n"))}
    )
    kept = git.write_commit(
        tree, [head], "C, attempt 1: work that did not land\n", "a <a@b>", "a <a@b>"
    )
    folder = kept_refs.folder(pulls.branch, "tasks.yml", "C")
    git.update(f"{folder}/a1-4711.1", kept, None)
    pulls.comment(f"/fanin accept C {head}")
    assert "no work of C is kept here as" in answers(pulls.on_forge)[-1]
    assert pulls.head == head
    pulls.comment(f"/fanin accept C {kept}")
    assert pulls.record("C")["status"] == "completed", answers(pulls.on_forge)
    assert git.read(pulls.head, "c") == b"c\n"
    assert git.git("for-each-ref", folder) == ""
    assert len(pulls.on_forge.dispatches) == 1


def test_a_job_without_its_rights_says_which_it_lacks(pulls: Pulls) -> None:
    hold = say(pulls.forge, pulls.on_forge, pulls.number, "ada", "/fanin hold C")
    with pytest.raises(FaninError, match=r"refused the push: .*denied"):
        pulls.job(hold, {**RIGHTS, "contents": "read"})
    assert "This failed: " in answers(pulls.on_forge)[-1]
    with pytest.raises(FaninError, match="pull-requests: write"):
        pulls.job(hold, {**RIGHTS, "pull-requests": "read"})
    # The approval is on the branch, and a person may press the button.
    approve = say(pulls.forge, pulls.on_forge, pulls.number, "ada", "/fanin approve D")
    assert pulls.job(approve, {**RIGHTS, "actions": "read"}) == 0
    assert "Start `fanin.yml` yourself" in answers(pulls.on_forge)[-1]
    assert pulls.record("D")["gate"] is False


def test_the_job_is_for_new_comments_alone(project: Project) -> None:
    env = {"GITHUB_RUN_ID": "1", "GITHUB_REPOSITORY": NAME, "FANIN_TOKEN": "t"}
    done = project.cli("comment", env={**env, "GITHUB_EVENT_NAME": "push"})
    assert (done.returncode, "has no new comment" in done.stderr) == (2, True)
