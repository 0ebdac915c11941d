"""Files of any size that an agent leaves hold nothing up: their sizes are looked at
before git reads them, and a capture ends with its run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from runner.attempt import capture, detours, workspace
from runner.attempt.workspace import CaptureLimits, Workspace
from runner.core.errors import Interrupted
from runner.repo import command
from runner.repo.origin import origin_of
from tests.integration.test_checkout_options import acquire, with_submodules
from tests.integration.test_hostile import beside_good
from tests.support.capture_ways import capture_way
from tests.support.project import Project

__all__ = ["capture_way", "with_submodules"]  # fixtures

MAX_BYTES = 2**20
ADD_TO_INDEX = "git update-index --add --cacheinfo 100644,$(git hash-object a),huge"
LIMITS = CaptureLimits(timeout=20, max_bytes=MAX_BYTES)


@pytest.fixture
def space(project: Project, tmp_path: Path) -> Workspace:
    project.write("base.bin", "x" * 2 * MAX_BYTES)
    head = project.commit()
    space = workspace.create(origin_of(project.root), head, tmp_path / "space", "b")
    return space._replace(limits=LIMITS)


def do(space: Workspace, script: str) -> None:
    subprocess.run(["sh", "-ec", script], cwd=space.checkout, check=True)


def captured(space: Workspace) -> tuple[list[str], dict[str, str]]:
    """The captured paths, and what was left out with its reason."""
    taken = capture.capture(space)
    paths = []
    if taken.tree is not None:
        paths = space.git.text(["ls-tree", "-r", "--name-only", taken.tree]).split()
    return paths, {each.path: each.reason for each in taken.left_out}


@pytest.mark.parametrize(
    "script",
    [
        "truncate -s 1T huge",
        "mkdir d; truncate -s 1T d/huge; ln d/huge d/again",
        "truncate -s 1T README.md",
        f"echo huge > .gitignore; truncate -s 1T huge; {ADD_TO_INDEX}",
        "truncate -s 700K $(seq -f part%g 2000)",
    ],
    ids=["new", "two names", "tracked", "past .gitignore", "thousands"],
)
def test_files_that_are_too_large_are_left_out_and_the_rest_is_captured(
    space: Workspace, script: str
) -> None:
    do(space, f"echo a > a; {script}")
    paths, left_out = captured(space)
    assert {"a", "base.bin"} <= set(paths)
    assert left_out
    size = sum(
        (space.checkout / path).stat().st_size for path in {*paths} - {*left_out}
    )
    assert size - 2 * MAX_BYTES <= MAX_BYTES
    for path, reason in left_out.items():
        bytes_now = (space.checkout / path).stat().st_size
        assert f"has {bytes_now:,} bytes, and the changes more than" in reason


def test_large_files_that_git_need_not_read_are_no_reason(space: Workspace) -> None:
    do(space, "echo ignored > .gitignore; truncate -s 1T ignored; echo a > a")
    paths, left_out = captured(space)
    assert (left_out, "a" in paths) == ({}, True)


def test_what_set_up_makes_may_be_large_and_is_not_read_without_end(
    space: Workspace,
) -> None:
    do(space, "truncate -s 1T huge; yes | head -c 3000000 > made")
    unlimited = space._replace(limits=CaptureLimits(timeout=20))
    prepared = capture.record_preparation(unlimited)
    do(prepared, "echo a > a")
    assert captured(prepared._replace(limits=LIMITS)) == (
        [".gitignore", "README.md", "a", "base.bin"],
        {},
    )


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("rm .gitignore; mkfifo .gitignore", ".gitignore"),
        ("mkdir d; mkfifo d/.gitattributes", "d/.gitattributes"),
        ("truncate -s 1T .gitignore", ".gitignore"),
        ("git init -q sub; rm sub/.git/HEAD; mkfifo sub/.git/HEAD", "sub/.git/HEAD"),
        (
            "git init -q sub; truncate -s 1T sub/.git/packed-refs",
            "sub/.git/packed-refs",
        ),
    ],
)
def test_git_is_not_started_where_it_would_wait_or_read_without_end(
    space: Workspace, script: str, path: str
) -> None:
    do(space, f"echo a > a; {script}")
    paths, left_out = captured(space)
    assert paths == []
    assert list(left_out) == [path, "."]


def test_a_repository_with_large_objects_inside_is_left_out_as_any_other(
    space: Workspace,
) -> None:
    do(space, "git init -q sub; truncate -s 1T sub/.git/objects/pack/x.pack; echo a>a")
    paths, left_out = captured(space)
    assert "a" in paths
    assert left_out == {"sub": "is a repository inside the repository"}


def test_a_file_that_is_too_large_below_a_submodule_changes_it(
    with_submodules: Project, tmp_path: Path
) -> None:
    made = acquire(with_submodules, tmp_path / "space")._replace(limits=LIMITS)
    do(made, "truncate -s 1T lib/outer/huge")
    _, left_out = captured(made)
    assert left_out == {"lib/outer": "is a submodule with changed files"}


def test_a_submodule_that_set_up_fills_without_end_fails_no_task(
    with_submodules: Project, tmp_path: Path
) -> None:
    made = acquire(with_submodules, tmp_path / "space")
    made = made._replace(limits=CaptureLimits(timeout=20))
    do(made, "truncate -s 1T lib/outer/huge")
    prepared = capture.record_preparation(made)._replace(limits=LIMITS)
    do(prepared, "echo a > a")
    paths, left_out = captured(prepared)
    assert ("a" in paths, left_out) == (True, {})


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("git worktree add -q ../beside; truncate -s 1T ../beside/huge", "beside"),
        (
            "git checkout -qb side; yes | head -c 3000000 > b; git add b; git commit -qm b",
            "branch side is not kept: it has 3,000,",
        ),
    ],
    ids=["work tree", "branch"],
)
def test_work_outside_of_the_checkouts_files_is_as_large_at_most(
    space: Workspace, script: str, problem: str
) -> None:
    do(space, script)
    assert capture.capture(space).tree is None
    found = detours.find(space, None, MAX_BYTES)
    assert (found.result, found.others) == (None, ())
    assert problem in " ".join(found.problems)


def test_a_sparse_terabyte_fails_its_task_alone(project: Project) -> None:
    seen, record = beside_good(project, "echo a > a; truncate -s 1T huge")
    assert record["error"]["kind"] == "policy"
    reason = "this cannot land: huge has 1,099,511,627,776 bytes"
    assert record["error"]["message"].startswith(reason)
    # what git could take is kept
    [kept] = [fan_in.kept["BAD"] for fan_in in seen.fan_ins if fan_in.kept]
    assert project.git("show", f"{kept}:a") == "a"


def test_a_capture_ends_with_its_run_and_keeps_what_changed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git itself interrupts the run, and then does not end."""
    real = shutil.which("git")
    programs = tmp_path / "programs"
    programs.mkdir()
    captures = (
        '*" ls-files -z -m "*|*" diff-files "*'  # of a small checkout, a large one
    )
    script = f'case "$*" in {captures}) kill -INT {os.getpid()}; exec sleep 600; esac\n'
    (programs / "git").write_text(f'#!/bin/sh\n{script}exec {real} "$@"\n')
    (programs / "git").chmod(0o755)
    project.plan([{"id": "A", "do": ["write a: paid work"]}])
    monkeypatch.setattr(command, "CANCEL_GRACE", 0.2)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(Interrupted, match="1 will run again"):
        project.run()
    [archive] = (project.root / ".git" / "fanin" / "runs").glob("**/left-out.tar")
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["a"]
