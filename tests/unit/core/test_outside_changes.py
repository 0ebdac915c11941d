"""The sentence about what somebody else changed beside a run."""

from __future__ import annotations

import pytest

from runner.core.outside_changes import (
    OutsideChange,
    OutsideCommit,
    RunningAttempt,
    sentence,
)

OLD, NEW = "a" * 40, "b" * 40
COMMIT = OutsideCommit(commit=NEW, author="Ann <a@b>", subject="fix")
MOVED = OutsideChange(part="branch", names=("main",), old=OLD, new=NEW)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            MOVED.model_copy(update={"commits": (COMMIT,), "commit_count": 1}),
            "main moved to bbbbbbbbbb: bbbbbbbbbb “fix” by Ann <a@b>",
        ),
        (
            MOVED.model_copy(update={"commits": (COMMIT,) * 5, "commit_count": 9}),
            "main moved to bbbbbbbbbb: "
            + "bbbbbbbbbb “fix” by Ann <a@b>, " * 3
            + "6 more commits",
        ),
        (
            MOVED.model_copy(update={"rewritten": True}),
            "main moved to bbbbbbbbbb, which does not follow aaaaaaaaaa",
        ),
        (
            MOVED.model_copy(update={"new": None}),
            "main was deleted, it was at aaaaaaaaaa",
        ),
        (
            OutsideChange(part="ref", names=("refs/tags/v1",), new=NEW),
            "refs/tags/v1 was created at bbbbbbbbbb",
        ),
        (
            OutsideChange(part="head", old="main", new=None),
            "HEAD moved from main to nothing",
        ),
        (
            OutsideChange(part="files", names=("a",), count=1),
            "a now differs from HEAD",
        ),
        (
            OutsideChange(part="files", names=tuple("abcdefg"), count=9),
            "a, b, c, d, e and 4 more now differ from HEAD",
        ),
        (OutsideChange(part="stash"), "the stash changed"),
        (
            OutsideChange(part="configuration", names=("core.pager",), count=1),
            "the configuration changed: core.pager",
        ),
        (
            OutsideChange(part="hooks", names=("post-merge",), count=1),
            "hooks changed: post-merge",
        ),
    ],
)
def test_a_change_is_one_sentence(change: OutsideChange, text: str) -> None:
    assert sentence([change], 1, []) == f"{text} (no attempt ran meanwhile)"


def test_attempts_are_named_and_changes_that_are_left_out_counted() -> None:
    attempts = [
        RunningAttempt(batch="r.1", task="A", attempt=1),
        RunningAttempt(batch="r.2", task="B", attempt=2),
    ]
    stash = OutsideChange(part="stash")
    assert sentence([stash], 3, attempts) == (
        "the stash changed; 2 more changes (meanwhile ran A, B (attempt 2))"
    )
