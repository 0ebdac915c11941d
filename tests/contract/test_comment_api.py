"""What fanin asks GitHub about comments on pull requests; both sides held to GitHub's
descriptions.
"""

from __future__ import annotations

from typing import Any

import pytest

from runner.github_api.comments import Comment, CommentApi, CommentedPull, ReviewComment
from runner.github_api.errors import MissingPermission
from tests.contract.test_github_api import NOT_ACCESSIBLE, REPO, bodies, no, pull, query
from tests.support.openapi import API, Contract, example

TEMPLATE = "/repos/{owner}/{repo}"
COMMENT = f"{REPO}/issues/comments/7"
THEN = "2026-11-27T07:00:00Z"


@pytest.fixture
def api() -> CommentApi:
    return CommentApi("a-token", "o/r", timeout=5)


def comment(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = example(
        "get", f"{TEMPLATE}/issues/comments/{{comment_id}}", 200
    )
    return {**made, "id": 7, "body": "/fanin hold T1", **changes}


def test_a_comment_is_read_as_it_is_now(gh: Contract, api: CommentApi) -> None:
    gh.get(COMMENT, json=comment())
    gh.get(COMMENT, json=no("Not Found"), status=404)
    assert api.comment(7) == Comment(7, "/fanin hold T1", "octocat", by_program=False)
    assert api.comment(7) is None


def test_the_pull_request_of_a_comment(gh: Contract, api: CommentApi) -> None:
    made = example("get", f"{TEMPLATE}/pulls/{{pull_number}}", 200)
    labels = [{**made["labels"][0], "name": "fanin"}]
    found = {**made, **pull(3), "state": "open", "labels": labels}
    gh.get(f"{REPO}/pulls/3", json=found)
    assert api.commented_pull(3) == CommentedPull(
        3, True, "fanin/1", "o/r", "main", ("fanin",)
    )


def test_the_open_pull_request_of_a_branch(gh: Contract, api: CommentApi) -> None:
    listed = [pull(4, "other"), pull(5, "work", repo="eve/r"), pull(3, "work")]
    asked = {"state": "open", "head": "o:work", "per_page": "100", "page": "1"}
    gh.get(f"{REPO}/pulls", json=listed, match=query(**asked))
    assert api.open_pull_from("work") == 3


def test_a_reaction_and_an_answer(gh: Contract, api: CommentApi) -> None:
    path = f"{TEMPLATE}/issues/comments/{{comment_id}}/reactions"
    made = example("post", path, 201)
    gh.post(f"{COMMENT}/reactions", json=made, status=201)
    gh.post(f"{COMMENT}/reactions", json=no("Not Found"), status=404)
    gh.post(f"{COMMENT}/reactions", json=no(NOT_ACCESSIBLE), status=403)
    gh.post(f"{REPO}/issues/3/comments", json=comment(), status=201)
    api.react(7, "+1")
    api.react(7, "confused")  # the comment was deleted
    with pytest.raises(MissingPermission, match="pull-requests: write"):
        api.react(7, "-1")
    api.answer(3, "Done.")
    sent = bodies(gh, "POST", "/reactions")
    assert [each["content"] for each in sent] == ["+1", "confused", "-1"]
    assert bodies(gh, "POST", "/issues/3/comments") == [{"body": "Done."}]


def thread(**changes: Any) -> dict[str, Any]:
    said = {
        "author": {"__typename": "User", "login": "ada"},
        "body": "Why?",
        "createdAt": THEN,
        "originalCommit": {"oid": "a" * 40},
    }
    return {
        "isResolved": False,
        "path": "src/a.py",
        "diffSide": "RIGHT",
        "originalStartLine": 2,
        "originalLine": 4,
        "comments": {"nodes": [said]},
        **changes,
    }


def test_open_review_comments_are_read_over_all_pages(
    gh: Contract, api: CommentApi
) -> None:
    of_bot = {"author": None, "body": "x", "createdAt": THEN, "originalCommit": None}
    pages = [
        [thread(), thread(isResolved=True), thread(diffSide="LEFT")],
        [
            thread(originalLine=None, originalStartLine=None),  # about the whole file
            thread(originalStartLine=None, comments={"nodes": [of_bot]}),
        ],
    ]
    for number, nodes in enumerate(pages):
        has_more = number == 0
        page = {"hasNextPage": has_more, "endCursor": "c1" if has_more else None}
        found = {"reviewThreads": {"nodes": nodes, "pageInfo": page}}
        answer = {"data": {"repository": {"pullRequest": found}}}
        gh.post(f"{API}/graphql", json=answer)
    assert api.open_review_comments(3) == [
        ReviewComment("ada", False, "Why?", THEN, "a" * 40, "src/a.py", 2, 4),
        ReviewComment(None, True, "x", THEN, "", "src/a.py", 4, 4),
    ]
    asked = bodies(gh, "POST", "/graphql")
    assert [each["variables"]["after"] for each in asked] == [None, "c1"]
