"""Deltas between versions of a file make the same bytes as git does of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.repo.file_versions import FileVersions, apply_delta, make_delta

LINES = st.lists(st.binary(max_size=300), max_size=12).map(b"\n".join)
LONG = [b"%d: " % number + b"x" * 100 for number in range(400)]


def version(*changed: int) -> bytes:
    lines = [*LONG]
    for place in changed:
        lines[place] = b"another"
    return b"\n".join(lines)


@given(LINES, LINES)
def test_a_delta_makes_the_file(base: bytes, target: bytes) -> None:
    assert apply_delta(base, make_delta(base, target)) == target


def test_a_delta_has_changed_lines_alone() -> None:
    assert len(make_delta(version(1, 7), version(7, 300))) < 300
    shorter = b"\n".join([*LONG[:200], *LONG[203:]])
    assert len(make_delta(version(), shorter)) < 300


def test_a_delta_for_another_file_is_refused() -> None:
    delta = make_delta(version(), version(1))
    with pytest.raises(ValueError, match="another"):
        apply_delta(version() + b"x", delta)


def test_each_version_is_made_of_the_next_and_none_of_itself() -> None:
    versions = FileVersions()
    versions.add("a", version(1))
    versions.add("other", b"B" * 20_000)
    versions.add("b", version(1, 2))
    versions.add("a", version(1))
    assert versions.deltas.keys() == {"b"}
    base, delta = versions.deltas["b"]
    assert base == "a"
    assert apply_delta(version(1), delta) == version(1, 2)


def test_what_is_short_or_differs_much_stays_whole() -> None:
    versions = FileVersions()
    versions.add("a", b"short\n1")
    versions.add("b", b"short\n2")
    versions.add("c", version())
    versions.add("d", LONG[0] + b"\nnothing of it" * 2000)
    assert not versions.deltas
