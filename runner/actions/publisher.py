"""Publishes commits to a branch on GitHub, by push or through the API.

If the branch refuses them, the run continues on a branch of its own. Two jobs publish:
`merge` lands a batch, `collect` lands the issues that are tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runner.core.errors import EnvironmentBroken, FaninError
from runner.core.message_text import one_line
from runner.delivery.choice import HELD_PREFIX
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

_APPROVAL = " If its checks wait, start them with *Approve workflows to run*."
_HELD_BODY = (
    "What was verified was not what would have landed, twice: the branch moved "
    f"meanwhile. Merging this completes the tasks in it.{_APPROVAL}"
)
_SWITCHED_BODY = (
    f"{{base}} refuses pushes from fanin, so the run's work is here.{_APPROVAL}"
)

_ALLOW_OWN_BRANCHES = (
    "allow fanin's job to push to fanin/**; the results are kept as artifacts"
)
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
    `fanin/<run>`. It also changes before the first commit if the run's work goes to
    another branch, `own_branch`. `pull_requests` are those that this job's work needs:
    branch → where it goes.
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
        own_branch: str | None = None,
        commit_via: str = "git",
    ) -> None:
        self.repo = repo
        self.remote = remote
        self.github = github
        self.job_io = job_io
        self.run = run
        self.branch = branch
        self.own_branch = own_branch
        self.pull_requests: dict[str, str] = {}
        self._commit_via = commit_via

    def start_own_branch(self, head: str) -> None:
        """Make the run's own branch at commit `head`, if its work goes to one that is
        not there yet. Raises EnvironmentBroken if it is refused.
        """
        own = self.own_branch
        if own is None or own == self.branch:
            return
        push = self.remote.push(own, head, None)
        if push.refused:
            raise EnvironmentBroken(
                f"{own} refused the push: {push.text}", _ALLOW_OWN_BRANCHES
            )
        self.use_own_branch()

    def use_own_branch(self) -> None:
        """Continue on the run's own branch, which is there."""
        assert self.own_branch is not None
        self.pull_requests[self.own_branch] = self.branch
        self.branch = self.own_branch

    def put(self, commits: Sequence[str], head: str) -> RefUpdate:
        """Publish the commits, oldest first, if the branch is still at `head`."""
        if self._commit_via == "api":
            return self._put_via_api(commits, head)
        return self.remote.push(self.branch, commits[-1], head)

    def _put_via_api(self, commits: Sequence[str], head: str) -> RefUpdate:
        from runner.github_api.errors import BranchRefuses, HeadMoved

        try:
            commit = self.github.commit_via_api(
                self.branch, head, api_commits(self.repo, head, commits)
            )
        except HeadMoved:
            return ref_update.MOVED
        except BranchRefuses as error:
            return ref_update.refusal(str(error), Reason.PROTECTED)
        return ref_update.LANDED._replace(commit=commit)

    def switch_branch(self, update: RefUpdate) -> None:
        """Continue on `fanin/<run>` because the branch refused a commit.

        Raises EnvironmentBroken, with the remedy, where another branch would not help
        or is refused too.
        """
        own_branch = f"fanin/{self.run}"
        reason = update.reason or Reason.OTHER
        # A token that may not push workflow files may not push them to any branch.
        if self.branch in {own_branch, self.own_branch} or reason is Reason.WORKFLOWS:
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
                _ALLOW_OWN_BRANCHES,
            )
        self.job_io.annotate(
            "warning",
            f"{self.branch} refused the push ({update.text}); continuing on {own_branch}",
        )
        # A run on a branch of fanin's own has its pull request already.
        if not self.branch.startswith("fanin/"):
            self.pull_requests[own_branch] = self.branch
        self.branch = own_branch

    def put_with_branch(
        self,
        commits: Sequence[str],
        head: str,
        branch: str,
        branch_commits: Sequence[str],
    ) -> RefUpdate:
        """`put`, and a new branch with further commits, oldest first, on top of that.

        Either both are there or none, so that no commit names a branch which does not
        exist. A branch that exists is left alone: a job that is run again made it
        before. Raises EnvironmentBroken if one of them is refused.
        """
        if branch in self.remote.branches(branch):
            update = self.put(commits, head)
        elif self._commit_via == "api":
            update = self._put_with_branch_via_api(
                commits, head, branch, branch_commits
            )
        else:
            update = self.remote.push_together(
                [
                    (self.branch, commits[-1], head),
                    (branch, branch_commits[-1], None),
                ]
            )
        if update.refused:
            raise _neither(self.branch, branch, update)
        return update

    def _put_with_branch_via_api(
        self,
        commits: Sequence[str],
        head: str,
        branch: str,
        branch_commits: Sequence[str],
    ) -> RefUpdate:
        # GitHub makes the commits, one branch at a time. A branch that brings nothing
        # new shows first whether it may exist.
        probe = self.remote.push(branch, head, None)
        if not probe.landed:
            return probe
        update = self.put(commits, head)
        if update.commit is None:
            self.remote.delete(branch, head)
            return update
        start = self.remote.fetch(update.commit)
        moved = self.remote.push(branch, start, head)
        if not moved.landed:
            raise _neither(self.branch, branch, moved)
        changes = api_commits(self.repo, commits[-1], branch_commits)
        self.github.commit_via_api(branch, start, changes)
        return update

    def open_pull_requests(self, pull_requests: Mapping[str, str]) -> list[str]:
        """Open the pull requests of the run that are missing: branch → where it goes.

        Returns sentences with their addresses, or with the links to open them by hand
        where the job may not. One that a person closed stays closed. What fails is a
        warning: the work has landed, and the next round tries again.
        """
        sentences = []
        for head, base in pull_requests.items():
            try:
                sentence = self._open_pull_request(head, base)
            except FaninError as error:
                self.job_io.annotate(
                    "warning",
                    f"could not open the pull request of {head}: {error}",
                    title="fanin",
                )
                sentence = f"the work is on {head}, without a pull request yet"
            if sentence:
                sentences.append(sentence)
        return sentences

    def _open_pull_request(self, head: str, base: str) -> str:
        from runner.github_api.errors import MayNotOpenPulls

        if self.github.find_closed_pull(head, base) is not None:
            return ""
        title = f"Fanin run {self.run}"
        body = _SWITCHED_BODY.format(base=one_line(base))
        batch = head.removeprefix(HELD_PREFIX)
        if batch != head:
            title, body = f"Fanin batch {batch}", _HELD_BODY
        try:
            pull = self.github.open_pull(head, base, one_line(title), body)
        except MayNotOpenPulls as error:
            self.job_io.annotate("warning", str(error))
            return f"open its pull request: {error.compare_url}"
        return f"the work is in {pull.url}"


def _neither(branch: str, other: str, update: RefUpdate) -> EnvironmentBroken:
    return EnvironmentBroken(
        f"{branch} or {other} refused the push: {update.text}", _ALLOW_OWN_BRANCHES
    )


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
