"""Objects that leave a quarantine are as git would have written them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.core.errors import GitFailed
from runner.repo import pack_writer
from runner.repo.command import Git, isolated_git
from runner.repo.repository import Repository


def test_a_group_that_shares_a_repository_may_write_to_folders_of_new_objects(
    tmp_path: Path,
) -> None:
    git = isolated_git(tmp_path)
    git.run(["init", "-q", "-b", "main", "--shared=group"])
    git.run(["commit", "-q", "--allow-empty", "-m", "start"])
    repo = Repository(tmp_path, os.environ)
    base = repo.commit("HEAD")
    assert base is not None
    with repo.quarantine() as quarantine:
        blob = quarantine.write_blob(b"new\n")
        tree = quarantine.write_tree(repo.tree(base), {"new": blob})
        commit = quarantine.commit_tree(tree, [base], "new\n")
        quarantine.adopt([commit], [base])
    objects = tmp_path / ".git/objects"
    modes = {
        folder.name: folder.stat().st_mode & 0o7777
        for folder in objects.glob("[0-9a-f][0-9a-f]")
    }
    assert commit[:2] in modes
    assert set(modes.values()) == {objects.stat().st_mode & 0o7777}


def test_of_an_imported_pack_only_what_the_tip_reaches_is_adopted_without_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolated_git(tmp_path).run(["init", "-q", "-b", "main"])
    repo = Repository(tmp_path, os.environ)
    base = repo.commit_tree(repo.objects().write("tree", b""), [], "start\n")
    with repo.quarantine() as other:
        kept, dropped = other.write_blob(b"kept\n"), other.write_blob(b"dropped\n")
        tree = other.write_tree(base, {"folder/kept": kept})
        names = [kept[1], dropped[1], tree, other.objects().tree(tree)[b"folder"][1]]
        pack = tmp_path / "pack"
        pack.write_bytes(pack_writer.make_pack(other.read(names), "sha1"))
    with repo.quarantine() as quarantine:
        quarantine.import_pack(pack, pack.stat().st_size + 1)
        monkeypatch.setattr(Git, "_start", None)
        assert quarantine.is_tree(tree)
        commit = quarantine.commit_tree(tree, [base], "new\n")
        assert [change.path for change in quarantine.changes(base, commit)] == [
            "folder/kept"
        ]
        quarantine.adopt([commit], [base])
    monkeypatch.undo()
    assert [info is not None for info in repo.infos([commit, *names])] == [
        *(True, True, False, True, True)
    ]
    isolated_git(tmp_path).run(["fsck", "--strict"])


def test_a_broken_object_of_a_small_pack_is_refused(tmp_path: Path) -> None:
    isolated_git(tmp_path).run(["init", "-q", "-b", "main"])
    repo = Repository(tmp_path, os.environ)
    missing = bytes.fromhex("12" * 20)
    pack = tmp_path / "pack"
    for name in (b".git", b"a"):
        tree = b"100644 " + name + b"\0" + missing
        pack.write_bytes(pack_writer.make_pack([("tree", tree)], "sha1"))
        with repo.quarantine() as quarantine, pytest.raises(GitFailed):
            quarantine.import_pack(pack, pack.stat().st_size + 1)
