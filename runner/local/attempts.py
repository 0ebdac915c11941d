"""Runs one attempt of a run, and reports its start, its phases, its output and its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runner import pipeline
from runner.agents.stream import UsageSoFar
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

# Runs an attempt and writes its result folder, with the parameters of
# `pipeline.run_task`.
RunTask = Callable[..., Result]


def do_nothing() -> None:
    """For a caller that waits for nothing and needs no notice."""


class AttemptRunner:
    """Runs attempts in workspaces below `scratch`. Used by several threads."""

    def __init__(
        self,
        context: RunContext,
        scratch: Path,
        workspaces: Workspaces,
        run_task: RunTask = pipeline.run_task,
    ) -> None:
        self._run_task = run_task
        self._context, self._scratch, self._workspaces = context, scratch, workspaces
        self._origin = context.repo.origin

    def run(
        self,
        manifest: Manifest,
        entry: BatchEntry,
        *,
        agent_exited: Callable[[], object] | None = None,
        before_result: Callable[[], object] = do_nothing,
    ) -> Result | None:
        """Run one attempt to its end; None without running it if the run is to stop.

        `agent_exited` is called when the attempt's programs have ended and its work is
        still to be captured, unless it is None; `before_result` before its result is written.
        """
        context = self._context
        if context.cancel.is_set():
            return None
        reports = AttemptReports(context.observer, manifest, entry)
        started_at = time.monotonic()
        result = self._run_task(
            manifest,
            entry,
            origin=self._origin,
            results=context.results_folder(manifest),
            scratch=self._scratch,
            attempt_context=replace(
                context.attempt_context,
                on_start=reports.started,
                on_phase=reports.phase,
                on_agent_exit=agent_exited,
                wait_until_durable=before_result,
                echo=reports.output.feed,
                on_usage=reports.used,
            ),
            workspaces=self._workspaces,
        )
        reports.output.finish()
        reports.ended(result, time.monotonic() - started_at)
        return result


class AttemptReports:
    """Reports one attempt."""

    def __init__(
        self, observer: MaskingObserver, manifest: Manifest, entry: BatchEntry
    ) -> None:
        self._observer, self._batch, self._entry = observer, manifest.batch, entry
        self._slot, self._log = 0, log_path(manifest, entry)
        self._usage = UsageSoFar()
        self.output = LastLine(self._report_output)

    def started(self, slot: int) -> None:
        self._slot = slot
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

    def used(self, usage: UsageSoFar) -> None:
        """Report the usage with the next line, at the latest when the agent has ended."""
        self._usage = usage
        self.output.report_again()

    def _report_output(self, line: str) -> None:
        self._observer.observe(
            AgentOutput(
                batch=self._batch,
                task=self._entry.task.id,
                attempt=self._entry.attempt,
                last_line=line,
                tokens=self._usage.tokens,
                cost_usd=self._usage.cost_usd,
                tool_calls=self._usage.tool_calls,
            )
        )
