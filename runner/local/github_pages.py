"""The addresses of pages on GitHub that belong to a repository."""

from __future__ import annotations

import re

_REMOTE = re.compile(
    r"(?:https?://(?:[^@/]*@)?|ssh://(?:[^@/]*@)?|[^@/:]+@)"
    r"(?P<host>[A-Za-z0-9.-]+)(?::\d+)?[/:]"
    r"(?P<name>[A-Za-z0-9._-]+/[A-Za-z0-9._-]+?)(?:\.git)?/?"
)


def job_page(remote_url: str | None, job: str) -> str:
    """The page of a job, whose ids are `RUN/JOB`; the ids if no remote tells where."""
    run, _, job_id = job.partition("/")
    match = _REMOTE.fullmatch(remote_url or "")
    if match is None:
        return f"run {run}, job {job_id}"
    return f"https://{match['host']}/{match['name']}/actions/runs/{run}/job/{job_id}"
