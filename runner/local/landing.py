"""Lands a batch on a branch of this repository: merge, move the branch and its files,
or let the work wait.

Used by the loop, by its recovery, and by the commands that change progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from runner import pipeline
from runner.agents.environment import secrets_of
from runner.attempt.attempt import AttemptContext, verify_commit
from runner.config.settings import Settings
from runner.core.errors import EnvironmentBroken, Interrupted, UsageProblem
from runner.core.manifest import Manifest
from runner.core.result import Failure
from runner.fan_in.batch_merge import FanIn, Verify
from runner.local.journal import Journal, Waiting
from runner.policy.redaction import Secrets
from runner.repo.repository import Repository

# a person who commits meanwhile moves the branch; each try merges on the new head
TRIES = 20


class Notes(Protocol):
    """Who is told what a person should know."""

    def note(self, text: str) -> None: ...


class BranchLander:
    """Lands on `branch`, which becomes another one when files are in the way of the
    first.
    """

    def __init__(
        self,
        repo: Repository,
        journal: Journal,
        settings: Settings,
        attempt_context: AttemptContext,
        notes: Notes,
        branch: str,
    ) -> None:
        self.repo, self.journal, self.settings, self.attempt_context, self.notes = (
            repo,
            journal,
            settings,
            attempt_context,
            notes,
        )
        self.branch = branch

    def head(self) -> str:
        """The branch's commit. UsageProblem if the branch is gone."""
        head = self.repo.commit(f"refs/heads/{self.branch}")
        if head is None:
            raise UsageProblem(
                f"the branch {self.branch} is gone; finished work is kept",
                f"bring it back ( git branch {self.branch} COMMIT ), or name another with  --branch NAME",
            )
        return head

    def fan_in(self, manifest: Manifest, results: Path, scratch: Path) -> FanIn:
        """Merge the batch on the branch's head and land it; again if the branch moved
        meanwhile.
        """

        for _ in range(TRIES):
            head = self.head()
            fan_in = pipeline.merge_batch(
                self.repo,
                manifest,
                results,
                head,
                verify=self.verify(manifest, scratch),
                secrets=self.secrets(manifest),
            )
            if not fan_in.commits or self.land(head, fan_in.tip, manifest.run):
                return fan_in
        raise self.restless()

    def land(self, head: str, tip: str, run: str) -> bool:
        """Move the branch from `head` to `tip`; False if it is not at `head` any more.
        In the way: the work waits.
        """
        self.journal.record("landing", branch=self.branch, old=head, new=tip)
        landing = self.repo.land(self.branch, head, tip)
        if not landing.landed and not landing.moved:
            self._wait(tip, run, landing.obstacle)
        return not landing.moved

    def restless(self) -> EnvironmentBroken:
        return EnvironmentBroken(
            f"{self.branch} moved {TRIES} times while the batch was merged",
            "the results are kept; run again when the branch is quiet",
        )

    def secrets(self, manifest: Manifest) -> Secrets:
        """What must not be in the work of the batch's agents."""
        return secrets_of(
            [entry.agent for entry in manifest.entries], self.attempt_context.environ
        )

    def verify(self, manifest: Manifest, scratch: Path) -> Verify | None:
        """How a merged tree of the batch is verified; None if it is not."""
        if manifest.verify is None:
            return None
        return partial(self._verify, manifest.verify, manifest.env, scratch)

    def _verify(
        self,
        command: str,
        env: Mapping[str, str],
        scratch: Path,
        commit: str,
        objects: Path,
    ) -> Failure | None:
        timeout = self.settings.timeout
        failure = verify_commit(
            self.repo.origin,
            command,
            commit,
            objects,
            scratch,
            timeout,
            self.attempt_context,
            env,
        )
        # nobody's fault: the batch stays open for the next run
        if failure is not None and not failure.counted:
            raise Interrupted(
                "interrupted while the merged work was verified; it is kept",
                "go on with  fanin run",
            )
        return failure

    def _wait(self, tip: str, run: str, obstacle: str) -> None:
        """The branch cannot take the work now: it goes to a branch of its own, and
        later batches build on that.
        """
        # the second for a repository that has a branch  fanin
        names = (f"fanin/{run}", f"fanin-{run}")
        on = next(
            (name for name in names if self.repo.set_ref(f"refs/heads/{name}", tip)),
            None,
        )
        if on is None:
            raise EnvironmentBroken(
                f"cannot create the branch {names[0]}",
                "the results are kept; run again",
            )
        self.journal.record("waiting", branch=self.branch, on=on)
        self.notes.note(
            f"{self.branch} cannot take the work now; it waits on {on}. Git says:\n{obstacle}"
        )
        self.branch = on

    def free(self, waiting: Waiting) -> None:
        """Land work that waited, if that is possible now. UsageProblem with the way out
        if it is not.

        Only for the branch that it waits for: work for another branch does not stand in
        the way.
        """
        if self.is_open(waiting) and waiting.target == self.branch:
            tip, head = self.repo.commit(f"refs/heads/{waiting.on}"), self.head()
            assert tip is not None
            if (
                not self.repo.is_ancestor(head, tip)
                or not self.repo.land(self.branch, head, tip).landed
            ):
                raise UsageProblem(
                    f"finished work waits on {waiting.on} and {self.branch} cannot take it as it is",
                    f"merge it:  git merge {waiting.on}    or drop it:  git branch -D {waiting.on}",
                )
            self.notes.note(
                f"{self.branch} has taken the work that waited on {waiting.on}"
            )
        if not self.is_open(waiting):
            self.journal.record("freed", branch=waiting.on)

    def is_open(self, waiting: Waiting) -> bool:
        """Whether there is waiting work that its branch does not hold yet."""
        return is_open(self.repo, waiting)


