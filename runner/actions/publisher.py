"""Publishes commits to a branch on GitHub, by push or through the API.

If the branch refuses them, the run continues on a branch of its own. Two jobs publish:
`merge` lands a batch, `collect` lands the issues that are tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.core.errors import EnvironmentBroken
from runner.repo import ref_update
from runner.repo.ref_update import Reason, RefUpdate

if TYPE_CHECKING:
    from runner.actions.workflow_io import JobIO
    from runner.github_api.client import ApiCommit, GitHub
    from runner.github_api.client import Change as ApiChange
    from runner.policy.change import Change
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

# Each try is one round trip. Against three rivals as fast as fanin, all 50 fail once in
# a million runs.
TRIES = 50

_DEFAULT_REMEDY = "allow fanin's job to push there, or set  branch:"
_REMEDIES = {
    Reason.WORKFLOWS: (
        "the work changes .github/workflows: "
        "give the secret fanin-token a token that may push workflow files"
    ),
    Reason.SECRET: (
        "GitHub found a secret in the work: "
        "remove it from the task's result and run the task again"
    ),
    Reason.SIGNATURES: "the branch requires signed commits: set  commit-via: api",
}


class Publisher:
    """Publishes to the branch that a run works on.

    `branch` changes at most once: when it refuses a commit, the run continues on
    `fanin/<run>`.
    """

    def __init__(
        self,
        repo: Repository,
        remote: Remote,
        github: GitHub,
        job_io: JobIO,
        *,
        run: str,
        branch: str,
        commit_via: str = "git",
    ) -> None:
        self.repo = repo
        self.remote = remote
        self.github = github
        self.job_io = job_io
        self.run = run
        self.branch = branch
        self._original_branch = branch
        self._commit_via = commit_via

    def put(self, commits: Sequence[str], head: str) -> RefUpdate:
        """Publish the commits, oldest first, if the branch is still at `head`."""
        if self._commit_via == "api":
            return self._put_via_api(commits, head)
        return self.remote.push(self.branch, commits[-1], head)

    def _put_via_api(self, commits: Sequence[str], head: str) -> RefUpdate:
        from runner.github_api.errors import BranchRefuses, HeadMoved

        try:
            self.github.commit_via_api(
                self.branch, head, api_commits(self.repo, head, commits)
            )
        except HeadMoved:
            return ref_update.MOVED
        except BranchRefuses as error:
            return ref_update.refusal(str(error), Reason.PROTECTED)
        return ref_update.LANDED

    def switch_branch(self, update: RefUpdate) -> None:
        """Continue on `fanin/<run>` because the branch refused a commit.

        Raises EnvironmentBroken, with the remedy, where another branch would not help
        or is refused too.
        """
        own_branch = f"fanin/{self.run}"
        reason = update.reason or Reason.OTHER
        # A token that may not push workflow files may not push them to any branch.
        if self.branch == own_branch or reason is Reason.WORKFLOWS:
            remedy = _REMEDIES.get(reason, _DEFAULT_REMEDY)
            raise EnvironmentBroken(
                f"{self.branch} refused the push: {update.text}",
                f"{remedy}; the results are kept as artifacts",
            )
        # The branch starts at the refused branch's head; the caller merges onto it.
        push = self.remote.push(own_branch, self.remote.fetch(self.branch), None)
        if push.refused:
            raise EnvironmentBroken(
                f"{self.branch} and {own_branch} refused the push: {update.text}",
                "allow fanin's job to push to fanin/**; the results are kept as artifacts",
            )
        self.job_io.annotate(
            "warning",
            f"{self.branch} refused the push ({update.text}); continuing on {own_branch}",
        )
        self.branch = own_branch

    def open_pull_request_if_switched(self) -> str:
        """Open the pull request of a run that switched branches.

        Returns a sentence with its address, or "" if none is needed.
        """
        if self.branch == self._original_branch or self._original_branch.startswith(
            "fanin/"
        ):
            return ""
        return self.open_pull_request(
            self.branch,
            self._original_branch,
            f"Fanin run {self.run}",
            f"{self._original_branch} refuses pushes from fanin, so the run's work is here.",
        )

    def open_pull_request(self, head: str, base: str, title: str, body: str) -> str:
        """Open a pull request from `head` into `base`.

        Returns a sentence with its address, or with the link to open it by hand where
        the job may not.
        """
        from runner.github_api.errors import MayNotOpenPulls

        try:
            pull = self.github.open_pull(head, base, title, body)
        except MayNotOpenPulls as error:
            self.job_io.annotate("warning", str(error))
            return f"open its pull request: {error.compare_url}"
        return f"the work is in {pull.url}"


def api_commits(repo: Repository, head: str, commits: Sequence[str]) -> list[ApiCommit]:
    """Convert commits on top of `head`, oldest first, to what GitHub's API creates."""
    from runner.github_api.client import ApiCommit

    converted = []
    parent = head
    for commit in commits:
        changes = [_api_change(repo, change) for change in repo.changes(parent, commit)]
        converted.append(
            ApiCommit(
                repo.message(commit),
                base_tree=repo.tree(parent),
                changes=tuple(changes),
                tree=repo.tree(commit),
            )
        )
        parent = commit
    return converted


def _api_change(repo: Repository, change: Change) -> ApiChange:
    from runner.github_api.client import Change as ApiChange

    old_mode = change.old[0] if change.old else None
    if change.new is not None:
        mode, blob = change.new
        return ApiChange(change.path, mode, repo.blob(blob), old_mode)
    # The API wants a mode for a deleted file too.
    return ApiChange(change.path, old_mode or "100644", None, old_mode)
