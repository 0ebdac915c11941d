"""Work that an agent committed or stashed instead of leaving it in its checkout is the
result, or it is kept and named.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.jobs import Jobs
from tests.support.project import Project, Quiet

BRANCH = ["git checkout -q -b mine", "write a: a", "commit mine"]
BACK = "git checkout -q -f fanin/task-000"


def run(
    project: Project, *do: str, limits: dict[str, int] | None = None, **task: object
) -> tuple[dict[str, object], str]:
    settings = {"limits": limits} if limits else {}
    project.plan([{"id": "A", "do": list(do), "max_attempts": 1, **task}], **settings)
    observer = Quiet()
    project.run(observer)
    said = list(observer.notes)
    for fan_in in observer.fan_ins:
        said += [failure.message for failure in fan_in.failed.values()]
    return project.records()["A"], "\n".join(said)


def kept(project: Project, said: str) -> dict[str, str]:
    """Branch of the bundle that the run named → its files that the base lacks."""
    match = re.search(r"kept in (/\S+detours\.bundle)", said)
    assert match, said
    project.git("fetch", "-q", match[1], "refs/heads/*:refs/kept/*")
    names = project.git("for-each-ref", "--format=%(refname)", "refs/kept").split()
    return {
        name.removeprefix("refs/kept/"): project.git(
            "diff", "--name-only", f"{name}^", name
        )
        for name in names
    }


@pytest.mark.parametrize(
    "make",
    [
        [*BRANCH, BACK],
        [*BRANCH, "git pack-refs --all", BACK],
        [
            "write a: a",
            "commit mine",
            "git checkout -q --detach",
            BACK,
            "git reset -q --hard HEAD^",
            "git checkout -q --detach ORIG_HEAD",
            "git rm -q a",
        ],
        [
            "git worktree add -q ../beside -b mine",
            "write ../beside/a: a",
            "git -C ../beside add a",
            "git -C ../beside commit -qm mine",
        ],
        [*BRANCH, "git config core.fsmonitor 'touch ../../../ran; false'", BACK],
    ],
    ids=["branch", "packed", "detached", "worktree", "configuration"],
)
def test_the_one_branch_with_commits_is_the_result(
    project: Project, make: list[str]
) -> None:
    record, said = run(project, *make, verify="test -f a")
    assert record["status"] == "completed", said
    assert project.git("show", "HEAD:a") == "a"
    assert "warning: A: the result is the agent's " in said


def test_a_stash_alone_is_kept_and_named_and_the_task_is_not_completed(
    project: Project,
) -> None:
    do = [
        "write README.md: changed",
        "git stash -q",
        "write README.md: 2",
        "git stash -q",
    ]
    record, said = run(project, *do, allow_empty=True)
    assert record["status"] == "failed"
    assert "stash@{0}, stash@{1}" in said
    assert kept(project, said) == {"1": "README.md", "2": "README.md"}


def test_files_that_git_did_not_track_are_kept_of_a_stash(project: Project) -> None:
    do = ["write README.md: changed", "write new/a: a", "git stash -q -u"]
    record, said = run(project, *do)
    assert record["status"] == "failed"
    assert kept(project, said) == {"1": "README.md\nnew/a"}


def test_work_too_large_to_keep_is_named(project: Project) -> None:
    small = ["write README.md: changed", "git stash -q"]
    large = ["sparse big: 5000000", "git add -A", "git stash -q"]
    record, said = run(project, *small, *large, limits={"size": 1_000_000})
    assert record["status"] == "failed"
    assert "stash@{0} is not kept: its 5,000," in said
    assert kept(project, said) == {"1": "README.md"}


def test_the_rolling_schedule_takes_and_keeps_the_same_work(project: Project) -> None:
    stash = ["write README.md: changed", "git stash -q"]
    project.plan(
        [
            {"id": "A", "do": [*BRANCH, BACK], "max_attempts": 1},
            {"id": "B", "do": ["write b: b", *stash], "max_attempts": 1},
            {"id": "C", "depends_on": ["A"], "do": ["append a: more"]},
        ],
        schedule="rolling",
    )
    observer = Quiet()
    project.run(observer)
    said = "\n".join(observer.notes)
    assert "A: the result is the agent's branch mine" in said
    assert project.git("show", "HEAD:a") == "a\nmore"
    assert project.states()["B"] == "completed"
    assert kept(project, said) == {"1": "README.md"}


def test_two_branches_are_kept_and_named_and_none_is_chosen(project: Project) -> None:
    other = [BACK, "git checkout -q -b other", "write b: b", "commit other", BACK]
    record, said = run(project, *BRANCH, *other)
    assert record["status"] == "failed"
    assert "branch mine, branch other" in said
    assert kept(project, said) == {"1": "a", "2": "b"}


def test_what_the_checkout_lacks_is_kept_beside_its_result(project: Project) -> None:
    record, said = run(project, *BRANCH, BACK, "write b: b")
    assert record["status"] == "completed"
    assert project.git("show", "HEAD:b") == "b"
    assert "a" not in project.git("ls-tree", "--name-only", "HEAD").split()
    assert kept(project, said) == {"1": "a"}


def test_what_is_on_the_way_to_the_result_is_not_named(project: Project) -> None:
    record, said = run(project, *BRANCH, "write b: b", "commit more")
    assert record["status"] == "completed"
    assert said == ""


def test_uncommitted_files_of_a_work_tree_beside_are_kept(project: Project) -> None:
    do = ["git worktree add -q ../beside --detach", "write ../beside/a: a"]
    record, said = run(project, *do)
    assert record["status"] == "failed"
    assert "the work tree beside" in said
    assert "not kept whole" not in said
    assert kept(project, said) == {"1": "a"}


def test_what_git_cannot_take_of_a_work_tree_beside_is_named(project: Project) -> None:
    beside = ["write ../beside/a: a", "write ../beside/.GIT: x"]
    _, said = run(project, "git worktree add -q ../beside --detach", *beside)
    assert kept(project, said) == {"1": "a"}
    reason = ".GIT has a name that git does not accept"
    assert f"the work tree beside is not kept whole: {reason}" in said


@pytest.mark.parametrize("kind", ["gitdir", "refs", "objects", "alternates"])
def test_what_names_a_place_outside_of_the_attempt_is_not_followed(
    project: Project, tmp_path: Path, kind: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()

    def git(*argv: str) -> None:
        identity = ["-c", "user.name=p", "-c", "user.email=p@x"]
        subprocess.run(["git", *identity, *argv], cwd=home, check=True)

    git("init", "-q", "-b", "main")
    (home / "private").write_text("private\n")
    git("add", "-A")
    git("commit", "-qm", "private")
    commit = subprocess.check_output(
        ["git", "rev-parse", "HEAD"], cwd=home, text=True
    ).strip()
    stored = [each.name for each in (home / ".git/objects").glob("??")]
    do = {
        "gitdir": [
            "write .git/worktrees/x/HEAD: ref: refs/heads/x",
            f"write .git/worktrees/x/gitdir: {home}/.git",
        ],
        "refs": [
            f"link .git/refs/heads: {home}/.git/refs/heads",
        ],
        "objects": [
            f"write .git/refs/heads/x: {commit}",
            *(
                f"link .git/objects/{name}: {home}/.git/objects/{name}"
                for name in stored
            ),
        ],
        "alternates": [
            f"write .git/refs/heads/x: {commit}",
            f"append .git/objects/info/alternates: {home}/.git/objects",
        ],
    }[kind]
    record, said = run(project, *do)
    assert record["status"] == "failed"
    assert not list(project.root.glob(".git/fanin/**/detours.bundle"))
    assert project.git("cat-file", "-e", commit, check=False) == ""
    sentence = {
        "gitdir": "outside of the attempt's folder",
        "refs": "the agent changed nothing",
        "objects": "branch x cannot be read",
        "alternates": "branch x cannot be read",
    }[kind]
    assert sentence in said


def test_work_with_a_secret_is_not_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    do = [f"write README.md: {project.log}", "git stash -q"]
    _, said = run(project, *do)
    assert "stash@{0} holds a secret and is not kept" in said
    assert not list(project.root.glob(".git/fanin/**/detours.bundle"))


def test_refs_in_the_reftable_format_are_one_clear_sentence(project: Project) -> None:
    record, said = run(project, "write .git/reftable/tables.list: x", allow_empty=True)
    assert record["status"] == "failed"
    assert "reftable format, which fanin does not read" in said


@pytest.mark.parametrize("then", [[], ["git commit -qm forced"]])
def test_a_file_forced_past_gitignore_is_in_the_result(
    project: Project, then: list[str]
) -> None:
    do = ["write x.ignored: x", "write y.ignored: y", "git add -f x.ignored", *then]
    record, _ = run(project, *do)
    assert record["status"] == "completed"
    assert project.git("show", "HEAD:x.ignored") == "x"
    assert "y.ignored" not in project.git("ls-tree", "--name-only", "HEAD").split()


def test_an_index_that_leads_elsewhere_is_not_read(
    project: Project, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for argv in (["init", "-q"], ["add", "-f", "x.ignored"]):
        (other / "x.ignored").write_text("x\n")
        subprocess.run(["git", *argv], cwd=other, check=True)
    do = ["write a: a", "write x.ignored: x", "delete .git/index"]
    record, said = run(project, *do, f"link .git/index: {other}/.git/index")
    assert record["status"] == "completed", said
    assert "x.ignored" not in project.git("ls-tree", "--name-only", "HEAD").split()


def test_a_job_on_actions_takes_and_keeps_the_same_work(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions")
    stash = ["write README.md: changed", "git stash -q"]
    project.plan(
        [
            {"id": "A", "do": [*BRANCH, BACK], "max_attempts": 1},
            {"id": "B", "do": stash, "max_attempts": 1},
        ]
    )
    jobs.publish()
    chosen = jobs.next()
    jobs.tasks(chosen)
    merged = jobs.merge(chosen)
    assert merged.code == 1, merged.log  # B has failed
    assert "A: the result is the agent's branch mine" in merged.log
    assert jobs.states() == {"A": "completed", "B": "failed"}
    assert jobs.git("show", "main:a") == "a"
    assert "work outside of it is kept in detours.bundle of the artifact" in merged.log
    bundles = [bundle.read_bytes() for bundle in jobs.artifacts.rglob("detours.bundle")]
    assert len(bundles) == 1
    assert bundles[0].startswith(b"# v2 git bundle\n")
