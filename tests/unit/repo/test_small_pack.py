"""What is taken for a plain pack, git takes as well; all else is left to git."""

from __future__ import annotations

import hashlib
import os
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from runner.core.errors import GitFailed
from runner.policy.change import REGULAR
from runner.repo import pack_writer, small_pack
from runner.repo.batch_process import Content
from runner.repo.command import isolated_git
from runner.repo.objects import FOLDER, Tree, object_id_of
from runner.repo.repository import Repository

BLOB = object_id_of("blob", b"x\n", "sha1")
ELSEWHERE = "12" * 20


def tree(*entries: tuple[str, bytes, str]) -> bytes:
    """A tree with these entries (mode, name, id) as they are."""
    return b"".join(
        mode.encode() + b" " + name + b"\0" + bytes.fromhex(object_id)
        for mode, name, object_id in entries
    )


def links_of(*trees: bytes) -> small_pack.Links | None:
    objects = {
        object_id_of("tree", each, "sha1"): Content("tree", each) for each in trees
    }
    return small_pack.links({BLOB: Content("blob", b"x\n"), **objects})


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_the_objects_of_a_pack_are_read(algorithm: str) -> None:
    contents = [("blob", b""), ("blob", b"x" * 100_000), ("tree", b"")]
    pack = pack_writer.make_pack(contents, algorithm)
    assert small_pack.read(pack, algorithm) == {
        object_id_of(kind, data, algorithm): (kind, data) for kind, data in contents
    }


def signed(body: bytes) -> bytes:
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def header(count: int, version: int = 2) -> bytes:
    return pack_writer.HEADER.pack(b"PACK", version, count)


