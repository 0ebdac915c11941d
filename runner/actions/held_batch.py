"""A batch whose work may not land on the branch yet, because a person must look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runner import pipeline
from runner.core.result import Failure
from runner.fan_in.admission import Admission
from runner.fan_in.batch_commits import BatchCommits
from runner.fan_in.batch_merge import BatchMerge
from runner.fan_in.context import BatchContext
from runner.fan_in.inputs import BatchResults, SendBack
from runner.fan_in.outcome import FanIn
from runner.fan_in.unlanded_results import UnlandedResults
from runner.plan.snapshot import read_snapshot
from runner.repo.repository import Repository


def hold_batch(
    repo: Repository,
    results: BatchResults,
    head: str,
    *,
    held_branch: str,
    failures: Mapping[str, Failure],
) -> tuple[FanIn, FanIn]:
    """Two fan-ins of a batch whose work must wait for a person.

    The first lands on the branch and records that the work waits. The second has the
    work and is pushed to `held_branch`; it is on top of the first, so that a person can
    merge it without a conflict. The tasks in `failures` are sent back.
    """
    manifest = results.manifest
    send_back = SendBack(failures)
    snapshot = read_snapshot(
        repo, head, manifest.plan, manifest.progress, manifest.task_rules
    )
    with repo.quarantine() as quarantine:
        batch = BatchContext(repo, quarantine, results, snapshot)
        admission = Admission(batch)
        candidates, refused = admission.admit()
        judgement = BatchMerge(batch, admission).judge(candidates, send_back)
        unlanded = UnlandedResults(batch, admission)
        failed = unlanded.keep({**refused, **judgement.failed})
        recording = BatchCommits(batch, admission, unlanded)
        commit, progress = recording.hold_commit(judgement.merged, failed, held_branch)
        kept = unlanded.commits_by_ref.values()
        quarantine.adopt([commit, *kept], [head, manifest.base], packed=True)
    hold = FanIn(
        head,
        commits=(commit,),
        failed=failed,
        carried=unlanded.carried,
        acceptable=unlanded.acceptable,
        snapshot=recording.snapshot_with([commit], progress),
        results=admission.results,
    )
    # The branch moves on, so the second commit must not change the record of the run.
    held_results = replace(results, record_run=None)
    held_work = pipeline.merge_batch(repo, held_results, commit, verification=send_back)
    return hold, held_work
