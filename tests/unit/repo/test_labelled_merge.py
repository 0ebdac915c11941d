"""Merges of earlier work: the labels of markers, and what is named without any."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.policy.change import EXECUTABLE, REGULAR, SYMLINK
from runner.repo.labelled_merge import Labels, marker_pattern
from runner.repo.merge_trees import Versions
from tests.support.merged_sides import Files, Merger, open_merger

TEXT = b"".join(b"line %d\n" % number for number in range(9))
OURS, THEIRS = (TEXT.replace(b"line 4", side) for side in (b"ours", b"theirs"))
MARKED = (
    b"<<<<<<< fanin: base of T1, attempt 3\nours\n=======\ntheirs\n"
    b">>>>>>> fanin: work of T1, attempt 2\n"
)


@pytest.fixture
def merger(tmp_path: Path) -> Merger:
    return open_merger(tmp_path)


def files(**contents: bytes) -> Files:
    return {name: (REGULAR, data) for name, data in contents.items()}


def test_a_conflict_is_between_markers_with_the_task_and_its_attempts(
    merger: Merger,
) -> None:
    merged = merger.merge(
        files(a=TEXT, b=b"b\n"),
        files(a=OURS, b=b"changed\n"),
        files(a=THEIRS, b=b"b\n", c=b"new\n"),
    )
    assert (merged.marked, merged.unmarked) == (("a",), ())
    result = merger.files(merged.tree)
    assert result["a"][1] == TEXT.replace(b"line 4\n", MARKED)
    assert result["b"][1] == b"changed\n"
    assert result["c"][1] == b"new\n"


def test_what_does_not_conflict_has_no_markers(merger: Merger) -> None:
    ours = TEXT.replace(b"line 0", b"ours")
    theirs = TEXT.replace(b"line 8", b"theirs")
    merged = merger.merge(files(a=TEXT), files(a=ours), files(a=theirs))
    assert (merged.marked, merged.unmarked, merged.messages) == ((), (), ())
    assert merger.files(merged.tree)["a"][1] == ours.replace(b"line 8", b"theirs")


def test_markers_of_lines_that_end_with_crlf_have_labels(merger: Merger) -> None:
    sides = [text.replace(b"\n", b"\r\n") for text in (TEXT, OURS, THEIRS)]
    base, ours, theirs = (files(a=text) for text in sides)
    merged = merger.merge(base, ours, theirs)
    assert merged.marked == ("a",)
    text = merger.files(merged.tree)["a"][1]
    assert marker_pattern("T1").findall(text) == [
        b"<<<<<<< fanin: base of T1, attempt 3",
        b">>>>>>> fanin: work of T1, attempt 2",
    ]


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        pytest.param(
            (REGULAR, b"\0base"),
            (REGULAR, b"\0ours"),
            (REGULAR, b"\0work"),
            id="binary",
        ),
        pytest.param((REGULAR, TEXT), None, (REGULAR, THEIRS), id="deleted there"),
        pytest.param((REGULAR, TEXT), (REGULAR, OURS), None, id="deleted here"),
        pytest.param((SYMLINK, b"a"), (SYMLINK, b"b"), (SYMLINK, b"c"), id="link"),
        pytest.param(None, (REGULAR, TEXT), (EXECUTABLE, TEXT), id="mode"),
    ],
)
def test_a_conflict_without_markers_names_both_versions(
    merger: Merger,
    base: tuple[str, bytes] | None,
    ours: tuple[str, bytes] | None,
    theirs: tuple[str, bytes] | None,
) -> None:
    trees: list[Files] = []
    for entry in (base, ours, theirs):
        trees.append(files(keep=b"k\n") | ({"x": entry} if entry else {}))
    merged = merger.merge(*trees)
    assert merged.marked == ()
    (unmarked,) = merged.unmarked
    assert unmarked.path == "x"

    def named(entry: tuple[str, bytes] | None) -> tuple[str, str] | None:
        return (entry[0], merger.blobs[entry[1]]) if entry else None

    assert unmarked.versions == Versions(named(ours), named(theirs))
    assert unmarked.merged in unmarked.versions


def test_a_file_that_git_puts_aside_is_named_by_its_side_and_not_by_a_commit(
    merger: Merger,
) -> None:
    merged = merger.merge(
        files(keep=b"k\n"),
        files(keep=b"k\n", x=TEXT),
        {**files(keep=b"k\n"), "x/y": (REGULAR, THEIRS)},
    )
    result = merger.files(merged.tree)
    assert set(result) == {"keep", "x~base", "x/y"}
    assert result["x~base"][1] == TEXT
    assert not any("~" in text and len(text) > 120 for text in merged.messages)


def test_the_name_of_a_commit_in_a_text_is_not_taken_for_a_marker(
    merger: Merger,
) -> None:
    base, ours, theirs = files(a=TEXT), files(a=OURS), files(a=THEIRS)
    plain = merger.quarantine.merge_trees(
        merger.tree(base), merger.tree(ours), merger.tree(theirs)
    )
    assert not isinstance(plain, str)
    quoted = f"see {plain.sides[0]}\n".encode()
    base["b"] = REGULAR, quoted
    merged = merger.merge(base, ours | {"b": base["b"]}, theirs | {"b": base["b"]})
    assert merger.files(merged.tree)["b"][1] == quoted


def test_only_the_markers_of_a_task_are_its_own() -> None:
    pattern = marker_pattern("T1")
    assert pattern.search(b"x\n" + MARKED)
    assert marker_pattern(r"a\d+").search(b">>>>>>> fanin: work of a\\d+, attempt 1\n")
    for legal in (
        b"Title\n=======\n",
        b"<<<<<<< HEAD\n=======\n>>>>>>> main\n",
        MARKED.replace(b"T1,", b"T12,"),
        b"quoted: " + MARKED.splitlines()[0],
    ):
        assert not pattern.search(legal)


def test_labels_name_the_task_and_both_attempts() -> None:
    labels = Labels.of("T/1", 3, 1)
    assert labels.base == "fanin: base of T/1, attempt 3"
    assert labels.work == "fanin: work of T/1, attempt 1"
    assert labels.work_name == "attempt-1"