ENTRY = pack_writer.make_entry("blob", b"x\n")
NOT_PLAIN = {
    "empty": b"",
    "not a pack": signed(b"KCAP" + header(1)[4:] + ENTRY),
    "of another version": signed(header(1, version=3) + ENTRY),
    "no checksum": header(1) + ENTRY + bytes(20),
    "one object less": signed(header(2) + ENTRY),
    "one object more": signed(header(1) + ENTRY + ENTRY),
    "the same object twice": signed(header(2) + ENTRY + ENTRY),
    "something behind the objects": signed(header(1) + ENTRY + b"x"),
    "a commit": signed(header(1) + pack_writer.make_entry("commit", b"x")),
    "a tag": signed(header(1) + b"\x42" + zlib.compress(b"x\n")),
    "a delta": signed(header(1) + b"\x72" + bytes(20) + zlib.compress(b"x\n")),
    "a size that is too small": signed(header(1) + b"\x31" + zlib.compress(b"x\n")),
    "a size that is too large": signed(header(1) + b"\x33" + zlib.compress(b"x\n")),
    "a size without an end": signed(header(1) + b"\xb2" + b"\x80" * 9),
    "a size that ends the pack": signed(header(1) + b"\xb2"),
    "an object that is cut short": signed(header(1) + ENTRY[:-1]),
    "an object that is no deflated data": signed(header(1) + b"\x32" + b"no data"),
    "too many objects": signed(header(2**31) + ENTRY),
    "objects that expand": signed(
        header(1) + pack_writer.make_entry("blob", bytes(2**21 + 1))
    ),
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_a_pack_that_is_not_plain_is_left_to_git(name: str) -> None:
    assert small_pack.read(NOT_PLAIN[name], "sha1") is None


def test_what_trees_name_is_told_with_the_types_that_they_must_have() -> None:
    inner = tree((REGULAR, b"a", BLOB), (REGULAR, b"b", ELSEWHERE))
    inner_id = object_id_of("tree", inner, "sha1")
    outer = tree(
        (REGULAR, b".gitattributes", "34" * 20),
        (FOLDER, b".github", "56" * 20),
        (REGULAR, b".gitignore", BLOB),
        ("160000", b"module", "78" * 20),
        (FOLDER, b"x", inner_id),
    )
    links = links_of(inner, outer)
    assert links is not None
    assert links.outside == {ELSEWHERE: "blob", "34" * 20: "blob", "56" * 20: "tree"}
    assert links.attributes == frozenset(["34" * 20])
    assert links.trees[inner_id] == {
        b"a": (REGULAR, BLOB),
        b"b": (REGULAR, ELSEWHERE),
    }


def test_only_what_the_base_has_at_the_same_place_counts_as_unchanged() -> None:
    same, moved, other = "34" * 20, "56" * 20, "78" * 20
    inner = tree((REGULAR, b"a", same), (REGULAR, b"b", moved), (REGULAR, b"c", other))
    inner_id = object_id_of("tree", inner, "sha1")
    outer = tree((FOLDER, b"new", inner_id), (FOLDER, b"x", inner_id))
    links = links_of(inner, outer)
    assert links is not None
    x = "9a" * 20
    base = {
        "base": Tree.parse(tree((REGULAR, b"b", moved), (FOLDER, b"x", x)), 20),
        # the mode says of what type an object must be
        x: Tree.parse(tree((REGULAR, b"a", same), (FOLDER, b"c", other)), 20),
    }
    outer_id = object_id_of("tree", outer, "sha1")
    assert links.unchanged("base", outer_id, base.__getitem__) == {same}
    assert links.unchanged(x, inner_id, base.__getitem__) == {same}
    # a tree that the pack does not have
    assert links.unchanged("base", ELSEWHERE, base.__getitem__) == set()


def test_a_tree_at_every_place_is_compared_once() -> None:
    inner = tree((REGULAR, b"a", BLOB))
    inner_id = object_id_of("tree", inner, "sha1")
    outer = tree(*((FOLDER, b"%d" % place, inner_id) for place in range(10)))
    links = links_of(inner, outer)
    assert links is not None
    folders = [(FOLDER, b"%d" % place, f"{place}" * 40) for place in range(10)]
    base = Tree.parse(tree(*folders), 20)
    read: list[str] = []

    def entries(folder: str) -> Tree:
        read.append(folder)
        return base if folder == "base" else Tree()

    links.unchanged("base", object_id_of("tree", outer, "sha1"), entries)
    assert len(read) == 2


@pytest.mark.parametrize(
    "entries",
    [
        [(REGULAR, b"b", BLOB), (REGULAR, b"a", BLOB)],
        [(REGULAR, b"a", BLOB), (REGULAR, b"a", BLOB)],
        [(REGULAR, b"a", BLOB), (FOLDER, b"a", ELSEWHERE)],
        [(FOLDER, b"a", BLOB)],
        [(FOLDER, b"a", ELSEWHERE), (REGULAR, b"b", ELSEWHERE)],
        [("100664", b"a", BLOB)],
        [("0100644", b"a", BLOB)],
        [(REGULAR, b"", BLOB)],
        [(REGULAR, b".", BLOB)],
        [(REGULAR, b"..", BLOB)],
        [(REGULAR, b"a/b", BLOB)],
        [(REGULAR, b"a\\b", BLOB)],
        [(REGULAR, b"a:b", BLOB)],
        [(FOLDER, b".git", ELSEWHERE)],
        [(FOLDER, b".GiT", ELSEWHERE)],
        [(FOLDER, b"git~1", ELSEWHERE)],
        [(FOLDER, b".git ", ELSEWHERE)],
        [(REGULAR, b".gitmodules", BLOB)],
        [(FOLDER, b".gitattributes", ELSEWHERE)],
        [("120000", b".gitattributes", BLOB)],
        [("120000", b".gitignore", BLOB)],
        [(REGULAR, b".Gitattributes", BLOB)],
        [(FOLDER, ".g\u200cit".encode(), ELSEWHERE)],
    ],
)
def test_a_tree_that_is_not_plain_is_left_to_git(
    entries: Sequence[tuple[str, bytes, str]],
) -> None:
    assert links_of(tree(*entries)) is None


def test_a_tree_that_ends_early_is_left_to_git() -> None:
    whole = tree((REGULAR, b"a", BLOB))
    assert links_of(whole) is not None
    for end in (3, 7, 8, len(whole) - 1):
        assert links_of(whole[:end]) is None


def test_git_takes_whatever_is_plain(tmp_path: Path) -> None:
    isolated_git(tmp_path).run(["init", "-q"])
    repo = Repository(tmp_path, os.environ)
    drawn = random.Random(3)
    modes = (REGULAR, "100755", "120000", "160000", FOLDER, "100664")
    parts = (b".", b"git", b"GIT", b"a", b"~1", b" ", b":", b"ignore", b"\xc3\xa9")
    empty = object_id_of("tree", b"", "sha1")
    plain = 0
    for _ in range(300):
        entries = []
        for _ in range(drawn.randint(1, 2)):
            mode = drawn.choice(modes)
            name = b"".join(drawn.choices(parts, k=drawn.randint(1, 3)))
            entries.append((mode, name, empty if mode == FOLDER else BLOB))
        made = tree(*sorted(entries, key=lambda entry: entry[1]))
        contents = [("blob", b"x\n"), ("tree", b""), ("tree", made)]
        objects = small_pack.read(pack_writer.make_pack(contents, "sha1"), "sha1")
        if objects is None or small_pack.links(objects) is None:
            continue
        plain += 1
        pack = pack_writer.make_pack(contents, "sha1")
        repo.git.run(["unpack-objects", "-q", "--strict"], stdin=pack)
    assert plain > 50
    hostile = [("tree", tree((FOLDER, b".git", empty))), ("tree", b"")]
    pack = pack_writer.make_pack(hostile, "sha1")
    with pytest.raises(GitFailed):
        repo.git.run(["unpack-objects", "-q", "--strict"], stdin=pack)


def test_attributes_with_a_line_that_git_ignores_are_left_to_it() -> None:
    assert small_pack.are_plain_attributes(b"*.svg -diff\n" * 50)
    assert not small_pack.are_plain_attributes(b"a\n" + b"x" * 2_048)
