"""A file in a file system that is mounted twice has two paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.core.sandbox import SandboxSettings
from runner.sandbox import mounts
from runner.sandbox.rules import Access, Surroundings, access_of_run

_TABLE = """\
20 1 0:30 /@ / rw - btrfs /dev/sda rw
21 20 0:30 /@home /home rw - btrfs /dev/sda rw
22 20 0:30 / /mnt/all\\040of\\040it rw shared:1 - btrfs /dev/sda rw
23 20 0:31 / /run rw - tmpfs tmpfs rw
24 20 0:31 /netns /var/netns rw - tmpfs tmpfs rw
25 20 0:30 /@home/ann/work /work rw - btrfs /dev/sda rw
"""


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/home/ann/.ssh", ["/mnt/all of it/@home/ann/.ssh"]),
        ("/home", ["/mnt/all of it/@home"]),
        ("/etc/shadow", ["/mnt/all of it/@/etc/shadow"]),
        (
            "/work/a/.git",
            ["/home/ann/work/a/.git", "/mnt/all of it/@home/ann/work/a/.git"],
        ),
        ("/home/ann/work/b", ["/mnt/all of it/@home/ann/work/b", "/work/b"]),
        # a part of it that is mounted elsewhere on purpose stays
        ("/run", []),
    ],
)
def test_the_other_paths_of_a_file(path: str, others: list[str]) -> None:
    assert list(mounts.parse(_TABLE).candidates(path)) == others


def test_of_mounts_at_one_point_the_latest_counts() -> None:
    table = mounts.Table(
        [
            mounts.Mount("8:1", "/", "/data"),
            mounts.Mount("8:2", "/", "/data"),
            mounts.Mount("8:1", "/", "/first"),
            mounts.Mount("8:2", "/", "/second"),
        ]
    )
    assert list(table.candidates("/data/file")) == ["/second/file"]
    assert list(table.candidates("/elsewhere/file")) == []


def test_a_path_that_another_mount_covers_is_no_other_path(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    table = mounts.Table([mounts.Mount("8:1", "/", one), mounts.Mount("8:1", "/", two)])
    assert table.other_paths(f"{one}/file") == []
    (tmp_path / "two" / "file").unlink()
    (tmp_path / "two" / "file").hardlink_to(tmp_path / "one" / "file")
    assert table.other_paths(f"{one}/file") == [f"{two}/file"]


def test_what_is_hidden_is_hidden_by_all_its_paths() -> None:
    around = Surroundings((Path("/home/ann"),), (), (Path("/home/ann/work"),))
    access = access_of_run(
        SandboxSettings(mode="auto", read=("/mnt/home/ann/.aws",)),
        around,
        str,
        lambda path: [f"/mnt{path}"] if path.startswith("/home") else [],
    )
    assert access["/mnt/home/ann/.ssh"] is Access.HIDDEN
    assert access["/mnt/home/ann/.aws"] is Access.READ
