"""The state that the events of a journal add up to: pure."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from runner.core.task import PlanSettings
from runner.repo.landing import Landing
from runner.schedule.limit_waits import LimitWaits, UsageLimit

# Every command reads the journal: the models of what only some journals have are
# imported when there is one.
if TYPE_CHECKING:
    from runner.plan.changes import ChangeSet

# How the journal's lines with files begin. They are most of its bytes.
FILES_LINE = b'{"event": "files"'


class WaitingWork(NamedTuple):
    """Finished work that could not reach its branch `target`, on another `branch`."""

    target: str
    branch: str


class Doubt(NamedTuple):
    """A `commit` that came to the branch while a run was in progress and that an agent
    may have made. `old` is the branch's commit before; `reason` says why.
    """

    branch: str
    commit: str
    old: str
    reason: str


class Unrecorded(NamedTuple):
    """Changes of a plan's progress that no commit of the `branch` has yet.

    `progress` is the path of the progress file.
    """

    branch: str
    plan: PlanSettings
    progress: str
    changes: ChangeSet


class State(NamedTuple):
    """The state that the events of the journal add up to.

    `landing` may not have finished, and the landings in `undo` failed and are not undone
    yet, the newest last. `waiting` has at most one entry for a target. `open` are
    the batches, as (run, round), that have started and are not merged; `accepted` those
    that the rolling schedule has merged and not landed yet. `scratch` is the folder of
    workspaces that a crash may have left. `freed` is work that waited when the run's
    batches were chosen and has reached its branch since. `unrecorded` are in the order in
    which they became durable. They, `limits`, which are the usage limits of agents, and
    `doubts`, which a person has to settle, last beyond a run.
    """

    run: str | None = None
    branch: str | None = None
    open: tuple[tuple[str, int], ...] = ()
    accepted: tuple[tuple[str, int], ...] = ()
    landing: Landing | None = None
    undo: tuple[Landing, ...] = ()
    waiting: tuple[WaitingWork, ...] = ()
    scratch: str | None = None
    freed: tuple[WaitingWork, ...] = ()
    unrecorded: tuple[Unrecorded, ...] = ()
    limits: LimitWaits = LimitWaits()
    doubts: tuple[Doubt, ...] = ()

    def after(self, event: Mapping[str, Any]) -> State:
        """The state after one event; those of a newer fanin change nothing.

        KeyError or TypeError if it is not a valid event.
        """
        match event.get("event"):
            case "run":
                return self._replace(
                    run=_text(event["run"]),
                    branch=event["branch"],
                    scratch=event["scratch"],
                )
            case "batch" | "accepted" | "fanned-in" | "closed":
                return self._after_batch_event(event)
            case "landing":
                return self._replace(landing=_landing(event))
            case "waiting" | "freed":
                return self._after_waiting_event(event)
            case "failed" | "requested" | "recorded":
                return self._after_changes(event)
            case "flushed":
                return self._after_flushed(event.get("rounds"))
            case "undone":
                return self._replace(undo=())
            case "limit" | "doubted" | "settled":
                return self._after_lasting_event(event)
            case "end":
                # Work waits on after the run.
                return State(
                    branch=self.branch,
                    waiting=self.waiting,
                    undo=self.undo,
                    unrecorded=self.unrecorded,
                    limits=self.limits,
                    doubts=self.doubts,
                )
        return self

    def _after_lasting_event(self, event: Mapping[str, Any]) -> State:
        if event["event"] == "limit":
            return self._replace(limits=_limits_after(self.limits, event))
        commit = _text(event["commit"])
        doubts = [doubt for doubt in self.doubts if doubt.commit != commit]
        if event["event"] == "doubted":
            branch, old, reason = (
                _text(event[name]) for name in ("branch", "old", "reason")
            )
            doubts.append(Doubt(branch, commit, old, reason))
        return self._replace(doubts=tuple(doubts))

    def _after_batch_event(self, event: Mapping[str, Any]) -> State:
        batch = batch_of(event)
        if event["event"] == "batch":
            return self._replace(open=(*self.open, batch))
        still_open = _without(self.open, batch)
        if event["event"] == "accepted":
            return self._replace(open=still_open, accepted=(*self.accepted, batch))
        # "closed": the rolling schedule may have a landing of other batches in progress
        landing = self.landing if event["event"] == "closed" else None
        accepted = _without(self.accepted, batch)
        return self._replace(open=still_open, accepted=accepted, landing=landing)

    def _after_changes(self, event: Mapping[str, Any]) -> State:
        if event["event"] == "recorded":
            ids = {_text(each) for each in event["ids"]}
            return self._replace(unrecorded=self._without_changes(ids))
        from runner.plan.changes import ChangeSet, parse_changes

        unrecorded = Unrecorded(
            _text(event["branch"]),
            _plan(event["plan"]),
            _text(event["progress"]),
            ChangeSet(_text(event["id"]), parse_changes(event["changes"])),
        )
        others = self._without_changes({unrecorded.changes.id})
        after = self._replace(unrecorded=(*others, unrecorded))
        if event["event"] == "requested":
            return after
        # A batch is over in which nothing landed.
        batch = batch_of(event)
        still_open = _without(self.open, batch)
        return after._replace(open=still_open, accepted=_without(self.accepted, batch))

    def _without_changes(self, ids: Container[str]) -> tuple[Unrecorded, ...]:
        return tuple(each for each in self.unrecorded if each.changes.id not in ids)

    def _after_waiting_event(self, event: Mapping[str, Any]) -> State:
        if event["event"] == "freed":
            return self._after_freed(event)
        target = _text(event["branch"])
        for work in self.waiting:
            # Work that waited already moves on to another branch, for the same target.
            if work.branch == target:
                target = work.target
        others = [work for work in self.waiting if work.target != target]
        waiting = (*others, WaitingWork(target, _text(event["on"])))
        undo = self.undo
        if not event.get("undone", True) and self.landing is not None:
            undo = (*undo, self.landing)
        return self._replace(waiting=waiting, landing=None, undo=undo)

    def _after_freed(self, event: Mapping[str, Any]) -> State:
        freed = [work for work in self.waiting if work.branch == event["branch"]]
        waiting = [work for work in self.waiting if work not in freed]
        return self._replace(waiting=tuple(waiting), freed=(*self.freed, *freed))

    def _after_flushed(self, landed_rounds: Sequence[int] | None) -> State:
        """The batches of these rounds are over."""
        # An older fanin landed all that were accepted, and named none.
        if landed_rounds is None:
            return self._replace(accepted=(), landing=None)
        # A run that finishes a dead one's work lands batches that were open, too.
        still_open, accepted = (
            tuple(batch for batch in batches if batch[1] not in landed_rounds)
            for batches in (self.open, self.accepted)
        )
        return self._replace(open=still_open, accepted=accepted, landing=None)

    def landing_branch(self, branch: str) -> str:
        """The branch that work for `branch` lands on: its waiting branch, if any."""
        for work in self.waiting:
            if work.target == branch:
                return work.branch
        return branch

    def unrecorded_on(self, branch: str, progress: str) -> list[ChangeSet]:
        """The changes that the branch is to record in the progress file at `progress`."""
        found = []
        for each in self.unrecorded:
            target = self.landing_branch_of_batch(each.branch)
            if target == branch and each.progress == progress:
                found.append(each.changes)
        return found

    def landing_branch_of_batch(self, branch: str) -> str:
        """The branch that a batch lands on if it was chosen for `branch`.

        If `branch` held waiting work that has reached its target since, the batch lands
        on the target.
        """
        for freed in self.freed:
            if freed.branch == branch:
                return self.landing_branch(freed.target)
        return self.landing_branch(branch)


def batch_of(event: Mapping[str, Any]) -> tuple[str, int]:
    return _text(event["run"]), _number(event["round"])


def _plan(document: object) -> PlanSettings:
    try:
        return PlanSettings.model_validate(document)
    except ValidationError as error:
        raise TypeError(str(error)) from None


def _landing(event: Mapping[str, Any]) -> Landing:
    occupied = event.get("occupied")  # an older fanin did not know them
    if occupied is not None:
        occupied = tuple(_text(path) for path in occupied)
    branch, old, new = (_text(event[name]) for name in ("branch", "old", "new"))
    return Landing(branch, old, new, occupied)


def limit_event(agent: str, limit: UsageLimit | None) -> dict[str, Any]:
    """The event of an agent's usage limit; None: it has no limit any more."""
    event: dict[str, Any] = {"event": "limit", "agent": agent}
    if limit is not None:
        event["until"] = limit.until.isoformat()
        event["since"] = limit.since.isoformat()
        event["known"] = limit.is_known
        event["repeats"] = limit.repeats
    return event


