"""The jobs that run foreign code: `task`, one for each entry of the matrix, and
`verify`. They only read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from runner import pipeline
from runner.actions.workflow_io import JobIO, WorkflowContext
from runner.agents.environment import secrets_of
from runner.attempt.attempt import AttemptContext
from runner.core import result_folder
from runner.core.errors import EXIT_DONE, UsageProblem
from runner.core.manifest import BatchEntry, Manifest
from runner.policy.redaction import is_short
from runner.repo.origin import Origin
from runner.ui import job_summary

if TYPE_CHECKING:
    pass


def entry_of(manifest: Manifest, task_id: str) -> BatchEntry:
    """The entry of a task, by id. UsageProblem if the batch does not hold it."""
    found = next(
        (entry for entry in manifest.entries if entry.task.id == task_id), None
    )
    if found is None:
        ids = ", ".join(entry.task.id for entry in manifest.entries)
        raise UsageProblem(
            f"{task_id} is not in batch {manifest.batch}", f"it holds {ids}"
        )
    return found


def read_agent_env(environ: Mapping[str, str], job_io: JobIO) -> dict[str, str]:
    """The lines `NAME=value` of the secret `agent-env`, name → value, each value masked
    in the log unless it is short.

    UsageProblem for a line of another form.
    """
    lines: dict[str, str] = {}
    for line in environ.get("FANIN_AGENT_ENV", "").splitlines():
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            raise UsageProblem(
                "the secret agent-env has a line that is not NAME=value",
                "write one NAME=value a line",
            )
        if not is_short(value):
            job_io.mask(value.strip())
        lines[name.strip()] = value
    return lines


def task_job(
    manifest: Manifest,
    entry: BatchEntry,
    origin: Origin,
    results: Path,
    scratch: Path,
    environ: Mapping[str, str],
    context: WorkflowContext,
    job_io: JobIO,
) -> int:
    """Run one attempt. The job stays green when the agent fails: the result says so,
    with an annotation.
    """

    def echo(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    agent_env = read_agent_env(environ, job_io)
    named = {
        name: value for name, value in agent_env.items() if name in entry.agent.env
    }
    attempt_context = AttemptContext(
        {**environ, **named},
        run_attempt=context.run_attempt,
        echo=echo,
        secrets=secrets_of([entry.agent], environ, agent_env),
    )
    with job_io.fenced(f"{entry.task.id}: {entry.agent.name}"):
        result = pipeline.run_task(
            manifest,
            entry,
            origin=origin,
            results=results,
            scratch=scratch,
            attempt_context=attempt_context,
        )
    job_io.output(
        {
            "succeeded": "true" if result.succeeded else "false",
            "artifact": result_folder.artifact_name(
                manifest.batch, entry.folder, entry.attempt, context.run_attempt
            ),
        }
    )
    job_io.summary(job_summary.attempt_summary(entry, result))
    if result.failure is not None:
        job_io.annotate(
            "error",
            result.failure.message,
            title=f"{entry.task.id}: {result.failure.kind}",
            file=manifest.plan.path,
        )
    return EXIT_DONE
