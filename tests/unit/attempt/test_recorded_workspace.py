"""Whatever is written in a workspace after it was recorded is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.attempt import capture, workspace
from runner.attempt.recorded_workspace import RecordedWorkspace
from runner.attempt.workspace import Workspace
from runner.repo.command import isolated_git
from runner.repo.origin import origin_of


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    """A workspace in which set-up has made, changed and removed files."""
    root = tmp_path / "repository"
    isolated_git(tmp_path).run(["init", "-q", str(root)])
    repository = isolated_git(root)
    (root / "src").mkdir()
    for name in ("src/file", "src/other", "changed", "removed"):
        (root / name).write_text("base\n")
    (root / "link").symlink_to("changed")
    (root / ".gitignore").write_text("deps/\n")
    repository.run(["add", "-A"])
    repository.run(["commit", "-q", "-m", "base"])
    base = repository.text(["rev-parse", "HEAD"]).strip()
    origin = origin_of(root)
    made = workspace.create(origin, base, tmp_path / "space", "fanin/task")
    checkout = made.checkout
    (checkout / "changed").write_text("by set-up\n")
    (checkout / "removed").unlink()
    (checkout / "made").write_text("by set-up\n")
    (checkout / "deps").mkdir()
    (checkout / "deps" / "package").write_text("by set-up\n")
    return capture.record_preparation(made)


def _rewrite(file: Path) -> None:
    """Write the same bytes, and set the times of before."""
    status = file.stat()
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _write_as_much(file: Path) -> None:
    """Write as many other bytes, and set the times of before."""
    status = file.stat()
    file.write_bytes(b"x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _replace_by_copy(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    for file in folder.with_name("elsewhere").iterdir():
        file.rename(folder / file.name)
    folder.with_name("elsewhere").rmdir()


def _retarget(link: Path) -> None:
    link.unlink()
    link.symlink_to("made")


MEDDLINGS: list[tuple[str, Callable[[Path], object]]] = [
    ("src/file", _write_as_much),
    ("src/file", Path.unlink),
    ("src/file", lambda file: file.chmod(0o700)),
    ("src/file", _replace_by_pipe),
    ("src/file", _replace_by_folder),
    (".gitignore", _replace_by_pipe),
    ("src", _replace_by_copy),
    ("src", lambda folder: folder.chmod(0o700)),
    ("src/new", Path.touch),
    (".gitattributes", os.mkfifo),
    ("link", _retarget),
    ("changed", _rewrite),
    ("removed", Path.touch),
    ("made", _rewrite),
    ("made", Path.unlink),
    ("deps/package", _rewrite),
    ("deps/new", Path.touch),
    (".git/config", _rewrite),
    (".git/index", Path.unlink),
    (".git/hooks", Path.mkdir),
]


@pytest.mark.parametrize(
    ("path", "meddle"),
    MEDDLINGS,
    ids=[f"{path}-{what.__name__}" for path, what in MEDDLINGS],
)
def test_whatever_is_touched_is_noticed(
    space: Workspace, path: str, meddle: Callable[[Path], object]
) -> None:
    recorded = RecordedWorkspace.of(space)
    meddle(space.checkout / path)
    assert recorded.is_touched()


@pytest.mark.parametrize("times", [1, 2])
def test_a_workspace_in_which_nobody_wrote_is_not_touched(
    space: Workspace, times: int
) -> None:
    recorded = RecordedWorkspace.of(space)
    for _ in range(times):
        assert not recorded.is_touched()
    assert not space.capture.exists()


def test_a_link_in_place_of_the_workspace_is_noticed(space: Workspace) -> None:
    recorded = RecordedWorkspace.of(space)
    elsewhere = space.folder.with_name("elsewhere")
    space.folder.rename(elsewhere)
    space.folder.symlink_to(elsewhere)
    assert recorded.is_touched()
