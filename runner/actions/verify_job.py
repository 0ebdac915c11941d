"""Job `verify`: the verdict on a batch's merged tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from runner.actions.job_events import JobEvents
from runner.actions.job_secrets import read_setup_env
from runner.actions.round_state import RoundState, landing_branch, landing_head
from runner.actions.workflow_io import JobIO
from runner.attempt.context import AttemptContext
from runner.attempt.verification import VerifyCommand, verify_commit
from runner.core import durable
from runner.core.errors import EXIT_DONE, UsageProblem
from runner.core.manifest import Manifest
from runner.core.result import Failure, Verdict
from runner.core.result_folder import Checks, RefuseSeal, accept_any_seal
from runner.fan_in.inputs import BatchResults, RunVerify, VerifyCommit, VerifyStep
from runner.fan_in.judged_batch import judge_batch
from runner.plan.snapshot import read_snapshot
from runner.policy.redaction import Secrets
from runner.sandbox.walls import NO_WALLS, Walls
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
    state: RoundState,
    scratch: Path,
    environ: Mapping[str, str],
    job_io: JobIO,
    walls: Walls = NO_WALLS,
    refused: str = "",
    refuse_seal: RefuseSeal = accept_any_seal,
    events: Path | None = None,
) -> int:
    """Verify the batch merged on the branch's head, and write the verdict.

    `events`: the file for its events. `refused`: the entries whose results job `merge`
    refused, as in its output of that name. `walls` are around set-up and the
    command. Returns the exit code. A red tree is a verdict, not an error.
    """
    verify_command = VerifyCommand.of(manifest)
    if verify_command is None:
        raise UsageProblem(
            "the batch has no verify command",
            "run job verify only if the output verify of job next is true",
        )
    # What lands is merged on the present head, so that is what must be verified.
    branch = landing_branch(state, manifest, remote)
    head = landing_head(repo, manifest, remote, state, branch)
    setup_env = read_setup_env(environ, job_io)
    allowed_for_setup = {
        name: setup_env[name] for name in manifest.setup_env if name in setup_env
    }
    attempt_context = AttemptContext(
        environ,
        setup_environ={**environ, **allowed_for_setup},
        walls=walls,
    )

    # A job's clone is no person's work tree: the agents' checkouts got nothing of it.
    origin = repo.origin._replace(work_tree=None)

    job_events = JobEvents(events, manifest, Secrets.of(setup_env, setup_env))

    def verify(step: VerifyStep) -> Failure | None:
        return job_events.verified(
            step,
            verify_command.command,
            lambda: verify_commit(
                verify_command,
                origin,
                step.commit,
                step.objects,
                scratch,
                attempt_context,
            ),
        )

    checks = Checks(refuse_seal=refuse_seal, are_artifacts=True)
    with job_io.fenced(f"verify: {verify_command.command}"):
        batch = BatchResults(
            manifest, results, refused=_indexes(refused), checks=checks
        )
        verdict = _verify_batch(repo, batch, head, verify)
    durable.write(verdict_file, verdict.model_dump_json(indent=1).encode())
    job_io.summary(job_summary.verdict_summary(verdict, verify_command.command))
    for task_id, failure in verdict.failed.items():
        job_io.annotate("error", failure.message, title=f"{task_id}: verify")
    return EXIT_DONE


def _verify_batch(
    repo: Repository, results: BatchResults, head: str, verify: VerifyCommit
) -> Verdict:
    """The verdict of `verify` on the batch's merged tree at `head`, for job `merge`,
    which runs no code of the repository.
    """
    manifest = results.manifest
    snapshot = read_snapshot(
        repo, head, manifest.plan, manifest.progress, manifest.task_rules
    )
    with repo.quarantine() as quarantine:
        judged = judge_batch(repo, quarantine, results, snapshot, RunVerify(verify))
        return Verdict(
            batch=manifest.batch,
            manifest=manifest.digest,
            head=head,
            tree=judged.batch.last_tree(judged.judgement.merged),
            failed=judged.judgement.failed,
        )


def _indexes(text: str) -> frozenset[int]:
    try:
        return frozenset(map(int, text.split()))
    except ValueError:
        raise UsageProblem(
            f"refused: expected numbers, got {text[:60]!r}",
            "give it the output refused of job merge",
        ) from None


def read_verdict(path: Path, manifest: Manifest) -> Verdict | None:
    """Read the verdict on a batch; None if it is missing, invalid or of another batch.

    Without a verdict nothing lands and nothing counts, so damage must not raise here.
    """
    try:
        verdict = Verdict.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return verdict if verdict.manifest == manifest.digest else None
