"""Packs made without git: git reads them, and a file that is not a whole pack is
refused."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

import pytest

from runner.repo import pack_writer


def git(where: Path, *argv: str, stdin: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", *argv], cwd=where, input=stdin, capture_output=True, check=True
    ).stdout


@pytest.fixture(params=["sha1", "sha256"])
def repo(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, str]:
    git(
        tmp_path,
        "init",
        "-q",
        "--bare",
        f"--object-format={request.param}",
        str(tmp_path),
    )
    return tmp_path, request.param


def test_git_reads_a_pack_of_new_objects(repo: tuple[Path, str]) -> None:
    where, algorithm = repo
    contents = [b"", b"x", b"y" * 15, b"z" * 16, b"long " * 5_000]
    git(
        where,
        "index-pack",
        "--strict",
        "--stdin",
        stdin=pack_writer.make_pack([("blob", c) for c in contents], algorithm),
    )
    for content in contents:
        object_id = git(where, "hash-object", "--stdin", stdin=content).decode().strip()
        assert git(where, "cat-file", "blob", object_id) == content


def test_joined_packs_have_the_objects_of_all_packs_and_may_share_some(
    repo: tuple[Path, str],
) -> None:
    where, algorithm = repo
    files = []
    for place in range(3):
        data = pack_writer.make_pack(
            [("blob", b"shared"), ("blob", b"own %d" % place)], algorithm
        )
        (where / f"{place}.pack").write_bytes(data)
        files.append((where / f"{place}.pack", len(data)))
    joined = io.BytesIO()
    size = pack_writer.join_packs(files, joined, algorithm)
    assert size == len(joined.getvalue())
    git(where, "index-pack", "--fsck-objects", "--stdin", stdin=joined.getvalue())
    for content in (b"shared", b"own 0", b"own 1", b"own 2"):
        object_id = git(where, "hash-object", "--stdin", stdin=content).decode().strip()
        assert git(where, "cat-file", "blob", object_id) == content


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: whole[:-1], "damaged"),
        (lambda whole: whole[:20] + b"\0" + whole[21:], "damaged"),
        (lambda whole: b"JUNK" + whole[4:], "not a pack"),
        (lambda whole: whole[:4] + struct.pack(">I", 3) + whole[8:], "not a pack"),
        (lambda whole: whole + b"more", "size of a pack"),
        (lambda _: b"", "size of a pack"),
    ],
)
def test_a_file_that_is_not_a_whole_pack_is_refused(
    tmp_path: Path, damage: object, message: str
) -> None:
    whole = pack_writer.make_pack([("blob", b"content")], "sha1")
    assert callable(damage)
    (tmp_path / "change.pack").write_bytes(damage(whole))
    with pytest.raises(ValueError, match=message):
        pack_writer.join_packs(
            [(tmp_path / "change.pack", len(whole))], io.BytesIO(), "sha1"
        )
