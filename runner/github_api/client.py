"""The calls to GitHub's REST API, one method per operation.

PyGithub is slow to import, which `session` does with the first call. Task jobs are
without it. Every request and answer is checked against GitHub's own description in tests/contract.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from runner.core.errors import FaninError
from runner.github_api.errors import (
    BranchRefuses,
    DispatchRefused,
    GitHubRefused,
    GitHubUnreachable,
    HeadMoved,
    MissingPermission,
    NoSuchBranch,
    NotFound,
    TreeDiffers,
    dispatch_error,
    field,
    not_verified,
)
from runner.github_api.pulls import PullRequests, truncated

if TYPE_CHECKING:
    from github.IssueComment import IssueComment

INPUTS_LIMIT = 25  # of a workflow_dispatch, by GitHub's description
PAYLOAD_LIMIT = 65_535  # characters of all its inputs together
# Of one request that builds a tree; GitHub timed out (502) on trees of 200 entries, and
# of 2.5 MB.
TREE_CHUNK = 100  # entries
TREE_BYTES = 1_000_000  # of text inside the request
# Of a file that is sent inside the request. A larger one is a blob of its own.
_INLINE_BYTES = 200_000
# Of one createCommitOnBranch; requests of 40 MB were refused.
_ONE_CALL_FILES = 100
_ONE_CALL_BYTES = 10_000_000
# One call, signed for every kind of token, that moves the branch if it is at the
# expected commit.
CREATE_COMMIT = """
mutation($input: CreateCommitOnBranchInput!) {
  createCommitOnBranch(input: $input) { commit { oid tree { oid } } }
}
"""
_PAGE = 100  # items, the most that GitHub gives at once
_SUBMODULE = "160000"
_FILE = "100644"


@dataclass(frozen=True)
class Artifact:
    """An artifact of a run; its files are gone if it is `expired`."""

    id: int
    name: str
    expired: bool


@dataclass(frozen=True)
class Job:
    """A job of a run, and the names of its steps."""

    name: str
    has_ended: bool
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One path of a commit: its git mode and bytes; `content` None deletes it.

    The content of a symlink (120000) is its target, that of a submodule (160000) its
    commit id in hex. `old_mode` is the mode of what the path had before, None if nothing.
    """

    path: str
    mode: str
    content: bytes | None
    old_mode: str | None = None

    @property
    def inline_text(self) -> str | None:
        """The content as text that fits into a request; None for a blob of its own."""
        content = self.content
        if content is None or self.mode == _SUBMODULE or len(content) > _INLINE_BYTES:
            return None
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return None if "\0" in text else text


@dataclass(frozen=True)
class ApiCommit:
    """A commit to create: `changes` on top of the tree `base_tree`.

    `tree` is the id that the new tree must have, if known.
    """

    message: str
    base_tree: str
    changes: tuple[Change, ...]
    tree: str | None = None


# -- pure helpers --


def tree_chunks(
    changes: Sequence[Change], size: int = TREE_CHUNK, max_bytes: int = TREE_BYTES
) -> Iterator[tuple[Change, ...]]:
    """Split changes into the requests that build a tree: deletions first.

    Deletions and other changes are never in one request: where a folder replaces a file
    of the same name, the file must go first. A request has at most `size` changes and
    `max_bytes` of text.
    """
    deletions = [change for change in changes if change.content is None]
    writes = [change for change in changes if change.content is not None]
    for group in (deletions, writes):
        chunk: list[Change] = []
        chunk_bytes = 0
        for change in group:
            inline_bytes = len(change.inline_text or "")
            if chunk and (len(chunk) == size or chunk_bytes + inline_bytes > max_bytes):
                yield tuple(chunk)
                chunk, chunk_bytes = [], 0
            chunk.append(change)
            chunk_bytes += inline_bytes
        if chunk:
            yield tuple(chunk)


def fits_one_call(commit: ApiCommit) -> bool:
    """Whether createCommitOnBranch can express the commit: plain files only.

    It knows neither modes nor links, and says nothing of a file that becomes a folder.
    """
    changes = commit.changes
    total = sum(len(change.content or b"") for change in changes)
    if not 0 < len(changes) <= _ONE_CALL_FILES or total > _ONE_CALL_BYTES:
        return False
    if any(
        change.mode != _FILE or change.old_mode not in (None, _FILE)
        for change in changes
    ):
        return False
    paths = {change.path for change in changes}
    return not any(
        path[:index] in paths
        for path in paths
        for index, character in enumerate(path)
        if character == "/"
    )