def _limits_after(limits: LimitWaits, event: Mapping[str, Any]) -> LimitWaits:
    by_agent = dict(limits.limits)
    agent = _text(event["agent"])
    by_agent.pop(agent, None)
    if "until" in event:
        by_agent[agent] = UsageLimit(
            _time(event["until"]),
            _time(event["since"]),
            bool(event["known"]),
            _number(event["repeats"]),
        )
    return LimitWaits(by_agent)


def _time(value: object) -> datetime:
    try:
        time = datetime.fromisoformat(_text(value))
    except ValueError:
        raise TypeError(f"{value!r} is not a time") from None
    if time.tzinfo is None:
        raise TypeError(f"{value!r} has no zone")
    return time


def _without(
    batches: Iterable[tuple[str, int]], batch: tuple[str, int]
) -> tuple[tuple[str, int], ...]:
    return tuple(each for each in batches if each != batch)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not an integer")
    return value


def state_after(state: State, data: bytes) -> State:
    """The state after the events in these lines."""
    lines = data.splitlines()
    # What the files are changes nothing.
    for event in readable_events(
        each for each in lines if not each.startswith(FILES_LINE)
    ):
        # JSON that is not a valid event changes nothing.
        with suppress(KeyError, TypeError):
            state = state.after(event)
    return state


def readable_events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event
