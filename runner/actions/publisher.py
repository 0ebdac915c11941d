"""How commits reach a branch on GitHub: pushed or through the API, and where the run
goes on if the branch takes none.

Separate because two jobs write: `merge` lands a batch, `collect` the issues that are
tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.core.errors import EnvironmentBroken

if TYPE_CHECKING:
    from runner.actions.workflow_io import JobIO
    from runner.github_api.client import GitHub
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

# a round trip each; with three rivals as fast as fanin all 50 are lost once in a
# million runs
TRIES = 50


@dataclass(frozen=True)
class Put:
    """How it ended: `moved` = the branch is not where it was thought to be; `refused` =
    why it takes no commit.
    """

    landed: bool = False
    moved: bool = False
    refused: str = ""
    reason: str = ""


class Publisher:
    """The branch that a run works on. `branch` changes once if it refuses: the run then
    has one of its own.
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
        self.repo, self.remote, self.github, self.job_io = (
            repo,
            remote,
            github,
            job_io,
        )
        self.run, self.branch, self._first, self._via = run, branch, branch, commit_via

    def put(self, commits: Sequence[str], head: str) -> Put:
        """Put the commits, the last of which is the new tip, on the branch if it is at
        `head`.
        """
        if self._via == "api":
            return self._put_via_api(commits, head)
        push = self.remote.push(self.branch, commits[-1], head)
        return Put(
            push.landed, push.moved, push.refused, push.reason if push.refused else ""
        )

    def _put_via_api(self, commits: Sequence[str], head: str) -> Put:
        from runner.github_api.errors import BranchRefuses, HeadMoved

        try:
            self.github.commit_via_api(
                self.branch, head, api_commits(self.repo, head, commits)
            )
        except HeadMoved:
            return Put(moved=True)
        except BranchRefuses as error:
            return Put(refused=str(error), reason="protected")
        return Put(landed=True)

    def move(self, put: Put) -> None:
        """The branch takes no commit: the run goes on on a branch of its own.
        EnvironmentBroken if it cannot.
        """
        own = f"fanin/{self.run}"
        if self.branch == own or put.reason == "workflows":
            remedy = {
                "workflows": "the work changes .github/workflows: give the secret fanin-token a token that may do that",
                "secret": "GitHub found a secret in the work: take it out of the task's result and run the task again",
                "signatures": "the branch wants signed commits: set  commit-via: api",
            }.get(put.reason, "allow fanin's job to push there, or set  branch:")
            raise EnvironmentBroken(
                f"{self.branch} refuses the push: {put.refused}",
                f"{remedy}; the results are kept as artifacts",
            )
        made = self.remote.push(own, self.remote.fetch(self.branch), None)
        if made.refused:
            raise EnvironmentBroken(
                f"{self.branch} and {own} refuse the push: {put.refused}",
                "allow fanin's job to push to fanin/**; the results are kept as artifacts",
            )
        self.job_io.annotate(
            "warning",
            f"{self.branch} refuses the push ({put.refused}); the run goes on on {own}",
        )
        self.branch = own

    def pull_request_if_moved(self) -> str:
        """Open the pull request of a run that moved; a sentence that tells where it is,
        "" if there is none.
        """
        if self.branch == self._first or self._first.startswith("fanin/"):
            return ""
        return self.pull_request(
            self.branch,
            self._first,
            f"Fanin run {self.run}",
            f"{self._first} takes no push from fanin, so the run's work is here.",
        )

    def pull_request(self, head: str, base: str, title: str, body: str) -> str:
        """Open a pull request; a sentence that tells where it is, or how a person opens
        it.
        """
        from runner.github_api.errors import MayNotOpenPulls

        try:
            return (
                f"the work is in {self.github.open_pull(head, base, title, body).url}"
            )
        except MayNotOpenPulls as error:
            self.job_io.annotate("warning", f"{error}")
            return f"open its pull request: {error.compare_url}"


def api_commits(repo: Repository, head: str, commits: Sequence[str]) -> list[Any]:
    """The commits as GitHub's API takes them: each with its changed files, on the tree
    before it.
    """
    from runner.github_api.client import ApiCommit, Change

    made, parent = [], head
    for commit in commits:
        changes = tuple(
            Change(
                c.path,
                (c.new or c.old or ("100644", ""))[0],
                repo.blob(c.new[1]) if c.new else None,
            )
            for c in repo.changes(parent, commit, {})
        )
        made.append(
            ApiCommit(
                repo.message(commit), repo.tree(parent), changes, tree=repo.tree(commit)
            )
        )
        parent = commit
    return made
