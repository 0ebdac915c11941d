"""Patterns match what the library pathspec says, and overlap as a plain search would say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from runner.policy.gitignore import Pattern, PatternList
from runner.policy.globs import _have_a_common_text
from tests.support.builders import quick

_NAMES = st.text("ab.", min_size=1, max_size=4).filter(lambda name: name.strip("."))
_PATHS = st.lists(_NAMES, min_size=1, max_size=5).map("/".join)
_WILD_NAMES = st.one_of(
    _NAMES,
    st.just("**"),
    st.lists(
        st.sampled_from(
            ["a", "b", ".", "*", "?", "[ab]", "[!a]", "[a-c]", "\\a", "**"]
        ),
        min_size=1,
        max_size=5,
    ).map("".join),
)


@st.composite
def _patterns(draw: st.DrawFn) -> str:
    names = draw(st.lists(_WILD_NAMES, min_size=1, max_size=5))
    start = draw(st.sampled_from(["", "", "/"]))
    end = draw(st.sampled_from(["", "", "/", " "]))
    pattern = start + "/".join(names) + end
    assume(_is_valid(pattern))
    return pattern


def _is_valid(pattern: str) -> bool:
    try:
        Pattern(pattern)
    except ValueError:
        return False
    return True


@settings(quick, max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from(["", "", "!"]), _patterns()), max_size=4),
    st.lists(_PATHS, min_size=1, max_size=4),
)
@example([("", "*")], ["a/b"])
@example([("", "a/**"), ("!", "a/b/")], ["a/b/b", "a/b"])
@example([("", "**/a/**/b")], ["a/a/b/a/b", "a/b/a/a"])
@example([("", "**/*/a*b*")], ["a/ab/abab", "b/aab"])
def test_a_list_matches_what_pathspec_says(
    lines: list[tuple[str, str]], paths: list[str]
) -> None:
    patterns = [mark + pattern for mark, pattern in lines]
    expected = GitIgnoreSpec.from_lines(patterns)
    ours = PatternList(patterns)
    for path in paths:
        # To pathspec a class such as [!a] also has the slash; to git it never has.
        assume("[!" not in "".join(patterns) or "/" not in path)
        assert ours.matches(path) == expected.match_file(path), path


_OF_GIT = [
    "a[!b]c",
    "[]-]",
    "[]",
    "[^a]",
    "[a\\]b]x",
    "[z-a]",
    "[!z-a]b",
    "[+-9]",
    "a[/]b",
    "\\!a",
    "\\#a",
    "a\\*",
    "**a",
    "a/**/b",
    "/**/b",
    "**/",
    "/*",
    "*/b",
    "a/",
    "/a/",
    "b/a/",
    " a",
]
_PATHS_FOR_GIT = [
    *("a", "b", "abc", "axc", "a/c", "-", "]", "]x", "bx", "5", "+", "xb", "!a", "#a"),
    *("a*", "ab", "xa", "xa/b", "a/b", "a/x/b", "b/a", "b/a/c", "x/b/a/c", "b", " a"),
]


@pytest.mark.parametrize("pattern", _OF_GIT)
def test_a_pattern_matches_what_git_ignores(pattern: str, git_folder: Path) -> None:
    excludes = git_folder.parent / "excludes"
    excludes.write_text(pattern + "\n", encoding="utf-8")
    ignored = subprocess.run(
        ["git", "-c", f"core.excludesFile={excludes}", "check-ignore", "--stdin", "-z"],
        cwd=git_folder,
        input="\0".join(_PATHS_FOR_GIT),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    expected = set(ignored.stdout.split("\0")) - {""}
    ours = PatternList([pattern])
    assert {path for path in _PATHS_FOR_GIT if ours.matches(path)} == expected


@pytest.fixture(scope="module")
def git_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("git") / "repository"
    subprocess.run(["git", "init", "-q", folder], check=True)
    return folder


def _meet_by_recursion(a: str, b: str) -> bool:
    """Whether a text could match both, tried one character after the other."""
    if not a or not b:
        return set(a + b) <= {"*"}
    if a[0] == "*":
        return _meet_by_recursion(a[1:], b) or _meet_by_recursion(a, b[1:])
    if b[0] == "*":
        return _meet_by_recursion(b, a)
    agree = a[0] == b[0] or "?" in (a[0], b[0])
    return agree and _meet_by_recursion(a[1:], b[1:])


_TEXTS = st.text("ab*?", max_size=6)


@settings(quick, max_examples=100)
@given(_TEXTS, _TEXTS)
@example("*a*b", "a*b*")
@example("**", "")
def test_two_texts_meet_if_a_search_finds_that_they_do(a: str, b: str) -> None:
    def agree(x: str, y: str) -> bool:
        return x == y or "?" in (x, y)

    assert _have_a_common_text(a, b, "*", agree) is _meet_by_recursion(a, b)
