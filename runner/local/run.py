"""The run on one machine: choose tasks, run them in parallel, merge, land, repeat until
no task is ready.

Handles signals, and calls preparation, recovery and schedule in this order. The steps
themselves are in `pipeline`; on Actions, jobs call them.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner import pipeline
from runner.agents.environment import secrets_of
from runner.attempt import included_files
from runner.attempt.context import AttemptContext
from runner.attempt.verify_checkouts import PooledCheckouts, SpareCheckouts
from runner.attempt.workspace_pool import WorkspacePool
from runner.config.settings import Settings
from runner.config.without_effect import without_effect
from runner.core.clock import Clock, SystemClock
from runner.core.errors import (
    FaninError,
    Interrupted,
    InvalidInput,
    UsageProblem,
)
from runner.core.event_log import EventLog
from runner.core.events import RunObserver
from runner.fan_in import kept_refs
from runner.local import doubt
from runner.local.account import RunAccount
from runner.local.attempts import AttemptRunner, RunTask
from runner.local.base_verify import BaseVerify, base_verified
from runner.local.batches import BatchSchedule
from runner.local.context import RunContext
from runner.local.journal import Journal
from runner.local.journal_state import WaitingWork
from runner.local.landing import BranchLander
from runner.local.observer import MaskingObserver
from runner.local.preparation import (
    agents_of_open_tasks,
    check_agents,
    complete_partial_clone,
    explained,
    refuse_unfinished,
    scratch_folder,
    target_branch,
    uncommitted_notes,
)
from runner.local.recovery import recover
from runner.local.request_context import RequestContext
from runner.local.run_report import (
    Ending,
    RunOutcome,
    describe_interruption,
    end_event,
    ending_of,
    ending_of_error,
    start_event,
)
from runner.local.stopping import StopRequests, stops_on_signals
from runner.local.verdicts import Verdicts
from runner.local.walls import walls_of, walls_of_tasks, without_own_sandbox
from runner.plan.snapshot import Snapshot, committed_include
from runner.policy.redaction import Secrets
from runner.repo.repository import Repository
from runner.schedule.task_choice import NO_NAMES, NamedTasks, TasksForPerson

if TYPE_CHECKING:
    from runner.attempt.pooled_workspaces import PooledWorkspaces
    from runner.delivery.choice import ClosedPull

_CONTINUE = "continue with  fanin run"


class Answers(NamedTuple):
    """What a person says to the questions of an earlier run.

    `trusted` are commits that the person answers for. `closed_pull`: what to do with a
    pull request that was closed and not merged; None if nothing was said.
    """

    trusted: Sequence[str] = ()
    closed_pull: ClosedPull | None = None


NO_ANSWERS = Answers()


class LocalRun:
    """One `fanin run`. `observer` hears of it, from several threads.

    Only `named` tasks start, if any are named. Everything durable is in the repository and its `.git/fanin`.
    """

    def __init__(
        self,
        repo: Repository,
        settings: Settings,
        environ: Mapping[str, str],
        observer: RunObserver,
        named: NamedTasks = NO_NAMES,
        clock: Clock | None = None,
        run_task: RunTask = pipeline.run_task,
        answers: Answers = NO_ANSWERS,
    ) -> None:
        """`run_task` runs an attempt, as `pipeline.run_task` does."""
        self.journal = Journal(repo.git_dir)
        self.run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self._repo, self._settings, self._environ = repo, settings, environ
        self._named, self._answers = named, answers
        self._event_log = EventLog(self.journal.run_folder(self.run), observer)
        self._observer = MaskingObserver(self._event_log)
        self.stop = StopRequests()
        walls = walls_of(repo, settings, environ)
        self._walls_of_tasks = walls_of_tasks(repo, settings, environ)
        attempt_context = AttemptContext(environ, self.stop.cancel, walls=walls)
        # A verify is not waited for: it can take long, and the next run repeats it.
        verify_context = replace(attempt_context, cancel=self.stop.draining)
        self._clock = clock or SystemClock()
        self._verdicts = Verdicts(
            repo.private_folder(), self._clock.now, is_used=settings.verify_cache
        )
        self._lander = BranchLander(
            repo,
            self.journal,
            settings,
            verify_context,
            self._observer,
            "",
            self._verdicts,
        )
        self._started = self._clock.now()
        # One core makes one checkout at a time: many at once would all be late.
        self._turns = threading.Semaphore(max(2, os.cpu_count() or 1))
        self._run_task = run_task
        self._account = RunAccount(settings, self._observer, self.journal, self._clock)
        self._context = RunContext(
            self.run,
            repo,
            settings,
            self.journal,
            self._lander,
            self._observer,
            attempt_context,
            self.stop.draining,
            clock=self._clock,
        )

    def __call__(self) -> RunOutcome:
        """Work until nothing is ready.

        Raises Interrupted after a signal, once what had finished has landed;
        UsageProblem if a merge is unfinished, HEAD is detached, a named task cannot
        start or another fanin works here; InvalidInput for the plan, the progress or the settings.
        """
        with (
            self.journal.locked(),
            closing(self._event_log),
            closing(self._repo.own_packs),
            stops_on_signals(self.stop, self._observer.note),
        ):
            snapshot = self._prepare()
            if self.stop.draining.is_set():
                # Before its first event: there is nothing of this run to show.
                raise Interrupted("stopped before anything started", _CONTINUE)
            try:
                outcome = self._work(snapshot)
            except BaseException as error:
                self._report_end(ending_of_error(error))
                if isinstance(error, FaninError):
                    error.message = self.masked(error.message)
                raise
            self._apply_left_requests()
            self._end_delivery(outcome)
            for sentence in self._verdicts.flaky(self._started):
                self._observer.note(sentence)
            self._report_end(ending_of(outcome, self._interruption()))
        if interruption := self._interruption():
            raise Interrupted(interruption, _CONTINUE)
        return outcome

    def masked(self, text: str) -> str:
        """A text about the run for the screen, with `***` for every secret in it."""
        return self._observer.masked(text)

    def _prepare(self) -> Snapshot:
        """Recover from a crash, check what can run, return the snapshot to start from."""
        self._lander.branch = target_branch(self._repo, self._settings)
        self._start_delivery()
        self._account.resume_limits()
        doubt.settle(self._repo, self.journal, self._answers.trusted)
        recover(self._context, self._account)
        refuse_unfinished(self._repo, self._lander.branch)
        complete_partial_clone(self._repo, self._lander.branch)
        self._take_in_base()
        # Before named tasks are looked at: a person may have granted them an attempt.
        snapshot = self._context.take_requests(self._first_snapshot()).snapshot
        choice = self._named.choice(snapshot, self._settings.max_attempts)
        self._context = replace(self._context, choice=choice)
        notes = check_agents(
            self._repo, snapshot, self._settings, self._environ, choice
        )
        used_agents = agents_of_open_tasks(snapshot, self._settings, choice)
        self._observer.add_secrets(secrets_of(used_agents, self._environ))
        self._observer.add_secrets(Secrets.of(self._environ, self._settings.setup_env))
        include = (
            *self._settings.include,
            *committed_include(self._repo, snapshot.commit),
        )
        included = included_files.look(
            include, self._repo.origin, self._settings.env.values()
        )
        self._observer.add_secrets(included.secrets)
        uncommitted = uncommitted_notes(
            self._repo, snapshot, self._settings, self._lander.branch
        )
        own_sandboxes: tuple[str, ...] = ()
        if self._context.attempt_context.walls.stand:
            own_sandboxes = without_own_sandbox(used_agents)
        for note in (*notes, *uncommitted, *included.notes, *own_sandboxes):
            self._observer.note(note)
        for problem in without_effect(self._settings):
            self._observer.note(f"warning: {problem}")
        self.journal.tidy()
        self.journal.remove_old_runs(
            self._settings.keep_runs,
            self._settings.keep_runs_size,
            kept_refs.runs(self._repo.refs(f"{kept_refs.ROOT}/")),
        )
        self._lander.watch.start(self._lander.branch)
        return snapshot

    def _start_delivery(self) -> None:
        """Change to the run's own branch, if its work is delivered by a pull request."""
        if not self._settings.own_branch:
            if self._answers.closed_pull is not None:
                raise UsageProblem(
                    f"--{self._answers.closed_pull} is for pull requests of fanin",
                    "set  deliver: pull-request",
                )
            return
        # Imported for those runs alone, as what only some runs need below.
        from runner.local.delivery import start_delivery

        state = self.journal.state()
        delivery, secrets = start_delivery(
            self._repo,
            self._settings,
            self._environ,
            self._lander.branch,
            self.run,
            self._answers.closed_pull,
            state.branch if state.run is not None else None,
            self._observer,
        )
        self._observer.add_secrets(secrets)
        self._lander.branch = delivery.branch
        self._context = replace(self._context, delivery=delivery)

    def _take_in_base(self) -> None:
        """UsageProblem if the run's own branch conflicts with its base."""
        delivery = self._context.delivery
        if delivery is not None and (reason := delivery.take_in_base(self._lander)):
            raise UsageProblem(reason)

    def _first_snapshot(self) -> Snapshot:
        try:
            return self._context.snapshot()
        except InvalidInput as error:
            branch = self._lander.branch
            raise explained(self._repo, self._settings, branch, error) from None

    def _work(self, snapshot: Snapshot) -> RunOutcome:
        """Run the schedule to its end."""
        context, branch = self._context, self._lander.branch
        with (
            scratch_folder(self.journal, self.run, branch) as scratch,
            self._new_checkouts(scratch, self._settings.slots) as pool,
            self._pooled(pool, scratch) as workspaces,
            self._new_checkouts(
                scratch, self._settings.verify_concurrent
            ) as verify_pool,
            self._verify_checkouts(verify_pool, scratch, workspaces) as spares,
        ):
            self._lander.checkouts = spares
            self._report_start(snapshot)
            try:
                with base_verified(context, snapshot, scratch) as base:
                    stop_reason, limit_reached = self._run_schedule(
                        snapshot, base, workspaces, spares, scratch
                    )
                context.land_unrecorded()
                last_snapshot = context.snapshot()
            except InvalidInput as error:
                raise self._end_of_invalid_run(error, snapshot) from None
            for_person = TasksForPerson()
            if stop_reason is None and not self.stop.draining.is_set():
                most = self._settings.max_attempts
                for_person = context.choice.for_person(last_snapshot, most)
            outcome = RunOutcome(
                last_snapshot,
                self._lander.branch,
                self.run,
                self._waiting(),
                self._account.usage,
                stop_reason,
                context.choice,
                limit_reached,
                for_person,
            )
        self.journal.record("end", run=self.run)
        if self._settings.verify is not None:
            self._verdicts.save()
        base.refuse_red(snapshot, branch)
        return outcome

    def _run_schedule(
        self,
        snapshot: Snapshot,
        base: BaseVerify,
        workspaces: WorkspacePool | PooledWorkspaces,
        spares: SpareCheckouts | PooledCheckouts,
        scratch: Path,
    ) -> tuple[str | None, bool]:
        """Run the schedule from the snapshot; as `_run_with_pauses`."""
        context = self._context
        attempts = AttemptRunner(
            context,
            scratch,
            workspaces,
            self._run_task,
            base.obstacle,
            self._walls_of_tasks,
        )
        run_until_pause = BatchSchedule(
            context, self._account, attempts, workspaces, scratch
        ).run
        if self._settings.schedule == "rolling":
            from runner.local.rolling import RollingRun

            run_until_pause = RollingRun(
                context, self._account, attempts, workspaces, spares, scratch
            ).run
        return self._run_with_pauses(run_until_pause, snapshot)

    def _end_of_invalid_run(
        self, error: InvalidInput, first_snapshot: Snapshot
    ) -> UsageProblem:
        """Record what was done, and say why the run cannot go on: a person has made the
        plan invalid, or a file that it names.
        """
        self._context.land_unrecorded(first_snapshot)
        state = self.journal.state()
        branch = self._lander.branch
        commit = self._lander.head()[:10]
        outcome = "what had finished has landed"
        if state.open or state.accepted:
            outcome = "what had finished is kept, and the next run lands it"
        else:
            self.journal.record("end", run=self.run)
        if not self._account.usage.attempts:
            return error
        return UsageProblem(
            f"{error}\nthe run cannot go on with {branch} at {commit}; {outcome}",
            "fix that, commit it, and continue with  fanin run",
        )

    def _end_delivery(self, outcome: RunOutcome) -> None:
        """Mark the pull request as ready, unless something of the run waits."""
        delivery = self._context.delivery
        if delivery is None:
            return
        waits = outcome.limit_reached or outcome.for_person
        is_stopped = self.stop.draining.is_set() or waits
        self._context.publish(is_finished=not is_stopped)
        delivery.drop_empty_branch()

    def _apply_left_requests(self) -> None:
        """Apply what was asked for at the very end, or for another branch.

        After the journal has the end: a command that finds it there waits for the lock,
        and applies its request itself.
        """
        if self.journal.requests.is_empty:
            return
        from runner.local.requests import apply_left_requests

        apply_left_requests(
            RequestContext(self._repo, self._settings, self._environ),
            self.journal,
            self._observer.note,
        )

    def _new_checkouts(self, scratch: Path, at_once: int) -> WorkspacePool:
        """What makes checkouts, of which so many are in use at once, and as many spare."""
        repo = self._repo
        return WorkspacePool(repo.origin, scratch, repo.tree, 2 * at_once, self._turns)

    def _pooled(
        self, pool: WorkspacePool, scratch: Path
    ) -> AbstractContextManager[WorkspacePool | PooledWorkspaces]:
        """What gives the attempts their checkouts, which `pool` makes."""
        if self._settings.workspace == "pooled":
            from runner.attempt.pooled_workspaces import PooledWorkspaces

            return PooledWorkspaces(pool, scratch, self._settings.setup)
        return nullcontext(pool)

    @contextmanager
    def _verify_checkouts(
        self,
        pool: WorkspacePool,
        scratch: Path,
        workspaces: WorkspacePool | PooledWorkspaces,
    ) -> Iterator[SpareCheckouts | PooledCheckouts]:
        """What gives verify its checkouts, which `pool` makes; `workspaces` are those of
        the attempts.
        """
        if self._settings.workspace != "pooled":
            yield SpareCheckouts(pool)
            return
        from runner.attempt.pooled_workspaces import PooledWorkspaces

        setup = self._settings.setup
        with PooledWorkspaces(pool, scratch, setup, name="verified") as pooled:
            yield PooledCheckouts(pool, pooled, workspaces)

    def _waiting(self) -> WaitingWork | None:
        """This run's work, if it could not reach its branch."""
        for waiting in self.journal.state().waiting:
            if waiting.branch == self._lander.branch:
                return waiting
        return None

    def _run_with_pauses(
        self, run_until_pause: Callable[[Snapshot], str | None], snapshot: Snapshot
    ) -> tuple[str | None, bool]:
        """Run to the end of the run, and wait where tasks wait for nothing but time.

        Returns why it stopped although tasks are ready, or None, and whether the reason
        is a usage limit.
        """
        account = self._account
        while True:
            stop_reason = run_until_pause(snapshot)
            is_stopping = stop_reason is not None or self.stop.draining.is_set()
            if not is_stopping and self._context.must_change_files:
                self._context.apply_file_requests()
                snapshot = self._context.snapshot()
                continue
            pause = account.pause
            if stop_reason is not None or pause is None or self.stop.draining.is_set():
                return stop_reason, False
            if pause.too_long is not None:
                return pause.too_long, True
            account.report_pause(pause)
            while not self.stop.draining.is_set() and self._clock.now() < pause.until:
                remaining = pause.until - self._clock.now()
                self._clock.wait(self.stop.draining, remaining.total_seconds())
            # A person may have changed the branch meanwhile.
            snapshot = self._context.snapshot()

    def _interruption(self) -> str | None:
        """What a signal stopped, None if there was none."""
        if not self.stop.draining.is_set():
            return None
        landed = len(self._observer.landed_tasks)
        return describe_interruption(landed, len(self._account.interrupted_tasks))

    def _report_start(self, snapshot: Snapshot) -> None:
        self._observer.observe(start_event(self._context, snapshot))
        self._observer.plan_read(
            self.run, snapshot, self._context.choice, self._settings.max_attempts
        )

    def _report_end(self, ending: Ending) -> None:
        self._observer.observe(end_event(self._context, ending, self._account.usage))
