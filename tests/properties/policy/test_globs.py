"""Properties of policy.globs, over generated inputs."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from runner.policy.globs import (
    _PLAINLY_VALID,
    Index,
    _meet,
    _segments,
    could_overlap,
    invalid,
    matches,
)
from tests.support.builders import quick

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


@given(st.from_regex(_PLAINLY_VALID(), fullmatch=True))
@quick
def test_what_is_let_through_without_a_closer_look_is_a_real_glob(glob: str) -> None:
    assert GitIgnoreSpec.from_lines([glob])
    assert not glob.startswith("#")
    assert glob.strip()


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


@given(glob_lists, glob_lists)
@quick
def test_what_is_told_by_how_globs_begin_is_what_comparing_each_pair_tells(
    ours: list[str], theirs: list[str]
) -> None:
    pairs = [(a, b) for a in ours for b in theirs if "!" not in (a[0], b[0])]
    met = [_meet(_segments(a), _segments(b)) for a, b in pairs]
    assert could_overlap(ours, theirs) == any(met)
