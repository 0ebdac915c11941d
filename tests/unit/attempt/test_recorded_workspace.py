"""Whatever is written in a workspace after it was recorded is noticed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.attempt import capture, trusted_times, workspace
from runner.attempt.recorded_files import RecordedFiles
from runner.attempt.recorded_workspace import RecordedWorkspace
from runner.attempt.workspace import Workspace
from runner.repo.command import isolated_git
from runner.repo.origin import origin_of


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    """A workspace in which set-up has not run yet."""
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
    return workspace.create(origin_of(root), base, tmp_path / "space", "fanin/task")


@pytest.fixture
def space(made: Workspace) -> Workspace:
    return _set_up(made)


def _set_up(space: Workspace) -> Workspace:
    """Make, change and remove files as set-up may."""
    checkout = space.checkout
    (checkout / "changed").write_text("by set-up\n")
    (checkout / "removed").unlink()
    (checkout / "made").write_text("by set-up\n")
    (checkout / "deps").mkdir()
    (checkout / "deps" / "package").write_text("by set-up\n")
    return capture.record_preparation(space)


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
    # what git does not see in the second in which the index was written
    ("src/file", _rewrite),
    ("src/file", lambda file: file.chmod(0o604)),
    ("src/file", lambda file: file.with_name("linked").hardlink_to(file)),
    ("src/file", lambda file: os.link(file, file.parents[2] / "linked")),
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


@pytest.mark.parametrize(
    "meddle",
    [
        _write_as_much,
        Path.unlink,
        lambda file: file.chmod(0o604),
        lambda file: os.link(file, file.parents[2] / "linked"),
    ],
)
def test_git_notices_what_is_done_to_files_that_are_older_than_the_index(
    made: Workspace, meddle: Callable[[Path], object]
) -> None:
    time.sleep(trusted_times.seconds_until_trusted(made))
    recorded = RecordedWorkspace.of(_set_up(trusted_times.trust_files(made)))
    assert {"src/file", "src/other", "link"} <= recorded.files.indexed
    assert not recorded.is_touched()
    meddle(made.checkout / "src/file")
    assert recorded.is_touched()


def test_files_as_new_as_the_index_are_stamped_until_time_has_passed(
    made: Workspace,
) -> None:
    before_all = made.index_record._replace(time=0)
    files = RecordedFiles.of(made._replace(index_record=before_all))
    assert files.tracked <= files.others.keys()
    written = max(files.others[path][-1] for path in files.tracked)
    assert not files.trusting(written).tracked.isdisjoint(
        files.trusting(written).others
    )
    later = files.trusting(written + 10**9)
    assert later.indexed == later.tracked == files.tracked
    # what git does not know, and folders, have stamps for ever
    assert later.others.keys() == files.others.keys() - files.tracked


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
