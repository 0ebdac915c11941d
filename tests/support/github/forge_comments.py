"""Comments on the forge's pull requests as people write them, their reactions, and the
threads of a review.

Sources of the rights: GitHub's "REST API endpoints for reactions" and
xt0rted/slash-command-action#604 (a comment on a pull request takes `pull-requests: write`,
one on an issue `issues: write`); docs "Authenticating with a GitHub App on behalf of a
user" (an app that writes in a person's name is named beside).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from tests.support.github.forge_api import (
    ApiError,
    Call,
    Json,
    Reply,
    find_comment,
    now,
    route,
    user,
)

if TYPE_CHECKING:
    from tests.support.github.forge import Forge, Repository

REACTIONS = frozenset(
    {"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}
)


def say(
    forge: Forge,
    repository: Repository,
    number: int,
    login: str,
    body: str,
    *,
    by_app: bool = False,
) -> Json:
    """Somebody comments on an issue or pull request; the payload of `issue_comment`."""
    comment: Json = {
        "id": forge.next_id(),
        "issue": number,
        "body": body,
        "user": user(login),
        "created_at": now(),
        "updated_at": now(),
        "performed_via_github_app": {"slug": "some-app"} if by_app else None,
        "reactions": [],
    }
    repository.comments[comment["id"]] = comment
    issue = dict(repository.issues[number])
    if "pull_request" in issue:
        issue["pull_request"] = {"url": f"{forge.api_url}/pulls/{number}"}
    return copy.deepcopy(
        {
            "action": "created",
            "issue": issue,
            "comment": comment,
            "repository": {
                "full_name": repository.full_name,
                "default_branch": repository.default_branch,
            },
            "sender": user(login),
        }
    )


def answers(repository: Repository) -> list[str]:
    """What a job's token has answered, the oldest first."""
    return [
        comment["body"]
        for comment in repository.comments.values()
        if comment["user"]["type"] == "Bot" and "reactions" not in comment
    ]


def reactions(repository: Repository, event: Json) -> list[str]:
    """The reactions to the comment of an event."""
    return list(repository.comments[event["comment"]["id"]]["reactions"])


@route("POST", "/issues/comments/{comment}/reactions")
def react(call: Call) -> Reply:
    """A reaction; the same one again is no second."""
    comment = find_comment(call)
    is_of_pull = "pull_request" in call.repository.issues[comment["issue"]]
    scope = "pull-requests" if is_of_pull else "issues"
    if call.token is None:
        raise ApiError(401, "Requires authentication")
    if not call.token.may(scope, "write"):
        raise ApiError(403, "Resource not accessible by integration")
    content = call.body.get("content")
    if content not in REACTIONS:
        raise ApiError(422, "Validation Failed")
    given = comment.setdefault("reactions", [])
    is_new = content not in given
    if is_new:
        given.append(content)
    answer = {"id": call.forge.next_id(), "user": user(call.actor), "content": content}
    return Reply(201 if is_new else 200, answer)


def review(
    repository: Repository,
    number: int,
    path: str,
    line: int,
    commit: str,
    *said: tuple[str, str],
    created: str = "2099-01-01T00:00:00Z",
    first: int | None = None,
    resolved: bool = False,
    side: str = "RIGHT",
) -> None:
    """A thread on lines of a file as they are in the commit: (login, words) in order."""
    comments = [
        {
            "author": {"__typename": user(login)["type"], "login": login},
            "body": body,
            "createdAt": created,
            "originalCommit": {"oid": commit},
        }
        for login, body in said
    ]
    repository.pulls[number].setdefault("_threads", []).append(
        {
            "isResolved": resolved,
            "path": path,
            "diffSide": side,
            "originalStartLine": first,
            "originalLine": line,
            "comments": {"nodes": comments},
        }
    )


def review_threads(call: Call) -> Reply:
    """GraphQL's answer about the threads of a pull request, one a page."""
    asked = call.body.get("variables") or {}
    repository = call.forge.repositories.get(f"{asked['owner']}/{asked['name']}")
    if repository is None or call.token is None:
        return _refused("NOT_FOUND", "Could not resolve to a Repository")
    if not call.token.may("pull-requests", "read"):
        return _refused("FORBIDDEN", "Resource not accessible by integration")
    threads = repository.pulls[int(asked["number"])].get("_threads", [])
    start = int(asked.get("after") or 0)
    page = {
        "nodes": threads[start : start + 1],
        "pageInfo": {
            "hasNextPage": start + 1 < len(threads),
            "endCursor": str(start + 1),
        },
    }
    pull = {"pullRequest": {"reviewThreads": page}}
    return Reply(200, {"data": {"repository": pull}})


def _refused(kind: str, message: str) -> Reply:
    return Reply(200, {"data": None, "errors": [{"type": kind, "message": message}]})
