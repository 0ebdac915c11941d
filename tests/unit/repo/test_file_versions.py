"""Deltas between versions of a file make the same bytes as git does of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.repo.file_versions import FileVersions, apply_delta, make_delta
from tests.support.counted_calls import counted_calls

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


@given(LINES, LINES, st.binary(max_size=3), st.integers(0, 3000))
def test_a_delta_of_a_change_in_one_place_makes_the_file(
    base: bytes, more: bytes, new: bytes, place: int
) -> None:
    base += more
    place = min(place, len(base))
    for target in (base[:place] + new + base[place:], base[:place] + base[place + 2 :]):
        assert apply_delta(base, make_delta(base, target)) == target


def tree(*changed: int) -> bytes:
    ids = [b"\n" * 20 if n in changed else b"%20d" % n for n in range(1000)]
    return b"".join(b"100644 task-%d.md\0%b" % pair for pair in enumerate(ids))


@given(st.sets(st.integers(0, 999), max_size=4), st.sets(st.integers(0, 999)))
def test_a_delta_of_a_tree_makes_the_tree(some: set[int], many: set[int]) -> None:
    assert apply_delta(tree(*some), make_delta(tree(*some), tree(*many))) == tree(*many)


def test_a_delta_of_a_tree_has_changed_ids_alone() -> None:
    assert len(make_delta(tree(), tree(500))) < 50
    assert len(make_delta(tree(7), tree(0, 500, 999))) < 700


def test_a_change_in_one_place_is_as_much_work_in_a_longer_file() -> None:
    counts = []
    for length in (10, 1000):
        base = b"".join(b"- [ ] task %d\n" % number for number in range(length))
        with counted_calls() as calls:
            delta = make_delta(base, base.replace(b"[ ] task 5\n", b"[done] task 5\n"))
        assert len(delta) < 40
        counts.append(calls.count)
    # the search for the place halves what is left
    assert counts[1] <= counts[0] + 20


def test_a_delta_for_another_file_is_refused() -> None:
    delta = make_delta(version(), version(1))
    with pytest.raises(ValueError, match="another"):
        apply_delta(version() + b"x", delta)


def test_each_version_is_made_of_the_next_and_none_of_itself() -> None:
    versions = FileVersions()
    versions.add("a", "blob", version(1))
    versions.add("other", "blob", b"B" * 20_000)
    versions.add("b", "blob", version(1, 2))
    versions.add("a", "blob", version(1))
    assert versions.deltas.keys() == {"b"}
    base, delta = versions.deltas["b"]
    assert base == "a"
    assert apply_delta(version(1), delta) == version(1, 2)


def test_what_is_short_or_differs_much_stays_whole() -> None:
    versions = FileVersions()
    versions.add("a", "blob", b"short\n1")
    versions.add("b", "blob", b"short\n2")
    versions.add("c", "blob", version())
    versions.add("d", "blob", LONG[0] + b"\nnothing of it" * 2000)
    assert not versions.deltas
