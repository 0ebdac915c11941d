"""Runs one attempt of a run, and reports its start, its phases, its output and its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runner import pipeline
from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    Phase,
    PhaseChanged,
)
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Result
from runner.local.context import RunContext
from runner.local.observer import LastLine, MaskingObserver, log_path
from runner.pipeline import Workspaces


def do_nothing() -> None:
    """For a caller that waits for nothing and needs no notice."""


class Slots:
    """The numbers of the slots in use, from 1. Used by several threads."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._lock = threading.Lock()

    def take(self) -> int:
        """Take the lowest number that is free."""
        with self._lock:
            number = 1
            while number in self._taken:
                number += 1
            self._taken.add(number)
        return number

    def free(self, number: int) -> None:
        """Give a number back. Does nothing the second time, unless it was taken anew."""
        with self._lock:
            self._taken.discard(number)


class AttemptRunner:
    """Runs attempts in workspaces below `scratch`. Used by several threads."""

    def __init__(
        self, context: RunContext, scratch: Path, workspaces: Workspaces
    ) -> None:
        self._context, self._scratch, self._workspaces = context, scratch, workspaces
        self._origin = context.repo.origin
        self._slots = Slots()

    def run(
        self,
        manifest: Manifest,
        entry: BatchEntry,
        *,
        agent_exited: Callable[[], object] = do_nothing,
        before_result: Callable[[], object] = do_nothing,
    ) -> Result | None:
        """Run one attempt to its end; None without running it if the run is to stop.

        `agent_exited` is called when the attempt's programs have ended and its work is
        still to be captured, `before_result` before its result is written.
        """
        context = self._context
        if context.cancel.is_set():
            return None
        slot = self._slots.take()
        is_free = threading.Event()

        def free_slot() -> None:
            if not is_free.is_set():
                is_free.set()
                self._slots.free(slot)

        def on_agent_exit() -> None:
            # Before the caller starts another attempt in it.
            free_slot()
            agent_exited()

        reports = AttemptReports(context.observer, manifest, entry, slot)
        reports.started()
        started_at = time.monotonic()
        try:
            result = pipeline.run_task(
                manifest,
                entry,
                origin=self._origin,
                results=context.results_folder(manifest),
                scratch=self._scratch,
                attempt_context=replace(
                    context.attempt_context,
                    on_phase=reports.phase,
                    on_agent_exit=on_agent_exit,
                    wait_until_durable=before_result,
                    echo=reports.output.feed,
                ),
                workspaces=self._workspaces,
            )
        finally:
            free_slot()
        reports.output.finish()
        reports.ended(result, time.monotonic() - started_at)
        return result


class AttemptReports:
    """Reports one attempt that runs in the slot of this number."""

    def __init__(
        self,
        observer: MaskingObserver,
        manifest: Manifest,
        entry: BatchEntry,
        slot: int,
    ) -> None:
        self._observer, self._batch, self._entry = observer, manifest.batch, entry
        self._slot, self._log = slot, log_path(manifest, entry)
        self.output = LastLine(self._report_output)

    def started(self) -> None:
        self._observer.observe(
            AttemptStarted(
                batch=self._batch,
                task=self._entry.task.id,
                attempt=self._entry.attempt,
                title=self._entry.task.title,
                agent=self._entry.agent.name,
                slot=self._slot,
                log=self._log,
            )
        )
        self.phase("preparing")

    def phase(self, phase: Phase) -> None:
        self._observer.observe(
            PhaseChanged(
                batch=self._batch,
                task=self._entry.task.id,
                attempt=self._entry.attempt,
                phase=phase,
            )
        )

    def ended(self, result: Result, seconds: float) -> None:
        self._observer.observe(
            AttemptEnded(
                batch=self._batch,
                task=self._entry.task.id,
                attempt=self._entry.attempt,
                title=self._entry.task.title,
                seconds=seconds,
                failure=result.failure,
                usage=result.usage,
                agent=self._entry.agent.name,
                slot=self._slot,
                log=self._log,
            )
        )

    def _report_output(self, line: str) -> None:
        self._observer.observe(
            AgentOutput(
                batch=self._batch,
                task=self._entry.task.id,
                attempt=self._entry.attempt,
                last_line=line,
            )
        )