def is_open(repo: Repository, waiting: Waiting) -> bool:
    """Whether the waiting branch still holds work that its target lacks."""
    tip, head = (
        repo.commit(f"refs/heads/{waiting.on}"),
        repo.commit(f"refs/heads/{waiting.target}"),
    )
    return tip is not None and (head is None or not repo.is_ancestor(tip, head))


def target_branch(repo: Repository, settings: Settings) -> str:
    """The branch that work lands on, made from HEAD if it does not exist. UsageProblem
    if there is none.
    """
    branch = settings.branch or repo.current_branch()
    if branch is None:
        raise UsageProblem(
            "HEAD is detached, so there is no branch to land on",
            "git switch BRANCH, or give --branch NAME",
        )
    if not repo.may_be_branch(branch):
        raise UsageProblem(
            f"{branch!r} is no name for a branch",
            "give --branch a plain name, without refs/heads/",
        )
    if repo.commit(f"refs/heads/{branch}") is None:
        head = repo.commit("HEAD")
        if head is None:
            raise UsageProblem(
                "the repository has no commit yet",
                "make a first one:  git add -A && git commit -m 'Start'",
            )
        if not repo.set_ref(f"refs/heads/{branch}", head, "0" * len(head)):
            raise UsageProblem(
                f"cannot create the branch {branch!r}",
                "another branch may have a part of its name",
            )
    return branch


def refuse_dirty(repo: Repository, branch: str) -> None:
    """UsageProblem if landing on `branch` would meet what a person has not finished
    where it is checked out.
    """
    where = repo.checked_out_at(branch)
    if where is None:
        return
    if begun := repo.unfinished(where):
        raise UsageProblem(
            f"a {begun} is going on in {where}", f"finish it, or git {begun} --abort"
        )
    if dirty := repo.dirty_paths(where):
        named = ", ".join(dirty[:5]) + (
            f" and {len(dirty) - 5} more" if len(dirty) > 5 else ""
        )
        raise UsageProblem(
            f"there are uncommitted changes in tracked files: {named}",
            "commit them, git stash, or let the work land elsewhere with  --branch NAME",
        )
