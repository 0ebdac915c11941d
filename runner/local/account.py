"""Accounts for what a run has spent and achieved, and decides whether and when it goes
on.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from runner.core.clock import LONGEST_WAIT, Clock, local_time
from runner.core.documents import duration_text
from runner.core.events import Waiting
from runner.core.result import FailureKind, Result
from runner.schedule.agent_choice import AgentChoice
from runner.schedule.backoff import Backoff
from runner.schedule.budget import Budget, UsageTotal
from runner.schedule.first_failures import FirstFailures
from runner.schedule.limit_waits import LimitWaits, reset_of
from runner.schedule.manifest import agents_of

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.core.manifest import Manifest
    from runner.core.task import AgentSettings, Plan
    from runner.fan_in.outcome import FanIn
    from runner.local.journal import Journal
    from runner.local.observer import MaskingObserver
    from runner.plan.snapshot import Snapshot
    from runner.schedule.task_choice import TaskChoice

_SHORTEST_WAIT = 0.5  # seconds


class Pause(NamedTuple):
    """Nothing starts before `until`, for the `reason` given.

    `agent` is the one whose usage limit is the reason, if one is. `too_long` says why
    the run ends instead of waiting, or None.
    """

    until: datetime
    reason: str
    agent: str | None = None
    too_long: str | None = None


class RunAccount:
    """The budget, the usage and the limits of one run, batch after batch."""

    def __init__(
        self,
        settings: Settings,
        observer: MaskingObserver,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.usage = UsageTotal()
        # those whose last attempt was interrupted, or chosen and never started
        self.interrupted_tasks: set[str] = set()
        # Whether the last batch met usage limits and did nothing else.
        self.only_met_limits = False
        self._settings, self._observer = settings, observer
        self._journal, self._clock = journal, clock
        self._budget = Budget(settings.limits.max_cost_usd)
        self._backoff = Backoff.full(settings.slots)
        self._backoff_pause: Pause | None = None
        self._holding_back: Pause | None = None  # at the last look
        self._limits = LimitWaits()
        # batches of one task whose limit is recorded before they are merged
        self._noted: set[str] = set()
        self._choice: AgentChoice | None = None
        self._reported: Pause | None = None
        self._first_failures = FirstFailures()

    @property
    def budget(self) -> Budget:
        return self._budget

    @property
    def slots(self) -> int:
        """The number of agents that may run at once now."""
        return self._backoff.agents

    def resume_limits(self) -> None:
        """Take over the usage limits that earlier runs met."""
        before = self._journal.state().limits
        self._limits = before.in_a_new_run(self._clock.now())
        gone = LimitWaits(
            {
                agent: limit
                for agent, limit in before.limits.items()
                if agent not in self._limits.limits
            }
        )
        self._journal.record_limits(gone, LimitWaits())

    def choose_agents(
        self, plan: Plan, running: Iterable[AgentSettings] = ()
    ) -> AgentChoice:
        """The agents for the tasks to start now; `running` are those at work."""
        self._choice = AgentChoice(
            partial(agents_of, plan=plan, settings=self._settings),
            self._limits,
            running,
            self._clock.now(),
        )
        return self._choice

    def account_for_batch(
        self, manifest: Manifest, fan_in: FanIn, *, moved: bool
    ) -> str | None:
        """Count what a batch cost and achieved.

        Returns why no more tasks should start, or None. Continuing makes sense if work
        was merged, if a failed attempt counted, or if the branch `moved`, so that the
        next batch has a different base. If only a rate limit prevents progress, the run
        tries again for a while; after a usage limit it waits (`pause`). On a branch that
        has become red no work could land, unless the settings say to start there.
        """
        self._budget = self._budget.after(manifest, fan_in.results)
        self.usage = self.usage.plus(fan_in.results)
        self._note_interrupted(manifest, fan_in)
        self._note_limits(manifest, fan_in)
        failures = fan_in.failed.values()
        kinds = {failure.kind for failure in failures}
        counted = any(failure.counted for failure in failures)
        limited = FailureKind.RATE_LIMIT in kinds
        progressed = bool(fan_in.landed) or counted or moved
        self.only_met_limits = not progressed and kinds == {FailureKind.USAGE_LIMIT}
        if self.only_met_limits:
            return None
        self._backoff = self._backoff.after(limited=limited, progressed=progressed)
        self._backoff_pause = self._pause_of_backoff()
        stop_reason = None
        if limited and not progressed:
            stop_reason = self._backoff.stop_reason()
        elif not progressed and FailureKind.USAGE_LIMIT not in kinds:
            stop_reason = "no task in this batch made progress"
        stop_reason = self.red_branch(manifest.branch, kinds) or stop_reason
        if stop_reason is None:
            stop_reason = self._agent_is_wrong(manifest, fan_in)
        if stop_reason is None and self._backoff_pause is not None:
            self.report_pause(self._backoff_pause)
        return stop_reason

    def red_branch(self, branch: str, kinds: Collection[FailureKind]) -> str | None:
        """Why no more tasks should start after failures of these kinds: on the branch as
        it is now nothing could land.
        """
        is_checked = self._settings.verify_base == "check"
        if not is_checked or FailureKind.BASE_RED not in kinds:
            return None
        return f"{branch} is red without the work of any task; fix it, then  fanin run"

    def _agent_is_wrong(self, manifest: Manifest, fan_in: FanIn) -> str | None:
        """Why no more tasks should start: all that began the run failed at once."""
        tasks = [entry.task.id for entry in manifest.entries]
        self._first_failures = self._first_failures.after(
            tasks, fan_in.failed, fan_in.results
        )
        return self._first_failures.stop_reason(self.slots)

    def _note_interrupted(self, manifest: Manifest, fan_in: FanIn) -> None:
        for entry in manifest.entries:
            task_id = entry.task.id
            self.interrupted_tasks.discard(task_id)
            if task_id in fan_in.landed:
                continue
            failure = fan_in.failed.get(task_id)
            if failure is None or failure.kind is FailureKind.INTERRUPTED:
                self.interrupted_tasks.add(task_id)

    def _note_limits(self, manifest: Manifest, fan_in: FanIn) -> None:
        """Record which agents have met a usage limit, and which work again."""
        if manifest.batch in self._noted:
            self._noted.remove(manifest.batch)
            return
        limits = self._limits.after_batch(
            manifest.entries, fan_in.landed, fan_in.failed, self._clock.now()
        )
        self._set_limits(limits)

    def note_limit(self, manifest: Manifest, result: Result | None) -> None:
        """Record at once, before the result is merged, that it met a usage limit."""
        if result is None or result.failure is None:
            return
        if result.failure.kind is FailureKind.USAGE_LIMIT:
            self._noted.add(manifest.batch)
            agent = manifest.entries[0].agent.label
            now, resets = self._clock.now(), reset_of(result.failure)
            self._set_limits(self._limits.met(agent, resets, now))

    def _set_limits(self, limits: LimitWaits) -> None:
        self._journal.record_limits(self._limits, limits)
        self._limits = limits

    def cost_limit_reached(self, snapshot: Snapshot, choice: TaskChoice) -> str | None:
        """The message that the cost limit stops all ready tasks, or None."""
        reason = self._budget.stop_reason()
        if reason is None:
            return None
        standings = choice.standings(snapshot, self._settings.max_attempts)
        return reason if snapshot.graph.ready(standings) else None

    def reserve(self, manifests: list[Manifest]) -> Budget:
        """The budget without the shares of these running batches of one task."""
        reserved_usd = 0.0
        for manifest in manifests:
            reserved_usd += manifest.entries[0].reserved_usd or 0.0
        spent_usd = self._budget.spent_usd + reserved_usd
        return self._budget._replace(spent_usd=spent_usd)

    # -- pauses --

    def holds_back(self) -> bool:
        """Whether a rate limit lets nothing start now. Then `pause` says so until the
        next look: by the time somebody asks what held the run back, that may be over.
        """
        pause = self._backoff_pause
        is_on = pause is not None and self._clock.now() < pause.until
        self._holding_back = pause if is_on else None
        return is_on

    @property
    def is_held_back(self) -> bool:
        """What the last `holds_back` has said."""
        return self._holding_back is not None

    @property
    def pause(self) -> Pause | None:
        """What the tasks that are ready wait for; None if they can start or none is.

        It goes by the last choice of agents, and by the last `holds_back`.
        """
        if self._holding_back is not None:
            return self._holding_back
        next_start = self._choice.next_start if self._choice else None
        if next_start is None:
            return None
        until, agent = next_start
        when = local_time(until, self._clock.now())
        limit = self._limits.limits[agent]
        reached = f"the usage limit of {agent} is reached"
        if not limit.is_known:
            reached += " (when it resets is unknown)"
        return Pause(
            until,
            f"{reached}: waiting until {when}; Ctrl-C ends the run",
            agent,
            self._too_long(agent, reached, when),
        )

    @property
    def seconds_of_pause(self) -> float | None:
        """How long to wait at most for something else to happen; None without a pause."""
        pause = self.pause
        if pause is None:
            return None
        seconds = (pause.until - self._clock.now()).total_seconds()
        # Where all slots are in use, the pause may be over and nothing can start.
        return min(max(seconds, _SHORTEST_WAIT), LONGEST_WAIT)

    def report_pause(self, pause: Pause) -> None:
        """Report what the run waits for, once."""
        if pause == self._reported:
            return
        self._reported = pause
        seconds = max(0.0, (pause.until - self._clock.now()).total_seconds())
        until = None
        if pause.agent is not None:
            until = f"{pause.until:%Y-%m-%dT%H:%M:%SZ}"
        self._observer.observe(
            Waiting(seconds=seconds, reason=pause.reason, until=until)
        )

    def _too_long(self, agent: str, reached: str, when: str) -> str | None:
        """Why the run ends instead of waiting for the agent's limit, or None."""
        limit = self._limits.limits[agent]
        go_on = f"to go on after {when}:  fanin run"
        if self._settings.on_limit == "stop":
            if limit.is_known:
                reached += f" until {when}"
            return f"{reached}, and on_limit is stop; {go_on}"
        longest = self._settings.on_limit_max
        if limit.until - limit.since <= timedelta(seconds=longest):
            return None
        return (
            f"{reached}, and waiting until {when} would be longer than on_limit_max "
            f"({duration_text(longest)}); {go_on}"
        )

    def _pause_of_backoff(self) -> Pause | None:
        seconds = self._backoff.pause_seconds(random.random)  # no secret: jitter
        if not seconds:
            return None
        reason = (
            f"rate limit or overload: waiting {seconds:.0f} s, "
            f"then {self.slots} at a time"
        )
        return Pause(self._clock.now() + timedelta(seconds=seconds), reason)
