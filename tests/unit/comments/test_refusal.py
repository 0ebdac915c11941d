"""Whose commands are obeyed, and on which pull requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.comments.refusal import refusal, workflow_branch
from runner.github_api.comments import Comment, CommentedPull, read_comment

SAID = Comment(7, "/fanin approve T1", "ada", by_program=False)
OWN = CommentedPull(3, True, "fanin/4711", "o/r", "main")
LABELLED = CommentedPull(3, True, "feature", "O/R", "main", ("Fanin",))


@pytest.mark.parametrize("pull", [OWN, LABELLED])
def test_on_a_pull_request_of_fanin_or_with_its_label_it_is_obeyed(
    pull: CommentedPull,
) -> None:
    assert refusal(SAID, SAID, pull, "o/r") is None


@pytest.mark.parametrize(
    ("now", "pull", "why"),
    [
        (None, OWN, "has changed since"),
        (replace(SAID, body="/fanin undo T1"), OWN, "has changed since"),
        (replace(SAID, author="bob"), OWN, "has changed since"),
        (SAID, replace(OWN, head_repository="eve/r"), "from a fork"),
        (SAID, replace(LABELLED, head_repository=None), "from a fork"),
        (SAID, replace(OWN, is_open=False), "is closed"),
        (SAID, replace(OWN, head="fanin/held/4711.1"), "one batch"),
        (SAID, replace(LABELLED, labels=("bug",)), "no label fanin"),
    ],
)
def test_else_it_is_refused_with_the_reason(
    now: Comment | None, pull: CommentedPull, why: str
) -> None:
    assert why in (refusal(SAID, now, pull, "o/r") or "")


def test_a_label_of_another_name_counts_if_the_caller_says_so() -> None:
    pull = replace(LABELLED, labels=("agents",))
    assert refusal(SAID, SAID, pull, "o/r", "agents") is None


def test_the_next_round_starts_where_those_of_the_run_do() -> None:
    assert workflow_branch(OWN) == "main"
    assert workflow_branch(LABELLED) == "feature"


@pytest.mark.parametrize(
    ("event", "by_program"),
    [
        ({"user": {"login": "ada", "type": "User"}}, False),
        ({"user": {"login": "github-actions[bot]", "type": "Bot"}}, True),
        (
            {"user": {"login": "ada", "type": "User"}, "performed_via_github_app": {}},
            True,
        ),
        ({"user": None}, True),
    ],
)
def test_what_a_program_wrote_is_known(
    event: dict[str, object], by_program: bool
) -> None:
    data = {"id": 1, "body": None, **event}
    assert read_comment(data).by_program is by_program
