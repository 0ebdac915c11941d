"""Relates a round to the run in the progress file: which run job `next` continues, and
what job `merge` of an earlier round adds to one that has gone on.

GitHub may start the workflow many times while a run is under way: each label event,
each press of the button. None of them brings limits of its own. So a run of the
workflow that was handed no state goes on with the open run of the progress file. After
that has ended, only an event that came later starts a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.actions.round_state import RoundState
from runner.core.errors import UsageProblem
from runner.plan.records import RunRecord

# Events of a pull request that a push causes. A person causes the others.
_PUSHED = {"opened", "synchronize", "reopened"}


@dataclass(frozen=True)
class JoinedRun:
    """The state of the round to start, a sentence on where it comes from ("" if it is
    as handed over), and until when no agent may start.
    """

    state: RoundState
    note: str = ""
    waits_until: str | None = None


def join_run(
    state: RoundState,
    recorded: RunRecord | None,
    recorded_at_event: Callable[[], RunRecord | None],
) -> JoinedRun:
    """Decide which run the round belongs to.

    `recorded` is the run in the progress file at the branch's head;
    `recorded_at_event` reads the one at the commit that the event was about. Raises
    UsageProblem if `state` is of a run that another one has replaced.
    """
    if recorded is None:
        return JoinedRun(state)
    if state.round > 1:
        return _handed_over(state, recorded)
    if recorded.ended is None:
        return JoinedRun(
            _state_after(recorded, state),
            f"going on with run {recorded.id}, which has not ended: its round "
            f"{recorded.round} landed, and the next one waits behind this run or was "
            f"evicted, cancelled or failed (${recorded.spent_usd:.2f} spent)",
            recorded.waits_until,
        )
    if recorded_at_event() == recorded:
        return JoinedRun(state)
    return JoinedRun(
        _state_after(recorded, state),
        f"this was asked for before run {recorded.id} ended ({recorded.ended}), so its "
        f"limits hold (${recorded.spent_usd:.2f} spent); start it again for a new run",
    )


def _handed_over(state: RoundState, recorded: RunRecord) -> JoinedRun:
    """The state of a later round, brought up to date."""
    if recorded.id == state.run:
        if recorded.round < state.round:
            return JoinedRun(state)
        return JoinedRun(
            _state_after(recorded, state),
            f"round {recorded.round} of run {recorded.id} has landed meanwhile",
        )
    if recorded.ended is not None:
        # The run that was handed over has not landed anything yet.
        return JoinedRun(state)
    raise UsageProblem(
        f"fanin-state is of run {state.run}, but run {recorded.id} has taken over",
        "nothing to do: that run goes on. To start anew, leave this input empty",
    )


@dataclass(frozen=True)
class RunAtHead:
    """The run of a batch as the head to land on knows it.

    `state` has what the run has spent so far. `replaced_by`: the run that has landed
    since the batch was chosen; None if it is still this one.
    """

    state: RoundState
    replaced_by: RunRecord | None = None


def run_at_head(
    state: RoundState, at_base: RunRecord | None, at_head: RunRecord | None
) -> RunAtHead:
    """Bring the state of a round up to date before its batch lands.

    `at_base` is the run in the progress file that the batch was chosen on, `at_head`
    that at the head. They differ if jobs are run again after later rounds.
    """
    if at_head is None:
        return RunAtHead(state)
    if at_head.id != state.run:
        is_new = at_base is None or at_base.id != at_head.id
        return RunAtHead(state, replaced_by=at_head if is_new else None)
    if at_head.round < state.round:
        return RunAtHead(state)
    # The recorded round is the latest one, so that the next one follows it.
    later = _state_after(at_head, state)
    return RunAtHead(later.model_copy(update={"round": at_head.round}))


def _state_after(recorded: RunRecord, state: RoundState) -> RoundState:
    """The state of the round after the recorded one."""
    return state.model_copy(
        update={
            "run": recorded.id,
            "round": recorded.round + 1,
            "inputs": recorded.inputs,
            "spent_usd": recorded.spent_usd,
            "dearest_usd": recorded.dearest_usd,
            "merged": recorded.merged,
            "slots": recorded.slots,
            "limited": recorded.limited,
            "limits": recorded.limits,
        }
    )


def record_of(
    state: RoundState, *, ended: str | None, waits_until: str | None
) -> RunRecord:
    """The record of a run whose round `state` lands."""
    return RunRecord(
        id=state.run,
        round=state.round,
        spent_usd=state.spent_usd,
        dearest_usd=state.dearest_usd,
        inputs=state.inputs,
        merged=state.merged,
        slots=state.slots,
        limited=state.limited,
        limits=state.limits,
        ended=ended,
        waits_until=waits_until,
    )


def is_own_push(
    event_name: str, action: str, message: str, recorded: RunRecord | None
) -> bool:
    """Whether the event is about a commit that a run on GitHub Actions pushed.

    `message` and `recorded` are the head commit's. Who pushed it does not matter: a
    token of the user's own starts runs at once, GITHUB_TOKEN those that wait for an
    approval.
    """
    is_push = event_name == "push" or (
        event_name == "pull_request" and action in _PUSHED
    )
    if not is_push or recorded is None:
        return False
    return f"Fanin-Run: {recorded.id}" in message.splitlines()
