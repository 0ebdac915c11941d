"""No glob is slow on a path that an agent chose, and no pair of globs is slow to compare.

A pattern that tried every place for each of its stars would not end within hours here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner.policy import globs
from runner.policy.gitignore import Pattern, PatternList
from runner.policy.globs import _have_a_common_text, could_overlap, invalid, matches


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("**/x/" * 40 + "y", "x/" * 100 + "z"),
        ("src/" + "**/*a/" * 20 + "*.py", "src/" + "a/" * 90 + "b"),
        ("*a" * 100 + "b", "a" * 255),
        ("**/" + "*a" * 100 + "b/c", ("a" * 255 + "/") * 11 + "a"),
        ("/" + "?*" * 60 + "x", "y" * 255),
        ("[ab]*" * 50 + "c/**", ("ab" * 100 + "/") * 14 + "x"),
    ],
    ids=["folders", "folders and stars", "stars", "stars below", "?*", "classes"],
)
def test_no_path_takes_a_pattern_long(glob: str, path: str) -> None:
    assert invalid(glob) is None
    assert not matches([glob], path)


@pytest.mark.parametrize(
    ("glob", "reason"),
    [
        ("*a" * 400, "it has a name of more than 255 bytes"),
        ("a/" * 3_000, "it is more than 100 folders deep"),
        (("a" * 200 + "/") * 20, "it is longer than 3,000 bytes"),
    ],
    ids=["name", "folders", "bytes"],
)
def test_a_glob_longer_than_every_path_is_refused(glob: str, reason: str) -> None:
    assert invalid(glob) == reason


@pytest.mark.parametrize("of_one", ["*a", "a/", "**/a/", "?", "[a]"])
def test_a_glob_of_any_length_gets_an_answer(of_one: str) -> None:
    glob = of_one * 3_000
    assert could_overlap([glob], [glob, "b"])
    assert matches([glob], "a/b") in {True, False}


def test_each_two_characters_are_compared_once_at_most() -> None:
    compared: list[tuple[str, str]] = []

    def meet(a: str, b: str) -> bool:
        compared.append((a, b))
        return a == b

    a, b = "*a*b*c" * 40 + "x", "c*b*a*" * 40 + "y"
    assert not _have_a_common_text(a, b, "*", meet)
    assert len(compared) <= 4 * len(b)


def test_only_the_patterns_that_begin_like_the_path_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = [f"src/mod{number}/*.py" for number in range(2_000)]
    names = [f"file{number}.py" for number in range(2_000)]
    patterns = PatternList([*folders, *names])
    tried = _counted(monkeypatch, Pattern, "match")
    for number in range(2_000):
        assert patterns.matches(f"src/mod{number}/file{number}.py")
        assert not patterns.matches(f"src/mod/{number}/a.py")
    assert len(tried) <= 4_000


def test_lists_of_many_plain_paths_are_compared_where_they_begin_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = [f"src/a{number}/x.py" for number in range(1_000)]
    theirs = [f"src/b{number}/x.py" for number in range(1_000)]
    compared = _counted(monkeypatch, globs, "_meet")
    assert not could_overlap(ours, theirs)
    assert not compared


def test_lists_too_long_to_compare_are_said_to_overlap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = [f"*a{number}/x" for number in range(1_000)]
    theirs = [f"*b{number}/y" for number in range(1_000)]
    monkeypatch.setattr(globs, "_MAX_COMPARED", 100_000)
    assert not could_overlap(ours[:10], theirs[:10])
    compared = _counted(monkeypatch, globs, "_meet")
    assert could_overlap(ours, theirs)
    assert len(compared) < 5_000


def _counted(patch: pytest.MonkeyPatch, owner: object, name: str) -> list[object]:
    """The arguments of each call of the function `name`, as calls are made."""
    calls: list[object] = []
    real: Callable[..., object] = getattr(owner, name)

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return real(*arguments)

    patch.setattr(owner, name, counted)
    return calls
