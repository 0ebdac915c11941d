"""Delivers the work of a run on this machine as a pull request: the run's own branch here
and on the remote, and what has landed on its base since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runner.core.errors import EnvironmentBroken, FaninError, UsageProblem
from runner.delivery.base import BaseConflicts, with_base
from runner.delivery.branches import branches_ahead, with_pulls
from runner.delivery.choice import (
    PREFIX,
    Choice,
    ClosedPull,
    RunBranch,
    choose,
    is_own,
    new_branch,
)
from runner.local.github_access import REMOTE, GitHubAccess, github_access
from runner.plan import view
from runner.plan.snapshot import Snapshot, read_progress
from runner.policy.redaction import Secrets
from runner.repo.remote import Remote

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.github_api.pulls import PullRequests
    from runner.local.landing import BranchLander
    from runner.local.observer import MaskingObserver
    from runner.plan.progress import Progress
    from runner.repo.repository import Repository

# Where the work of a pull request is kept that a person has given up; no branch.
ABANDONED = "refs/fanin/abandoned"
_REMEDY = (
    "to go on with its work:  fanin run --reopen    to give it up and do its tasks "
    "again:  fanin run --abandon"
)
_NO_REMOTE = (
    f"git remote add {REMOTE} https://github.com/OWNER/NAME.git  , or set  "
    "deliver: branch"
)
_TRIES = 3


class LocalDelivery:
    """The delivery of one run: its own `branch`, into `base`.

    `is_taken_in`: whether the branch has just taken in what the base has.
    """

    def __init__(
        self,
        repo: Repository,
        settings: Settings,
        remote: Remote,
        github: PullRequests,
        base: str,
        branch: str,
        run: str,
        observer: MaskingObserver,
    ) -> None:
        self.base, self.branch = base, branch
        self._repo, self._settings, self._run = repo, settings, run
        self._remote, self._github, self._observer = remote, github, observer
        self._said = ""
        self.is_taken_in = False
        self._remote_base: str | None = None

    def take_in_base(self, lander: BranchLander) -> str | None:
        """Merge what the base has meanwhile into the run's branch, here and from the
        remote, and what others have pushed to that branch.

        Returns why the run cannot go on, None if it can.
        """
        if lander.branch != self.branch:
            return None  # the work waits on another branch
        self.is_taken_in = True
        try:
            for name, tip in self._tips():
                head = lander.head()
                merged = with_base(self._repo, self.branch, head, name, tip, self._run)
                if merged != head:
                    lander.land(head, merged, self._run)
        except BaseConflicts as error:
            return str(error)
        except EnvironmentBroken as error:
            self._observer.note(
                f"going on without what {REMOTE} has now: {error.message}"
            )
        return None

    def _tips(self) -> list[tuple[str, str]]:
        """The commits that the run's branch is to have, with the names of theirs."""
        self._remote_base = self._remote.fetch(self.base)
        tips = [(self.base, self._remote_base)]
        own = f"refs/heads/{self.base}"
        if (local := self._repo.commit(own)) is not None:
            tips.append((self.base, local))
        if self.branch in self._remote.branches(self.branch):
            tips.append((self.branch, self._remote.fetch(self.branch)))
        return tips

    def publish(
        self, lander: BranchLander, snapshot: Snapshot, *, is_finished: bool = False
    ) -> None:
        """Push the run's branch and bring its pull request up to date.

        `snapshot` is the branch's. What fails is a note: the work is here, and the next
        landing tries again.
        """
        if lander.branch != self.branch or not self._has_work():
            return
        try:
            self._push(lander)
        except FaninError as error:
            self._observer.note(
                f"could not push {self.branch}: {error.message}; its work is here, and "
                "the next landing pushes it too"
            )
            return
        self._update_pull_request(lander.head(), snapshot, is_finished=is_finished)

    def _has_work(self) -> bool:
        """Whether anything has landed that the base lacks."""
        tip = self._repo.commit(f"refs/heads/{self.branch}")
        here = self._repo.commit(f"refs/heads/{self.base}")
        bases = [commit for commit in (here, self._remote_base) if commit is not None]
        if tip is None:
            return False
        recorded = [_progress(self._repo, self._settings, commit) for commit in bases]
        return _is_ahead(self._repo, self._settings, tip, recorded)

    def _push(self, lander: BranchLander) -> None:
        for _ in range(_TRIES):
            known = self._remote.branches(self.branch).get(self.branch)
            head = lander.head()
            if known == head:
                return
            if known is None or self._repo.is_ancestor(known, head):
                update = self._remote.push(self.branch, head, known)
                if update.landed:
                    return
                if update.refused:
                    raise EnvironmentBroken(f"{REMOTE} refused it: {update.text}")
            elif reason := self.take_in_base(lander):
                raise EnvironmentBroken(reason)
        raise EnvironmentBroken(f"{REMOTE} has other commits there each time")

    def _update_pull_request(
        self, commit: str, snapshot: Snapshot, *, is_finished: bool
    ) -> None:
        from runner.delivery.pull_request import publish
        from runner.ui.pull_request_text import Delivered

        settings = self._settings
        views = view.views(
            snapshot.plan, snapshot.graph, snapshot.progress, settings.max_attempts
        )
        delivered = Delivered(settings.plan.path, self.base, views, settings.verify)
        published = publish(
            self._github, self.branch, commit, delivered, is_finished=is_finished
        )
        for warning in published.warnings:
            self._observer.note(warning)
        if published.sentence != self._said:
            self._said = published.sentence
            self._observer.inform(published.sentence)

    def drop_empty_branch(self) -> None:
        """Remove the branch if nothing has landed on it."""
        ref = f"refs/heads/{self.branch}"
        is_here = self._repo.commit(ref) is not None
        is_used = self._repo.current_branch() == self.branch or self._has_work()
        if is_here and not is_used:
            self._repo.delete_ref(ref)


