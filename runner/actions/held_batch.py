"""A batch whose work may not land on the branch yet, because a person must look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runner import pipeline
from runner.core.result import Failure
from runner.fan_in.batch_commits import BatchCommits
from runner.fan_in.inputs import BatchResults, SendBack
from runner.fan_in.judged_batch import judge_batch
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
        judged = judge_batch(repo, quarantine, results, snapshot, send_back)
        unlanded = UnlandedResults(judged.batch, judged.admission)
        failed = unlanded.keep(judged.failed)
        recording = BatchCommits(judged.batch, judged.admission, unlanded)
        merged = judged.judgement.merged
        commit, progress = recording.hold_commit(merged, failed, held_branch)
        kept = unlanded.commits_by_ref.values()
        quarantine.adopt([commit, *kept], [head, manifest.base], packed=True)
    hold = FanIn(
        head,
        commits=(commit,),
        failed=failed,
        carried=unlanded.carried,
        acceptable=unlanded.acceptable,
        snapshot=recording.snapshot_with([commit], progress),
        results=judged.admission.results,
    )
    # The branch moves on, so the second commit must not change the record of the run.
    held_results = replace(results, record_run=None)
    held_work = pipeline.merge_batch(repo, held_results, commit, verification=send_back)
    return hold, held_work
