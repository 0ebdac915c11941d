"""Where the work is that runs deliver by a pull request, for commands beside `run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from runner.core.errors import FaninError, InvalidInput, UsageProblem
from runner.delivery.choice import PREFIX, is_own
from runner.local.journal import Journal

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.github_api.pulls import Pull
    from runner.repo.repository import Repository

_LOCAL = "refs/heads/"
_TRACKED = "refs/remotes/origin/"
_ANSWER_SECONDS = 5.0
_AFTER_CLOSED = "; to go on with it:  fanin run --reopen    to give it up:  --abandon"


class Delivered(NamedTuple):
    """A run's own `branch` with work that its `base` lacks.

    `is_here`: whether it is a branch of this repository; else the remote has it, as it
    was when it was fetched. `commit` is its head.
    """

    base: str
    branch: str
    commit: str
    is_here: bool


def delivered_work(repo: Repository, settings: Settings) -> Delivered | None:
    """The newest work that waits in a pull request into the branch that runs are for.

    None if there is none, or if the work lands on the branch itself.
    """
    base = settings.branch or repo.current_branch()
    if not settings.own_branch or base is None or is_own(base):
        return None
    state = Journal(repo.git_dir).state()
    if state.run is not None and state.branch is not None and is_own(state.branch):
        # A run goes on, or was killed, and may not have landed anything.
        commit = repo.commit(f"{_LOCAL}{state.branch}")
        if commit is not None:
            return Delivered(base, state.branch, commit, is_here=True)
    for root in (_LOCAL, _TRACKED):
        refs = repo.refs(f"{root}{PREFIX}")
        # Runs on this machine have the time in their names.
        for ref in sorted(refs, reverse=True):
            name = ref.removeprefix(root)
            if is_own(name) and _is_ahead(repo, settings, refs[ref], base):
                return Delivered(base, name, refs[ref], root == _LOCAL)
    return None


def _is_ahead(repo: Repository, settings: Settings, commit: str, base: str) -> bool:
    from runner.plan.snapshot import read_progress

    here = repo.commit(f"{_LOCAL}{base}")
    if here is None:
        return False
    try:
        own, recorded = (
            read_progress(repo, each, settings.plan, settings.progress)
            for each in (commit, here)
        )
    except (UsageProblem, InvalidInput):
        return False  # of another plan, or not readable: the command itself says so
    return own.is_ahead_of(recorded)


def with_own_branch(repo: Repository, settings: Settings) -> Settings:
    """The settings of a command about tasks: it looks at the run's own branch."""
    work = delivered_work(repo, settings)
    if work is None or not work.is_here:
        return settings
    return settings.model_copy(update={"branch": work.branch})


def pull_of(
    repo: Repository, work: Delivered, environ: Mapping[str, str]
) -> Pull | None:
    """The pull request of the work, as GitHub has it now. It is asked once, and briefly.

    Raises a FaninError if it does not answer.
    """
    from runner.github_api.pulls import PullRequests
    from runner.github_api.session import Retry
    from runner.local.github_access import github_access

    access = github_access(repo, environ)
    github = PullRequests(
        access.token,
        access.repository,
        access.api_url,
        timeout=_ANSWER_SECONDS,
        retry=Retry(budget_seconds=0, max_attempts=1),
    )
    try:
        return github.find_pull(work.branch, work.base)
    finally:
        github.close()


def where_it_is(work: Delivered) -> str:
    """A sentence on the branch that has the work."""
    where = work.branch if work.is_here else f"origin/{work.branch}"
    return f"the work is on {where}, and {work.base} lacks it"


def with_pull(
    repo: Repository, work: Delivered, environ: Mapping[str, str]
) -> tuple[str, Pull | None]:
    """The same with the state of its pull request, and this, if GitHub says."""
    text = where_it_is(work)
    try:
        pull = pull_of(repo, work, environ)
    except FaninError as error:
        return f"{text}; its pull request is unknown: {error.message}", None
    if pull is None:
        return f"{text}; it has no pull request", None
    if pull.state == "merged" and pull.commit == work.commit:
        merged = f"the work of {work.branch} was merged: {pull.url}"
        return f"{merged}; to have it here:  git pull", pull
    next_step = _AFTER_CLOSED if pull.state == "closed" else ""
    return f"{text}: {pull.url} ({pull.state}){next_step}", pull
