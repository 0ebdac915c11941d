"""The calls to GitHub's API about comments on pull requests.

Sources: GitHub's "REST API endpoints for issue comments", "… for reactions" and "… for pull
requests"; a comment on a pull request is one on the issue with its number. GraphQL alone
says whether a review comment is resolved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from runner.github_api.client import GitHub
from runner.github_api.errors import NotFound, field
from runner.github_api.pulls import truncated

READ, WRITE = "pull-requests: read", "pull-requests: write"
Reaction = Literal["+1", "-1", "confused", "eyes"]

# `line` and `commit` are where the comment is now, the others where it was made.
REVIEW_THREADS = """
query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      reviewThreads(first: 50, after: $after) {
        nodes {
          isResolved
          path
          diffSide
          originalStartLine
          originalLine
          comments(first: 50) {
            nodes {
              author { __typename login }
              body
              createdAt
              originalCommit { oid }
            }
          }
        }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}
"""


@dataclass(frozen=True)
class Comment:
    """A comment on a pull request; `author` is a login, None for a deleted account.

    `by_program`: a bot or an app wrote it, be it in a person's name.
    """

    id: int
    body: str
    author: str | None
    by_program: bool


@dataclass(frozen=True)
class CommentedPull:
    """A pull request that a comment is on. `head_repository` is owner/name of the
    repository that its branch `head` is in, None if that was deleted.
    """

    number: int
    is_open: bool
    head: str
    head_repository: str | None
    base: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReviewComment:
    """What somebody says about lines of a file, as it was in a commit.

    `first` to `last` are the lines' numbers, from 1. `author` is a login, None for a
    deleted account; `created` is ISO 8601 in UTC.
    """

    author: str | None
    by_program: bool
    body: str
    created: str
    commit: str
    path: str
    first: int
    last: int


class CommentApi(GitHub):
    """Comments on the pull requests of one repository. Errors are those of `GitHub`."""

    def comment(self, comment_id: int) -> Comment | None:
        """The comment as it is now; None if it was deleted."""
        url = f"{self._root}/issues/comments/{comment_id}"
        try:
            return read_comment(self._send("GET", url, needs=READ))
        except NotFound:
            return None

    def commented_pull(self, number: int) -> CommentedPull:
        """The pull request with this number, as it is now."""
        data = self._send("GET", f"{self._root}/pulls/{number}", needs=READ)
        repository = field(data, "head").get("repo") or {}
        return CommentedPull(
            number=int(field(data, "number")),
            is_open=field(data, "state") == "open",
            head=str(field(data, "head", "ref")),
            head_repository=repository.get("full_name"),
            base=str(field(data, "base", "ref")),
            labels=tuple(str(field(label, "name")) for label in field(data, "labels")),
        )

    def open_pull_from(self, branch: str) -> int | None:
        """The number of the newest open pull request from a branch of this repository."""
        owner = self.repository.split("/")[0]
        query = {"state": "open", "head": f"{owner}:{branch}"}
        pulls = self._pages(f"{self._root}/pulls", needs=READ, query=query)
        numbers = [
            int(field(pull, "number"))
            for pull in pulls
            # GitHub ignores a filter that it cannot read, and lists all of them.
            if field(pull, "head", "ref") == branch
            and self._is_here((field(pull, "head").get("repo") or {}).get("full_name"))
        ]
        return max(numbers, default=None)

    def _is_here(self, name: str | None) -> bool:
        return (name or "").casefold() == self.repository.casefold()

    def react(self, comment_id: int, reaction: Reaction) -> None:
        """Put a reaction on a comment, if it still exists."""
        url = f"{self._root}/issues/comments/{comment_id}/reactions"
        with suppress(NotFound):
            self._send("POST", url, {"content": reaction}, needs=WRITE)

    def answer(self, number: int, body: str) -> None:
        """Write a new comment. Not repeated after a failure: it may be there."""
        url = f"{self._root}/issues/{number}/comments"
        self._send("POST", url, {"body": truncated(body)}, needs=WRITE, repeat=False)

    def open_review_comments(self, number: int) -> list[ReviewComment]:
        """The review comments on lines, of threads that nobody has resolved."""
        threads: list[Any] = []
        after: str | None = None
        while True:
            page = self._threads_page(number, after)
            threads += field(page, "nodes")
            if not field(page, "pageInfo", "hasNextPage"):
                break
            after = field(page, "pageInfo", "endCursor")
        return [
            comment
            for thread in threads
            if not field(thread, "isResolved")
            for comment in _comments_of(thread)
        ]

    def _threads_page(self, number: int, after: str | None) -> Mapping[str, Any]:
        owner, _, name = self.repository.partition("/")
        variables = {"owner": owner, "name": name, "number": number, "after": after}
        query = partial(self._github.requester.graphql_query, REVIEW_THREADS, variables)
        _, data = self._call(query, needs=READ, repeat=True)
        threads: Mapping[str, Any] = field(
            data, "data", "repository", "pullRequest", "reviewThreads"
        )
        return threads


def read_comment(data: Mapping[str, Any]) -> Comment:
    """A comment as the API and the event `issue_comment` give it."""
    author = data.get("user") or {}
    by_app = data.get("performed_via_github_app") is not None
    return Comment(
        id=int(field(data, "id")),
        body=str(data.get("body") or ""),
        author=author.get("login"),
        by_program=by_app or author.get("type") != "User",
    )


def _comments_of(thread: Mapping[str, Any]) -> Sequence[ReviewComment]:
    """The comments of a thread; none if it is about a whole file or about old lines."""
    last = thread.get("originalLine")
    if last is None or thread.get("diffSide") != "RIGHT":
        return ()
    comments = []
    for node in field(thread, "comments", "nodes"):
        author = node.get("author") or {}
        commit = node.get("originalCommit") or {}
        comments.append(
            ReviewComment(
                author=author.get("login"),
                by_program=author.get("__typename") != "User",
                body=str(node.get("body") or ""),
                created=str(field(node, "createdAt")),
                commit=str(commit.get("oid") or ""),
                path=str(field(thread, "path")),
                first=int(thread.get("originalStartLine") or last),
                last=int(last),
            )
        )
    return comments
