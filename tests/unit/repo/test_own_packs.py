"""The packs that a run adds are git's own to the byte, and joined before they are many."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from runner.core import durable
from runner.repo import own_packs, pack_writer
from runner.repo.command import isolated_git
from runner.repo.objects import object_id_of
from runner.repo.repository import Repository

Objects = dict[str, tuple[str, bytes]]


def repository(folder: Path, object_format: str = "sha1") -> Repository:
    folder.mkdir(exist_ok=True)
    argv = ["init", "-q", "-b", "main", f"--object-format={object_format}"]
    isolated_git(folder).run(argv)
    return Repository(folder, os.environ)


def blobs(*texts: str, algorithm: str = "sha1") -> Objects:
    contents = [text.encode() for text in texts]
    return {object_id_of("blob", data, algorithm): ("blob", data) for data in contents}


def packs(repo: Repository) -> list[Path]:
    return sorted((repo.object_folder / "pack").glob("*.pack"))


def are_readable(repo: Repository, objects: Objects) -> bool:
    """Whether a git that starts now has all of the objects."""
    fresh = Repository(repo.root, os.environ)
    return fresh.contents(list(objects)) == list(objects.values())


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_pack_and_its_index_are_those_that_git_makes(
    tmp_path: Path, algorithm: str
) -> None:
    repo = repository(tmp_path / "repo", algorithm)
    objects = blobs("", "x" * 70_000, *map(str, range(300)), algorithm=algorithm)
    repo.own_packs.add(objects)
    [pack] = packs(repo)
    index = tmp_path / "index"
    argv = ["index-pack", f"--object-format={algorithm}", "-o", str(index), str(pack)]
    isolated_git(tmp_path).run(argv)
    assert pack.with_suffix(".idx").read_bytes() == index.read_bytes()
    assert are_readable(repo, objects)
    repo.git.run(["fsck", "--strict"])
    assert list((repo.git_dir / "fanin").iterdir()) == []


def test_packs_are_joined_before_they_are_many_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_packs, "_MAX_PACKS", 4)
    repo = repository(tmp_path)
    objects: Objects = {}
    counts = []
    for number in range(10):
        new = blobs(f"{number}", "in each pack")
        objects |= new
        repo.own_packs.add(new)
        # through a process that has read the packs which are joined later
        assert repo.contents(list(objects)) == list(objects.values())
        counts.append(len(packs(repo)))
    assert counts == [1, 2, 3, 1, 2, 3, 4, 2, 3, 4]
    repo.own_packs.close()
    assert len(packs(repo)) == 1
    assert len(list(packs(repo)[0].parent.iterdir())) == 2
    assert are_readable(repo, objects)
    repo.git.run(["fsck", "--strict"])


def test_only_packs_that_were_added_and_are_still_there_are_joined(
    tmp_path: Path,
) -> None:
    repo = repository(tmp_path)
    persons = pack_writer.make_pack([("blob", b"a person's")], "sha1")
    repo.store_pack(persons)
    [other] = packs(repo)
    objects = blobs("one", "two", "three", "four")
    for object_id, content in objects.items():
        repo.own_packs.add({object_id: content})
    gone, kept, *_ = (each for each in packs(repo) if each != other)
    kept.with_suffix(".keep").touch()
    lost = repo.own_packs._read(gone)
    # as `git gc` does, which has made another pack by then
    gone.unlink()
    repo.own_packs.close()
    assert {other, kept} < set(packs(repo))
    assert len(packs(repo)) == 3
    there = {each: objects[each] for each in objects.keys() - lost.keys()}
    assert are_readable(repo, there)


def test_a_damaged_pack_is_not_joined(tmp_path: Path) -> None:
    repo = repository(tmp_path)
    for text in ("one", "two", "three"):
        repo.own_packs.add(blobs(text))
    [damaged, *_] = packs(repo)
    data = bytearray(damaged.read_bytes())
    data[14] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(data)
    repo.own_packs.close()
    assert damaged in packs(repo)
    assert len(packs(repo)) == 2


def test_a_pack_that_is_not_valid_is_refused() -> None:
    made = pack_writer.make_indexed_pack(
        {
            object_id: pack_writer.make_entry(*content)
            for object_id, content in blobs("a").items()
        },
        "sha1",
    )
    other = pack_writer.make_indexed_pack({}, "sha1")
    with pytest.raises(ValueError, match="index"):
        pack_writer.read_entries(made.pack, other.idx, "sha1")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_versions_of_a_long_file_take_the_space_of_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    monkeypatch.setattr(own_packs, "_MAX_PACKS", 4)
    repo = repository(tmp_path, algorithm)
    lines = [os.urandom(50).hex() for _ in range(400)]
    objects: Objects = {}
    for number in range(10):
        lines[number + 1] = f"changed {number}"
        new = blobs("\n".join(lines), f"{number}", algorithm=algorithm)
        objects |= new
        repo.own_packs.add(new)
        assert repo.contents(list(objects)) == list(objects.values())
    repo.own_packs.close()
    [pack] = packs(repo)
    # of ten versions, the last one of each join and that of the end are whole
    whole = len(pack_writer.make_pack([objects[next(iter(objects))]], algorithm))
    assert pack.stat().st_size < 4 * whole
    assert are_readable(repo, objects)
    repo.git.run(["fsck", "--strict"])
    repo.git.run(["verify-pack", str(pack)])
    repo.git.run(["repack", "-q", "-a", "-d", "-k"])
    assert are_readable(repo, objects)


def test_versions_of_a_large_folder_take_the_space_of_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_packs, "_MAX_PACKS", 4)
    repo = repository(tmp_path)
    folder = {f"task-{n:04}.md": repo.write_blob(b"%d" % n) for n in range(1000)}
    tree = repo.write_tree(repo.objects().write("tree", b""), folder)
    objects: Objects = {}
    for number in range(0, 1000, 100):
        blob = repo.write_blob(b"changed %d" % number)
        with repo.quarantine() as quarantine:
            tree = quarantine.write_tree(tree, {f"task-{number:04}.md": blob})
            (content,) = quarantine.read([tree])
        # a blob that begins as a tree is no version of it
        data = content[1] + b"x"
        new = {tree: content, object_id_of("blob", data, "sha1"): ("blob", data)}
        objects |= new
        repo.own_packs.add(new)
    repo.own_packs.close()
    [pack] = packs(repo)
    whole = len(pack_writer.make_pack(list(new.values()), "sha1"))
    assert pack.stat().st_size < 4 * whole
    assert are_readable(repo, objects)
    repo.git.run(["fsck", "--strict"])


def test_a_file_that_is_again_as_it_was_is_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_packs, "_MAX_PACKS", 3)
    repo = repository(tmp_path)
    lines = [f"{number} {'x' * 100}" for number in range(300)]
    objects: Objects = {}
    for number in (1, 2, 1, 3, 1, 2, 2, 1, 3):
        new = blobs("\n".join([*lines, f"{number}", *lines]))
        objects |= new
        repo.own_packs.add(new)
        assert are_readable(repo, objects)
    repo.own_packs.close()
    assert are_readable(repo, objects)
    repo.git.run(["fsck", "--strict"])


def _random(size: int) -> str:
    return os.urandom(size // 2).hex()


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_packs_that_are_too_large_for_memory_are_joined_by_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    monkeypatch.setattr(own_packs, "_MAX_PACKS", 4)
    monkeypatch.setattr(own_packs, "_MAX_BYTES_IN_MEMORY", 10_000)
    repo = repository(tmp_path, algorithm)
    # a setting of a person, with which git would make several of one
    repo.git.run(["config", "pack.packSizeLimit", "1m"])
    persons = pack_writer.make_pack([("blob", b"a person's")], algorithm)
    repo.store_pack(persons)
    objects: Objects = {}
    counts = []
    for number in range(10):
        new = blobs(f"{number}", _random(400_000), algorithm=algorithm)
        objects |= new
        repo.own_packs.add(new)
        assert repo.contents(list(objects)) == list(objects.values())
        counts.append(len(packs(repo)))
    assert counts == [2, 3, 4, 2, 3, 4, 5, 3, 4, 5]
    repo.own_packs.close()
    assert len(packs(repo)) == 2
    assert are_readable(repo, objects)
    repo.git.run(["fsck", "--strict"])


def test_no_pack_is_removed_before_the_one_that_git_makes_of_it_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = repository(tmp_path)
    for number in range(3):
        repo.own_packs.add(blobs(f"{number}"))
    before = set(packs(repo))
    seen: list[Path] = []
    sync_files = durable.sync_files

    def noted(files: Sequence[Path]) -> None:
        assert before < set(packs(repo))
        seen.extend(files)
        sync_files(files)

    monkeypatch.setattr(own_packs, "_MAX_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(durable, "sync_files", noted)
    repo.own_packs.close()
    [joined] = packs(repo)
    assert seen == [joined, joined.with_suffix(".idx"), joined.parent]


def test_a_damaged_pack_keeps_git_from_removing_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_packs, "_MAX_BYTES_IN_MEMORY", 0)
    repo = repository(tmp_path)
    for text in ("one", "two", "three"):
        repo.own_packs.add(blobs(text))
    before = packs(repo)
    data = bytearray(before[0].read_bytes())
    data[14] ^= 1
    before[0].chmod(0o644)
    before[0].write_bytes(data)
    repo.own_packs.close()
    assert packs(repo) == before


def test_the_smaller_packs_are_joined_where_all_are_too_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_packs, "_MAX_PACKS", 3)
    monkeypatch.setattr(own_packs, "_MAX_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(own_packs, "_MAX_JOINED_BYTES", 100_000)
    repo = repository(tmp_path)
    objects: Objects = {}
    for text in (_random(400_000), "one", "two", "three", "four"):
        new = blobs(text)
        objects |= new
        repo.own_packs.add(new)
    assert len(packs(repo)) == 4
    repo.own_packs.close()
    assert len(packs(repo)) == 2
    assert are_readable(repo, objects)


def test_what_git_has_joined_can_be_joined_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_packs, "_MAX_PACKS", 3)
    repo = repository(tmp_path)
    lines = [os.urandom(50).hex() for _ in range(400)]
    objects: Objects = {}
    for number in range(7):
        lines[number + 1] = f"changed {number}"
        new = blobs("\n".join(lines))
        objects |= new
        repo.own_packs.add(new)
    monkeypatch.setattr(own_packs, "_MAX_BYTES_IN_MEMORY", 0)
    with_versions = repo.own_packs._join(repo.own_packs._joined)
    assert len(with_versions) == 1
    monkeypatch.setattr(own_packs, "_MAX_BYTES_IN_MEMORY", 2**20)
    repo.own_packs._joined = with_versions
    repo.own_packs.close()
    assert len(packs(repo)) == 1
    assert are_readable(repo, objects)
    repo.git.run(["fsck", "--strict"])
