"""Issues as the plan on a developer's machine: collect, commit, run, answer, against
the forge over HTTP.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.support import forked_fanin
from tests.support.github import forge_issues
from tests.support.github.forge import Forge
from tests.support.github.world import AGENT

OPENED, LABELLED = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
NAME = "octo/work"


class Clone:
    """A clone of the forge's repository, and fanin run in it."""

    def __init__(self, forge: Forge, root: Path, token: str) -> None:
        self.forge, self.root = forge, root
        self.repository = forge.repositories[NAME]
        self.env = {
            **os.environ,
            "GITHUB_TOKEN": token,
            "GITHUB_API_URL": forge.api_url,
        }

    def fanin(
        self, *argv: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return forked_fanin.run(argv, self.root, {**self.env, **(env or {})})

    def git(self, *argv: str) -> str:
        return subprocess.run(
            ["git", *argv], cwd=self.root, capture_output=True, text=True, check=True
        ).stdout

    def comments(self) -> dict[int, str]:
        return {
            comment["issue"]: comment["body"]
            for comment in self.repository.comments.values()
        }


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    settings = {
        "parallel": True,
        "max_attempts": 1,
        "sandbox": "off",
        "agent": {"command": ["python3", "agent.py"]},
    }
    settings["plan"] = {"source": "github-issues", "options": {"when_done": "label"}}
    files = {
        "fanin.yml": yaml.safe_dump(settings),
        "agent.py": AGENT.read_text(encoding="utf-8"),
    }
    with Forge(tmp_path / "forge") as forge:
        repository = forge.create(NAME, files)
        repository.writers.add("maintainer")
        for title, body, blockers in (
            ("Add a", "write a: a", ()),
            ("Add b", "write b: b", (1,)),
            ("Hard", "fail x", ()),
        ):
            number = forge_issues.open_issue(
                repository, title, body, at=OPENED, blocked_by=blockers
            )
            forge_issues.put_label(
                repository, number, "fanin", by="maintainer", at=LABELLED
            )
        root = tmp_path / "clone"
        subprocess.run(
            ["git", "clone", "-q", f"{forge.server_url}/{NAME}", str(root)], check=True
        )
        yield Clone(forge, root, forge.mint({}, app=False, label="person"))


def test_issues_are_collected_run_and_answered(clone: Clone) -> None:
    assert "write it with  fanin collect" in clone.fanin("check").stderr
    collected = clone.fanin("collect")
    assert collected.returncode == 0, collected.stderr
    assert collected.stdout.splitlines()[:4] == [
        "+ #1 Add a",
        "+ #2 Add b",
        "+ #3 Hard",
        ".fanin/issues.json: 3 tasks",
    ]
    checked = clone.fanin("check")
    assert (
        ".fanin/issues.json (github-issues): 3 tasks, 1 dependency" in checked.stdout
    ), checked.stderr
    clone.git("add", ".fanin")
    clone.git("commit", "-qm", "Take over the labelled issues")
    ran = clone.fanin("run")
    assert ran.returncode == 1, ran.stderr  # one failed for good
    answered = clone.fanin("answer")
    assert answered.stdout == "answered: #1, #2, #3\n", answered.stderr
    landed = clone.git("log", "--format=%h", "--grep=Fanin-Task: 2").split()
    assert f"the work is on `main` in {landed[0]}" in clone.comments()[2]
    labels = {
        n: [label["name"] for label in one["labels"]]
        for n, one in clone.repository.issues.items()
    }
    assert labels == {
        1: ["fanin", "fanin:done"],
        2: ["fanin", "fanin:done"],
        3: ["fanin", "fanin:failed"],
    }
    assert clone.fanin("answer").stdout == "answered: none, all are up to date\n"
    assert clone.forge.unknown == []


def test_collecting_again_writes_the_same_bytes_and_prints_only_changes(
    clone: Clone,
) -> None:
    clone.fanin("collect")
    file = clone.root / ".fanin" / "issues.json"
    before = file.read_bytes()
    assert "+ #" not in clone.fanin("collect").stdout
    assert file.read_bytes() == before
    forge_issues.take_label(
        clone.repository, 3, "fanin", by="maintainer", at="2026-01-05T00:00:00Z"
    )
    forge_issues.edit(
        clone.repository, 1, body="write a: evil", at="2026-01-05T00:00:00Z"
    )
    assert [
        line for line in clone.fanin("collect").stdout.splitlines() if line[0] in "+-~!"
    ] == ["- #3 Hard"]
    assert "evil" not in file.read_text(encoding="utf-8")


def test_without_labelled_issues_there_is_nothing_to_do_until_one_is_labelled(
    clone: Clone,
) -> None:
    for number in (1, 2, 3):
        forge_issues.take_label(
            clone.repository,
            number,
            "fanin",
            by="maintainer",
            at="2026-01-05T00:00:00Z",
        )
    assert ".fanin/issues.json: 0 tasks" in clone.fanin("collect").stdout
    clone.git("add", ".fanin")
    clone.git("commit", "-qm", "Nothing")
    for command in ("check", "status", "run", "answer"):
        done = clone.fanin(command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert clone.fanin("graph").returncode == 0
    forge_issues.put_label(
        clone.repository, 1, "fanin", by="maintainer", at="2026-01-06T00:00:00Z"
    )
    assert "+ #1 Add a" in clone.fanin("collect").stdout


def test_a_cycle_is_named_and_gone_once_it_is_fixed(clone: Clone) -> None:
    clone.repository.issues[1]["_blocked_by"] = [2]
    clone.fanin("collect")
    checked = clone.fanin("check")
    assert checked.returncode == 2
    assert "cycle" in checked.stderr
    clone.repository.issues[1]["_blocked_by"] = []
    clone.fanin("collect")
    assert clone.fanin("check").returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{lable: x}", "has no option 'lable'; did you mean 'label'?"),
        ("{when_done: clsoe}", "cannot be 'clsoe'"),
    ],
)
def test_a_wrong_option_is_refused_before_any_request(
    clone: Clone, options: str, message: str
) -> None:
    (clone.root / "fanin.yml").write_text(
        f"plan: {{source: github-issues, options: {options}}}\n"
    )
    done = clone.fanin("collect")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not [request for request in clone.forge.requests if request.kind == "api"]


def test_another_plan_is_never_overwritten(clone: Clone) -> None:
    (clone.root / "tasks.yml").write_text("version: 1\ntasks: [{id: A, title: a}]\n")
    done = clone.fanin("collect", "--plan", "tasks.yml")
    assert done.returncode == 2
    assert (
        "tasks.yml was not written by  fanin collect, so it is not overwritten"
        in done.stderr
    )
    assert (clone.root / "tasks.yml").read_text().startswith("version: 1")


@pytest.mark.parametrize(
    ("env", "code", "message"),
    [
        ({"GITHUB_TOKEN": ""}, 2, "fanin has no token for http://127.0.0.1"),
        ({"GITHUB_TOKEN": "wrong"}, 3, "GitHub does not accept the token"),
        ({"GITHUB_API_URL": "http://127.0.0.1:9"}, 3, "GitHub did not answer"),
    ],
)
def test_an_error_is_reported_and_nothing_is_written(
    clone: Clone, env: dict[str, str], code: int, message: str
) -> None:
    done = clone.fanin("collect", "--repository", NAME, env=env)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert not (clone.root / ".fanin").exists()


def test_an_answer_of_another_plan_is_refused(clone: Clone) -> None:
    done = clone.fanin("answer", "--plan", "tasks.yml")
    assert done.returncode == 2
    assert "there is no such plan in the commit" in done.stderr
