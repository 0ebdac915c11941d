"""Reading a stranger's repository: nothing through a link, nothing that never ends."""

from __future__ import annotations

import os
from pathlib import Path

from runner.discovery.files import MAX_FILE, DiskFiles


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    files = DiskFiles.of(tmp_path, ["a", "deleted"])
    assert files.read("a") == "text"
    assert files.read("deleted") == ""
    assert "a" in files


def test_nothing_is_read_that_git_does_not_list(tmp_path: Path) -> None:
    (tmp_path / "ignored").write_text("text")
    assert DiskFiles.of(tmp_path, []).read("ignored") == ""


def test_links_pipes_and_large_files_are_empty(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("text")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    os.mkfifo(root / "pipe")
    (root / "large").write_bytes(b"x" * (MAX_FILE + 1))
    names = ["link", "folder/secret", "pipe", "large", "../outside/secret"]
    files = DiskFiles.of(root, names)
    assert [files.read(name) for name in names] == [""] * len(names)


def test_a_root_that_is_reached_through_a_link_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("text")
    (tmp_path / "link").symlink_to("real")
    assert DiskFiles.of(tmp_path / "link", ["a"]).read("a") == "text"
