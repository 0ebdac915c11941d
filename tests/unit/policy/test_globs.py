"""Globs: which path they match, and that two which could match one path are never said
not to.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from runner.policy import globs
from runner.policy.globs import _PLAINLY_VALID, Index, could_overlap, invalid, matches
from tests.support.builders import quick


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


# Names without a dot or a capital: for those that look like a file's, nothing is said
# to lie below (documented).
_NAMES = st.text("abc-", min_size=1, max_size=4)


@st.composite
def _globs_of(draw: st.DrawFn, path: str) -> str:
    """A glob made by loosening a path: characters by `?`, `*`, a class or an escape;
    segments by `**`; its end cut.
    """
    parts = path.split("/")
    if draw(st.booleans()):
        parts = parts[: draw(st.integers(1, len(parts)))]
    if draw(st.booleans()):
        parts = [draw(st.sampled_from(parts))]
    made: list[str] = []
    for part in parts:
        match draw(st.integers(0, 6)):
            case 0:
                made.append("**")
            case 1:
                made.append("*")
            case 2:
                at = draw(st.integers(0, len(part)))
                made.append(
                    part[:at]
                    + draw(st.sampled_from(["*", "**"]))
                    + part[draw(st.integers(at, len(part))) :]
                )
            case 3:
                at = draw(st.integers(0, len(part) - 1))
                loose = draw(
                    st.sampled_from(
                        ["?", f"[{part[at]}z]", "[!z]", "[a-c-]", f"\\{part[at]}"]
                    )
                )
                made.append(part[:at] + loose + part[at + 1 :])
            case _:
                made.append(part)
    start = draw(st.sampled_from(["", "/", "**/"])) if draw(st.booleans()) else ""
    return start + "/".join(made) + draw(st.sampled_from(["", "", "/", "/**", " "]))


@quick
@given(st.data(), st.lists(_NAMES, min_size=1, max_size=4).map("/".join))
def test_lists_that_share_a_path_are_never_said_not_to_overlap(
    data: st.DataObject, path: str
) -> None:
    extra = st.lists(_globs_of("a/b"), max_size=1)
    ours = [data.draw(_globs_of(path)), *data.draw(extra)]
    theirs = [data.draw(_globs_of(path)), *data.draw(extra)]
    assume(matches(ours, path) and matches(theirs, path))
    assert could_overlap(ours, theirs)


_ANY_GLOB = st.text("ab*?/[!]\\.# ", min_size=1, max_size=8).filter(
    lambda glob: invalid(glob) is None
)


# What Python says of a class inside a class is no concern of the answer.
@pytest.mark.filterwarnings("ignore::FutureWarning")
@quick
@given(st.lists(_ANY_GLOB, max_size=2), st.lists(_ANY_GLOB, max_size=2))
@example(["/"], ["**"])
@example(["//"], ["a"])
def test_every_real_glob_gets_an_answer_and_the_same_from_both_sides(
    ours: list[str], theirs: list[str]
) -> None:
    assert could_overlap(ours, theirs) == could_overlap(theirs, ours)


@given(st.from_regex(_PLAINLY_VALID, fullmatch=True))
@quick
def test_what_is_let_through_without_a_closer_look_is_a_real_glob(glob: str) -> None:
    assert GitIgnoreSpec.from_lines([glob])
    assert not glob.startswith("#")
    assert glob.strip()


@pytest.mark.parametrize(
    "glob", ["src/login.py", "src/**", "tests/test_*.py", "/a", "docs/"]
)
def test_an_ordinary_glob_is_not_compiled_to_see_whether_it_is_valid(
    glob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(globs, "_spec", lambda _: pytest.fail("compiled"))
    assert invalid(glob) is None


segment = st.sampled_from(["a", "b", "a.py", "*", "**", "*.py", "[ab]"])
glob_lists = st.lists(
    st.builds(
        lambda anchor, parts: anchor + "/".join(parts),
        st.sampled_from(["", "/", "!"]),
        st.lists(segment, min_size=1, max_size=3),
    ),
    max_size=3,
)


@given(st.lists(glob_lists, max_size=6), glob_lists)
@quick
def test_an_index_finds_the_lists_that_comparing_with_each_would_find(
    known: list[list[str]], asked: list[str]
) -> None:
    index = Index()
    for one in known:
        index.add(one)
    assert index.overlapping(asked) == [
        n for n, one in enumerate(known) if could_overlap(asked, one)
    ]


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
