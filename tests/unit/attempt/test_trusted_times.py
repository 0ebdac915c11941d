"""After set-up git reads no file again that set-up has surely not touched."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.attempt import capture, trusted_times, workspace
from runner.attempt.trusted_times import SECOND, trust_untouched, without_reading
from runner.attempt.workspace import Workspace
from runner.repo.command import isolated_git
from runner.repo.origin import origin_of

TICK = 0.02  # seconds; longer than the file system's clock stands still


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    """A workspace whose index was written some ticks after its files, in their second."""
    root = tmp_path / "repository"
    isolated_git(tmp_path).run(["init", "-q", str(root)])
    repository = isolated_git(root)
    for name in ("file", "other"):
        (root / name).write_text("base\n")
    repository.run(["add", "-A"])
    repository.run(["commit", "-q", "-m", "base"])
    base = repository.text(["rev-parse", "HEAD"]).strip()
    origin = origin_of(root)
    while True:
        folder = tmp_path / f"space-{time.monotonic_ns()}"
        made = workspace.create(origin, base, folder, "fanin/task")
        time.sleep(TICK)
        later = trusted_times.time_in(made.folder)
        changed = (made.checkout / "file").stat().st_ctime_ns
        if changed // SECOND == later // SECOND:
            return made._replace(index_record=made.index_record._replace(time=later))


def _write_at_the_same_time(file: Path) -> None:
    before = file.stat()
    file.write_text("BASE\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(file: Path) -> None:
    before = file.stat()
    new = file.with_name("new")
    new.write_text("BASE\n")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(file)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("touch", [_write_at_the_same_time, _replace, Path.unlink])
def test_what_set_up_touches_at_once_is_seen(
    space: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    touch: Callable[[Path], None],
    large: bool,
) -> None:
    if large:
        monkeypatch.setattr(capture, "_MAX_MEASURED_INDEX", 0)
    time.sleep(TICK)
    touch(space.checkout / "file")
    assert trust_untouched(space) is None
    prepared = capture.record_preparation(space).prepared
    assert [change.path for change in prepared] == ["file"]


def test_a_file_as_late_as_the_index_is_not_trusted(space: Workspace) -> None:
    changed = (space.checkout / "file").stat().st_ctime_ns
    late = space.index_record._replace(time=changed)
    assert trust_untouched(space._replace(index_record=late)) is None


def test_git_is_asked_where_it_has_written_few_files_since(space: Workspace) -> None:
    repository = isolated_git(space.folder.parent / "repository")
    repository.run(["commit", "-q", "--allow-empty", "-m", "next"])
    head = repository.text(["rev-parse", "HEAD"]).strip()
    for base, is_trusted in ((space.base, True), (head, False)):
        folder = space.folder.with_name(f"at-{base}")
        space = workspace.moved(space, base, folder, "fanin/task")
        assert (trust_untouched(space) is not None) is is_trusted


@pytest.mark.parametrize("later", [False, True])
def test_untouched_files_are_trusted_from_the_next_second_on(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    written = space.index_record.time
    now = (written // SECOND + 1) * SECOND if later else written
    monkeypatch.setattr(trusted_times, "time_in", lambda _folder: now)
    trusted = trust_untouched(space)
    assert trusted is not None
    assert trusted.index_record.time == now
    # what the agent does later is seen
    prepared = capture.record_preparation(space)
    assert prepared.prepared == ()
    (space.checkout / "other").write_text("agents\n")
    assert capture.capture(prepared).tree is not None


def test_git_reads_no_file_in_the_block(tmp_path: Path) -> None:
    """It would find that the files have another content than the index."""
    git = isolated_git(tmp_path)
    git.run(["init", "-q"])
    index, file = tmp_path / ".git" / "index", tmp_path / "file"
    while True:
        file.write_text("base\n")
        git.run(["add", "file"])
        written = index.stat().st_mtime_ns
        same_second = file.stat().st_mtime_ns // SECOND == written // SECOND
        _write_at_the_same_time(file)
        if same_second and file.stat().st_ctime_ns // SECOND == written // SECOND:
            break
    with without_reading(index, written):
        assert git.run(["diff-files", "--name-only"]) == b""
    assert git.run(["diff-files", "--name-only"]) == b"file\n"
    assert index.stat().st_mtime_ns == written