def tree_entry(change: Change, sha: str | None) -> dict[str, str | None]:
    """A change as the trees endpoint takes it; `sha` None deletes the path."""
    kind = "commit" if change.mode == _SUBMODULE else "blob"
    return {"path": change.path, "mode": change.mode, "type": kind, "sha": sha}


class GitHub(PullRequests):
    """One repository on GitHub, as fanin needs it.

    Reading is repeated when GitHub or the network fails. What would have an effect
    twice is not.
    """

    # --- workflows

    def dispatch(
        self, workflow_file: str, ref: str, inputs: Mapping[str, str]
    ) -> str | None:
        """Start a workflow on a branch; return the address of its run if GitHub says.

        Raises NoDispatchTrigger, UndeclaredInputs, DispatchRefused, NoSuchBranch,
        NotFound and MissingPermission. Never repeated after a failure of the server: it
        might have started.
        """
        _check_dispatch_size(workflow_file, inputs)
        # In full, because a tag may have the branch's name.
        body: dict[str, object] = {"ref": f"refs/heads/{ref}", "inputs": dict(inputs)}
        if not self._is_enterprise_server:  # its API does not know the field
            body["return_run_details"] = True
        workflow = quote(workflow_file, safe="")
        url = f"{self._root}/actions/workflows/{workflow}/dispatches"
        try:
            data = self._send("POST", url, body, needs="actions: write", repeat=False)
        except GitHubRefused as error:
            raise dispatch_error(error, workflow_file, ref, inputs) from error
        return data.get("html_url") if isinstance(data, dict) else None

    def trigger(self, workflow_file: str, ref: str) -> str | None:
        """Start the user's own workflow after landing; see `dispatch`.

        A push by GITHUB_TOKEN starts no workflow.
        """
        return self.dispatch(workflow_file, ref, {})

    def artifacts(self, run_id: str) -> list[Artifact]:
        """The artifacts of a run, of all its run attempts."""
        artifacts: list[Artifact] = []
        for item in self._of_run(run_id, "artifacts"):
            artifact_id, name = field(item, "id"), field(item, "name")
            artifacts.append(Artifact(artifact_id, name, bool(item.get("expired"))))
        return artifacts

    def jobs(self, run_id: str) -> list[Job]:
        """The jobs of a run, of all its run attempts."""
        jobs = []
        for item in self._of_run(run_id, "jobs", "filter=all&"):
            steps = [field(step, "name") for step in item.get("steps") or ()]
            has_ended = item.get("status") == "completed"
            jobs.append(Job(field(item, "name"), has_ended, tuple(steps)))
        return jobs

    def _of_run(self, run_id: str, kind: str, query: str = "") -> Iterator[Any]:
        """The items of one kind that a run has, page by page."""
        url = f"{self._root}/actions/runs/{run_id}/{kind}?{query}per_page={_PAGE}"
        for page in count(1):
            data = self._send("GET", f"{url}&page={page}", needs="actions: read")
            items = field(data, kind)
            yield from items
            if len(items) < _PAGE:
                break

    @property
    def _is_enterprise_server(self) -> bool:
        return urlsplit(self._api_url).path == "/api/v3"

    # --- comments

    def sticky_comment(self, pull_number: int, marker: str, body: str) -> str:
        """Create or update our one comment on a pull request; return its address.

        `marker` is an HTML comment and becomes the first line.
        """
        if not re.fullmatch(r"<!-- [^<>]+ -->", marker):
            raise ValueError(f"a marker is an HTML comment, not {marker!r}")
        text = truncated(f"{marker}\n{body}")
        comment = self._own_comment(pull_number, marker, needs="pull-requests: read")
        if comment is not None and comment.body == text:
            return comment.html_url
        needs = "pull-requests: write"
        try:
            comment = self._write_comment(pull_number, comment, text, needs=needs)
        except GitHubUnreachable:
            # It may have been written all the same.
            comment = self._own_comment(pull_number, marker, needs=needs)
            if comment is None or comment.body != text:
                comment = self._write_comment(pull_number, comment, text, needs=needs)
        return comment.html_url

    def _write_comment(
        self, number: int, comment: IssueComment | None, text: str, *, needs: str
    ) -> IssueComment:
        """Update a comment on an issue or pull request, or create it."""
        if comment is not None:
            existing = comment
            with suppress(NotFound):  # deleted in the meantime
                self._call(lambda: existing.edit(text), needs=needs, repeat=True)
                return existing
        issue = self._repo.get_issue(number)
        return self._call(lambda: issue.create_comment(text), needs=needs, repeat=False)

    def _own_comment(
        self, number: int, marker: str, *, needs: str
    ) -> IssueComment | None:
        """Our comment on an issue or pull request: it begins with the marker.

        It must be written by the token's user or, for an app's token such as
        GITHUB_TOKEN, by a bot. Anyone may paste a marker, and our token may overwrite
        anyone's comment.
        """
        issue = self._repo.get_issue(number)
        comments = self._call(
            lambda: list(issue.get_comments()), needs=needs, repeat=True
        )
        marked = [
            comment for comment in comments if (comment.body or "").startswith(marker)
        ]
        if not marked:
            return None
        login = self._own_login()
        for comment in marked:
            if _is_by(comment, login):
                return comment
        return None

    def _own_login(self) -> str | None:
        """The login of the token's user; None for an app's token."""
        user = self._github.get_user()
        try:
            return self._call(lambda: user.login, needs="metadata: read", repeat=True)
        except (MissingPermission, NotFound):
            # Apps, GITHUB_TOKEN included, may not ask.
            return None

    # --- branches

    def branch_head(self, branch: str) -> str | None:
        """The commit a branch points to; None if there is no such branch."""
        url = f"{self._root}/git/ref/heads/{quote(branch)}"
        try:
            data = self._send("GET", url, needs="contents: read")
        except GitHubRefused as error:
            if error.status in (404, 409):  # 409: the repository is empty
                return None
            raise
        return str(field(data, "object", "sha"))

    def commit_via_api(
        self, branch: str, expected_head: str, commits: Sequence[ApiCommit]
    ) -> str:
        """Create commits that GitHub signs, and move a branch to the last of them.

        Returns the branch's new head. The branch moves once, at the end, and only if
        each commit is verified and has its expected tree. Raises NotVerified,
        TreeDiffers, HeadMoved, BranchRefuses and NoSuchBranch; the branch is then
        unchanged. A single commit of plain files is one call; GitHub always signs it.
        """
        if not commits:
            raise ValueError("no commit to make")
        if len(commits) == 1 and fits_one_call(commits[0]):
            new_head = self._commit_in_one_call(branch, expected_head, commits[0])
            if new_head is not None:
                return new_head
        blobs: dict[bytes, str] = {}
        head = expected_head
        for commit in commits:
            tree = self._create_tree(commit, blobs)
            head = self._create_commit(commit.message, tree, head)
        self._move_branch(branch, expected_head, head)
        return head

    def _commit_in_one_call(
        self, branch: str, expected_head: str, commit: ApiCommit
    ) -> str | None:
        """Create a commit with createCommitOnBranch; return the branch's new head.

        None if GitHub refuses, and the branch is where it was: the REST API then says
        why, or can do it. Raises HeadMoved.
        """
        headline, _, body = commit.message.partition("\n")
        variables = {
            "branch": {
                "repositoryNameWithOwner": self.repository,
                "branchName": branch,
            },
            "message": {"headline": headline, "body": body.lstrip("\n")},
            "expectedHeadOid": expected_head,
            "fileChanges": _file_changes(commit.changes),
        }
        query = partial(
            self._github.requester.graphql_query, CREATE_COMMIT, {"input": variables}
        )
        try:
            _, data = self._call(query, needs="contents: write", repeat=True)
        except GitHubRefused as error:
            actual = self.branch_head(branch)
            if actual is not None and actual != expected_head:
                raise HeadMoved(branch, expected_head, actual) from error
            return None
        created = field(data, "data", "createCommitOnBranch", "commit")
        tree = str(field(created, "tree", "oid"))
        if commit.tree is not None and tree != commit.tree:
            raise TreeDiffers(
                f"GitHub built tree {tree[:12]} where {commit.tree[:12]} was merged",
                f"look at {branch}, and please report this with the files changed",
            )
        return str(field(created, "oid"))

    def _create_tree(self, commit: ApiCommit, blobs: dict[bytes, str]) -> str:
        """Build a commit's tree; `blobs` are those that exist, by content."""
        tree = commit.base_tree
        for chunk in tree_chunks(commit.changes):
            entries = [self._tree_entry(change, blobs) for change in chunk]
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
        return tree

    def _create_commit(self, message: str, tree: str, parent: str) -> str:
        # With an app's token GitHub signs, but only if author, committer and signature
        # are all left out.
        body = {"message": message, "tree": tree, "parents": [parent]}
        url = f"{self._root}/git/commits"
        data = self._send("POST", url, body, needs="contents: write")
        sha = str(field(data, "sha"))
        verification = field(data, "verification")
        if verification.get("verified") is not True:
            raise not_verified(sha, str(verification.get("reason")))
        return sha

    def _tree_entry(
        self, change: Change, blobs: dict[bytes, str]
    ) -> dict[str, str | None]:
        text = change.inline_text
        if text is None:
            return tree_entry(change, self._object_id(change, blobs))
        # One request a file would meet GitHub's limit of 80 a minute.
        entry = tree_entry(change, None)
        del entry["sha"]
        return {**entry, "content": text}

    def _object_id(self, change: Change, blobs: dict[bytes, str]) -> str | None:
        """The id of a change's content, which is uploaded if it is new."""
        if change.content is None:
            return None
        if change.mode == _SUBMODULE:
            return change.content.decode("ascii")
        if change.content not in blobs:
            blobs[change.content] = self._create_blob(change.content)
        return blobs[change.content]

    def _create_blob(self, content: bytes) -> str:
        encoded = base64.b64encode(content).decode("ascii")
        body = {"content": encoded, "encoding": "base64"}
        data = self._send(
            "POST", f"{self._root}/git/blobs", body, needs="contents: write"
        )
        return str(field(data, "sha"))

    def _move_branch(self, branch: str, expected: str, new: str) -> None:
        url = f"{self._root}/git/refs/heads/{quote(branch)}"
        body = {"sha": new, "force": False}
        try:
            self._send("PATCH", url, body, needs="contents: write")
        except GitHubRefused as error:
            may_not = "not accessible by" in error.reason
            if error.status not in (403, 409, 422) or may_not:
                raise
            raise self._move_branch_error(error, branch, expected) from error

    def _move_branch_error(
        self, error: GitHubRefused, branch: str, expected: str
    ) -> FaninError:
        # GitHub words a moved branch, a lost race and a rule in many ways, so the
        # branch itself is looked at.
        actual = self.branch_head(branch)
        if actual is None:
            return NoSuchBranch(
                f"the branch {branch} was deleted", "create it again or name another"
            )
        if actual != expected:
            return HeadMoved(branch, expected, actual)
        return BranchRefuses(
            f"{branch} refused fanin's commit ({error.status} {error.reason})",
            "let GitHub Actions bypass the rule, or merge by pull request",
        )

    # --- people

    def actor_permission(self, login: str) -> str:
        """A person's permission here: `admin`, `write`, `read` or `none`."""
        try:
            return self._call(
                lambda: self._repo.get_collaborator_permission(login),
                needs="metadata: read",
                repeat=True,
            )
        except NotFound:
            return "none"


def _file_changes(changes: Sequence[Change]) -> dict[str, list[dict[str, str]]]:
    """Changes of plain files as createCommitOnBranch takes them."""
    additions = []
    deletions = []
    for change in changes:
        if change.content is None:
            deletions.append({"path": change.path})
        else:
            contents = base64.b64encode(change.content).decode("ascii")
            additions.append({"path": change.path, "contents": contents})
    return {"additions": additions, "deletions": deletions}


def _check_dispatch_size(workflow_file: str, inputs: Mapping[str, str]) -> None:
    size = sum(len(name) + len(value) for name, value in inputs.items())
    if len(inputs) > INPUTS_LIMIT or size > PAYLOAD_LIMIT:
        raise DispatchRefused(
            f"{len(inputs)} inputs of {size} characters cannot start {workflow_file}",
            f"GitHub accepts {INPUTS_LIMIT} inputs and {PAYLOAD_LIMIT} characters in all",
        )


def _is_by(comment: IssueComment, login: str | None) -> bool:
    """Whether a user wrote the comment, or any bot if `login` is None."""
    author = comment.user  # None for a deleted account
    if login is None:
        return bool(author and author.type == "Bot")
    return bool(author and author.login == login)
