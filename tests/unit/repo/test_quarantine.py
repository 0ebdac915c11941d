"""Objects that leave a quarantine are as git would have written them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from runner.core.errors import GitFailed
from runner.policy.redaction import Secrets
from runner.repo import pack_writer, small_pack
from runner.repo import quarantine as quarantine_module
from runner.repo.batch_process import Content, ObjectInfo
from runner.repo.command import Git, isolated_git
from runner.repo.objects import object_id_of
from runner.repo.quarantine import Quarantine
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


@pytest.mark.parametrize("packed", [True, False])
def test_what_was_adopted_is_not_adopted_again(tmp_path: Path, packed: bool) -> None:
    git = isolated_git(tmp_path)
    git.run(["init", "-q", "-b", "main"])
    repo = Repository(tmp_path, os.environ)
    base = repo.commit_tree(repo.objects().write("tree", b""), [], "start\n")
    with repo.quarantine() as quarantine:

        def changed(parent: str, name: str) -> str:
            blob = quarantine.write_blob(name.encode())
            tree = quarantine.write_tree(parent, {f"{name}/file": blob})
            return quarantine.commit_tree(tree, [parent], f"{name}\n")

        first = changed(base, "first")
        second = changed(first, "second")
        quarantine.adopt([first], [base], packed=packed)
        before = repo.object_folders()
        quarantine.adopt([first], [base], packed=packed)
        assert repo.object_folders() == before
        quarantine.adopt([second], [base], packed=packed)
    git.run(["update-ref", "refs/heads/main", second])
    git.run(["fsck", "--strict"])
    counted = git.text(["count-objects", "-v"]).split()
    there = int(counted[1]) + int(counted[counted.index("in-pack:") + 1])
    # of each commit: itself, its trees and a blob
    assert there == 2 + 4 + 4


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
    assert repo.infos([base])  # its reader runs
    monkeypatch.setattr(Git, "_start", None)
    with repo.quarantine() as quarantine:
        quarantine.import_pack(pack, pack.stat().st_size + 1)
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


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    folder = tmp_path / "repo"
    folder.mkdir()
    isolated_git(folder).run(["init", "-q", "-b", "main"])
    return Repository(folder, os.environ)


def start(repo: Repository) -> str:
    return repo.commit_tree(repo.objects().write("tree", b""), [], "start\n")


def pack_file(
    repo: Repository, *objects: tuple[str, bytes], name: str = "pack"
) -> Path:
    file = repo.root / name
    file.write_bytes(pack_writer.make_pack(objects, "sha1"))
    return file


def commits(quarantine: Quarantine, base: str, count: int) -> list[str]:
    """Commits that each add a file of their own, one on top of the other."""
    made = []
    for number in range(count):
        blob = quarantine.write_blob(b"%d\n" % number)
        tree = quarantine.write_tree(base, {f"folder/{number}": blob})
        base = quarantine.commit_tree(tree, [base], f"{number}\n")
        made.append(base)
    return made


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("max_memory", [2**24, 600])
@pytest.mark.parametrize("git_is_asked", [True, False])
def test_what_the_tip_reaches_is_adopted_wherever_the_quarantine_has_it(
    repo: Repository,
    monkeypatch: pytest.MonkeyPatch,
    packed: bool,
    max_memory: int,
    git_is_asked: bool,
) -> None:
    monkeypatch.setattr(quarantine_module, "_MAX_MEMORY", max_memory)
    base = start(repo)
    with repo.quarantine() as quarantine:
        *made, dropped = commits(quarantine, base, 5)
        if git_is_asked:
            shown = quarantine.git.text(["log", "--format=%s", made[-1]])
            assert shown.split() == ["3", "2", "1", "0", "start"]
        made += commits(quarantine, made[-1], 1)
        assert quarantine.git.status(["cat-file", "-e", made[-1]]) == 0
        assert repo.infos([made[-1]]) == [None]
        quarantine.adopt([made[-1]], [base], packed=packed)
    assert list((repo.git_dir / "fanin").iterdir()) == []
    assert repo.infos([dropped]) == [None]
    repo.git.run(["update-ref", "refs/heads/main", made[-1]])
    repo.git.run(["fsck", "--strict"])


def test_nothing_is_written_until_git_is_asked(repo: Repository) -> None:
    base = start(repo)
    with repo.quarantine() as quarantine:
        [commit] = commits(quarantine, base, 1)
        assert quarantine.changes(base, commit)[0].path == "folder/0"
        assert quarantine.infos(["12" * 20]) == [None]
        assert list((repo.git_dir / "fanin").iterdir()) == []
        # more than a few are a pack there
        commits(quarantine, commit, 4)
        assert quarantine.git.status(["cat-file", "-e", commit]) == 0
    assert list((repo.git_dir / "fanin").iterdir()) == []


def test_what_is_merged_and_the_commits_for_it_are_one_pack_for_git(
    repo: Repository,
) -> None:
    base = repo.tree(start(repo))
    with repo.quarantine() as quarantine:
        blobs = [quarantine.write_blob(text) for text in (b"ours\n", b"theirs\n")]
        ours, theirs = (
            quarantine.write_tree(base, {name: blob})
            for name, blob in zip("ab", blobs, strict=True)
        )
        merged = quarantine.merge_trees(base, ours, theirs)
        assert isinstance(merged, str)
        (index,) = quarantine.folder.glob("pack/*.idx")
        shown = quarantine.git.text(["show-index"], stdin=index.read_bytes())
        # two blobs, two trees and three commits
        assert len(shown.splitlines()) == 7
        loose = [file for file in quarantine.folder.glob("??/*") if file.is_file()]
        assert [file.parent.name + file.name for file in loose] == [merged]


def test_a_plain_pack_that_names_what_is_not_there_is_refused(
    repo: Repository,
) -> None:
    blob = repo.write_blob(b"x\n")[1]
    for mode, object_id in (("100644", "12" * 20), ("40000", blob)):
        tree = mode.encode() + b" a\0" + bytes.fromhex(object_id)
        pack = pack_file(repo, ("tree", tree))
        with repo.quarantine() as quarantine, pytest.raises(GitFailed):
            quarantine.import_pack(pack, pack.stat().st_size + 1)


def note_names(
    monkeypatch: pytest.MonkeyPatch,
    quarantine: Quarantine,
    question: str,
    asked: list[str],
) -> None:
    """Add to `asked` the names of all objects that the question is about."""
    ask = getattr(quarantine, question)

    def noted(names: Sequence[str]) -> object:
        asked.extend(names)
        return ask(names)

    monkeypatch.setattr(quarantine, question, noted)


def test_of_a_large_folder_only_what_a_result_changes_is_asked_for(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"folder/{place}": repo.write_blob(b"%d" % place) for place in range(90)}
    base = repo.write_tree(repo.objects().write("tree", b""), files)
    with repo.quarantine() as other:
        new, moved = other.write_blob(b"new"), files["folder/8"]
        changed = {"folder/7": new, "folder/8": None, "moved": moved}
        tree = other.write_tree(base, changed)
        inner = other.objects().tree(tree)[b"folder"][1]
        pack = pack_file(repo, *other.read([tree, inner, new[1]]))
    asked: list[str] = []
    with repo.quarantine() as quarantine:
        note_names(monkeypatch, quarantine, "infos", asked)
        quarantine.import_pack(pack, pack.stat().st_size + 1, (base, tree))
        assert {moved[1], tree} < set(asked)
        assert len(asked) < 10
        changes = quarantine.changes(base, tree)
    assert [change.path for change in changes] == sorted(changed)


def test_what_a_result_puts_in_place_of_a_file_of_the_base_is_asked_for(
    repo: Repository,
) -> None:
    blob = repo.write_blob(b"x")
    base = repo.write_tree(repo.objects().write("tree", b""), {"a": blob})
    for mode, object_id in (("100644", "12" * 20), ("40000", blob[1])):
        data = mode.encode() + b" a\0" + bytes.fromhex(object_id)
        tree = object_id_of("tree", data, "sha1")
        pack = pack_file(repo, ("tree", data))
        with repo.quarantine() as quarantine, pytest.raises(GitFailed):
            quarantine.import_pack(pack, pack.stat().st_size + 1, (base, tree))


def test_a_tree_is_read_once_by_all_that_look_at_it(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = repo.write_blob(b"x")
    empty = repo.objects().write("tree", b"")
    base = repo.write_tree(empty, {"a/b": blob, "c": blob})
    new = repo.write_tree(base, {"a/b": repo.write_blob(b"y")})
    asked: list[str] = []
    with repo.quarantine() as quarantine:
        note_names(monkeypatch, quarantine, "contents", asked)
        for _ in range(2):
            assert len(quarantine.changes(base, new)) == 1
            quarantine.write_tree(base, {"a/b": None})
    assert len(asked) == len(set(asked)) == 4


def test_attributes_that_git_refuses_are_refused_wherever_they_are(
    repo: Repository,
) -> None:
    data = b"*" * 3_000 + b" text\n"
    tree = b"100644 .gitattributes\0" + bytes.fromhex(repo.write_blob(data)[1])
    for objects in ([("tree", tree)], [("tree", tree), ("blob", data)]):
        pack = pack_file(repo, *objects)
        with repo.quarantine() as quarantine, pytest.raises(GitFailed):
            quarantine.import_pack(pack, pack.stat().st_size + 1)


def test_an_object_that_is_there_already_is_not_replaced(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = repo.write_blob(b"x\n")[1]
    # what no pack can have without a collision
    monkeypatch.setattr(
        small_pack, "read", lambda *_: {blob: Content("blob", b"another\n")}
    )
    pack = pack_file(repo, ("blob", b"x\n"))
    with repo.quarantine() as quarantine:
        quarantine.import_pack(pack, pack.stat().st_size + 1)
        assert quarantine.contents([blob]) == [Content("blob", b"x\n")]


def test_plain_packs_are_imported_together_only_if_each_is_whole(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = start(repo)
    with repo.quarantine() as other:
        trees = [other.tree(commit) for commit in commits(other, base, 2)]
        packs = {}
        for tree in trees:
            inner = other.objects().tree(tree)[b"folder"][1]
            objects = other.read([tree, inner])
            if tree == trees[0]:
                objects += [("blob", b"0\n")]
            pack = pack_file(repo, *objects, name=tree)
            packs[tree] = (pack, pack.stat().st_size)
    first, second = packs.items()
    base_tree = repo.tree(base)
    with repo.quarantine() as quarantine:
        # the second one's blob "0" is in no pack but the first
        with pytest.raises(GitFailed):
            quarantine.import_pack(second[1][0], second[1][1] + 1)
        assert quarantine.infos(list(packs)) == [None, None]
    with repo.quarantine() as quarantine:
        [blob] = [quarantine.write_blob(b"1\n")]
        changes = quarantine.import_packs(dict([first]), base_tree)
        assert [[each.path for each in one] for one in changes] == [["folder/0"]]
        monkeypatch.setattr(Git, "_start", None)
        changes = quarantine.import_packs(dict([first, second]), base_tree)
        assert [len(one) for one in changes] == [1, 2]
        assert blob[1] in {each.new[1] for each in changes[1] if each.new}


def test_a_secret_in_a_new_file_is_found_without_a_process(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = start(repo)
    secrets = Secrets({"a-long-secret-value": "KEY"})
    with repo.quarantine() as quarantine:
        clean, _ = commits(quarantine, base, 2)
        blob = quarantine.write_blob(b"key: a-long-secret-value\n")
        tree = quarantine.write_tree(clean, {"config": blob})
        monkeypatch.setattr(Git, "_start", None)
        changes = quarantine.changes(base, tree)
        assert quarantine.first_secret(changes, secrets) == ("config", "KEY")
        changes = quarantine.changes(base, clean)
        assert quarantine.first_secret(changes, secrets) is None


@pytest.mark.parametrize("git_is_asked", [True, False])
def test_of_a_large_folder_only_what_is_new_is_looked_at_when_it_is_adopted(
    repo: Repository, monkeypatch: pytest.MonkeyPatch, git_is_asked: bool
) -> None:
    old = repo.write_blob(b"old\n")
    files = {f"many/{number}": old for number in range(300)} | {"sub/a/b": old}
    base = repo.commit_tree(
        repo.write_tree(repo.tree(start(repo)), files), [], "base\n"
    )
    asked: list[str] = []
    info = Quarantine._info

    def counted(self: Quarantine, name: str) -> ObjectInfo | None:
        asked.append(name)
        return info(self, name)

    with repo.quarantine() as quarantine:
        new = quarantine.write_blob(b"new\n")
        # a file, a folder in place of a file, and the other way round
        changes = {"many/7": new, "many/8/deep/file": new, "sub/a": new}
        tree = quarantine.write_tree(repo.tree(base), changes)
        first = quarantine.commit_tree(tree, [base], "first\n")
        tree = quarantine.write_tree(tree, {"sub/a": None, "again/a/b": old})
        tip = quarantine.commit_tree(tree, [first], "second\n")
        if git_is_asked:
            assert quarantine.folder.is_dir()
        monkeypatch.setattr(Quarantine, "_info", counted)
        quarantine.adopt([tip], [base], packed=True)
    assert len(asked) < 30
    repo.git.run(["update-ref", "refs/heads/main", tip])
    isolated_git(repo.root).run(["fsck", "--strict"])
    names = repo.git.text(["diff", "--no-renames", "--name-only", base, tip]).split()
    assert sorted(names) == [
        "again/a/b",
        "many/7",
        "many/8",
        "many/8/deep/file",
        "sub/a/b",
    ]
