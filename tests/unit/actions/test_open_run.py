from __future__ import annotations

import pytest

from runner.actions.open_run import (
    JoinedRun,
    RunAtHead,
    is_own_push,
    join_run,
    record_of,
    run_at_head,
)
from runner.actions.round_state import RoundState
from runner.core.errors import UsageProblem
from runner.plan.records import RunRecord

OPEN = RunRecord(
    id="1",
    round=3,
    spent_usd=1.5,
    dearest_usd=0.5,
    inputs={"max_cost_usd": "5"},
    slots=2,
    limited=1,
    merged={"1.3": 1},
)
ENDED = OPEN.model_copy(update={"ended": "no task is ready"})
NEW = RoundState(run="9", branch="main", pull_request=4)
# What run 1 hands to its round 4.
HANDED = RoundState(run="1", round=4, branch="main", spent_usd=1.5)


def join(
    state: RoundState, recorded: RunRecord | None, at_event: RunRecord | None = None
) -> JoinedRun:
    return join_run(state, recorded, lambda: at_event)


@pytest.mark.parametrize("state", [NEW, HANDED])
def test_without_a_recorded_run_the_state_is_as_handed_over(state: RoundState) -> None:
    assert join(state, None) == JoinedRun(state)


def test_a_run_without_state_goes_on_with_the_open_run_and_its_limits() -> None:
    joined = join(NEW, OPEN, OPEN)
    assert joined.state == RoundState(
        run="1",
        round=4,
        branch="main",
        pull_request=4,
        inputs={"max_cost_usd": "5"},
        spent_usd=1.5,
        dearest_usd=0.5,
        slots=2,
        limited=1,
        merged={"1.3": 1},
    )
    assert "going on with run 1" in joined.note
    assert "its round 3 landed" in joined.note
    assert "$1.50" in joined.note


def test_a_run_without_state_waits_as_the_open_run_does() -> None:
    waiting = OPEN.model_copy(update={"waits_until": "2026-01-01T00:00:00.000Z"})
    assert join(NEW, waiting).waits_until == "2026-01-01T00:00:00.000Z"
    # Job `continue` has waited before it handed the state on.
    assert join(HANDED, waiting).waits_until is None


def test_an_event_after_the_end_starts_a_new_run() -> None:
    assert join(NEW, ENDED, ENDED) == JoinedRun(NEW)


@pytest.mark.parametrize("at_event", [None, OPEN, OPEN.model_copy(update={"round": 1})])
def test_an_event_before_the_end_brings_no_limits_of_its_own(
    at_event: RunRecord | None,
) -> None:
    joined = join(NEW, ENDED, at_event)
    assert (joined.state.run, joined.state.round, joined.state.spent_usd) == (
        "1",
        4,
        1.5,
    )
    assert "before run 1 ended (no task is ready)" in joined.note
    assert "start it again" in joined.note


def test_a_round_as_handed_over_keeps_its_state() -> None:
    assert join(HANDED, OPEN) == JoinedRun(HANDED)


def test_an_outdated_state_of_the_same_run_is_brought_up_to_date() -> None:
    later = OPEN.model_copy(update={"round": 7, "spent_usd": 4.0})
    joined = join(HANDED, later)
    assert (joined.state.round, joined.state.spent_usd) == (8, 4.0)
    assert "round 7 of run 1 has landed meanwhile" in joined.note


def test_the_state_of_a_run_that_another_replaced_is_refused() -> None:
    foreign = HANDED.model_copy(update={"run": "5"})
    with pytest.raises(UsageProblem, match="of run 5, but run 1 has taken over"):
        join(foreign, OPEN)


def test_a_later_round_of_a_run_that_has_not_landed_yet_is_not_foreign() -> None:
    unlanded = HANDED.model_copy(update={"run": "5", "round": 2})
    assert join(unlanded, ENDED) == JoinedRun(unlanded)


def test_what_is_recorded_is_what_a_later_run_goes_on_with() -> None:
    changes = {"inputs": {"plan": "a.yml"}, "slots": 3, "merged": {"1.4": 2}}
    state = HANDED.model_copy(update=changes)
    record = record_of(state, ended=None, waits_until=None)
    assert join(NEW, record).state == state.model_copy(
        update={"round": 5, "pull_request": 4}
    )


# The state that job `merge` of round 2 of run 1 was given.
EARLIER = HANDED.model_copy(update={"round": 2, "spent_usd": 0.5})


@pytest.mark.parametrize("at_head", [None, OPEN, ENDED])
def test_a_round_that_lands_in_its_turn_keeps_its_state(
    at_head: RunRecord | None,
) -> None:
    assert run_at_head(HANDED, OPEN, at_head) == RunAtHead(HANDED)
    # The first round of a run finds the one before it.
    assert run_at_head(NEW, at_head, at_head) == RunAtHead(NEW)


@pytest.mark.parametrize("at_head", [OPEN, ENDED])
def test_a_round_that_lands_again_has_what_later_rounds_have_spent(
    at_head: RunRecord,
) -> None:
    before = OPEN.model_copy(update={"round": 1, "spent_usd": 0.5})
    found = run_at_head(EARLIER, before, at_head)
    assert found.replaced_by is None
    assert (found.state.round, found.state.spent_usd, found.state.dearest_usd) == (
        3,
        1.5,
        0.5,
    )
    assert (found.state.slots, found.state.limited) == (2, 1)
    # Round 4 follows, not another round 3.
    assert found.state.next_round("main").round == 4


@pytest.mark.parametrize("at_base", [None, OPEN])
def test_a_round_of_a_run_that_another_has_replaced_is_told_of_it(
    at_base: RunRecord | None,
) -> None:
    other = ENDED.model_copy(update={"id": "2"})
    assert run_at_head(EARLIER, at_base, other).replaced_by == other


MESSAGE = "T1: do it\n\nFanin-Run: 1\nFanin-Batch: 1.3\n"


@pytest.mark.parametrize(
    ("event", "action", "message", "recorded", "own"),
    [
        ("pull_request", "synchronize", MESSAGE, OPEN, True),
        ("pull_request", "opened", MESSAGE, ENDED, True),
        ("push", "", MESSAGE, OPEN, True),
        ("pull_request", "labeled", MESSAGE, OPEN, False),
        ("workflow_dispatch", "", MESSAGE, OPEN, False),
        ("pull_request", "synchronize", "T1: do it\n", OPEN, False),
        ("pull_request", "synchronize", MESSAGE, None, False),
        ("pull_request", "synchronize", "x\n\nFanin-Run: 12\n", OPEN, False),
        ("pull_request", "synchronize", "see Fanin-Run: 1\n", OPEN, False),
    ],
)
def test_a_push_of_a_recorded_run_is_known_by_its_head_commit(
    event: str, action: str, message: str, recorded: RunRecord | None, own: bool
) -> None:
    assert is_own_push(event, action, message, recorded) is own
