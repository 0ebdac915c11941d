"""Job `task`: one attempt of one agent, for one entry of the matrix."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from runner import pipeline
from runner.actions.job_secrets import read_agent_env, read_setup_env
from runner.actions.workflow_io import JobIO, WorkflowContext
from runner.agents.environment import secrets_of
from runner.attempt.context import AttemptContext
from runner.attempt.reports import AttemptReports
from runner.core import result_folder
from runner.core.errors import EXIT_DONE, UsageProblem
from runner.core.event_log import EventLog
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Result
from runner.policy.masking import masked_document
from runner.policy.redaction import Secrets
from runner.repo.origin import Origin, origin_of
from runner.sandbox.walls import NO_WALLS, Walls
from runner.ui import job_summary


def entry_of(manifest: Manifest, task_id: str) -> BatchEntry:
    """The batch's entry of a task. Raises UsageProblem if there is none."""
    for entry in manifest.entries:
        if entry.task.id == task_id:
            return entry
    ids = ", ".join(entry.task.id for entry in manifest.entries)
    raise UsageProblem(
        f"{task_id} is not in batch {manifest.batch}", f"its tasks are {ids}"
    )


def skip_reason(
    manifest: Manifest, entry: BatchEntry, branch_checkout: Path
) -> str | None:
    """Why a result of this attempt would not count; None if it would.

    `branch_checkout` has the branch as it is now. When jobs are run again, later rounds
    may have recorded the attempt or completed the task.
    """
    from runner.plan import progress, progress_file
    from runner.plan.trees import decode_text

    path = manifest.progress
    file = branch_checkout / path
    data = file.read_bytes() if file.is_file() else None
    recorded = progress_file.parse(
        path, decode_text(path, data), manifest.plan.path, any_section=True
    )
    return progress.stale_reason(recorded, entry.task, entry.task_digest, entry.attempt)


def origin_with_work(checkout: Path, work_checkout: Path | None) -> Origin:
    """The job's checkout, with the objects of the earlier work if they were fetched."""
    origin = origin_of(checkout)
    if work_checkout is None:
        return origin
    # Only its objects are needed, so git is not started in this checkout.
    objects = work_checkout.resolve() / ".git" / "objects"
    if not objects.is_dir():
        return origin
    return origin._replace(objects=(*origin.objects, objects))


def skip_task(entry: BatchEntry, reason: str, job_io: JobIO) -> int:
    """Report that no agent starts; return the exit code."""
    job_io.output({"succeeded": "false", "skipped": "true"})
    job_io.annotate(
        "notice", f"no agent starts: {reason}", title=f"{entry.task.id}: not run again"
    )
    return EXIT_DONE


def task_job(
    manifest: Manifest,
    entry: BatchEntry,
    origin: Origin,
    results: Path,
    scratch: Path,
    environ: Mapping[str, str],
    context: WorkflowContext,
    job_io: JobIO,
    walls: Walls = NO_WALLS,
) -> int:
    """Run one attempt of a task within `walls`; return the exit code.

    The job stays green when the agent fails: the result and an annotation say so.
    """
    attempt_context = _attempt_context(manifest, entry, environ, context, job_io, walls)
    # The events are a part of the artifact.
    events = EventLog(results / entry.folder)
    secrets = attempt_context.secrets | Secrets.of(
        attempt_context.environ_for_setup, manifest.setup_env
    )
    reports = AttemptReports(
        lambda event: events.observe(masked_document(event, secrets)),
        manifest.batch,
        entry,
        result_folder.LOG,
    )

    def echo(data: bytes) -> None:
        _echo(data)
        reports.output.feed(data)

    # The output of an agent may contain workflow commands.
    with (
        closing(events),
        job_io.fenced(f"{entry.task.id}: {entry.agent.name}"),
    ):
        result = pipeline.run_task(
            manifest,
            entry,
            origin=origin,
            results=results,
            scratch=scratch,
            attempt_context=replace(
                attempt_context,
                echo=echo,
                on_start=reports.started,
                on_phase=reports.phase,
                on_usage=reports.used,
            ),
        )
        reports.ended(result)
    _report(manifest, entry, result, results / entry.folder, context, job_io)
    return EXIT_DONE


def _attempt_context(
    manifest: Manifest,
    entry: BatchEntry,
    environ: Mapping[str, str],
    context: WorkflowContext,
    job_io: JobIO,
    walls: Walls,
) -> AttemptContext:
    """What the attempt is given beside the task; the agent and setup get the variables
    that their own lists allow.
    """
    agent_env = read_agent_env(environ, job_io)
    setup_env = read_setup_env(environ, job_io)
    for_agent = {
        name: value for name, value in agent_env.items() if name in entry.agent.env
    }
    # A name may be in both lists, and its values may differ.
    for_setup = {
        name: setup_env[name] for name in manifest.setup_env if name in setup_env
    }
    return AttemptContext(
        {**environ, **for_agent},
        setup_environ={**environ, **for_setup},
        run_attempt=context.run_attempt,
        job=context.job_ids,
        secrets=secrets_of([entry.agent], environ, agent_env)
        | Secrets.of(setup_env, setup_env),
        walls=walls,
    )


def _report(
    manifest: Manifest,
    entry: BatchEntry,
    result: Result,
    folder: Path,
    context: WorkflowContext,
    job_io: JobIO,
) -> None:
    """Write the job's outputs and summary, and annotate a failure."""
    artifact = result_folder.artifact_name(
        manifest.batch, entry.folder, entry.attempt, context.run_attempt
    )
    succeeded = "true" if result.succeeded else "false"
    # No process of the agent is left that could still change the folder.
    seal = result_folder.seal_of(folder)
    job_io.output({"succeeded": succeeded, "artifact": artifact, "seal": seal})
    job_io.summary(job_summary.attempt_summary(entry, result))
    if result.failure is not None:
        job_io.annotate(
            "error",
            result.failure.message,
            title=f"{entry.task.id}: {result.failure.kind}",
            file=manifest.plan.path,
        )


def _echo(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
