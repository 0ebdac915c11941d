"""The calls to GitHub's API about pull requests.

Source of the rules: GitHub's "REST API endpoints for pull requests" and its GraphQL
mutation markPullRequestReadyForReview.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from runner.core.errors import FaninError
from runner.github_api.errors import (
    GitHubRefused,
    GitHubUnreachable,
    MayNotOpenPulls,
    MissingPermission,
)
from runner.github_api.session import ApiSession

if TYPE_CHECKING:
    from github.PullRequest import PullRequest

BODY_LIMIT = 65_536  # characters of a comment or a pull request's description
TITLE_LIMIT = 256  # characters
# REST cannot end a draft.
MARK_READY = """
mutation($input: MarkPullRequestReadyForReviewInput!) {
  markPullRequestReadyForReview(input: $input) { pullRequest { isDraft } }
}
"""
_TRUNCATED = "\n\n_Truncated: GitHub accepts at most 65,536 characters._"

PullState = Literal["draft", "open", "merged", "closed"]


@dataclass(frozen=True)
class Pull:
    """A pull request from a branch of the repository.

    `commit` is the head's commit, or what it was when the request was merged or closed.
    `node_id` is its id in GraphQL.
    """

    number: int
    url: str
    head: str
    base: str
    state: PullState = "open"
    commit: str = ""
    body: str = ""
    node_id: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it can still be merged; a draft can, once it is ready."""
        return self.state in {"draft", "open"}


def web_url(api_url: str) -> str:
    """The address of GitHub's pages, from that of its API.

    For github.com, `<name>.ghe.com` and Enterprise Servers.
    """
    parts = urlsplit(api_url)
    if parts.path.rstrip("/") == "/api/v3":
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}://{parts.netloc.removeprefix('api.')}"


def truncated(text: str, limit: int = BODY_LIMIT) -> str:
    """Truncate Markdown to `limit` characters, at the end of a line, with a note.

    A code fence that the cut leaves open is closed.
    """
    if len(text) <= limit:
        return text
    head = text[: limit - len(_TRUNCATED) - len("\n```")]
    if "\n" in head:
        head = head[: head.rfind("\n")]
    fences = sum(line.lstrip().startswith("```") for line in head.splitlines())
    if fences % 2:
        head += "\n```"
    return head + _TRUNCATED


