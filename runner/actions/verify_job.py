"""Job `verify`: the verdict on a batch's merged tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from runner import pipeline
from runner.actions.round_state import fetch
from runner.actions.workflow_io import JobIO
from runner.attempt.attempt import AttemptContext
from runner.core import durable
from runner.core.errors import EXIT_DONE
from runner.core.manifest import Manifest
from runner.core.result import Verdict
from runner.ui import job_summary

if TYPE_CHECKING:
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository


def verify_job(
    repo: Repository,
    manifest: Manifest,
    results: Path,
    verdict_file: Path,
    remote: Remote,
    branch: str,
    scratch: Path,
    environ: Mapping[str, str],
    job_io: JobIO,
) -> int:
    """Verify the merged tree on the branch's head as it is now; write the verdict. Red
    is a finding, not an error.
    """
    from runner.attempt.attempt import verify_commit

    assert manifest.verify is not None
    head = fetch(repo, manifest, remote, branch)
    command, timeout, attempt_context = (
        manifest.verify,
        manifest.verify_timeout,
        AttemptContext(environ),
    )
    with job_io.fenced(f"verify: {command}"):
        verdict = pipeline.verify_batch(
            repo,
            manifest,
            results,
            head,
            lambda commit, objects: verify_commit(
                repo.origin,
                command,
                commit,
                objects,
                scratch,
                timeout,
                attempt_context,
                manifest.env,
            ),
        )
    durable.write(verdict_file, verdict.model_dump_json(indent=1).encode())
    job_io.summary(job_summary.verdict_summary(verdict, command))
    for task_id, failure in verdict.failed.items():
        job_io.annotate("error", failure.message, title=f"{task_id}: verify")
    return EXIT_DONE


def read_verdict(path: Path, manifest: Manifest) -> Verdict | None:
    """The verdict, or None if there is none that can be read: no verdict is red."""
    try:
        verdict = Verdict.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return verdict if verdict.manifest == manifest.digest else None
