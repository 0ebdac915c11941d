"""What git cannot take of a checkout costs nothing else: the rest is captured, and the
files are kept in an archive that is named.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from runner.attempt.git_directory import Seed
from runner.core.errors import GitFailed
from tests.support.capture_ways import capture_way
from tests.support.project import Project, Quiet
from tests.support.without_rights import without_rights

__all__ = ["capture_way"]  # a fixture

NESTED = "is a repository inside the repository"


def run(
    project: Project, *do: str, schedule: str = "batch", **task: object
) -> tuple[dict[str, object], str]:
    """Run one task; its record, and everything that the run said."""
    project.plan([{"id": "A", "do": list(do), "max_attempts": 1, **task}])
    observer = Quiet()
    project.run(observer, schedule=schedule)
    said = list(observer.notes)
    for fan_in in observer.fan_ins:
        said += [failure.message for failure in fan_in.failed.values()]
    return project.records()["A"], "\n".join(said)


def archived(said: str) -> dict[str, bytes]:
    """The files in the archive that the run named."""
    match = re.search(r"kept in (/\S+left-out\.tar)", said)
    assert match, said
    with tarfile.open(match[1]) as tar:
        files = [member for member in tar.getmembers() if member.isreg()]
        return {member.name: tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
@pytest.mark.parametrize(
    "make",
    [
        ["git init -q sub", "write sub/x: inside"],
        ["mkrepo sub", "write sub/x: inside"],
        ["write a: a", "commit a", "git worktree add -q sub", "write sub/x: inside"],
    ],
    ids=["without a commit", "with a commit", "linked work tree"],
)
def test_a_nested_repository_is_left_out_with_a_warning_and_the_rest_lands(
    project: Project, make: list[str], schedule: str
) -> None:
    record, said = run(project, *make, "write a: a", schedule=schedule)
    assert record["status"] == "completed"
    assert project.git("show", "HEAD:a") == "a"
    assert "sub" not in project.git("ls-tree", "--name-only", "HEAD").split()
    assert f"warning: A: left out: sub {NESTED}" in said
    assert archived(said)["sub/x"] == b"inside\n"


def test_a_task_that_leaves_only_a_nested_repository_fails_and_says_so(
    project: Project,
) -> None:
    record, said = run(
        project, "git init -q sub", "write sub/x: inside", allow_empty=True
    )
    assert record["status"] == "failed"
    assert record["error"]["kind"] == "policy"  # type: ignore[index]
    assert f"this cannot land: sub {NESTED}" in said
    assert archived(said)["sub/x"] == b"inside\n"


@pytest.mark.parametrize(
    ("make", "path", "reason"),
    [
        (["write .GIT: mine"], ".GIT", "has a name that git does not accept"),
        (
            [
                "write .gitattributes: bad.txt working-tree-encoding=UTF-16",
                "write bad.txt: mine",
            ],
            "bad.txt",
            "is not in the encoding that .gitattributes names, UTF-16",
        ),
        (
            ["write lib/new.txt: mine"],
            "lib",
            "is a submodule without its repository, and has new files",
        ),
    ],
    ids=["name", "encoding", "below a submodule"],
)
def test_what_git_cannot_add_fails_the_task_and_is_kept_with_the_rest(
    project: Project, make: list[str], path: str, reason: str
) -> None:
    head = project.git("rev-parse", "HEAD")
    project.git("update-index", "--add", "--cacheinfo", f"160000,{head},lib")
    project.git("commit", "-qm", "submodule")
    (project.root / "lib").mkdir()
    observer = Quiet()
    project.plan(
        [
            {
                "id": "A",
                "do": [*make, "write other.txt: rest"],
                "max_attempts": 1,
                "allow": [".gitattributes"],
            },
            {"id": "B", "do": ["write b: b"]},
        ]
    )
    project.run(observer)
    assert project.states() == {"A": "failed", "B": "completed"}
    fan_in = observer.fan_ins[0]
    failure = fan_in.failed["A"]
    assert failure.kind == "policy"
    assert f"{path} {reason}" in failure.message
    assert b"mine\n" in archived(failure.message).values()
    assert project.git("show", f"{fan_in.kept['A']}:other.txt") == "rest"


def test_a_secret_or_a_huge_file_is_not_archived_and_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_AGENT_LOG", str(project.log))
    _, said = run(
        project,
        "git init -q sub",
        f"write sub/key: {project.log}",
        "write sub/x: inside",
        "sparse sub/huge: 1099511627776",
    )
    kept = archived(said)
    assert kept["sub/x"] == b"inside\n"
    assert not kept.keys() & {"sub/key", "sub/huge"}
    assert "sub/key: holds a secret" in said
    assert "sub/huge: 1,099,511,627,776 bytes are too many" in said


def test_a_checkout_that_git_cannot_capture_at_all_is_kept_whole(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_to_capture(_seed: Seed, _git_dir: Path) -> None:
        raise GitFailed(["init"], 128, "Input/output error")

    monkeypatch.setattr(Seed, "write_for_capture", fail_to_capture)
    record, said = run(project, "write a: a")
    assert record["error"]["kind"] == "environment"  # type: ignore[index]
    kept = archived(said)
    assert kept["a"] == b"a\n"
    assert not any(name.startswith(".git/") for name in kept)


def test_a_link_in_the_place_of_the_checkout_is_not_followed(
    project: Project, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("README.md", "tasks.yml", "fanin.yml"):
        (home / name).symlink_to(project.root / name)
    (home / "private").write_text("private", encoding="utf-8")
    script = f'd=$PWD; cd /; rm -rf "$d"; ln -s {home} "$d"'
    agent = {"command": ["sh", "-c", script]}
    project.plan([{"id": "A", "max_attempts": 1, "agent": agent}])
    project.run()
    message = project.records()["A"]["error"]["message"]
    assert "the agent deleted its checkout" in message
    assert project.git("for-each-ref", "refs/fanin/kept") == ""
    runs = project.root / ".git" / "fanin" / "runs"
    assert not list(runs.rglob("left-out.tar"))
    assert (home / "private").exists()


def run_without_rights(project: Project) -> subprocess.CompletedProcess[str]:
    """`fanin run` as a user who may not read what is closed to its owner."""
    return subprocess.run(
        without_rights([sys.executable, "-m", "runner", "run"]),
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "FAKE_AGENT_LOG": str(project.log)},
    )


def test_a_set_up_that_makes_a_nested_repository_is_not_the_agents_work(
    project: Project,
) -> None:
    project.plan(
        [{"id": "A", "do": ["write a: a"], "max_attempts": 1}],
        setup="git init -q vendored && echo x > vendored/x",
    )
    observer = Quiet()
    project.run(observer)
    assert project.states() == {"A": "completed"}
    assert "vendored" not in "\n".join(observer.notes)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a", "a cannot be read"), ("d/a", "d cannot be read: Permission denied")],
    ids=["file", "folder"],
)
def test_what_is_unreadable_is_named_and_kept(
    project: Project, name: str, reason: str
) -> None:
    unreadable = name.partition("/")[0]
    ignored = ["write .gitignore: cache/", "write cache/x: x", "mode cache: 000"]
    do = [*ignored, f"write {name}: a", f"mode {unreadable}: 000", "write b: b"]
    project.plan([{"id": "A", "do": do, "max_attempts": 1}])
    shown = run_without_rights(project)
    said = " ".join((shown.stdout + shown.stderr).split())
    assert reason in said
    assert "cache" not in said
    (kept,) = project.root.glob(".git/fanin/runs/**/left-out.tar")
    with tarfile.open(kept) as tar:
        assert tar.getnames() == [name]
    (ref,) = project.git(
        "for-each-ref", "--format=%(refname)", "refs/fanin/kept"
    ).split()
    assert project.git("show", f"{ref}:b") == "b"


@pytest.mark.parametrize(
    ("do", "states", "said"),
    [
        (["write a: a", "mode .: 000"], {"A": "completed"}, ""),
        (["write a: a", "mode .git: 000"], {"A": "completed"}, "cannot be read"),
        (["mode .git: 000", "mode .: 000"], {"A": "failed"}, "cannot be read"),
    ],
    ids=["checkout", "repository", "both"],
)
def test_a_checkout_that_an_agent_has_closed_ends_no_run(
    project: Project, do: list[str], states: dict[str, str], said: str
) -> None:
    closing = {"id": "A", "do": do, "max_attempts": 1}
    project.plan([closing, {"id": "B", "do": ["write b: b"]}])
    shown = run_without_rights(project)
    assert shown.returncode < 2, shown.stderr
    assert project.states() == {**states, "B": "completed"}
    assert said in shown.stdout
