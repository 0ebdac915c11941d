"""Reads the branches of earlier runs from the remote, and their pull requests from
GitHub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.core.errors import UsageProblem
from runner.delivery.choice import RunBranch, is_own

if TYPE_CHECKING:
    from runner.core.task import PlanSettings
    from runner.github_api.pulls import PullRequests
    from runner.plan.progress import Progress
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository


def branches_ahead(
    repo: Repository,
    remote: Remote,
    plan: PlanSettings,
    progress_path: str,
    progress: Progress,
    prefix: str,
) -> dict[str, str]:
    """The remote's branches below `prefix` that record what `progress` does not, with
    their commits.

    Progress alone decides: a shallow checkout lacks history, and the plan may be invalid.
    """
    from runner.plan.snapshot import read_progress

    ahead = {}
    for branch in sorted(remote.branches(prefix)):
        commit = remote.fetch(branch)
        try:
            recorded = read_progress(repo, commit, plan, progress_path)
        except UsageProblem:
            continue  # the branch has no progress, or that of another plan
        if recorded.is_ahead_of(progress):
            ahead[branch] = commit
    return ahead


def with_pulls(
    ahead: dict[str, str], github: PullRequests, base: str
) -> list[RunBranch]:
    """The runs' own branches among those that are ahead, each with its pull request."""
    return [
        RunBranch(name, commit, is_ahead=True, pull=github.find_pull(name, base))
        for name, commit in ahead.items()
        if is_own(name)
    ]
