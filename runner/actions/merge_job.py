"""Job `merge`: fans the results in, lands them, tells. The only one that may write, and
it runs no foreign code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import pipeline
from runner.actions import publisher
from runner.actions.next_job import MATRIX_LIMIT
from runner.actions.round_state import RoundState, fetch, views_of
from runner.actions.verify_job import read_verdict
from runner.actions.workflow_io import JobIO, WorkflowContext
from runner.core.errors import (
    EXIT_DONE,
    EXIT_TASKS_FAILED,
    EnvironmentBroken,
    FaninError,
    VerdictOutdated,
)
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind
from runner.policy.redaction import NONE, Secrets
from runner.schedule.backoff import Backoff
from runner.schedule.budget import UsageTotal
from runner.ui import job_summary

if TYPE_CHECKING:
    from runner.fan_in.batch_merge import FanIn
    from runner.github_api.client import GitHub
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

_HELD = "The branch moved while this was verified, twice. Merging it completes the tasks in it."


@dataclass(frozen=True)
class MergeOptions:
    """What job `merge` is asked: where the verdict is, how to commit, whether this is
    the last try.

    `task_result` is GitHub's word for all task jobs together; `commit_via` is git or
    api; `secrets` are looked for in what the legs left.
    """

    verdict: Path | None = None
    task_result: str = "success"
    commit_via: str = "git"
    last: bool = True
    secrets: Secrets = NONE


@dataclass(frozen=True)
class Landed:
    """Where the work of a round is: the branch (another one if the branch refused), the
    fan-in, a sentence to show.
    """

    branch: str
    fan_in: FanIn
    note: str = ""


class MergeJob:
    """Job `merge`: the only one that may write, and it runs no agent and no code of the
    repository.
    """

    def __init__(
        self,
        repo: Repository,
        manifest: Manifest,
        results: Path,
        state: RoundState,
        remote: Remote,
        github: GitHub,
        context: WorkflowContext,
        job_io: JobIO,
        options: MergeOptions,
    ) -> None:
        self.repo, self.manifest, self.results, self.state = (
            repo,
            manifest,
            results,
            state,
        )
        self.remote, self.github, self.context, self.job_io, self.options = (
            remote,
            github,
            context,
            job_io,
            options,
        )
        self.publisher = publisher.Publisher(
            repo,
            remote,
            github,
            job_io,
            run=state.run,
            branch=state.branch or manifest.branch,
            commit_via=options.commit_via,
        )

    @property
    def branch(self) -> str:
        return self.publisher.branch

    def __call__(self) -> int:
        """Fan in, land, tell. Outputs are set before the job may end red."""
        try:
            landed = self._land()
        except VerdictOutdated as error:
            if not self.options.last:
                self.job_io.output({"moved": "true"})
                self.job_io.annotate(
                    "notice",
                    f"{self.branch} moved: the merged tree is verified once more",
                )
                return EXIT_DONE
            landed = self._hold(str(error))
        return self._tell(landed)

    def _land(self) -> Landed:
        fan_in: FanIn | None = None
        for _ in range(publisher.TRIES):
            head = fetch(self.repo, self.manifest, self.remote, self.branch)
            known = (
                pipeline.replay(self.repo, self.manifest, fan_in, head)
                if fan_in
                else None
            )
            fan_in = known or self._merged(head)
            if not fan_in.commits:
                return Landed(self.branch, fan_in)
            put = self.publisher.put(fan_in.commits, head)
            if put.landed:
                return Landed(
                    self.branch, fan_in, self.publisher.open_pull_request_if_switched()
                )
            if put.refused:
                self.publisher.switch_branch(put)
        raise EnvironmentBroken(
            f"{self.branch} moved {publisher.TRIES} times while the batch was merged",
            "nothing is lost: re-run this job when the branch is quiet",
        )

    def _merged(self, head: str) -> FanIn:
        return pipeline.merge_batch(
            self.repo,
            self.manifest,
            self.results,
            head,
            missing=self._missing(),
            secrets=self.options.secrets,
            **self._gate(),
        )

    def _missing(self) -> Failure:
        """What stands for a task job that left nothing: its own fault, unless a person
        cancelled the run.
        """
        if self.options.task_result == "cancelled":
            return Failure(
                kind=FailureKind.INTERRUPTED, message="the run was cancelled"
            )
        return Failure(kind=FailureKind.NO_RESULT, message="the job left no result")

    def _gate(self) -> dict[str, Any]:
        """With `verify` set, only what a verdict found green may land; no verdict is
        red.
        """
        if self.manifest.verify is None:
            return {}
        verdict = (
            read_verdict(self.options.verdict, self.manifest)
            if self.options.verdict
            else None
        )
        if verdict is not None:
            return {"verdict": verdict}
        red = Failure(
            kind=FailureKind.VERIFY,
            message="the job  verify  left no verdict, and no verdict is red",
        )
        return {"red": {entry.task.id: red for entry in self.manifest.entries}}

    def _hold(self, why: str) -> Landed:
        """The branch moved under two verifications: the work waits for a person on a
        branch of its own.

        First the branch says that the tasks are held, then the held branch is made on
        top of that, so that its pull request merges cleanly and completes them.
        """
        held = f"fanin/held/{self.manifest.batch}"
        verdict = (
            read_verdict(self.options.verdict, self.manifest)
            if self.options.verdict
            else None
        )
        red = verdict.failed if verdict else {}
        for _ in range(publisher.TRIES):
            head = fetch(self.repo, self.manifest, self.remote, self.branch)
            noted, waiting = pipeline.hold_batch(
                self.repo,
                self.manifest,
                self.results,
                head,
                held=held,
                red=red,
                missing=self._missing(),
                secrets=self.options.secrets,
            )
            push = self.remote.push(self.branch, noted.tip, head)
            if push.refused:
                raise EnvironmentBroken(
                    f"{self.branch} refuses the push: {push.refused}",
                    "the results are kept as artifacts",
                )
            if push.landed:
                self.remote.push(held, waiting.tip, None)
                told = self.publisher.open_pull_request(
                    held, self.branch, f"Fanin batch {self.manifest.batch}", _HELD
                )
                return Landed(self.branch, noted, told)
        raise EnvironmentBroken(
            why,
            "re-run this job when the branch is quiet; the results are kept as artifacts",
        )

    # -- telling --

    def _tell(self, landed: Landed) -> int:
        fan_in, manifest = landed.fan_in, self.manifest
        assert fan_in.after is not None
        found = views_of(fan_in.after, manifest.max_attempts)
        progressed = bool(fan_in.landed) or any(
            failure.counted for failure in fan_in.failed.values()
        )
        following = self._following(fan_in, progressed=progressed)
        waiting = bool(following.limited) and not following.pace(1).stop_reason()
        outputs = outputs_of(found, landed, progressed=progressed or waiting)
        handed = following.model_copy(update={"branch": landed.branch})
        self.job_io.output({**outputs, "state": handed.model_dump_json()})
        done = job_summary.Round(
            manifest.batch,
            landed.branch,
            fan_in.tip if fan_in.commits else None,
            fan_in.landed,
            fan_in.failed,
            self.context.run_url,
            landed.note,
            f"{UsageTotal().plus(fan_in.results).describe()}; the run so far: ${following.spent_usd:.2f}",
        )
        self.job_io.summary(job_summary.round_summary(found, done))
        for warning in fan_in.warnings:
            self.job_io.annotate("warning", warning, title="fanin")
        for task_id, failure in fan_in.failed.items():
            self.job_io.annotate(
                "error",
                failure.message,
                title=f"{task_id}: {failure.kind}",
                file=manifest.plan.path,
                line=_line(fan_in.after, task_id),
            )
        if self.state.pull_request is not None:
            self._comment(self.state.pull_request, job_summary.sticky(found, done))
        return exit_code(found, fan_in)

    def _following(self, fan_in: FanIn, *, progressed: bool) -> RoundState:
        """What the next round needs to know: what is spent by now, and how many agents
        the model bears.
        """
        manifest = self.manifest
        budget = self.state.budget(manifest.limits.max_cost_usd).after(
            manifest, fan_in.results
        )
        limited = any(
            failure.kind is FailureKind.RATE_LIMIT for failure in fan_in.failed.values()
        )
        before = Backoff(
            MATRIX_LIMIT, self.state.slots or len(manifest.entries), self.state.limited
        )
        pace = before.after(limited=limited, progressed=progressed)
        slots = pace.agents if limited or self.state.slots else None
        return self.state.model_copy(
            update={
                "spent_usd": budget.spent_usd,
                "dearest_usd": budget.highest_cost_usd,
                "slots": slots,
                "limited": pace.limited_rounds,
            }
        )

    def _comment(self, pull_request: int, body: str) -> None:
        """The comment is news, not the work: its failure is a warning."""
        try:
            self.github.sticky_comment(pull_request, job_summary.MARKER, body)
        except FaninError as error:
            self.job_io.annotate(
                "warning", f"the pull request's comment could not be written: {error}"
            )


def outputs_of(
    found: Sequence[TaskView], landed: Landed, *, progressed: bool
) -> dict[str, str]:
    """Job `merge`'s outputs; counts, so that they stay small whatever the plan's size."""
    count = {
        state: sum(view.state == state for view in found)
        for state in ("completed", "failed", "blocked", "ready")
    }
    return {
        "completed": str(count["completed"]),
        "failed": str(count["failed"]),
        "blocked": str(count["blocked"]),
        "remaining": str(count["ready"]),
        "again": "true" if progressed and count["ready"] else "false",
        "commit": landed.fan_in.tip if landed.fan_in.commits else "",
        "landed": "true" if landed.fan_in.commits else "false",
        "branch": landed.branch,
        "moved": "false",
    }


def exit_code(found: Iterable[TaskView], fan_in: FanIn) -> int:
    """1 if a task of this batch failed for good, or nothing more can run and not all is
    well.
    """
    by_id = {view.task.id: view for view in found}
    lost = any(
        by_id[task_id].state == "failed"
        for task_id in fan_in.failed
        if task_id in by_id
    )
    over = not any(view.state == "ready" for view in by_id.values())
    stuck = any(view.state in {"failed", "blocked", "held"} for view in by_id.values())
    return EXIT_TASKS_FAILED if lost or (over and stuck) else EXIT_DONE


def _line(snapshot: Snapshot, task_id: str) -> int | None:
    task = snapshot.plan.task(task_id)
    return task.line if task else None
