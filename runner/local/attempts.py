"""Runs one attempt of a run, and reports its start, its phases, its output and its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runner import pipeline
from runner.attempt import preparation
from runner.attempt.reports import AttemptReports
from runner.core.cancellation import Cancellation
from runner.core.errors import WorkNotWritten
from runner.core.result import Failure, Result
from runner.local.observer import log_path

if TYPE_CHECKING:
    from runner.attempt.early_workspaces import EarlyWorkspace
    from runner.attempt.pooled_workspaces import PooledWorkspaces
    from runner.attempt.recorded_attempt import Workspaces
    from runner.attempt.slots import Slot
    from runner.attempt.workspace_pool import WorkspacePool
    from runner.core.manifest import BatchEntry, Manifest
    from runner.local.context import RunContext
    from runner.sandbox.walls import Walls

# Runs an attempt and writes its result folder, with the parameters of
# `pipeline.run_task`.
RunTask = Callable[..., Result]


def do_nothing() -> None:
    """For a caller that waits for nothing and needs no notice."""


def no_obstacle() -> Failure | None:
    """For a run whose agents may all start."""
    return None


class AttemptRunner:
    """Runs attempts in workspaces below `scratch`. Used by several threads."""

    def __init__(
        self,
        context: RunContext,
        scratch: Path,
        workspaces: WorkspacePool | PooledWorkspaces,
        run_task: RunTask = pipeline.run_task,
        obstacle: Callable[[], Failure | None] = no_obstacle,
        walls_of_tasks: Mapping[str, Walls] | None = None,
    ) -> None:
        """`obstacle` is asked before each agent starts, as in `AttemptContext`.
        `walls_of_tasks`: by id, of those that have others than the run.
        """
        self._walls_of_tasks = walls_of_tasks or {}
        self._run_task, self._obstacle = run_task, obstacle
        self._context, self._scratch, self._workspaces = context, scratch, workspaces
        self._origin = context.repo.origin

    def take_slot(self) -> Slot:
        """A slot for the next attempt, if possible one that has a checkout."""
        idle = self._workspaces.idle_slots
        return self._context.attempt_context.slots.take(idle)

    def run(
        self,
        manifest: Manifest,
        entry: BatchEntry,
        slot: Slot,
        *,
        agent_exited: Callable[[], object] | None = None,
        before_result: Callable[[], object] = do_nothing,
        early: EarlyWorkspace | None = None,
        cancel: threading.Event | None = None,
    ) -> Result | None:
        """Run one attempt to its end; None without running it if the run is to stop.
        The slot is released at its end.

        `agent_exited` is called when the attempt's programs have ended and its work is
        still to be captured, unless it is None; `before_result` before its result is
        written. `early` is the workspace to run it in, if one is being prepared for it.
        `cancel` ends it alone when it is set.
        """
        context = self._context
        if context.draining.is_set():
            return None
        watch = context.lander.watch
        with watch.attempt(manifest.batch, entry.task.id, entry.attempt):
            try:
                return self._run(
                    manifest, entry, slot, agent_exited, before_result, early, cancel
                )
            except WorkNotWritten as error:
                # The run ends with one of these, and each has a checkout to name.
                context.observer.note(f"{error.message}; {error.advice}")
                raise

    def has_own_walls(self, task_id: str) -> bool:
        """Whether the task's programs have other walls than those of the run."""
        return task_id in self._walls_of_tasks

    def _run(
        self,
        manifest: Manifest,
        entry: BatchEntry,
        slot: Slot,
        agent_exited: Callable[[], object] | None,
        before_result: Callable[[], object],
        early: EarlyWorkspace | None,
        cancel: threading.Event | None,
    ) -> Result:
        context = self._context
        attempt_context = context.attempt_context
        if cancel is not None:
            cancel = Cancellation(cancel, attempt_context.cancel)
            attempt_context = replace(attempt_context, cancel=cancel)
        reports = AttemptReports(
            context.observer.observe, manifest.batch, entry, log_path(manifest, entry)
        )
        workspaces: Workspaces = self._workspaces
        if early is not None:
            folder = context.results_folder(manifest) / entry.folder
            early.begin(folder / preparation.LOG, context.report_set_up)
            workspaces = early
        result = self._run_task(
            manifest,
            entry,
            origin=self._origin,
            results=context.results_folder(manifest),
            scratch=self._scratch,
            attempt_context=replace(
                attempt_context,
                on_set_up=context.report_set_up,
                on_start=reports.started,
                on_phase=reports.phase,
                on_agent_exit=agent_exited,
                obstacle=self._obstacle,
                wait_until_durable=before_result,
                keep_files=partial(context.journal.keep_result, manifest, entry.folder),
                echo=reports.output.feed,
                on_usage=reports.used,
                walls=self._walls_of_tasks.get(entry.task.id, attempt_context.walls),
            ),
            workspaces=workspaces,
            slot=slot,
        )
        context.lander.seals.add(manifest.batch, entry, result)
        reports.ended(result)
        return result
