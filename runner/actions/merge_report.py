"""The report of job `merge`: outputs, step summary, annotations and a comment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from runner.actions import open_run
from runner.actions.batch_choice import MATRIX_LIMIT
from runner.actions.round_state import (
    RoundState,
    limit_reached,
    tasks_for_person,
    views_of,
    waiting_output,
)
from runner.actions.workflow_io import Annotation
from runner.core.clock import timestamp
from runner.core.errors import EXIT_DONE, EXIT_TASKS_FAILED, FaninError
from runner.core.manifest import Manifest
from runner.core.result import FailureKind, Result
from runner.core.task import AgentSettings, Task
from runner.delivery.choice import is_own
from runner.schedule.agent_choice import AgentChoice
from runner.schedule.backoff import Backoff
from runner.schedule.budget import UsageTotal
from runner.schedule.limit_waits import LimitWaits
from runner.schedule.task_choice import TasksForPerson
from runner.ui import round_summary

# Of a task without an agent of its own, if all tasks of the batch have one.
_UNKNOWN_AGENT = AgentSettings.model_construct(preset="(default)")

if TYPE_CHECKING:
    from runner.actions.open_run import RunAtHead
    from runner.actions.workflow_io import JobIO, WorkflowContext
    from runner.fan_in.outcome import FanIn
    from runner.github_api.client import GitHub
    from runner.plan.records import RunRecord
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView


@dataclass(frozen=True)
class LandedBatch:
    """A merged batch and the branch that has it.

    `run` is the batch's run as it was at the head below. `pull_requests` are those that
    the work needs: branch → where it goes. `made` is the commit that GitHub made in
    place of the last one, if it did.
    """

    branch: str
    fan_in: FanIn
    run: RunAtHead
    pull_requests: Mapping[str, str] = field(default_factory=dict)
    made: str | None = None

    @property
    def commit(self) -> str | None:
        """The new head of the branch; None if nothing landed."""
        if not self.fan_in.commits:
            return None
        return self.made or self.fan_in.tip


@dataclass(frozen=True)
class MergeOutputs:
    """Outputs of job `merge`: numbers of tasks, and what landed where.

    Numbers instead of ids, so that they stay small for a plan of any size. `waiting` is
    until when every ready task waits for a usage limit, `round_state.waiting_output`, or
    "".
    """

    completed: int
    failed: int
    blocked: int
    remaining: int
    again: bool
    commit: str | None
    branch: str
    state: RoundState
    waiting: str = ""

    @classmethod
    def of_views(
        cls,
        views: Sequence[TaskView],
        *,
        again: bool,
        commit: str | None,
        branch: str,
        state: RoundState,
        waiting: str = "",
    ) -> MergeOutputs:
        """The outputs for the state of every task."""
        states = [view.state for view in views]
        return cls(
            completed=states.count("completed"),
            failed=states.count("failed"),
            blocked=states.count("blocked"),
            remaining=states.count("ready"),
            again=again,
            commit=commit,
            branch=branch,
            state=state,
            waiting=waiting,
        )

    def as_mapping(self) -> dict[str, str]:
        """The outputs by the names that the action declares."""
        return {
            "completed": str(self.completed),
            "failed": str(self.failed),
            "blocked": str(self.blocked),
            "remaining": str(self.remaining),
            "again": "true" if self.again else "false",
            "commit": self.commit or "",
            "landed": "true" if self.commit else "false",
            "branch": self.branch,
            "moved": "false",
            "round": "",
            "state": self.state.model_dump_json(),
            "waiting": self.waiting,
        }


@dataclass(frozen=True)
class MergeReport:
    """The report on a landed batch, and the state for the next round.

    `state` is the round's own. `github_run` and `run_attempt` are GitHub's, of this job.
    """

    manifest: Manifest
    state: RoundState
    batch: LandedBatch
    github_run: str
    run_attempt: int
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def snapshot(self) -> Snapshot:
        """Plan and progress after the batch."""
        assert self.batch.fan_in.snapshot is not None
        return self.batch.fan_in.snapshot

    @cached_property
    def views(self) -> Sequence[TaskView]:
        """The state of every task after the batch."""
        return views_of(self.snapshot, self.manifest.max_attempts)

    @property
    def progressed(self) -> bool:
        """Whether a task landed or an attempt counted, here or before.

        A result is stale where later rounds or a rival run have gone on meanwhile, and
        none is new when jobs are run again after their batch has landed.
        """
        fan_in = self.batch.fan_in
        if not fan_in.commits and not fan_in.failed:
            return True
        return bool(fan_in.landed) or any(
            failure.counted or failure.kind is FailureKind.STALE
            for failure in fan_in.failed.values()
        )

    @property
    def again(self) -> bool:
        """Whether another round can go on with a task that is ready."""
        if self.batch.run.replaced_by is not None:
            return False
        # After a rate limit a round without progress is tried again, up to a limit.
        backoff = self.next_state.backoff(1)
        waiting = backoff.limited_rounds > 0 and not backoff.stop_reason()
        is_ready = any(view.state == "ready" for view in self.views)
        if not is_ready or self.waits is not None:
            return False
        limited = self._has_met(FailureKind.USAGE_LIMIT)
        return self.progressed or waiting or limited

    @property
    def rate_limited(self) -> bool:
        """Whether an attempt that was not merged before met a rate limit."""
        return self._has_met(FailureKind.RATE_LIMIT)

    def _has_met(self, kind: FailureKind) -> bool:
        for result in self._new_results:
            failure = self.batch.fan_in.failed.get(result.task)
            if failure is not None and failure.kind is kind:
                return True
        return False

    @cached_property
    def waits(self) -> tuple[datetime, str] | None:
        """When the first ready task may start after a usage limit, and its agent.

        None if none is ready or one may start now.
        """
        choice = AgentChoice(
            self._agents_of,
            LimitWaits.of(self.next_state.limits),
            running=(),
            now=self.now,
        )
        for view in self.views:
            if view.state == "ready" and choice.may_start(view.task):
                return None
        return choice.next_start

    def _agents_of(self, task: Task) -> Sequence[AgentSettings]:
        """The agents of a task as far as the batch shows them.

        This job does not read the settings. Their agent is that of the batch's tasks
        which have none of their own.
        """
        if task.agent is not None:
            return task.agent.each
        for entry in self.manifest.entries:
            if entry.task.agent is None:
                return entry.agent.each
        return (_UNKNOWN_AGENT,)

    def _limits(self, state: RoundState) -> LimitWaits:
        """The usage limits after the batch."""
        new = {result.task for result in self._new_results}
        entries = [entry for entry in self.manifest.entries if entry.task.id in new]
        fan_in = self.batch.fan_in
        return LimitWaits.of(state.limits).after_batch(
            entries, fan_in.landed, fan_in.failed, self.now
        )

    def outputs(self, *, again: bool) -> dict[str, str]:
        """The job's outputs. `again`: whether job `continue` starts another round."""
        return MergeOutputs.of_views(
            self.views,
            again=again,
            commit=self.batch.commit,
            branch=self.batch.branch,
            state=self.next_state,
            waiting=self._waits_until or waiting_output(self._for_person),
        ).as_mapping()

    def publish(self, context: WorkflowContext, job_io: JobIO) -> int:
        """Write summary and annotations; return the exit code."""
        round_ = self._round(context)
        job_io.summary(round_summary.round_summary(self.views, round_))
        self._annotate(job_io)
        return self.exit_code()

    def comment(self, context: WorkflowContext, job_io: JobIO, github: GitHub) -> None:
        """Write the comment of the run's pull request, if it has one."""
        if self.state.pull_request is None:
            return
        text = round_summary.sticky_comment(self.views, self._round(context))
        _comment(github, job_io, self.state.pull_request, text)

    @cached_property
    def next_state(self) -> RoundState:
        """The state that the next round needs: money spent, and agents at once."""
        state = self.batch.run.state
        budget = state.budget(self.manifest.limits.max_cost_usd).after(
            self.manifest, self._new_results
        )
        backoff = Backoff(
            MATRIX_LIMIT,
            state.slots or len(self.manifest.entries),
            state.limited,
        )
        if self._new_results or not self._merged_by:
            backoff = backoff.after(
                limited=self.rate_limited, progressed=self.progressed
            )
        # Without a rate limit so far, the setting alone decides.
        limits_agents = self.rate_limited or state.slots is not None
        return state.model_copy(
            update={
                "branch": self.batch.branch,
                "spent_usd": budget.spent_usd,
                "dearest_usd": budget.highest_cost_usd,
                "merged": state.with_merged(
                    self.github_run, self.manifest.round, self.run_attempt
                ),
                "slots": backoff.agents if limits_agents else None,
                "limited": backoff.limited_rounds,
                "limits": self._limits(state).recorded(),
                "pull_requests": {
                    **state.pull_requests,
                    **self.batch.pull_requests,
                },
            }
        )

    @property
    def _merged_by(self) -> int:
        """The run attempt that merged this round last; 0 if none did."""
        return self.batch.run.state.merged_by(self.github_run, self.manifest.round)

    @cached_property
    def _new_results(self) -> list[Result]:
        """The results that the run's spending does not have yet.

        Only the run attempt counts. Whether a result landed, failed or was sent back
        says nothing: a failure that does not count is there again in the next merge.
        """
        results = self.batch.fan_in.results
        if not self._merged_by:
            return list(results)
        return [result for result in results if result.run_attempt > self._merged_by]

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended and nothing of it waits: its work is complete."""
        return self.run_record().ended is not None and not self._for_person

    def run_record(self) -> RunRecord:
        """What the progress file says of the run once the batch has landed."""
        replaced_by = self.batch.run.replaced_by
        if replaced_by is not None:
            return replaced_by
        limits = self.manifest.limits
        ended = limit_reached(self.next_state, limits)
        if ended is None:
            ended = self.next_state.budget(limits.max_cost_usd).stop_reason()
        waits_until = self._waits_until
        if not self.again and waits_until is None:
            ended = "no task is ready, or none made progress"
            if self._for_person:
                ended = "what is left waits for a person"
        pause_seconds = self.next_state.backoff(1).pause_seconds(lambda: 1.0)
        if pause_seconds and waits_until is None:
            waits_until = timestamp(pause_seconds)
        return open_run.record_of(self.next_state, ended=ended, waits_until=waits_until)

    @property
    def _waits_until(self) -> str | None:
        """Until when every ready task waits, as documents have it."""
        if self.waits is None:
            return None
        until, _ = self.waits
        return f"{until:%Y-%m-%dT%H:%M:%S}.000Z"

    @property
    def _for_person(self) -> TasksForPerson:
        """The tasks that wait for a person, if no other can start."""
        if any(view.state == "ready" for view in self.views):
            return TasksForPerson()
        return tasks_for_person(self.views)

    def exit_code(self) -> int:
        """1 if a task of this batch failed for good, or the plan is stuck."""
        states = {view.task.id: view.state for view in self.views}
        failed_for_good = any(
            states.get(task_id) == "failed" for task_id in self.batch.fan_in.failed
        )
        nothing_ready = "ready" not in states.values()
        unfinished = not {"failed", "blocked", "held"}.isdisjoint(states.values())
        if failed_for_good or (nothing_ready and unfinished):
            return EXIT_TASKS_FAILED
        return EXIT_DONE

    def _round(self, context: WorkflowContext) -> round_summary.RoundReport:
        fan_in = self.batch.fan_in
        used = UsageTotal().plus(fan_in.results)
        return round_summary.RoundReport(
            self.manifest.batch,
            self.batch.branch,
            number=self.state.round,
            commit=self.batch.commit,
            landed=fan_in.landed,
            failed=fan_in.failed,
            acceptable=acceptable_by_task(fan_in),
            jobs={result.task: result.job for result in fan_in.results if result.job},
            repository_url=context.repository_url,
            run_url=context.run_url,
            has_comments=self.state.pull_request is not None
            or is_own(self.batch.branch),
            warnings=fan_in.tree_warnings,
            usage=_usage(used, self.next_state.spent_usd),
            next_step=self._next_step(),
        )

    def _next_step(self) -> str:
        """What happens after this round, or what a person can do."""
        states = {view.state for view in self.views}
        replaced_by = self.batch.run.replaced_by
        if replaced_by is not None:
            return (
                f"run {replaced_by.id} has landed since this round was chosen, so no "
                "round follows this one. If a task is ready, start the workflow again."
            )
        if self.again:
            number = self.next_state.round + 1
            return f"round {number} follows by itself, unless a limit ends the run."
        if self.waits is not None:
            until, agent = self.waits
            return (
                f"the usage limit of {agent} is reached, and nothing starts before "
                f"{until:%Y-%m-%d %H:%M} UTC. Start the workflow again after that; one "
                "with a schedule goes on by itself."
            )
        if "ready" in states:
            return (
                "no task made progress, so no round follows by itself. "
                "Fix what failed, then start the workflow again."
            )
        if states <= {"completed", "skipped"}:
            return "nothing, the plan is done."
        if self._for_person:
            sentences = "; ".join(self._for_person.sentences)
            return f"{sentences}  and push the commit."
        return "no task can run until a person acts on what failed or is held."

    def _annotate(self, job_io: JobIO) -> None:
        annotations = []
        for task_id, failure in self.batch.fan_in.failed.items():
            task = self.snapshot.plan.task(task_id)
            annotation = Annotation(
                "error",
                failure.message,
                title=f"{task_id}: {failure.kind}",
                file=self.manifest.plan.path,
                line=task.line if task else None,
            )
            annotations.append(annotation)
        for warning in self.batch.fan_in.warnings:
            annotations.append(Annotation("warning", warning, title="fanin"))
        job_io.annotate_all(annotations)


def _usage(used: UsageTotal, spent_usd: float) -> str:
    """What the round and its run used, without what is unknown."""
    parts = []
    if used.without_cost < used.attempts:
        parts.append(used.describe())
    elif used.tokens:
        parts.append(f"{used.tokens:,} tokens")
    if spent_usd:
        parts.append(f"the run so far: ${spent_usd:.2f}")
    return "; ".join(parts)


def _comment(github: GitHub, job_io: JobIO, pull_request: int, body: str) -> None:
    """Write the pull request's comment.

    A failure is a warning only: the work has landed by now.
    """
    try:
        github.sticky_comment(pull_request, round_summary.MARKER, body)
    except FaninError as error:
        job_io.annotate(
            "warning", f"could not comment on pull request {pull_request}: {error}"
        )


def acceptable_by_task(fan_in: FanIn) -> dict[str, str]:
    """Task id → the commit with its work, where a person may accept it."""
    commits = fan_in.acceptable
    return {
        task_id: commits[ref]
        for task_id, ref in fan_in.kept_refs.items()
        if ref in commits
    }
