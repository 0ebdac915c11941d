"""Keeps the pull request of a run's branch: opens it, describes it anew, marks it ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.core.errors import FaninError
from runner.github_api.errors import MayNotOpenPulls
from runner.ui.pull_request_text import Delivered, described, title

if TYPE_CHECKING:
    from runner.github_api.pulls import Pull, PullRequests


@dataclass(frozen=True)
class Published:
    """What became of the pull request: a sentence for people, and what went wrong."""

    sentence: str
    warnings: tuple[str, ...] = ()
    pull: Pull | None = None


def publish(
    github: PullRequests,
    branch: str,
    commit: str,
    delivered: Delivered,
    *,
    is_finished: bool,
) -> Published:
    """Bring the pull request of a run's branch, now at `commit`, up to date.

    `is_finished`: whether the run has ended, so that the request is ready for review.
    What fails is a warning: the work has landed, and the next round tries again.
    """
    try:
        return _publish(github, branch, commit, delivered, is_finished=is_finished)
    except MayNotOpenPulls as error:
        sentence = f"open its pull request: {error.compare_url}"
        return Published(sentence, (str(error),))
    except FaninError as error:
        warning = f"could not update the pull request of {branch}: {error}"
        return Published(f"the work is on {branch}", (warning,))


def _publish(
    github: PullRequests,
    branch: str,
    commit: str,
    delivered: Delivered,
    *,
    is_finished: bool,
) -> Published:
    pull = github.find_pull(branch, delivered.base)
    if pull is not None and pull.state == "closed":
        warning = f"{pull.url} was closed: the next run asks what to do with its work"
        return Published(f"the work is on {branch}", (warning,), pull)
    if pull is not None and pull.state == "merged" and pull.commit == commit:
        return Published(f"the work was merged by {pull.url}", (), pull)
    if pull is None or pull.state == "merged":
        pull = github.open_pull(
            branch,
            delivered.base,
            title(delivered),
            described("", delivered),
            draft=not is_finished,
        )
        return Published(_where(pull, is_ready=is_finished), (), pull)
    body = described(pull.body, delivered)
    if body != pull.body:
        github.describe_pull(pull.number, body)
    warnings = _mark_ready(github, pull) if is_finished else ()
    is_ready = is_finished and not warnings
    return Published(_where(pull, is_ready=is_ready), warnings, pull)


def _where(pull: Pull, *, is_ready: bool) -> str:
    ready = ", ready for review" if is_ready else ""
    return f"the work is in {pull.url}{ready}"


def _mark_ready(github: PullRequests, pull: Pull) -> tuple[str, ...]:
    if pull.state != "draft":
        return ()
    try:
        github.mark_pull_ready(pull)
    except FaninError as error:
        return (f"could not mark {pull.url} as ready for review: {error}",)
    return ()
