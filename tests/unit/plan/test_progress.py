"""State changes that are legal, the one rule of staleness, and a file that git can
merge.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.result import Failure, FailureKind, Result, Usage
from runner.core.task import Standing, Status
from runner.plan import progress
from runner.plan.progress import KEPT_TAIL, Progress, Record
from tests.support.builders import plan, problems, quick, result, task

FAILED, DONE, PENDING = Status.FAILED, Status.COMPLETED, Status.PENDING
ERROR = Failure(
    kind=FailureKind.AGENT_ERROR, message="it broke", log_tail="end of the log"
)


def _having(**record: Any) -> Progress:
    return Progress("tasks.yml", {"T1": Record(**record)})


def _result(attempt: int = 1, **fields: Any) -> Result:
    return result(attempt=attempt, **fields)


@pytest.mark.parametrize(
    ("record", "fields", "standing"),
    [
        ({}, {}, Standing.OPEN),
        ({"status": "in_progress"}, {}, Standing.OPEN),
        ({"status": "completed"}, {}, Standing.COMPLETED),
        ({"status": "completed", "skipped": True}, {}, Standing.COMPLETED),
        ({"status": "failed", "attempts": 1}, {}, Standing.OPEN),
        ({"status": "failed", "attempts": 2}, {}, Standing.OPEN),
        ({"status": "failed", "attempts": 3}, {}, Standing.STUCK),
        ({"status": "failed", "attempts": 3, "allowed": 4}, {}, Standing.OPEN),
        ({"status": "failed", "attempts": 4, "allowed": 4}, {}, Standing.STUCK),
        ({"status": "failed", "attempts": 1}, {"max_attempts": 1}, Standing.STUCK),
        ({"status": "failed", "attempts": 5}, {"max_attempts": 9}, Standing.OPEN),
        ({"status": "failed", "attempts": 1, "final": True}, {}, Standing.STUCK),
        ({"skipped": True}, {}, Standing.STUCK),
        ({"held": "fanin/r1"}, {}, Standing.STUCK),
    ],
    ids=str,
)
def test_a_task_is_open_until_it_is_completed_or_nothing_more_will_be_tried(
    record: dict[str, Any], fields: dict[str, Any], standing: Standing
) -> None:
    one = task(**fields)
    assert _having(**record).standing(one, 3) is standing
    assert _having(**record).standings(plan(one), 3) == {"T1": standing}


@pytest.mark.parametrize(
    ("record", "marks", "status", "skipped"),
    [
        (None, {}, PENDING, False),
        (None, {"source_status": DONE}, DONE, False),
        (None, {"source_status": FAILED}, FAILED, False),
        (None, {"source_status": Status.IN_PROGRESS}, PENDING, False),
        (None, {"skipped": True}, PENDING, True),
        # a person ticked it
        (
            Record(attempts=1, status=FAILED, error=ERROR),
            {"source_status": DONE},
            DONE,
            False,
        ),
        (Record(attempts=1, status=DONE), {"source_status": PENDING}, DONE, False),
        (
            Record(attempts=1, status=FAILED),
            {"source_status": Status.IN_PROGRESS},
            FAILED,
            False,
        ),
        # a person put it off
        (Record(attempts=1, status=FAILED), {"skipped": True}, FAILED, True),
        (Record(skipped=False), {"skipped": True}, PENDING, False),
    ],
    ids=repr,
)
def test_a_record_outranks_the_plans_marks_save_a_tick(
    record: Record | None, marks: dict[str, Any], status: Status, skipped: bool
) -> None:
    found = Progress("p", {} if record is None else {"T1": record}).record(
        task(**marks)
    )
    assert (found.status, bool(found.skipped)) == (status, skipped)
    assert found.attempts == (record.attempts if record else 0)
    assert status is not DONE or found.error is None


def test_a_completed_attempt_leaves_its_times_and_what_the_agent_said() -> None:
    before = _having(status=FAILED, attempts=1, error=ERROR)
    usage = Usage(summary="done it", tokens=7)
    record = before.after_success(task(), _result(2, usage=usage)).record(task())
    assert (record.status, record.attempts, record.error, record.seconds) == (
        DONE,
        2,
        None,
        30.5,
    )
    assert (record.started, record.finished) == (
        "2026-01-02T03:04:05.000Z",
        "2026-01-02T03:04:35.500Z",
    )
    assert (record.agent, record.summary) == ("agent", "done it")
    assert before.record(task()).status is FAILED


def test_a_failed_attempt_leaves_the_error_for_the_next_one() -> None:
    record = _having().after_failure(task(), 1, ERROR, None).record(task())
    assert (record.status, record.attempts, record.error, record.final) == (
        FAILED,
        1,
        ERROR,
        False,
    )


@pytest.mark.parametrize("retryable", [True, False])
def test_a_failure_that_no_retry_can_mend_is_final(retryable: bool) -> None:
    failure = ERROR.model_copy(update={"retryable": retryable})
    after = _having().after_failure(task(), 1, failure, _result())
    assert after.standing(task(), 3) is (Standing.OPEN if retryable else Standing.STUCK)


def test_only_the_end_of_a_long_log_travels_with_the_branch() -> None:
    failure = ERROR.model_copy(update={"log_tail": "x" * KEPT_TAIL + "the end"})
    kept = _having().after_failure(task(), 1, failure, None).record(task()).error
    assert kept is not None
    assert len(kept.log_tail) == KEPT_TAIL
    assert kept.log_tail.endswith("the end")


@pytest.mark.parametrize(
    "kind", [FailureKind.INTERRUPTED, FailureKind.RATE_LIMIT, FailureKind.STALE]
)
def test_an_attempt_that_is_not_the_tasks_fault_changes_nothing(
    kind: FailureKind,
) -> None:
    before = _having(status=FAILED, attempts=1, error=ERROR)
    assert (
        before.after_failure(task(), 2, Failure(kind=kind, message="x"), _result(2))
        == before
    )


@pytest.mark.parametrize(
    ("record", "attempt"),
    [
        ({}, 2),
        ({}, 0),
        ({"attempts": 2, "status": "failed"}, 2),
        ({"attempts": 2, "status": "failed"}, 4),
        ({"attempts": 1, "status": "completed"}, 2),
    ],
    ids=str,
)
def test_an_attempt_that_does_not_follow_the_recorded_ones_is_refused(
    record: dict[str, Any], attempt: int
) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        _having(**record).after_success(task(), _result(attempt))
    with pytest.raises(ValueError, match="does not follow"):
        _having(**record).after_failure(task(), attempt, ERROR, None)


@pytest.mark.parametrize(
    ("costs", "total"),
    [
        ([0.5], 0.5),
        ([0.0], 0.0),
        ([None], None),
        ([0.5, 0.25], 0.75),
        ([0.5, None], None),
        ([None, 0.5], None),
        ([0.5, None, 0.5], None),
    ],
)
@pytest.mark.parametrize("succeeds", [True, False])
def test_a_cost_is_the_sum_of_all_attempts_and_unknown_is_never_zero(
    costs: list[float | None], total: float | None, succeeds: bool
) -> None:
    now = _having()
    for attempt, cost in enumerate(costs, 1):
        usage = Usage(cost_usd=cost, tokens=None if cost is None else int(cost * 100))
        if succeeds and attempt == len(costs):
            now = now.after_success(task(), _result(attempt, usage=usage))
        else:
            now = now.after_failure(
                task(), attempt, ERROR, _result(attempt, usage=usage, failure=ERROR)
            )
    assert now.record(task()).cost_usd == total
    assert now.record(task()).tokens == (None if total is None else total * 100)


def test_an_attempt_that_left_nothing_makes_the_cost_unknown() -> None:
    now = _having(attempts=1, status=FAILED, cost_usd=0.5).after_failure(
        task(), 2, ERROR, None
    )
    assert now.record(task()).cost_usd is None


@pytest.mark.parametrize(
    ("record", "limit"),
    [
        ({"status": "failed", "attempts": 3}, 4),
        ({"status": "failed", "attempts": 5, "allowed": 5}, 6),
        ({"status": "failed", "attempts": 1, "final": True}, 3),
        ({"status": "pending", "skipped": True}, 3),
        ({"status": "pending", "held": "fanin/r1"}, 3),
        ({"status": "completed", "attempts": 1}, 3),
        ({"status": "completed", "attempts": 3}, 4),
        ({"status": "completed", "attempts": 0, "skipped": True}, 3),
    ],
    ids=str,
)
def test_retry_opens_a_task_whatever_its_state_and_keeps_its_attempts(
    record: dict[str, Any], limit: int
) -> None:
    before = _having(**record)
    after = before.with_retry(task(), 3)
    assert after.standing(task(), 3) is Standing.OPEN
    assert after.record(task()).attempts == before.record(task()).attempts
    assert after.attempt_limit(task(), 3) == limit


@pytest.mark.parametrize(
    ("satisfied", "standing"), [(False, Standing.STUCK), (True, Standing.COMPLETED)]
)
def test_a_skipped_task_satisfies_its_dependents_only_when_that_is_said(
    satisfied: bool, standing: Standing
) -> None:
    after = _having(status=FAILED, attempts=2).with_skip(task(), satisfied=satisfied)
    assert after.standing(task(), 3) is standing
    assert after.record(task()).attempts == 2


def test_a_mark_that_the_plan_takes_away_skips_nothing_any_more() -> None:
    put_off, plain = task(skipped=True), task()
    known = Progress("p").with_every_task([put_off])
    assert known.standing(put_off, 3) is Standing.STUCK
    assert known.standing(plain, 3) is Standing.OPEN
    assert (
        known.with_retry(put_off, 3).with_every_task([put_off]).standing(put_off, 3)
        is Standing.OPEN
    )


@pytest.mark.parametrize("satisfied", [False, True])
def test_skipping_a_completed_task_does_not_take_its_work_back(satisfied: bool) -> None:
    after = _having(status=DONE, attempts=1).with_skip(task(), satisfied=satisfied)
    assert after.standing(task(), 3) is Standing.COMPLETED


_DEED = st.sampled_from(
    ["completed", "failed", "final", "died", "stale", "retried", "skip", "satisfied"]
)


@quick
@given(st.lists(_DEED, max_size=12))
def test_attempts_are_never_lowered_and_no_attempt_is_counted_twice(
    deeds: list[str],
) -> None:
    now, one = Progress("tasks.yml"), task()
    for deed in deeds:
        before = now.record(one).attempts
        attempt = before + 1
        runs = now.standing(one, 3) is Standing.OPEN
        match deed:
            case "completed" if runs:
                now = now.after_success(one, _result(attempt))
            case "failed" if runs:
                now = now.after_failure(
                    one, attempt, ERROR, _result(attempt, failure=ERROR)
                )
            case "final" if runs:
                now = now.after_failure(
                    one, attempt, ERROR.model_copy(update={"retryable": False}), None
                )
            case "died" if runs:
                now = now.after_failure(
                    one, attempt, Failure(kind=FailureKind.NO_RESULT, message="x"), None
                )
            case "stale" if runs:
                now = now.after_failure(
                    one, attempt, Failure(kind=FailureKind.STALE, message="x"), None
                )
            case "retried":
                now = now.with_retry(one, 3)
            case "skip" | "satisfied":
                now = now.with_skip(one, satisfied=deed == "satisfied")
        assert now.record(one).attempts - before == (
            1 if runs and deed in {"completed", "failed", "final", "died"} else 0
        )


@pytest.mark.parametrize(
    ("record", "attempt", "same_text", "known", "stale"),
    [
        ({}, 1, True, True, None),
        ({"attempts": 1, "status": "failed"}, 2, True, True, None),
        ({}, 1, True, False, "no longer in the plan"),
        # a fan-in run twice
        ({"attempts": 1, "status": "completed"}, 1, True, True, "already completed"),
        ({"attempts": 1, "status": "completed"}, 2, True, True, "already completed"),
        # ticked by a person meanwhile
        ({"attempts": 0, "status": "completed"}, 1, True, True, "already completed"),
        (
            {"attempts": 1, "status": "failed"},
            1,
            True,
            True,
            "this is attempt 1, but 1 attempt already recorded",
        ),
        (
            {"attempts": 0},
            2,
            True,
            True,
            "this is attempt 2, but 0 attempts already recorded",
        ),
        ({}, 1, False, True, "text has changed"),
    ],
)
def test_a_result_counts_only_if_it_follows_what_the_head_records(
    record: dict[str, Any],
    attempt: int,
    same_text: bool,
    known: bool,
    stale: str | None,
) -> None:
    one = task()
    digest = one.digest if same_text else task(prompt="before it was changed").digest
    found = progress.stale_reason(
        _having(**record), one if known else None, digest, attempt
    )
    assert found is None if stale is None else stale in (found or "")


def test_a_landed_result_is_stale_the_second_time() -> None:
    one = task()
    after = Progress("tasks.yml").after_success(one, _result())
    assert progress.stale_reason(after, one, one.digest, 1)


# -- the file --


# what could break a line, a quote or an encoding
_TEXT = st.text('aZ"\\\n\r\x85\u2028é😀{},: ', max_size=6)


@st.composite
def _records(draw: st.DrawFn) -> Record:
    status, attempts, number, flag, text = draw(
        st.tuples(
            st.sampled_from(Status),
            st.integers(0, 9),
            st.none() | st.floats(0, 1e6),
            st.booleans(),
            _TEXT,
        )
    )
    error = (
        Failure(kind=FailureKind.VERIFY, message=text, retryable=flag)
        if status is FAILED
        else None
    )
    return Record(
        status=status,
        attempts=attempts,
        allowed=attempts or None,
        final=flag,
        held=text if flag else None,
        error=error,
        summary=text,
        cost_usd=number,
        tokens=attempts if flag else None,
    )


_RECORDS = _records()


@quick
@given(st.dictionaries(_TEXT, _RECORDS, max_size=4), st.data())
def test_what_is_written_is_read_back_one_record_a_line(
    records: dict[str, Record], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(list(records)))
    text = progress.render(Progress("plans/ü.yml", records), order)
    assert progress.parse("p", text, "plans/ü.yml").records == records
    assert text.endswith("\n")
    lines = text.split("\n")
    # a blank line between records, the head and the foot
    assert len(lines) == 2 * (len(records) + 2)
    assert not any(lines[1::2])
    for line, task_id in zip(lines[2:-2:2], order, strict=True):
        assert list(json.loads("{" + line.removeprefix(",") + "}")) == [task_id]


@quick
@given(st.lists(_RECORDS, min_size=1, max_size=4), _RECORDS, st.data())
def test_changing_one_record_touches_one_line(
    records: list[Record], other: Record, data: st.DataObject
) -> None:
    ids = [f"T{n}" for n in range(len(records))]
    before = Progress("p", dict(zip(ids, records, strict=True)))
    changed = data.draw(st.sampled_from(ids))
    one = progress.render(before, ids).split("\n")
    two = progress.render(before.with_records({changed: other}), ids).split("\n")
    differing = [a for a, b in zip(one, two, strict=True) if a != b]
    assert len(differing) == (before.records[changed] != other)


def test_records_stand_in_plan_order_and_those_that_left_the_plan_last() -> None:
    text = progress.render(
        Progress("p", {name: Record() for name in "XBA"}), ["A", "B", "C"]
    )
    assert [line.lstrip(",")[1] for line in text.splitlines()[2:-2:2]] == [
        "A",
        "B",
        "X",
    ]


def test_the_file_has_the_shape_that_other_tools_read() -> None:
    text = progress.render(_having(status=DONE, attempts=1), ["T1"])
    assert json.loads(text) == {
        "version": 1,
        "plan": "tasks.yml",
        "tasks": {"T1": {"status": "completed", "attempts": 1}},
    }


def test_status_and_attempts_are_written_even_where_they_are_the_defaults() -> None:
    assert json.loads(progress.render(_having(), ["T1"]))["tasks"]["T1"] == {
        "status": "pending",
        "attempts": 0,
    }


def test_a_record_keeps_the_fields_of_a_newer_version() -> None:
    text = '{"version": 1, "plan": "p", "tasks": {"T1": {"status": "failed", "attempts": 1, "mood": "good"}}}'
    after = progress.parse("x", text, "p").after_failure(task(), 2, ERROR, None)
    assert json.loads(progress.render(after, ["T1"]))["tasks"]["T1"]["mood"] == "good"


def test_the_file_keeps_the_fields_of_a_newer_version() -> None:
    text = '{"version": 1, "plan": "p", "archive": [7], "tasks": {"T1": {}}}'
    after = progress.parse("x", text, "p").after_failure(task(), 1, ERROR, None)
    assert json.loads(progress.render(after, ["T1"]))["archive"] == [7]


def test_no_file_yet_is_no_progress() -> None:
    assert progress.parse("x", None, "p") == Progress("p")


GOOD = progress.render(Progress("p", {"T1": Record(), "T2": Record()}), ["T1", "T2"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x:1: unreadable progress"),
        ("[]", "x:1: unreadable progress"),
        (
            GOOD.replace('"version": 1', '"version": 2'),
            "x:1: unreadable progress: version",
        ),
        (
            GOOD.replace('"T2": {"status": "pending"', '"T2": {"status": "odd"'),
            "x:5: unreadable progress: tasks.T2",
        ),
        (
            GOOD.replace(
                '"T2": {"status": "pending", "attempts": 0', '"T2": {"attempts": -1'
            ),
            "x:5: unreadable",
        ),
        (GOOD.replace("p", "q", 1), "x:1: unreadable"),
        (
            GOOD.replace('"plan": "p"', '"plan": "q"'),
            "x:1: this is the progress of q, not of p; give this plan its own file",
        ),
        # what a merge of hand leaves: the first marker stands on line 5
        (GOOD.replace(',"T2"', '<<<<<<< ours\n,"T2"'), "x:5: unreadable progress"),
        (GOOD[:-3], "x:7: unreadable progress"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_located_problem_and_never_an_empty_start(
    text: str, said: str
) -> None:
    assert problems(lambda: progress.parse("x", text, "p"))[0].startswith(said)


@pytest.mark.parametrize(
    ("started", "finished", "seconds"),
    [
        ("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:06.250Z", 1.25),
        ("2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", 0.0),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:00Z", 0.0),  # the clock was set back
    ],
)
def test_a_duration_is_never_negative(
    started: str, finished: str, seconds: float
) -> None:
    assert progress.seconds_between(started, finished) == seconds