class PullRequests(ApiSession):
    """The pull requests between branches of one repository."""

    def find_open_pull(self, head: str, base: str) -> Pull | None:
        """The open pull request from our branch `head` into `base`, if there is one."""
        return self._find_pull(head, base, "open")

    def find_closed_pull(self, head: str, base: str) -> Pull | None:
        """The closed or merged pull request of these branches, if there is one."""
        return self._find_pull(head, base, "closed")

    def find_pull(self, head: str, base: str) -> Pull | None:
        """The open pull request of these branches, else the newest one."""
        return self._find_pull(head, base, "all")

    def _find_pull(self, head: str, base: str, state: str) -> Pull | None:
        owner = self.repository.split("/")[0]
        pulls = self._call(
            lambda: list(
                self._repo.get_pulls(state=state, head=f"{owner}:{head}", base=base)
            ),
            needs="pull-requests: read",
            repeat=True,
        )
        # GitHub ignores a filter that it cannot read, and lists all of them. It lists
        # the newest first.
        ours = [
            _pull(pull)
            for pull in pulls
            if pull.base.ref == base and self._is_from_our_branch(pull, head)
        ]
        for pull in ours:
            if pull.is_open:
                return pull
        return ours[0] if ours else None

    def _is_from_our_branch(self, pull: PullRequest, head: str) -> bool:
        repo = pull.head.repo  # None when a fork was deleted
        if pull.head.ref != head or not repo:
            return False
        return repo.full_name.lower() == self.repository.lower()

    def open_pull(
        self, head: str, base: str, title: str, body: str, *, draft: bool = False
    ) -> Pull:
        """Open a pull request, or return the open one from `head` into `base`.

        Not as a draft where the repository has none. Raises MayNotOpenPulls, which has a
        link to open it by hand.
        """
        pull = self.find_open_pull(head, base)
        if pull is not None:
            return pull
        try:
            return self._create_pull(head, base, title, body, draft=draft)
        except (GitHubRefused, GitHubUnreachable) as error:
            # Another run may have been faster, or GitHub failed after it was done.
            pull = self.find_open_pull(head, base)
            if pull is not None:
                return pull
            if isinstance(error, GitHubRefused):
                raise self._open_pull_error(error, head, base) from error
        return self._create_pull(head, base, title, body, draft=draft)

    def _create_pull(
        self, head: str, base: str, title: str, body: str, *, draft: bool
    ) -> Pull:
        create = partial(
            self._repo.create_pull,
            base,
            head,
            title=title[:TITLE_LIMIT],
            body=truncated(body),
        )
        needs = "pull-requests: write"
        if draft:
            try:
                created = self._call(
                    lambda: create(draft=True), needs=needs, repeat=False
                )
                return _pull(created)
            except GitHubRefused as error:
                # Private repositories of the plans Free and Pro have no drafts.
                if (
                    error.status != 422
                    or "draft pull requests" not in error.reason.lower()
                ):
                    raise
        return _pull(self._call(create, needs=needs, repeat=False))

    def describe_pull(self, number: int, body: str) -> None:
        """Replace the description of a pull request."""
        self._edit_pull(number, {"body": truncated(body)})

    def reopen_pull(self, number: int) -> None:
        """Reopen a closed pull request. GitHub refuses where its branch is gone."""
        self._edit_pull(number, {"state": "open"})

    def _edit_pull(self, number: int, changes: dict[str, object]) -> None:
        url = f"{self._root}/pulls/{number}"
        self._send("PATCH", url, changes, needs="pull-requests: write")

    def has_conflict(self, pull: Pull) -> bool:
        """Whether GitHub knows that a pull request conflicts with its base.

        It finds that out some time after one of both has moved.
        """
        url = f"{self._root}/pulls/{pull.number}"
        data = self._send("GET", url, needs="pull-requests: read")
        return isinstance(data, dict) and data.get("mergeable") is False

    def merge_into(self, branch: str, commit: str, message: str) -> bool:
        """Merge a commit into a branch, by a merge commit if it lacks it.

        Returns whether that is possible: False if they conflict.
        """
        url = f"{self._root}/merges"
        body = {"base": branch, "head": commit, "commit_message": message}
        try:
            self._send("POST", url, body, needs="contents: write")
        except GitHubRefused as error:
            if error.status == 409:
                return False
            raise
        return True

    def mark_pull_ready(self, pull: Pull) -> None:
        """Mark a draft as ready for review.

        The token of a job needs `contents: write` for it beside `pull-requests: write`.
        """
        query = partial(
            self._github.requester.graphql_query,
            MARK_READY,
            {"input": {"pullRequestId": pull.node_id}},
        )
        needs = "contents: write` and `pull-requests: write"
        self._call(query, needs=needs, repeat=True)

    def compare_url(self, head: str, base: str) -> str:
        """The page where a person opens the pull request with one click."""
        repository_url = f"{web_url(self._api_url)}/{self.repository}"
        return f"{repository_url}/compare/{quote(base)}...{quote(head)}?expand=1"

    def _open_pull_error(
        self, error: GitHubRefused, head: str, base: str
    ) -> FaninError:
        if "not permitted to create" in error.reason:
            advice = (
                "allow it under Settings → Actions → General → Workflow permissions: "
                "“Allow GitHub Actions to create and approve pull requests”"
            )
        elif isinstance(error, MissingPermission):
            advice = error.advice
        else:
            return error
        return MayNotOpenPulls(self.compare_url(head, base), error.reason, advice)


def _pull(pull: PullRequest) -> Pull:
    return Pull(
        number=pull.number,
        url=pull.html_url,
        head=pull.head.ref,
        base=pull.base.ref,
        state=_state(pull),
        commit=pull.head.sha,
        body=pull.body or "",
        node_id=pull.node_id,
    )


def _state(pull: PullRequest) -> PullState:
    if pull.state == "open":
        return "draft" if pull.draft else "open"
    # The list has this time and no field `merged`.
    return "merged" if pull.merged_at else "closed"
