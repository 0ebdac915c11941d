"""A file that was added in a folder that another task moved is named."""

from __future__ import annotations

import pytest

from runner.fan_in.folder_moves import left_behind
from runner.policy.change import REGULAR, Change

BASE = ["old/a", "old/sub/b", "c"]


def added(path: str, text: str = "new") -> Change:
    return Change(path, None, (REGULAR, text))


def deleted(path: str) -> Change:
    return Change(path, (REGULAR, path), None)


def moved(old: str, new: str) -> list[Change]:
    return [deleted(old), added(new, old)]


MOVE = [*moved("old/a", "new/a"), *moved("old/sub/b", "new/sub/b")]


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [("old/x", "old", "new"), ("old/sub/x", "old/sub", "new/sub")],
)
@pytest.mark.parametrize("mover_first", [True, False])
def test_the_file_and_both_folders_are_named(
    path: str, old: str, new: str, mover_first: bool
) -> None:
    owners = [("A", MOVE), ("B", [added(path)])]
    changes = dict(owners if mover_first else reversed(owners))
    assert left_behind(changes, lambda: BASE) == [
        f"{path} was added in {old}/, which A moved to {new}/; it stays in {old}/"
    ]


def test_the_branch_may_have_moved_it() -> None:
    (sentence,) = left_behind({"": MOVE, "B": [added("old/x")]}, lambda: BASE)
    assert "which the branch moved to new/" in sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"A": moved("old/a", "new/a"), "B": [added("old/x")]},
        {"A": [*MOVE, added("old/x")], "B": [added("c2")]},
        {"A": [deleted("old/a"), deleted("old/sub/b")], "B": [added("old/x")]},
        {"A": MOVE, "B": [added("other/x")]},
        {"A": MOVE, "B": [Change("old/a", (REGULAR, "old/a"), (REGULAR, "2"))]},
    ],
    ids=["folder is still there", "its own", "deleted", "elsewhere", "no new file"],
)
def test_nothing_else_is_named(changes: dict[str, list[Change]]) -> None:
    assert left_behind(changes, lambda: BASE) == []
