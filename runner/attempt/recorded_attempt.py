"""Runs one attempt in a workspace of its own, and records its result in a folder.

What goes wrong with the machine is the attempt's failure; only where the result cannot
be written is it an error.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple, Protocol

from runner.attempt import workspace
from runner.attempt.attempt import AttemptOutcome, execute_attempt
from runner.attempt.checkout_extras import with_extras, with_included
from runner.attempt.context import AttemptContext
from runner.attempt.workspace import Workspace
from runner.core import result_folder
from runner.core.clock import timestamp
from runner.core.errors import FaninError, NotStarted, WorkNotWritten
from runner.core.folders import remove_folder
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Failure, FailureKind, Result, Usage
from runner.repo.origin import Origin


class Workspaces(Protocol):
    """Provides the workspaces of attempts."""

    def acquire(self, base: str, folder: Path, branch: str, slot: int) -> Workspace:
        """A workspace of commit `base` with `branch` checked out, for an attempt that has
        this slot. It is at `folder`, or known by that name.
        """
        ...

    def ready(self, folder: Path, space: Workspace) -> None:
        """The workspace of that name has been set up, and its agent starts now."""
        ...

    def release(self, folder: Path) -> None:
        """The attempt has ended, and with it all of its programs. The workspace is
        removed, now or later, or kept for another attempt.
        """
        ...


class FreshWorkspaces(NamedTuple):
    """Creates a workspace for each attempt and removes it at once."""

    origin: Origin

    def acquire(
        self, base: str, folder: Path, branch: str, _slot: int = 0
    ) -> Workspace:
        fresh = workspace.create(self.origin, base, folder, branch)
        return with_extras(fresh, self.origin)

    def ready(self, folder: Path, space: Workspace) -> None:
        pass

    def release(self, folder: Path) -> None:
        remove_folder(folder)


def branch_of(folder: str) -> str:
    """The branch of an attempt's checkout, by the name of its entry's folder."""
    return f"fanin/task-{folder}"


@dataclass
class _Place:
    """Where the checkout of an attempt is, once there is one."""

    checkout: Path | None = None

    def move_to(self, target: Path) -> bool:
        """Move the checkout beside its workspace's folder, which needs no room on the
        disk. Returns whether it is there.
        """
        if self.checkout is None:
            return False
        try:
            # Nobody else can enter the folder that it is in.
            self.checkout.chmod(0o700)
            self.checkout.rename(target)
        except OSError:
            return False
        return True


def record_attempt(
    manifest: Manifest,
    entry: BatchEntry,
    origin: Origin,
    results: Path,
    scratch: Path,
    attempt_context: AttemptContext,
    workspaces: Workspaces,
) -> Result:
    """Run an attempt that has its slot, and write its result folder below `results`.

    Raises as `pipeline.run_task`.
    """
    started = timestamp()
    folder = results / entry.folder
    attempt = result_folder.Attempt(
        batch=manifest.batch,
        task=entry.task.id,
        attempt=entry.attempt,
        started=started,
        cookie=token_hex(16),
    )
    result_folder.begin(folder, attempt)
    workspace_folder = scratch / f"{manifest.batch}-{entry.folder}"
    place = _Place()
    try:
        outcome = _attempt_outcome(
            manifest,
            entry,
            attempt,
            origin,
            workspaces,
            workspace_folder,
            folder,
            attempt_context,
            place,
        )
        result = Result(
            batch=manifest.batch,
            manifest=manifest.digest,
            task=entry.task.id,
            attempt=entry.attempt,
            base=manifest.base,
            run_attempt=attempt_context.run_attempt,
            job=attempt_context.job,
            started=started,
            finished=timestamp(),
            agent=entry.agent.name,
            succeeded=outcome.failure is None,
            failure=outcome.failure,
            usage=outcome.usage,
            tree=outcome.tree,
            pack=result_folder.PACK if outcome.tree else None,
            warnings=list(outcome.warnings),
        )
        try:
            attempt_context.wait_until_durable()
        finally:  # an error there must not lose work that is paid for
            result_folder.finish(folder, result, attempt_context.keep_files)
    except OSError as error:
        target = scratch.with_name(f"fanin-kept-{manifest.batch}-{entry.folder}")
        if not result_folder.has_lost_work(folder) or not place.move_to(target):
            raise
        with suppress(OSError):  # then it counts
            result_folder.count_as_not_started(folder)
        raise WorkNotWritten(
            f"the work of {entry.task.id}, attempt {entry.attempt}, "
            f"cannot be written: {error.strerror or error}",
            f"its checkout is now {target}; make room, then  fanin run",
        ) from error
    finally:
        # not before its work is durable
        workspaces.release(workspace_folder)
    return result


def _attempt_outcome(
    manifest: Manifest,
    entry: BatchEntry,
    attempt: result_folder.Attempt,
    origin: Origin,
    workspaces: Workspaces,
    workspace_folder: Path,
    folder: Path,
    attempt_context: AttemptContext,
    place: _Place,
) -> AttemptOutcome:
    """Run the attempt in a workspace; what goes wrong with the machine is its failure."""
    kind = FailureKind.NOT_READY
    try:
        attempt_workspace = workspaces.acquire(
            manifest.base,
            workspace_folder,
            branch_of(entry.folder),
            attempt_context.slot,
        )
        place.checkout = attempt_workspace.checkout
        if not attempt_workspace.is_ready:
            attempt_workspace = with_included(
                attempt_workspace,
                manifest.include,
                origin,
                manifest.env,
                attempt_context.cancel,
            )
        kind = FailureKind.ENVIRONMENT
        context = replace(
            attempt_context, on_ready=partial(workspaces.ready, workspace_folder)
        )
        return execute_attempt(
            manifest, entry, attempt, attempt_workspace, folder, context
        )
    except FaninError as error:
        # neither set-up nor the agent has run
        if isinstance(error, NotStarted):
            kind = FailureKind.NOT_READY
        failure = _environment_failure(error, kind, attempt_context)
        return AttemptOutcome(Usage(), failure)


def _environment_failure(
    error: FaninError, kind: FailureKind, context: AttemptContext
) -> Failure:
    """The failure of an attempt that the machine broke off."""
    message = str(error)
    if kind is FailureKind.NOT_READY:
        message = f"the agent was not started: {message}"
    if context.cancel is not None and context.cancel.is_set():
        kind = FailureKind.INTERRUPTED
    return Failure(kind=kind, message=message)
