"""The usage limits that agents have met, and when each agent may start again.

With a known reset, all agents go on shortly after it. Without one, or where the limit
is met again, one agent asks alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from runner.core.result import (
    MAX_LIMIT_DAYS,
    Failure,
    FailureKind,
    RecordedLimit,
)

if TYPE_CHECKING:
    from runner.core.manifest import BatchEntry

# How long nothing starts after a limit that says no reset which counts.
ASK_AGAIN = timedelta(minutes=15)
# Clocks differ by a little; an agent that starts too early meets the limit again.
MARGIN = timedelta(seconds=15)
# The shortest wait after a limit that is met again; it doubles up to ASK_AGAIN.
_FIRST_REPEAT = timedelta(minutes=1)
_MAX_DOUBLINGS = 10


class UsageLimit(NamedTuple):
    """A limit of one agent: it does not start before `until`.

    `since` is when it was met first, `is_known` whether the agent said the reset, and
    `repeats` how often it was met again since, without an answer in between. Times are
    in UTC.
    """

    until: datetime
    since: datetime
    is_known: bool
    repeats: int = 0

    @property
    def asks_alone(self) -> bool:
        """Whether only one agent may find out if the limit has reset."""
        return not self.is_known or self.repeats > 0


class LimitWaits(NamedTuple):
    """The limits by agent (`AgentSettings.label`)."""

    limits: Mapping[str, UsageLimit] = MappingProxyType({})

    def is_waiting(self, agent: str, now: datetime) -> bool:
        """Whether the agent may not start now."""
        limit = self.limits.get(agent)
        return limit is not None and now < limit.until

    def asks_alone(self, agent: str) -> bool:
        """Whether at most one such agent may run."""
        limit = self.limits.get(agent)
        return limit is not None and limit.asks_alone

    def met(self, agent: str, resets: datetime | None, now: datetime) -> LimitWaits:
        """The waits once the agent has met a limit that resets then; None: unknown.

        A reset may be past by the time that a dead run's result is read.
        """
        if resets is not None and resets > now + timedelta(days=MAX_LIMIT_DAYS):
            resets = None
        before = self.limits.get(agent)
        if before is None:
            limit = _first(resets, now)
        elif now < before.until:
            limit = _also_met(before, resets)
        else:
            limit = _met_again(before, resets, now)
        return LimitWaits({**self.limits, agent: limit})

    def after_batch(
        self,
        entries: Iterable[BatchEntry],
        landed: Collection[str],
        failed: Mapping[str, Failure],
        now: datetime,
    ) -> LimitWaits:
        """The waits once these attempts are merged, or refused (task id → why)."""
        waits = self
        for entry in entries:
            agent, failure = entry.agent.label, failed.get(entry.task.id)
            if failure is not None and failure.kind is FailureKind.USAGE_LIMIT:
                waits = waits.met(agent, reset_of(failure), now)
            elif entry.task.id in landed or (failure is not None and failure.counted):
                waits = waits.answered(agent, now)
        return waits

    @classmethod
    def of(cls, recorded: Mapping[str, RecordedLimit]) -> LimitWaits:
        """The waits that `recorded` returned."""
        limits = {}
        for agent, limit in recorded.items():
            until, since = _time(limit.until), _time(limit.since)
            limits[agent] = UsageLimit(until, since, limit.known, limit.repeats)
        return cls(limits)

    def recorded(self) -> dict[str, RecordedLimit]:
        """The waits as documents have them."""
        recorded = {}
        for agent, limit in self.limits.items():
            recorded[agent] = RecordedLimit(
                until=limit.until.isoformat(timespec="milliseconds"),
                since=limit.since.isoformat(timespec="milliseconds"),
                known=limit.is_known,
                repeats=limit.repeats,
            )
        return recorded

    def answered(self, agent: str, now: datetime) -> LimitWaits:
        """The waits once the agent has worked, or failed for another reason.

        One that started before the limit says nothing about its reset.
        """
        if agent not in self.limits or self.is_waiting(agent, now):
            return self
        return LimitWaits(_without(self.limits, agent))

    def in_a_new_run(self, now: datetime) -> LimitWaits:
        """The waits as a later run takes them over: it waits for its own time."""
        kept = {}
        for agent, limit in self.limits.items():
            if now < limit.until or limit.asks_alone:
                kept[agent] = UsageLimit(
                    limit.until, now, limit.is_known, limit.repeats
                )
        return LimitWaits(kept)


def reset_of(failure: Failure) -> datetime | None:
    """When the usage limit of a failure ends; None if that is unknown."""
    return None if failure.resets_at is None else _time(failure.resets_at)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _first(resets: datetime | None, now: datetime) -> UsageLimit:
    if resets is None:
        return UsageLimit(_utc(now + ASK_AGAIN), now, is_known=False)
    return UsageLimit(_utc(resets + MARGIN), now, is_known=True)


def _also_met(before: UsageLimit, resets: datetime | None) -> UsageLimit:
    """The limit that another agent, which ran beside the first, has met too."""
    if resets is None:
        return before
    until = _utc(resets + MARGIN)
    if before.is_known:
        until = max(until, before.until)
    return UsageLimit(until, before.since, is_known=True, repeats=before.repeats)


def _met_again(
    before: UsageLimit, resets: datetime | None, now: datetime
) -> UsageLimit:
    repeats = before.repeats + 1
    if resets is not None and _is_a_day_after(resets, before.until):
        # "resets 10:30pm", met again at 10:30pm, is not tomorrow's: minutes are rounded.
        resets = None
    doublings = min(before.repeats, _MAX_DOUBLINGS)
    until = now + min(ASK_AGAIN, _FIRST_REPEAT * 2**doublings)
    if resets is None:
        until = now + ASK_AGAIN
    else:
        until = max(until, resets + MARGIN)
    return UsageLimit(_utc(until), before.since, resets is not None, repeats)


def _is_a_day_after(resets: datetime, until: datetime) -> bool:
    difference = resets - (until - MARGIN) - timedelta(days=1)
    return abs(difference) < timedelta(minutes=1)


def _without(limits: Mapping[str, UsageLimit], agent: str) -> dict[str, UsageLimit]:
    return {name: limit for name, limit in limits.items() if name != agent}


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)
