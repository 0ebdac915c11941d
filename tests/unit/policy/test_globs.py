"""Globs: which path they match, and that two which could match one path are never said
not to.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from runner.policy import globs
from runner.policy.globs import (
    Index,
    could_overlap,
    glob_problems,
    invalid,
    matches,
)


@pytest.mark.parametrize(
    ("globs", "path", "matched"),
    [
        (["src/login.py"], "src/login.py", True),
        (["src/login.py"], "lib/src/login.py", False),
        (["login.py"], "lib/src/login.py", True),
        (["/login.py"], "src/login.py", False),
        (["src/"], "src/a/b.py", True),
        (["src"], "src/a/b.py", True),
        (["src/**"], "src/a/b.py", True),
        (["src/*.py"], "src/a/b.py", False),
        (["**/b.py"], "b.py", True),
        (["*.py", "!keep.py"], "src/keep.py", False),
        (["!keep.py", "*.py"], "src/keep.py", True),
        ([], "a", False),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["[ab].py"], "b.py", True),
        (["A.py"], "a.py", False),
    ],
)
def test_a_path_is_matched_as_gitignore_would(
    globs: list[str], path: str, matched: bool
) -> None:
    assert matches(globs, path) is matched


@pytest.mark.parametrize("glob", ["", "   ", "# a comment", "!", "a\\"])
def test_a_glob_that_can_match_nothing_or_is_broken_is_named(glob: str) -> None:
    assert invalid(glob)


@pytest.mark.parametrize(
    "glob", ["/", "!/", "./a", "a/../b", "..", "a//b", "a[b", "[[:alpha:]]"]
)
def test_a_glob_that_no_path_could_match_is_named(glob: str) -> None:
    assert invalid(glob)
    assert not matches([glob], "a")


@pytest.mark.parametrize("glob", ["a", "!a", "\\#a", "**", "src/", "[a-z]*", " a"])
def test_a_real_glob_is_let_through(glob: str) -> None:
    assert invalid(glob) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "could"),
    [
        (["src/a.py"], ["src/a.py"], True),
        (["src/a.py"], ["src/b.py"], False),
        (["src/a.py"], ["lib/a.py"], False),
        (["a.py"], ["lib/a.py"], True),
        (["/a.py"], ["lib/a.py"], False),
        (["src/**"], ["src/b.py"], True),
        (["src/"], ["src/deep/b.py"], True),
        (["src/"], ["lib/src/b.py"], True),  # a slash at the end does not anchor
        (["/src/"], ["lib/src/b.py"], False),
        (["src"], ["src/deep/b.py"], True),
        (["src/**"], ["docs/**"], False),
        (["**/test_*.py"], ["src/x/*_a.py"], True),
        (["*.py"], ["src/a.py"], True),
        (["*.py"], ["*.md"], False),
        (["src/*/a.py"], ["src/b/*.py"], True),
        (["src/*/a.py"], ["src/b/c/*.py"], False),
        (["a?c.py"], ["abc.py"], True),
        (["/a?c.py"], ["/abc.py"], True),
        (["a?c.py"], ["ac.py"], False),
        # a class stands for any character: in doubt they overlap
        (["src/[ab].py"], ["src/c.py"], True),
        (["src/x[0-9].py"], ["src/y1.py"], False),
        (["src/\\*.py"], ["src/*.py"], True),
        (["src/\\a.py"], ["src/a.py"], True),
        (["docs/**", "src/a.py"], ["tests/**", "src/*.py"], True),
        ([], ["**"], False),
        (["!src/**"], ["src/**"], False),
        # what is taken back is left out of account
        (["src/**", "!src/a.py"], ["src/a.py"], True),
        # taken literally both could be folders; a clash is the merge's
        (["README.md"], ["setup.py"], False),
        (["Makefile"], ["README.md"], False),
    ],
)
def test_two_lists_overlap_if_one_path_could_be_in_both(
    ours: list[str], theirs: list[str], could: bool
) -> None:
    assert could_overlap(ours, theirs) is could
    assert could_overlap(theirs, ours) is could


def test_a_negated_glob_keeps_no_lists_apart() -> None:
    # It only excludes, so it is not what the two lists are compared by.
    assert could_overlap(["!docs/**", "src/**"], ["src/a.py"])
    assert not could_overlap(["!src/**"], ["src/a.py"])


@pytest.mark.parametrize(
    "glob", ["src/login.py", "src/**", "tests/test_*.py", "/a", "docs/"]
)
def test_an_ordinary_glob_is_not_compiled_to_see_whether_it_is_valid(
    glob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(globs, "Pattern", lambda _: pytest.fail("compiled"))
    assert invalid(glob) is None


def test_an_index_compares_with_the_lists_that_begin_alike_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = Index()
    for place in range(500):
        index.add([f"src/mod{place}/**", f"tests/test_{place}.py"])
    compared: list[object] = []
    real = could_overlap

    def counted(ours: Iterable[str], theirs: Iterable[str]) -> bool:
        compared.append(theirs)
        return real(ours, theirs)

    monkeypatch.setattr(globs, "could_overlap", counted)
    assert index.overlapping(["src/mod7/deep/x.py"]) == [7]
    assert len(compared) == 1


def test_a_list_of_too_many_globs_or_a_glob_without_a_path_is_located() -> None:
    problems = glob_problems(
        "tasks.yml",
        lambda _: 7,
        ("tasks", 0),
        files=[f"a{number}" for number in range(1_001)],
        allow=["*a" * 400],
    )
    of_files, of_allow = [str(problem) for problem in problems]
    assert of_files == (
        "tasks.yml:7: files: 1,001 globs, more than 1,000; "
        "name folders instead of their files"
    )
    assert of_allow == (
        f"tasks.yml:7: allow: '{'*a' * 50}…{'*a' * 50}' is not a valid gitignore "
        "pattern: it has a name of more than 255 bytes; fix the pattern"
    )


def test_a_glob_may_have_any_text_beside_its_stars() -> None:
    assert matches(["atomic_0*a*b"], "atomic_0xaxb")
    assert not matches(["atomic_0*a*b"], "atomic_again_0xaxb")
