"""Everything fanin asks of GitHub's REST API: the only importer of PyGithub, one small
method per deed.

Separate because PyGithub is slow to import, which matrix legs must not pay for. Its own
retrying and pacing are off: they sleep without a bound and repeat calls that must not
be repeated. Every request and answer is checked against GitHub's own description in
tests/contract.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
from github import Auth, Github, GithubException
from github.IssueComment import IssueComment
from github.PullRequest import PullRequest

from runner.core.errors import FaninError, UsageProblem
from runner.github_api.errors import (
    CHECK_ROUTE,
    BranchRefuses,
    DispatchRefused,
    GitHubRefused,
    GitHubUnreachable,
    HeadMoved,
    MayNotOpenPulls,
    MissingPermission,
    NoSuchBranch,
    NotFound,
    RateLimited,
    TreeDiffers,
    UnexpectedAnswer,
    explain_dispatch,
    field,
    not_verified,
    rate_limit_wait,
    reason_of,
    refused,
    status_of,
)

DEFAULT_API_URL = "https://api.github.com"
BODY_LIMIT = 65_536  # characters of a comment or a pull request's description
TITLE_LIMIT = 256
INPUTS_LIMIT = 25  # of a workflow_dispatch, by GitHub's description
PAYLOAD_LIMIT = 65_535  # characters of all its inputs together
TREE_CHUNK = 100  # a tree of 200 and more entries was seen to time out with 502
_CUT_NOTE = "\n\n_Cut here: GitHub takes no more than 65,536 characters._"

T = TypeVar("T")


# -- data --


@dataclass(frozen=True)
class Retry:
    """How patient a `GitHub` is: `budget` seconds of waiting in all, `attempts` for
    each failing call.
    """

    budget: float = 600.0
    attempts: int = 4
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time


@dataclass(frozen=True)
class Pull:
    """An open pull request."""

    number: int
    url: str
    head: str
    base: str


@dataclass(frozen=True)
class Change:
    """One path of a commit: its git mode and bytes; None deletes it.

    A symlink's (120000) bytes are its target, a submodule's (160000) are its commit id
    in hex.
    """

    path: str
    mode: str
    content: bytes | None


@dataclass(frozen=True)
class ApiCommit:
    """One commit to make: `changes` on top of `base_tree`; `tree` is the id that must
    come out, if known.
    """

    message: str
    base_tree: str
    changes: tuple[Change, ...]
    tree: str | None = None


# -- pure helpers --


def web_url(api_url: str) -> str:
    """The address people use, from the API's: github.com, `<name>.ghe.com` or an
    Enterprise Server.
    """
    parts = urlsplit(api_url)
    if parts.path.rstrip("/") == "/api/v3":
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}://{parts.netloc.removeprefix('api.')}"


def bounded(text: str, limit: int = BODY_LIMIT) -> str:
    """`text` as GitHub takes it: cut at a line's end, an open code fence closed, and
    saying so.
    """
    if len(text) <= limit:
        return text
    room = limit - len(_CUT_NOTE) - len("\n```")
    kept = text[:room]
    kept = kept[: kept.rfind("\n")] if "\n" in kept else kept
    fences = sum(line.lstrip().startswith("```") for line in kept.splitlines())
    return kept + ("\n```" if fences % 2 else "") + _CUT_NOTE


def in_chunks(
    changes: Sequence[Change], size: int = TREE_CHUNK
) -> Iterator[tuple[Change, ...]]:
    """Changes in the order and portions GitHub can build: deletions first, at most
    `size` in one tree.

    Never mixed in one call: where a file gives way to a folder of its name, the file
    must go first.
    """
    for deletes in (True, False):
        portion = [change for change in changes if (change.content is None) is deletes]
        for start in range(0, len(portion), size):
            yield tuple(portion[start : start + size])


def tree_entry(change: Change, blob: str | None) -> dict[str, str | None]:
    """A change as the trees endpoint takes it; a null id deletes."""
    kind = "commit" if change.mode == "160000" else "blob"
    return {"path": change.path, "mode": change.mode, "type": kind, "sha": blob}


# -- the edge --


class GitHub:
    """One repository on GitHub, as fanin needs it. Every method raises only errors of
    `runner.core.errors`.

    `timeout` bounds each request and `retry` all the waiting: rate limits are waited
    out within its budget, and what can be repeated without harm is repeated when GitHub
    or the network fails.
    """

    def __init__(
        self,
        token: str,
        repository: str,
        api_url: str = DEFAULT_API_URL,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        if not token:
            raise UsageProblem(
                "fanin has no token for GitHub",
                "set GITHUB_TOKEN to ${{ github.token }}",
            )
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise UsageProblem(
                f"{repository!r} is no repository", "write it as owner/name"
            )
        self.repository = repository
        self._retry = retry or Retry()
        self._waited = 0.0
        self._timeout = timeout
        self._api_url = api_url.rstrip("/")
        self._github = Github(
            auth=Auth.Token(token),
            base_url=self._api_url,
            timeout=max(1, int(timeout)),
            user_agent="fanin",
            per_page=100,
            retry=None,
            lazy=True,
            seconds_between_requests=None,
            seconds_between_writes=None,
        )
        self._repo = self._github.get_repo(repository)
        self._root = f"/repos/{repository}"

    def close(self) -> None:
        """Close the connections."""
        self._github.close()

    # --- workflows

    def dispatch(
        self, workflow_file: str, ref: str, inputs: Mapping[str, str]
    ) -> str | None:
        """Start a workflow on a branch; the address of its run where GitHub tells it.

        Raises NoDispatchTrigger, UndeclaredInputs, DispatchRefused, NoSuchBranch,
        NotFound and MissingPermission. Never repeated after a failure of the server: it
        might have started.
        """
        size = sum(len(name) + len(value) for name, value in inputs.items())
        if len(inputs) > INPUTS_LIMIT or size > PAYLOAD_LIMIT:
            raise DispatchRefused(
                f"{len(inputs)} inputs of {size} characters cannot start {workflow_file}",
                f"GitHub takes {INPUTS_LIMIT} inputs and {PAYLOAD_LIMIT} characters in all",
            )
        body: dict[str, object] = {"ref": ref, "inputs": dict(inputs)}
        if not self._enterprise_server:  # its description does not know the field
            body["return_run_details"] = True
        url = (
            f"{self._root}/actions/workflows/{quote(workflow_file, safe='')}/dispatches"
        )
        try:
            data = self._send("POST", url, body, needs="actions: write", repeat=False)
        except GitHubRefused as error:
            raise explain_dispatch(error, workflow_file, ref, inputs) from error
        return data.get("html_url") if isinstance(data, dict) else None

    def trigger(self, workflow_file: str, ref: str) -> str | None:
        """Start the user's own workflow after landing: a push by GITHUB_TOKEN starts
        none. As `dispatch`.
        """
        return self.dispatch(workflow_file, ref, {})

    # --- pull requests

    def sticky_comment(self, pull_number: int, marker: str, body: str) -> str:
        """Write our one comment on a pull request, in place if it is there; its
        address.

        `marker` is an HTML comment and becomes the first line. A comment counts as ours
        only if it starts with the marker and was written by the same user or, for an
        app's token such as GITHUB_TOKEN, by a bot: anyone may paste a marker, and our
        token may overwrite anyone's comment.
        """
        if not re.fullmatch(r"<!-- [^<>]+ -->", marker):
            raise ValueError(f"a marker is an HTML comment, not {marker!r}")
        text = bounded(f"{marker}\n{body}")
        ours = self._own_comment(pull_number, marker, needs="pull-requests: read")
        if ours is not None and ours.body == text:
            return ours.html_url
        return self._comment(
            pull_number, ours, text, needs="pull-requests: write"
        ).html_url

    def _comment(
        self, number: int, ours: IssueComment | None, text: str, *, needs: str
    ) -> IssueComment:
        """Our one comment on an issue or pull request with this text, in place if it is
        there.
        """
        if ours is not None:
            there = ours
            with suppress(NotFound):  # deleted since we looked
                self._call(lambda: there.edit(text), needs=needs, repeat=True)
                return there
        issue = self._repo.get_issue(number)
        return self._call(lambda: issue.create_comment(text), needs=needs, repeat=False)

    def _own_comment(
        self, number: int, marker: str, *, needs: str
    ) -> IssueComment | None:
        """Our comment on an issue or pull request, if there is one that begins with the
        marker.
        """
        issue = self._repo.get_issue(number)
        comments = self._call(
            lambda: list(issue.get_comments()), needs=needs, repeat=True
        )
        marked = [
            comment for comment in comments if (comment.body or "").startswith(marker)
        ]
        login = self._own_login() if marked else None
        for comment in marked:
            author = comment.user  # None for a deleted account
            if author and (
                author.type == "Bot" if login is None else author.login == login
            ):
                return comment
        return None

    def _own_login(self) -> str | None:
        """Whose token this is; None for an app's, GITHUB_TOKEN included: those may not
        ask.
        """
        user = self._github.get_user()
        try:
            return self._call(lambda: user.login, needs="metadata: read", repeat=True)
        except (MissingPermission, NotFound):
            return None

    def find_open_pull(self, head: str, base: str) -> Pull | None:
        """The open pull request from our branch `head` into `base`, if there is one."""
        full_head = f"{self.repository.split('/')[0]}:{head}"
        found = self._call(
            lambda: list(self._repo.get_pulls(state="open", head=full_head, base=base)),
            needs="pull-requests: read",
            repeat=True,
        )
        # GitHub ignores a filter it cannot read, and would list them all.
        ours = (
            pull
            for pull in found
            if pull.base.ref == base and self._is_ours(pull, head)
        )
        return next(map(_pull, ours), None)

    def _is_ours(self, pull: PullRequest, head: str) -> bool:
        where = pull.head.repo  # None when a fork was deleted
        return (
            pull.head.ref == head
            and bool(where)
            and where.full_name.lower() == self.repository.lower()
        )

    def open_pull(self, head: str, base: str, title: str, body: str) -> Pull:
        """Open a pull request, or return the one that is open from that head into that
        base.

        Raises MayNotOpenPulls, with a link to do it by hand.
        """
        found = self.find_open_pull(head, base)
        if found:
            return found
        try:
            made = self._call(
                lambda: self._repo.create_pull(
                    base, head, title=title[:TITLE_LIMIT], body=bounded(body)
                ),
                needs="pull-requests: write",
                repeat=False,
            )
        except GitHubRefused as error:
            if found := self.find_open_pull(head, base):  # another run was faster
                return found
            raise self._explain_pull(error, head, base) from error
        return _pull(made)

    def compare_url(self, head: str, base: str) -> str:
        """The page where a person opens the pull request with one click."""
        return f"{web_url(self._api_url)}/{self.repository}/compare/{quote(base)}...{quote(head)}?expand=1"

    def _explain_pull(self, error: GitHubRefused, head: str, base: str) -> FaninError:
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

    # --- branches

    def branch_head(self, branch: str) -> str | None:
        """The commit a branch points to; None when there is no such branch."""
        try:
            data = self._send(
                "GET",
                f"{self._root}/git/ref/heads/{quote(branch)}",
                needs="contents: read",
            )
        except GitHubRefused as error:
            if error.status in (404, 409):  # 409: the repository is empty
                return None
            raise
        return str(field(data, "object", "sha"))

    def commit_via_api(
        self, branch: str, expected_head: str, commits: Sequence[ApiCommit]
    ) -> str:
        """Put commits on a branch so that GitHub signs them; the new head.

        The branch moves once, at the end, and only when each commit is verified and has
        its expected tree. Raises NotVerified, TreeDiffers, HeadMoved, BranchRefuses,
        NoSuchBranch; the branch is then untouched.
        """
        if not commits:
            raise ValueError("no commit to make")
        blobs: dict[bytes, str] = {}
        head = expected_head
        for commit in commits:
            head = self._make_commit(commit, head, blobs)
        self._move(branch, expected_head, head)
        return head

    def _make_commit(
        self, commit: ApiCommit, parent: str, blobs: dict[bytes, str]
    ) -> str:
        tree = commit.base_tree
        for portion in in_chunks(commit.changes):
            entries = [
                tree_entry(change, self._blob(change, blobs)) for change in portion
            ]
            data = self._send(
                "POST",
                f"{self._root}/git/trees",
                {"base_tree": tree, "tree": entries},
                needs="contents: write",
            )
            tree = str(field(data, "sha"))
        if commit.tree is not None and tree != commit.tree:
            raise TreeDiffers(
                f"GitHub built tree {tree[:12]} where {commit.tree[:12]} was merged",
                "the branch was not changed; please report this with the files changed",
            )
        # GitHub signs for an app's token only if author, committer and signature are
        # all left out.
        body = {"message": commit.message, "tree": tree, "parents": [parent]}
        data = self._send(
            "POST", f"{self._root}/git/commits", body, needs="contents: write"
        )
        verdict = field(data, "verification")
        if verdict.get("verified") is not True:
            raise not_verified(str(field(data, "sha")), str(verdict.get("reason")))
        return str(field(data, "sha"))

    def _blob(self, change: Change, blobs: dict[bytes, str]) -> str | None:
        if change.content is None:
            return None
        if change.mode == "160000":
            return change.content.decode("ascii")
        if change.content not in blobs:
            body = {
                "content": base64.b64encode(change.content).decode("ascii"),
                "encoding": "base64",
            }
            data = self._send(
                "POST", f"{self._root}/git/blobs", body, needs="contents: write"
            )
            blobs[change.content] = str(field(data, "sha"))
        return blobs[change.content]

    def _move(self, branch: str, expected: str, new: str) -> None:
        try:
            self._send(
                "PATCH",
                f"{self._root}/git/refs/heads/{quote(branch)}",
                {"sha": new, "force": False},
                needs="contents: write",
            )
        except GitHubRefused as error:
            if (
                error.status not in (403, 409, 422)
                or "not accessible by" in error.reason
            ):
                raise
            # GitHub words a moved branch, a lost race and a rule in many ways; where
            # the branch is, decides.
            actual = self.branch_head(branch)
            if actual is None:
                raise NoSuchBranch(
                    f"the branch {branch} is gone", "make it again or name another"
                ) from error
            if actual != expected:
                raise HeadMoved(branch, expected, actual) from error
            raise BranchRefuses(
                f"{branch} refuses fanin's commit ({error.status} {error.reason})",
                "let GitHub Actions bypass the rule, or merge by pull request",
            ) from error

    # --- artifacts and people

    def actor_permission(self, user: str) -> str:
        """What a person may do here: `admin`, `write`, `read` or `none`."""
        try:
            return self._call(
                lambda: self._repo.get_collaborator_permission(user),
                needs="metadata: read",
                repeat=True,
            )
        except NotFound:
            return "none"

    # --- the one way out

    @property
    def _enterprise_server(self) -> bool:
        return urlsplit(self._api_url).path == "/api/v3"

    def _send(
        self,
        verb: str,
        url: str,
        body: Mapping[str, object] | None = None,
        *,
        needs: str,
        repeat: bool = True,
    ) -> Any:
        """One request by PyGithub's requester, for what its objects lack or do
        otherwise; its JSON.
        """
        send = partial(
            self._github.requester.requestJsonAndCheck, verb, url, input=body
        )
        return self._call(send, needs=needs, repeat=repeat)[1]

    def _pages(
        self, url: str, *, needs: str, query: Mapping[str, str] | None = None
    ) -> list[Any]:
        """All items of a paginated list."""
        items: list[Any] = []
        for page in count(1):
            asked = {**(query or {}), "per_page": 100, "page": page}
            get = partial(self._github.requester.requestJsonAndCheck, "GET", url, asked)
            headers, data = self._call(get, needs=needs, repeat=True)
            items += _listed(data)
            if 'rel="next"' not in headers.get("link", ""):
                break
        return items

    def _call(self, deed: Callable[[], T], *, needs: str, repeat: bool) -> T:
        """Do it; wait out rate limits; repeat after other failures if `repeat`; name
        what stays wrong.

        A rate-limited request was not done, so it is always safe to send again.
        """
        strike = failures = 0
        while True:
            try:
                return deed()
            except GithubException as error:
                status, reason = (
                    status_of(error.status, error.data),
                    reason_of(error.data),
                )
                headers = {
                    str(key).lower(): str(value)
                    for key, value in (error.headers or {}).items()
                }
                wait = rate_limit_wait(
                    status, reason, headers, now=self._retry.now(), strike=strike
                )
                if wait is not None:
                    strike += 1
                    self._pause(
                        wait,
                        RateLimited(
                            f"GitHub asks to wait {wait:.0f} s ({status} {reason})",
                            "run again after that time",
                        ),
                    )
                    continue
                if status < 500:
                    raise refused(status, reason, needs) from error
                failures += 1
                self._again(f"{status} {reason}".strip(), failures, repeat)
            except requests.RequestException as error:
                failures += 1
                self._again(f"{type(error).__name__}: {error}", failures, repeat)
            except (AssertionError, RuntimeError, ValueError) as error:
                # PyGithub's ways to say: no JSON, a redirect or a next page on another
                # host.
                raise UnexpectedAnswer(
                    f"GitHub's answer makes no sense ({error})", CHECK_ROUTE
                ) from error

    def _again(self, failure: str, failures: int, repeat: bool) -> None:
        """Wait before the next attempt, or raise GitHubUnreachable when there must be
        none.
        """
        if not repeat:
            raise GitHubUnreachable(
                f"GitHub failed ({failure}) and may or may not have done it",
                "look at the repository, then run again",
            )
        broken = GitHubUnreachable(
            f"GitHub did not answer ({failure}), asked {failures} times",
            "see https://www.githubstatus.com; run again, nothing is lost",
        )
        if failures >= self._retry.attempts:
            raise broken
        self._pause(2.0 ** (failures - 1), broken)

    def _pause(self, seconds: float, otherwise: FaninError) -> None:
        if self._waited + seconds > self._retry.budget:
            raise otherwise
        self._waited += seconds
        self._retry.sleep(seconds)


def _pull(pull: PullRequest) -> Pull:
    return Pull(
        number=pull.number, url=pull.html_url, head=pull.head.ref, base=pull.base.ref
    )


def _listed(data: object) -> list[Any]:
    if not isinstance(data, list):
        raise UnexpectedAnswer("GitHub's answer is no list", CHECK_ROUTE)
    return data
