"""What `git diff-tree` prints, as changes."""

from __future__ import annotations

from runner.policy.change import Change
from runner.repo import diff

A, B, ZERO = "a" * 40, "b" * 40, "0" * 40


def raw(old: str, new: str, path: bytes, letter: str = "M") -> bytes:
    return f":{old[:6]} {new[:6]} {old[7:]} {new[7:]} {letter}".encode() + (
        b"\0" + path + b"\0"
    )


def test_an_added_a_removed_and_a_changed_path() -> None:
    output = (
        raw(f"000000 {ZERO}", f"100644 {A}", b"new", "A")
        + raw(f"100644 {A}", f"000000 {ZERO}", b"old", "D")
        + raw(f"100644 {A}", f"100755 {B}", b"both")
    )
    assert diff.parse_raw(output) == [
        Change("new", None, ("100644", A)),
        Change("old", ("100644", A), None),
        Change("both", ("100644", A), ("100755", B)),
    ]


def test_each_pair_of_trees_has_its_changes_and_may_have_none() -> None:
    pair = f"{A} {B}\n".encode()
    change = raw(f"000000 {ZERO}", f"100644 {A}", b"x\n", "A")
    output = pair + pair + change + pair
    assert diff.parse_raw_pairs(output) == [
        [],
        [Change("x\n", None, ("100644", A))],
        [],
    ]


def test_a_path_keeps_bytes_that_are_not_utf_8() -> None:
    (change,) = diff.parse_raw(raw(f"000000 {ZERO}", f"100644 {A}", b"\xff", "A"))
    assert change.path.encode("utf-8", "surrogateescape") == b"\xff"


def test_numbers_of_lines_for_each_pair_of_trees() -> None:
    pair = f"{A} {B}\n".encode()
    output = pair + pair + b"3\t1\tsrc/a.py\0-\t-\tlogo\0"
    assert diff.parse_numstat_pairs(output) == [[], ["src/a.py +3 -1", "logo +- --"]]
