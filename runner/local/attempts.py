"""Runs one attempt of a run, and reports its start, its output and its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runner import pipeline
from runner.core.events import AgentOutput, AttemptEnded, AttemptStarted
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Result
from runner.local.context import RunContext
from runner.local.observer import LastLine
from runner.pipeline import Workspaces


def do_nothing() -> None:
    """For a caller that waits for nothing and needs no notice."""


class AttemptRunner:
    """Runs attempts in workspaces below `scratch`. Used by several threads."""

    def __init__(
        self, context: RunContext, scratch: Path, workspaces: Workspaces
    ) -> None:
        self._context, self._scratch, self._workspaces = context, scratch, workspaces
        self._origin = context.repo.origin

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
        batch, task = manifest.batch, entry.task
        context.observer.observe(
            AttemptStarted(
                batch=batch,
                task=task.id,
                attempt=entry.attempt,
                title=task.title,
                agent=entry.agent.name,
            )
        )
        started_at = time.monotonic()
        output = self._output_of(manifest, entry)
        result = pipeline.run_task(
            manifest,
            entry,
            origin=self._origin,
            results=context.results_folder(manifest),
            scratch=self._scratch,
            attempt_context=replace(
                context.attempt_context,
                on_agent_exit=agent_exited,
                wait_until_durable=before_result,
                echo=output.feed if output else None,
            ),
            workspaces=self._workspaces,
        )
        if output is not None:
            output.finish()
        context.observer.observe(
            AttemptEnded(
                batch=batch,
                task=task.id,
                attempt=entry.attempt,
                title=task.title,
                seconds=time.monotonic() - started_at,
                failure=result.failure,
                usage=result.usage,
            )
        )
        return result

    def _output_of(self, manifest: Manifest, entry: BatchEntry) -> LastLine | None:
        """Reports the agent's output; None if nobody wants it."""
        observer = self._context.observer
        if not observer.wants_output:
            return None

        def report(line: str) -> None:
            observer.observe(
                AgentOutput(
                    batch=manifest.batch,
                    task=entry.task.id,
                    attempt=entry.attempt,
                    last_line=line,
                )
            )

        return LastLine(report)
