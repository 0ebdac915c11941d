"""Kept work on the remote: where the next attempts, which run on other machines, find
what they go on with, and `fanin undo` what each task has changed.

Refs below `refs/fanin` are no branches, so that pushing one starts no workflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from runner.core.manifest import Manifest

if TYPE_CHECKING:
    from runner.actions.workflow_io import JobIO
    from runner.fan_in.outcome import FanIn
    from runner.repo.remote import Remote


class KeptWorkRefs:
    """Pushes and deletes the refs. What fails is a warning: an attempt that does not
    find its work starts from the base.
    """

    def __init__(self, remote: Remote, job_io: JobIO) -> None:
        self._remote, self._job_io = remote, job_io
        self._pushed: dict[str, str] = {}  # ref → commit

    def push(self, fan_in: FanIn) -> None:
        """Push the work that next attempts start from, all of which the policy let
        through; and what it refused, if a person may accept that.
        """
        self._push(fan_in.carried, "work that is to be gone on with")
        # By itself: GitHub may refuse it for its size.
        self._push(fan_in.acceptable, "work that a person may accept")

    def push_record(self, record: str, commits: Iterable[str]) -> None:
        """Push the commit that says what each task of these commits has changed, for
        `fanin undo`.
        """
        from runner.fan_in import landing_record

        refs = {landing_record.name(commit): record for commit in commits}
        self._push(refs, "what each task has changed")

    def _push(self, commits: Mapping[str, str], what: str) -> None:
        new = {
            ref: commit
            for ref, commit in commits.items()
            if self._pushed.get(ref) != commit
        }
        problem = self._remote.set_refs(new)
        if problem is None:
            self._pushed |= new
            return
        self._warn(f"{what} cannot be pushed: {problem}")

    def drop_completed(
        self, manifest: Manifest, fan_in: FanIn, branches: Iterable[str]
    ) -> None:
        """Delete the refs of the tasks that have landed now, for these branches."""
        from runner.fan_in import kept_refs

        patterns = []
        for entry in kept_refs.completed(manifest, fan_in):
            # A first attempt has no work to go on with.
            if entry.attempt == 1:
                continue
            for branch in branches:
                folder = kept_refs.folder_of(manifest, entry.task.id, branch)
                patterns.append(f"{folder}/*")
        if not patterns:
            return
        refs = self._remote.refs(patterns)
        problem = self._remote.set_refs(dict.fromkeys(refs))
        if problem is not None:
            self._warn(f"work that is of no more use cannot be deleted: {problem}")

    def _warn(self, text: str) -> None:
        self._job_io.annotate("warning", text, title="fanin")
