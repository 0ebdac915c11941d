"""The forge's issues as people keep them: opened, labelled, renamed and edited, with
all of their history.

REST gives the issues, GraphQL the revisions of a text and what happened. Permissions
are the job token's.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests.support.github.forge_api import (
    ApiError,
    Call,
    Json,
    Reply,
    check_update,
    find_issue,
    issue_json,
    page,
    route,
    user,
)
from tests.support.github.forge_comments import review_threads
from tests.support.github.forge_git import BOT, GitError

if TYPE_CHECKING:
    from tests.support.github.forge import Repository


def open_issue(
    repository: Repository,
    title: str,
    body: str,
    *,
    at: str,
    blocked_by: tuple[int, ...] = (),
) -> int:
    """A new issue of somebody; its number."""
    number = len(repository.issues) + 1
    repository.issues[number] = {
        "number": number,
        "id": number,
        "title": title,
        "body": body,
        "state": "open",
        "state_reason": None,
        "user": user("author"),
        "labels": [],
        "created_at": at,
        "updated_at": at,
        "_events": [],
        "_edits": [
            {
                "editedAt": at,
                "deletedAt": None,
                "diff": body,
                "editor": {"login": "author"},
            }
        ],
        "_blocked_by": list(blocked_by),
    }
    return number


def put_label(
    repository: Repository, number: int, name: str, *, by: str, at: str
) -> None:
    """Somebody puts a label on an issue."""
    issue = repository.issues[number]
    issue["labels"].append({"name": name, "color": "ededed"})
    _happened(issue, at, "LabeledEvent", by, label={"name": name})


def take_label(
    repository: Repository, number: int, name: str, *, by: str, at: str
) -> None:
    """Somebody takes a label off."""
    issue = repository.issues[number]
    issue["labels"] = [label for label in issue["labels"] if label["name"] != name]
    _happened(issue, at, "UnlabeledEvent", by, label={"name": name})


def edit(
    repository: Repository,
    number: int,
    *,
    at: str,
    body: str | None = None,
    title: str | None = None,
) -> None:
    """The author changes the text or the title."""
    issue = repository.issues[number]
    if body is not None:
        issue["body"] = body
        issue["_edits"].append(
            {
                "editedAt": at,
                "deletedAt": None,
                "diff": body,
                "editor": {"login": "author"},
            }
        )
        issue["updated_at"] = at
    if title is not None:
        before, issue["title"] = issue["title"], title
        _happened(issue, at, "RenamedTitleEvent", "author", previousTitle=before)


def _happened(issue: Json, at: str, kind: str, by: str, **more: Any) -> None:
    actor = {"__typename": "User", "login": by}
    issue["_events"].append(
        {"__typename": kind, "createdAt": at, "actor": actor, **more}
    )
    issue["updated_at"] = at


def _readable(call: Call) -> None:
    """Of a private repository, as here, a job's token sees issues only with the
    permission.
    """
    if call.token is None or not call.token.may("issues", "read"):
        raise ApiError(403, "Resource not accessible by integration")


@route("GET", "/issues")
def list_issues(call: Call) -> Reply:
    """Issues and pull requests by state and labels."""
    _readable(call)
    wanted = {
        name.casefold() for name in call.query.get("labels", "").split(",") if name
    }
    state = call.query.get("state", "open")
    found = [
        issue_json(call, issue)
        for issue in call.repository.issues.values()
        if state in (issue["state"], "all")
        and wanted <= {label["name"].casefold() for label in issue["labels"]}
    ]
    return page(call, found)


@route("GET", "/issues/{number}/dependencies/blocked_by")
def list_blockers(call: Call) -> Reply:
    """The issues that block one."""
    _readable(call)
    numbers = find_issue(call).get("_blocked_by", [])
    return page(
        call, [issue_json(call, call.repository.issues[number]) for number in numbers]
    )


@route("PATCH", "/issues/{number}", "issues")
def change_issue(call: Call) -> Reply:
    """Close or reopen."""
    unknown = set(call.body) - {"state", "state_reason"}
    if unknown:
        raise ApiError(422, f"not modelled here: {sorted(unknown)}")
    find_issue(call).update(call.body)
    return Reply(200, issue_json(call, find_issue(call)))


@route("GET", "/collaborators/{user}/permission")
def permission(call: Call) -> Reply:
    """What a person may do: those in `writers` write, others read. Who is no user is
    not found.
    """
    if call["user"].endswith("[bot]"):
        raise ApiError(404, "Not Found")
    level = "write" if call["user"] in call.repository.writers else "read"
    return Reply(
        200, {"permission": level, "role_name": level, "user": user(call["user"])}
    )


def graphql(call: Call) -> Reply:
    """The operations that REST does not have: an issue's history, a commit in one call,
    the threads of a review, and the end of a draft.
    """
    query = str(call.body.get("query"))
    if "createCommitOnBranch" in query:
        return _create_commit(call)
    if "reviewThreads" in query:
        return review_threads(call)
    if "markPullRequestReadyForReview" in query:
        return _mark_ready(call)
    return _history(call)


def _mark_ready(call: Call) -> Reply:
    """The token of a job needs both permissions."""
    token = call.token
    if token is None or not (
        token.may("contents", "write") and token.may("pull-requests", "write")
    ):
        return _refused("FORBIDDEN", "Resource not accessible by integration")
    node_id = call.body["variables"]["input"]["pullRequestId"]
    for repository in call.forge.repositories.values():
        for pull in repository.pulls.values():
            if pull["node_id"] == node_id:
                pull["draft"] = False
                done = {"pullRequest": {"isDraft": False}}
                return Reply(200, {"data": {"markPullRequestReadyForReview": done}})
    return _refused("NOT_FOUND", f"Could not resolve to a node with the id {node_id}")


def _refused(kind: str, message: str) -> Reply:
    return Reply(200, {"data": None, "errors": [{"type": kind, "message": message}]})


def _create_commit(call: Call) -> Reply:
    """A signed commit of plain files, if the branch is at the expected commit."""
    asked = call.body["variables"]["input"]
    target = asked["branch"]
    repository = call.forge.repositories.get(target["repositoryNameWithOwner"])
    if repository is None:
        return _refused("NOT_FOUND", "Could not resolve to a Repository")
    if call.token is None or not call.token.may("contents", "write"):
        return _refused("FORBIDDEN", "Resource not accessible by integration")
    git, ref = repository.git, f"refs/heads/{target['branchName']}"
    repository.fire("update", [ref])
    head = git.resolve(ref)
    if head is None:
        return _refused("NOT_FOUND", f"Could not resolve to a Ref named {ref}")
    if head != asked["expectedHeadOid"]:
        message = (
            f"Expected branch to point to {asked['expectedHeadOid']} but it did not."
        )
        return _refused("STALE_DATA", message)
    changes = asked.get("fileChanges") or {}
    entries: dict[str, tuple[str, str] | None] = {}
    for deletion in changes.get("deletions", []):
        entries[deletion["path"]] = None
    for addition in changes.get("additions", []):
        blob = git.blob(base64.b64decode(addition["contents"]))
        entries[addition["path"]] = ("100644", blob)
    try:
        tree = git.write_tree(git.resolve(head, "tree"), entries)
    except GitError:
        return _refused("UNPROCESSABLE", "A path was requested for deletion")
    message = f"{asked['message']['headline']}\n\n{asked['message'].get('body') or ''}"
    commit = git.write_commit(
        tree, [head], message.strip(), BOT, "GitHub <noreply@github.com>"
    )
    repository.signed.add(commit)
    try:
        check_update(repository, ref, commit)
    except ApiError as error:
        return _refused("UNPROCESSABLE", error.reply.data["message"])
    git.update(ref, commit, head)
    created = {"oid": commit, "tree": {"oid": tree}}
    return Reply(200, {"data": {"createCommitOnBranch": {"commit": created}}})


def _history(call: Call) -> Reply:
    """The one question that REST does not answer: an issue's text, its revisions and
    what happened to it.
    """
    asked = call.body.get("variables") or {}
    repository = call.forge.repositories.get(
        f"{asked.get('owner')}/{asked.get('name')}"
    )
    if "userContentEdits" not in str(call.body.get("query")) or repository is None:
        return Reply(404, {"message": "Not Found"}, unknown=True)
    if call.token is None or not call.token.may("issues", "read"):
        return Reply(
            200,
            {
                "errors": [
                    {
                        "type": "FORBIDDEN",
                        "message": "Resource not accessible by integration",
                    }
                ]
            },
        )
    issue = repository.issues[int(asked["number"])]
    edits = issue["_edits"] if len(issue["_edits"]) > 1 else []
    end = {"hasNextPage": False, "endCursor": None}
    found = {
        "title": issue["title"],
        "body": issue["body"],
        "lastEditedAt": edits[-1]["editedAt"] if edits else None,
        "userContentEdits": {"nodes": edits[::-1], "pageInfo": end},
        "timelineItems": {"nodes": issue["_events"], "pageInfo": end},
    }
    return Reply(200, {"data": {"repository": {"issue": found}}})
