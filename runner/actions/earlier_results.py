"""Names the results of earlier run attempts that a re-run has to download with a token.

Without a token, a re-run sees the artifacts of this run attempt and of the jobs that
are not run again. With one it sees all of them, but each download is a call of the API:
at most 100 at once and 1,000 an hour for a repository. So only what is missing is named,
and the first job that downloads it uploads it as one artifact of this run attempt, for
the jobs behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.core import result_folder
from runner.core.errors import EXIT_DONE
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result_folder import Checks, RefuseSeal, accept_any_seal
from runner.plan.progress import stale_reason
from runner.plan.snapshot import read_progress

if TYPE_CHECKING:
    from runner.actions.workflow_io import JobIO, WorkflowContext
    from runner.github_api.client import Artifact, GitHub
    from runner.repo.repository import Repository

# download-artifact starts all downloads of a step at once; other jobs may have some too.
AT_ONCE = 90
# As many as the action has steps for. A batch has at most 256 tasks.
STEPS = 3
# In the folder of results, for what is downloaded with a token.
FOLDER = "earlier"


def earlier_results_job(
    repo: Repository,
    manifest: Manifest,
    results: Path,
    github: GitHub,
    context: WorkflowContext,
    job_io: JobIO,
    refuse_seal: RefuseSeal = accept_any_seal,
) -> int:
    """Set the outputs `ids-1` and `path-1` to `ids-3` and `path-3`, and `share` and
    `share-path`; return the exit code.

    `ids` are ids of artifacts with commas between them, empty if there is nothing more
    to download. `share` is the name of the artifact for what was downloaded. No
    artifacts are listed if no result is missing.
    """
    checks = Checks(refuse_seal=refuse_seal, are_artifacts=True)
    missing = missing_entries(repo, manifest, results, checks)
    if not missing:
        return EXIT_DONE
    folder = results / FOLDER
    artifacts = github.artifacts(context.run_id)
    chosen = choose_earlier(artifacts, manifest.batch, missing, context.run_attempt)
    for step in range(STEPS):
        part = chosen[step * AT_ONCE : (step + 1) * AT_ONCE]
        ids = ",".join(str(artifact.id) for artifact in part)
        # A single artifact is unpacked without a folder of its own.
        path = folder / part[0].name if len(part) == 1 else folder
        job_io.output({f"ids-{step + 1}": ids, f"path-{step + 1}": str(path)})
    if chosen:
        name = shared_name(manifest.batch, context.job_key, context.run_attempt)
        job_io.output({"share": name, "share-path": str(folder)})
    return EXIT_DONE


def shared_name(batch: str, job_key: str, run_attempt: int) -> str:
    """The name of the artifact with the earlier results that a job has downloaded.

    The pattern of the workflows' downloads finds it, and it is not that of a result.
    """
    return f"fanin-{batch}-earlier-{job_key}-all-r{run_attempt}"


def missing_entries(
    repo: Repository, manifest: Manifest, results: Path, checks: Checks
) -> list[BatchEntry]:
    """The entries without a usable result that the checkout's commit has not recorded."""
    readings = result_folder.read_batch(results, manifest, checks)
    unusable = [reading.entry for reading in readings if reading.result is None]
    if not unusable:
        return []
    recorded = read_progress(repo, "HEAD", manifest.plan, manifest.progress)
    return [
        entry
        for entry in unusable
        if stale_reason(recorded, entry.task, entry.task_digest, entry.attempt) is None
    ]


def uploaded_entries(
    artifacts: Iterable[Artifact], batch: str, entries: Sequence[BatchEntry]
) -> list[BatchEntry]:
    """The entries whose results the run has as artifacts, of whichever run attempt.

    Those that GitHub has deleted are left out.
    """
    names = {
        artifact.name.rpartition("-r")[0]
        for artifact in artifacts
        if not artifact.expired
    }
    return [entry for entry in entries if _name_of(batch, entry) in names]


def _name_of(batch: str, entry: BatchEntry) -> str:
    """The name of the entry's artifacts without the run attempt."""
    name = result_folder.artifact_name(batch, entry.folder, entry.attempt, 0)
    return name.rpartition("-r")[0]


def choose_earlier(
    artifacts: Iterable[Artifact],
    batch: str,
    entries: Sequence[BatchEntry],
    run_attempt: int,
) -> list[Artifact]:
    """The artifacts of the entries from before this run attempt, the newest first.

    Those that GitHub has deleted are left out.
    """
    names = {_name_of(batch, entry) for entry in entries}
    found: list[tuple[int, Artifact]] = []
    for artifact in artifacts:
        match = re.fullmatch(r"(.+)-r([0-9]+)", artifact.name)
        if match is None or artifact.expired or match[1] not in names:
            continue
        if int(match[2]) < run_attempt:
            found.append((int(match[2]), artifact))
    found.sort(key=lambda pair: pair[0], reverse=True)
    return [artifact for _, artifact in found]
