"""The addresses of pages on GitHub that belong to a repository."""

from __future__ import annotations

import re

_REMOTE = re.compile(
    r"(?:https?://(?:[^@/]*@)?|ssh://(?:[^@/]*@)?|[^@/:]+@)"
    r"(?P<host>[A-Za-z0-9.-]+)(?::\d+)?[/:]"
    r"(?P<name>[A-Za-z0-9._-]+/[A-Za-z0-9._-]+?)(?:\.git)?/?"
)


def job_url(remote_url: str | None, job: str) -> str | None:
    """The page of a job, whose ids are `RUN/JOB`; None if the remote is none of GitHub's."""
    run, _, job_id = job.partition("/")
    match = _REMOTE.fullmatch(remote_url or "")
    if match is None:
        return None
    return f"https://{match['host']}/{match['name']}/actions/runs/{run}/job/{job_id}"


def job_page(remote_url: str | None, job: str) -> str:
    """The page of a job; its ids in words if no remote tells where it is."""
    run, _, job_id = job.partition("/")
    return job_url(remote_url, job) or f"run {run}, job {job_id}"