def delivery_access(repo: Repository, environ: Mapping[str, str]) -> GitHubAccess:
    """The access to the repository in which the pull request is opened.

    Raises UsageProblem, with the remedy, if there is no token or no remote on GitHub.
    """
    return github_access(repo, environ, remedy=_NO_REMOTE)


def start_delivery(
    repo: Repository,
    settings: Settings,
    environ: Mapping[str, str],
    base: str,
    run: str,
    answer: ClosedPull | None,
    unfinished: str | None,
    observer: MaskingObserver,
) -> tuple[LocalDelivery, Secrets]:
    """The delivery of a run whose work goes to `base`, and the token that it uses.

    Its branch is there afterwards: that of an earlier run, or a new one. `unfinished` is
    the branch of a run that did not end, which goes on there. UsageProblem if there is
    no access to GitHub, if a pull request was closed and there is no `answer`, and where
    it is unclear which branch to go on with.
    """
    from runner.github_api.pulls import PullRequests

    if is_own(base):
        raise UsageProblem(
            f"{base} is the own branch of a run, and its work goes elsewhere",
            "switch to the branch that its pull request is for, and run there",
        )
    access = delivery_access(repo, environ)
    remote = Remote(repo, access.token, access.server_url, REMOTE, whole=True)
    github = PullRequests(access.token, access.repository, access.api_url)
    delivery = LocalDelivery(
        repo, settings, remote, github, base, f"{PREFIX}{run}", run, observer
    )
    branches = _branches(repo, settings, remote, github, base)
    names = {branch.name for branch in branches}
    if unfinished is not None and is_own(unfinished) and unfinished not in names:
        delivery.branch = unfinished
    else:
        choice = choose(branches, base, answer, _REMEDY)
        _apply(repo, remote, github, choice, observer)
        delivery.branch = _branch_of(repo, remote, choice, run)
    _make_branch(repo, delivery.branch, base, branches)
    token = Secrets.of({"GITHUB_TOKEN": access.token}, ["GITHUB_TOKEN"])
    return delivery, token


def _branches(
    repo: Repository,
    settings: Settings,
    remote: Remote,
    github: PullRequests,
    base: str,
) -> list[RunBranch]:
    """The runs' own branches, here and on the remote, that have work which the base has
    neither here nor there.
    """
    bases = [remote.fetch(base)]
    if (local := repo.commit(f"refs/heads/{base}")) is not None:
        bases.append(local)
    plan, path = settings.plan, settings.progress
    recorded = [_progress(repo, settings, commit) for commit in bases]
    ahead = branches_ahead(repo, remote, plan, path, recorded[0], PREFIX)
    for ref, commit in repo.refs(f"refs/heads/{PREFIX}").items():
        name = ref.removeprefix("refs/heads/")
        if name not in ahead or repo.is_ancestor(ahead[name], commit):
            ahead[name] = commit
    missing = {
        name: commit
        for name, commit in ahead.items()
        if _is_ahead(repo, settings, commit, recorded)
    }
    return with_pulls(missing, github, base)


def _progress(repo: Repository, settings: Settings, commit: str) -> Progress:
    return read_progress(repo, commit, settings.plan, settings.progress)


def _is_ahead(
    repo: Repository, settings: Settings, commit: str, bases: Sequence[Progress]
) -> bool:
    try:
        own = _progress(repo, settings, commit)
    except UsageProblem:
        return False  # it has the progress of another plan
    return all(own.is_ahead_of(base) for base in bases)


def _apply(
    repo: Repository,
    remote: Remote,
    github: PullRequests,
    choice: Choice,
    observer: MaskingObserver,
) -> None:
    """Reopen pull requests, and move the branches of others out of the way."""
    for branch in choice.reopen:
        assert branch.pull is not None
        github.reopen_pull(branch.pull.number)
        observer.inform(f"reopened {branch.pull.url}")
    for branch in choice.abandon:
        kept = f"{ABANDONED}/{branch.name.removeprefix(PREFIX)}"
        changes = {kept: branch.commit, f"refs/heads/{branch.name}": None}
        if problem := remote.set_refs(changes):
            raise EnvironmentBroken(
                f"could not move {branch.name} on {REMOTE} to {kept}: {problem}",
                "delete the branch there, and run again",
            )
        repo.set_ref(kept, branch.commit)
        repo.delete_ref(f"refs/heads/{branch.name}")
        observer.inform(
            f"the work of {branch.name} is kept as {kept}; its tasks are open again"
        )


def _branch_of(repo: Repository, remote: Remote, choice: Choice, run: str) -> str:
    if choice.branch is not None:
        return choice.branch.name
    local = (ref.removeprefix("refs/heads/") for ref in repo.refs("refs/heads/"))
    return new_branch(run, {*local, *remote.branches(PREFIX)})


def _make_branch(
    repo: Repository, name: str, base: str, branches: list[RunBranch]
) -> None:
    """Make the branch here if it is not: from the remote's, or from the base."""
    ref = f"refs/heads/{name}"
    if repo.commit(ref) is not None:
        return
    starts = {branch.name: branch.commit for branch in branches}
    start = starts.get(name) or repo.commit(f"refs/heads/{base}")
    if start is None or not repo.set_ref(ref, start):
        raise UsageProblem(
            f"cannot create the branch {name}",
            "git cannot have both a branch `fanin` and `fanin/…`: rename the first",
        )
