"""The push of the fan-in: other processes that push all the time, and servers that refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.repo.remote import github_at, refusal_reason
from tests.support import rivals
from tests.support.jobs import Jobs
from tests.support.project import Project

# Texts as GitHub's servers say them, from public threads.
GH006 = "remote: error: GH006: Protected branch update failed for refs/heads/main. remote: error: "
GH013 = "remote: error: GH013: Repository rule violations found for refs/heads/main. remote: - "
REJECTED = "! [remote rejected] main -> main "
DENIED = "fatal: unable to access 'https://github.com/o/r/': The requested URL returned error: 403"
WORKFLOW = "to create or update workflow `.github/workflows/ci.yml` without"
REFUSALS = [
    (
        "workflows",
        f"{REJECTED}(refusing to allow a GitHub App {WORKFLOW} `workflows` permission)",
    ),
    (
        "workflows",
        f"{REJECTED}(refusing to allow an OAuth App {WORKFLOW} `workflow` scope)",
    ),
    (
        "workflows",
        f"{REJECTED}(refusing to allow a Personal Access Token {WORKFLOW} `workflow` scope)",
    ),
    ("signatures", f"{GH006}Commits must have verified signatures."),
    ("signatures", f"{GH013}Commits must have verified signatures."),
    ("protected", f"{GH006}Changes must be made through a pull request."),
    (
        "protected",
        f"{GH006}At least 1 approving review is required by reviewers with write access.",
    ),
    ("protected", f'{GH006}Required status check "test" is expected.'),
    ("protected", f"{GH006}You're not authorized to push to this branch."),
    ("protected", f"{GH013}Cannot update this protected ref."),
    ("protected", f"{REJECTED}(protected branch hook declined)"),
    ("protected", f"{REJECTED}(push declined due to repository rule violations)"),
    ("protected", f"{REJECTED}(pre-receive hook declined)"),
    ("secret", f"{GH013}GITHUB PUSH PROTECTION remote: - Push cannot contain secrets"),
    (
        "permission",
        f"remote: Permission to o/r.git denied to github-actions[bot]. {DENIED}",
    ),
    ("permission", f"remote: Write access to repository not granted. {DENIED}"),
    (
        "permission",
        f"remote: This repository was archived so it is read-only. {DENIED}",
    ),
    ("permission", "fatal: Authentication failed for 'https://github.com/o/r/'"),
    ("other", "remote: error: GH001: Large files detected."),
]


@pytest.mark.parametrize(("reason", "words"), REFUSALS)
def test_the_reason_for_a_refusal_follows_from_the_servers_words(
    reason: str, words: str
) -> None:
    assert refusal_reason(words) == reason


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://github.com/o/r.git", ("https://api.github.com", "o/r")),
        ("https://x-access-token:t@github.com/o/r", ("https://api.github.com", "o/r")),
        ("git@github.com:o/r.git", ("https://api.github.com", "o/r")),
        (
            "ssh://git@ssh.github.com:443/o/r.name.git/",
            ("https://api.github.com", "o/r.name"),
        ),
        ("http://127.0.0.1:81/o/r", ("http://127.0.0.1:81/api/v3", "o/r")),
        ("git@octo.ghe.com:o/r", ("https://api.octo.ghe.com", "o/r")),
        ("https://git.example.com/o/r", ("https://git.example.com/api/v3", "o/r")),
        ("/srv/git/o/r.git", None),
        ("../o/r", None),
        ("https://github.com/o", None),
        ("", None),
    ],
)
def test_a_repository_on_github_is_recognised_by_the_url_of_its_remote(
    url: str, found: tuple[str, str] | None
) -> None:
    assert github_at(url) == found


@pytest.fixture
def jobs(project: Project, tmp_path: Path) -> Jobs:
    (tmp_path / "actions").mkdir()
    return Jobs(project, tmp_path / "actions")


def test_rivals_who_push_all_the_time_neither_stop_the_fan_in_nor_lose_a_commit(
    jobs: Jobs, tmp_path: Path
) -> None:
    jobs.project.plan([{"id": name, "do": [f"write {name}: {name}"]} for name in "AB"])
    jobs.publish()
    chosen = jobs.next()
    jobs.tasks(chosen)
    with rivals.at_work(jobs.origin, tmp_path / "rivals", count=3, pause=0.1) as others:
        merged = jobs.merge(chosen)
    assert merged.code == 0, merged.log
    assert jobs.states() == {"A": "completed", "B": "completed"}
    history = jobs.git("rev-list", "main").splitlines()
    assert set(others.landed) <= set(history)
    assert jobs.git("log", "--format=%s", "main").splitlines().count("Fan in A, B") == 1
    files = jobs.git("ls-tree", "-r", "--name-only", "main").splitlines()
    assert sum(file.startswith("rival") for file in files) == len(others.landed)


@pytest.mark.parametrize("words", [
    "GH006: Protected branch update failed", "GH013: Repository rule violations found", "must have verified signatures",
])  # fmt: skip
def test_branch_that_refuses_keeps_the_work_on_a_branch_of_its_own(
    jobs: Jobs, words: str
) -> None:
    jobs.project.plan([{"id": "A", "do": ["write a: a"]}])
    jobs.publish()
    hook = jobs.origin / "hooks" / "update"
    hook.write_text(
        f'#!/bin/sh\n[ "$1" != refs/heads/main ] || {{ echo "error: {words}" >&2; exit 1; }}\n'
    )
    hook.chmod(0o755)
    chosen = jobs.next()
    jobs.tasks(chosen)
    merged = jobs.merge(chosen)
    assert words in merged.log
    assert jobs.states("fanin/4711") == {"A": "completed"}
    assert jobs.git("show", "fanin/4711:a") == "a"


def test_server_that_refuses_everything_is_named_and_the_artifacts_stay(
    jobs: Jobs,
) -> None:
    jobs.project.plan([{"id": "A", "do": ["write a: a"]}])
    jobs.publish()
    hook = jobs.origin / "hooks" / "update"
    hook.write_text(
        '#!/bin/sh\necho "Permission to o/r.git denied to github-actions[bot]" >&2; exit 1\n'
    )
    hook.chmod(0o755)
    chosen = jobs.next()
    jobs.tasks(chosen)
    merged = jobs.merge(chosen)
    assert merged.code == 3
    assert "Permission to o/r.git denied" in merged.log
    assert "kept as artifacts" in merged.log
    hook.unlink()
    # the job run again lands what the artifacts hold
    assert jobs.merge(chosen).code == 0
    assert jobs.states() == {"A": "completed"}
