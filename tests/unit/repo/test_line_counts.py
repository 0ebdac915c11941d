"""Lines are counted as git counts them, and mostly without git."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from runner.repo import diff, line_counts
from runner.repo.command import isolated_git
from runner.repo.repository import Repository
from tests.support.git_calls import recorded_git_calls

pytestmark = pytest.mark.one_python

WORDS = (b"a", b"b", b"c", b"}", b"", b"\xff", b"\r", b"NUL\0")
LONG = b"".join(b"line %d\n" % number for number in range(500))


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    isolated_git(tmp_path).run(["init", "-q", "-b", "main"])
    return Repository(tmp_path, os.environ)


def tree_of(repo: Repository, files: dict[str, bytes], mode: str = "100644") -> str:
    empty = repo.objects().write("tree", b"")
    blobs = {path: (mode, repo.write_blob(data)[1]) for path, data in files.items()}
    return repo.write_tree(empty, blobs)


def counted_by_git(repo: Repository, old: str, new: str) -> list[str]:
    output = repo.reader.git.run(diff.NUMSTAT, stdin=diff.pairs(old, [new]))
    return diff.parse_numstat_pairs(output)[0]


def drawn_text(drawn: random.Random, words: int) -> list[bytes]:
    unique = [b"line %d" % number for number in range(words)]
    return drawn.choices([*unique, *WORDS], k=drawn.choice((0, 1, 5, 50)))


def edited(drawn: random.Random, lines: list[bytes]) -> bytes:
    lines = list(lines)
    for _ in range(drawn.choice((0, 1, 3, 20))):
        start = drawn.randint(0, len(lines))
        moved = lines[start : start + 3]
        del lines[start : start + drawn.randint(0, 3)]
        target = drawn.randint(0, len(lines))
        lines[target:target] = drawn.choice(([], [b"new"], moved))
    return b"\n".join(lines) + drawn.choice((b"", b"\n"))


def test_the_lines_of_random_edits_are_counted_as_git_does(repo: Repository) -> None:
    drawn = random.Random(7)
    before, after = {}, {}
    for number in range(1000):
        text = drawn_text(drawn, drawn.choice((2, 100)))
        before[f"{number:04}"] = b"\n".join(text) + drawn.choice((b"", b"\n"))
        after[f"{number:04}"] = edited(drawn, text)
    expected = counted_by_git(repo, tree_of(repo, before), tree_of(repo, after))
    found = []
    for path in before:
        if before[path] == after[path]:
            continue
        counts = line_counts.line_counts(before[path], after[path])
        if counts is None:
            expected = [each for each in expected if not each.startswith(path)]
        else:
            found.append(f"{path} +{counts[0]} -{counts[1]}")
    assert found == expected
    assert len(found) > 500


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LONG, b"".join(reversed(LONG.splitlines(keepends=True)))),
        (b"}\na\n" * 50, b"b\n}\n" * 50),
    ],
    ids=["too many edits", "a line that is there too often"],
)
def test_git_is_asked_where_its_diff_may_not_be_the_smallest(
    old: bytes, new: bytes
) -> None:
    assert line_counts.line_counts(old, new) is None


def test_a_new_file_and_small_edits_need_no_process(repo: Repository) -> None:
    before = {"d/edited": LONG, "gone": b"x\ny", "mode": b"same\n", "binary": b"\0"}
    after = {"d/edited": b"first\n" + LONG[:-9], "new": b"x\n", "binary": b"\0\1"}
    old, new = tree_of(repo, before), tree_of(repo, after)
    new = repo.write_tree(new, {"mode": ("100755", repo.write_blob(b"same\n")[1])})
    with recorded_git_calls() as calls:
        [found] = repo.diffstats(old, [new])
    assert found == counted_by_git(repo, old, new)
    assert found == [
        *("binary +- --", "d/edited +1 -1", "gone +0 -2"),
        *("mode +0 -0", "new +1 -0"),
    ]
    assert set(calls) <= {"cat-file", "config"}


def test_links_and_submodules_are_left_to_git(repo: Repository) -> None:
    old = tree_of(repo, {"a": b"target"})
    link = tree_of(repo, {"a": b"target"}, mode="120000")
    submodule = repo.write_tree(old, {"a": ("160000", "1" * 40)})
    stats = repo.diffstats(old, [link, submodule])
    assert stats == [
        counted_by_git(repo, old, link),
        counted_by_git(repo, old, submodule),
    ]


def test_attributes_say_which_files_are_text(repo: Repository, tmp_path: Path) -> None:
    files = {".gitattributes": b"* text=auto\n", "d/a.svg": b"old\n"}
    old = tree_of(repo, files)
    new = tree_of(repo, {**files, "d/a.svg": b"new\n"})
    with recorded_git_calls() as calls:
        assert repo.diffstats(old, [new]) == [["d/a.svg +1 -1"]]
    assert "diff-tree" not in calls
    # git reads those of the index, as it was when the work began
    attributes = b"*.svg -diff\n"
    (tmp_path / "d").mkdir()
    (tmp_path / "d/.gitattributes").write_bytes(attributes)
    repo.git.run(["add", "d/.gitattributes"])
    with_attributes = {**files, "d/.gitattributes": attributes}
    old = tree_of(repo, with_attributes)
    new = tree_of(repo, {**with_attributes, "d/a.svg": b"new\n"})
    assert repo.diffstats(old, [new]) == [["d/a.svg +- --"]]


def test_a_persons_own_attributes_count(repo: Repository) -> None:
    old, new = tree_of(repo, {"a.svg": b"old\n"}), tree_of(repo, {"a.svg": b"new\n"})
    own = repo.git_dir / "info/attributes"
    own.parent.mkdir(exist_ok=True)
    own.write_text("*.svg binary\n")
    assert repo.diffstats(old, [new]) == [["a.svg +- --"]]
