"""What the action's jobs reach of GitHub: their context, their outputs, their jobs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.actions.workflow_io import JobIO, WorkflowContext
    from runner.core.manifest import Manifest
    from runner.core.result_folder import RefuseSeal


def job_context() -> tuple[WorkflowContext, JobIO]:
    """The workflow that this job is of, and its outputs and log."""
    from runner.actions.workflow_io import JobIO, read_context

    return read_context(os.environ), JobIO(os.environ, sys.stdout)


def seal_check(
    manifest: Manifest, context: WorkflowContext, job_io: JobIO, *, sealed: bool
) -> RefuseSeal:
    """What refuses results that another job made, if they are `sealed`."""
    from runner.actions import seals
    from runner.core.result_folder import accept_any_seal
    from runner.github_api.client import GitHub
    from runner.github_api.session import Retry

    if not sealed:
        return accept_any_seal
    # An App's token may not list jobs; the job's own may.
    token = os.environ.get("FANIN_JOB_TOKEN") or context.token
    retry = Retry(budget_seconds=60.0)
    github = GitHub(token, context.repository, context.api_url, retry=retry)
    return seals.seal_check(
        manifest.entries, lambda: github.jobs(context.run_id), job_io
    )
