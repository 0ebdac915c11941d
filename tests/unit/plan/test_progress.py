"""Legal changes of a record, stale results, and a file that git can merge."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from runner.core.result import Failure, FailureKind, KeptWork, Question, Usage
from runner.core.task import Reference, Standing, Status, Task
from runner.plan import progress, progress_file, records
from runner.plan.progress import KEPT_TAIL, Progress
from runner.plan.records import Record
from tests.support.builders import plan, problems, task
from tests.support.progress_records import (
    DONE,
    ERROR,
    FAILED,
    PENDING,
    result_of_attempt,
)


def _having(**record: Any) -> Progress:
    return Progress("tasks.yml", {"T1": Record(**record)})


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
        ({}, {"gate": True}, Standing.GATED),
        ({"gate": True}, {}, Standing.GATED),
        ({"gate": True, "status": "failed", "attempts": 1}, {}, Standing.GATED),
        ({"gate": False}, {"gate": True}, Standing.OPEN),
        ({"gate": True, "status": "completed"}, {}, Standing.COMPLETED),
        ({"gate": True, "skipped": True}, {}, Standing.STUCK),
        ({"status": "failed", "attempts": 3}, {"gate": True}, Standing.STUCK),
    ],
    ids=str,
)
def test_a_task_is_open_until_it_is_completed_or_has_no_attempt_left(
    record: dict[str, Any], fields: dict[str, Any], standing: Standing
) -> None:
    checked = task(**fields)
    assert _having(**record).standing(checked, 3) is standing
    assert _having(**record).standings(plan(checked), 3) == {"T1": standing}


def test_a_gate_of_the_plan_needs_no_record() -> None:
    gated = task(gate=True)
    assert Progress("p").standings(plan(gated), 3) == {"T1": Standing.GATED}


@pytest.mark.parametrize("in_plan", [False, True])
def test_only_what_the_plan_does_not_say_of_a_gate_is_recorded(in_plan: bool) -> None:
    gated = task(gate=in_plan)
    approved = Progress("p").with_gate(gated, closed=False)
    assert approved.record(gated).gate is (False if in_plan else None)
    held = approved.with_gate(gated, closed=True)
    assert held.is_gated(gated)
    assert held.record(gated).gate is (None if in_plan else True)
    assert held.with_gate(gated, closed=True) is held


def test_an_undone_task_must_be_approved_again() -> None:
    gated = task(gate=True)
    record = Record(status=DONE, attempts=1, gate=False)
    undone = Progress("p", {"T1": record}).with_undo(gated, 3)
    assert undone.standing(gated, 3) is Standing.GATED


@pytest.mark.parametrize(
    ("record", "marks", "status", "skipped"),
    [
        (None, {}, PENDING, False),
        (None, {"source_status": DONE}, DONE, False),
        (None, {"source_status": FAILED}, FAILED, False),
        (None, {"source_status": Status.IN_PROGRESS}, PENDING, False),
        (None, {"skipped": True}, PENDING, True),
        # somebody works on it, unless fanin has begun it
        (None, {"source_status": Status.IN_PROGRESS, "skipped": True}, PENDING, True),
        (
            Record(),
            {"source_status": Status.IN_PROGRESS, "skipped": True},
            PENDING,
            True,
        ),
        (
            Record(attempts=1, status=FAILED),
            {"source_status": Status.IN_PROGRESS, "skipped": True},
            FAILED,
            False,
        ),
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
        # a person skipped it
        (Record(attempts=1, status=FAILED), {"skipped": True}, FAILED, True),
        (Record(skipped=False), {"skipped": True}, PENDING, False),
    ],
    ids=repr,
)
def test_a_record_outranks_the_plans_marks_except_a_tick(
    record: Record | None, marks: dict[str, Any], status: Status, skipped: bool
) -> None:
    combined = Progress("p", {} if record is None else {"T1": record}).record(
        task(**marks)
    )
    assert (combined.status, bool(combined.skipped)) == (status, skipped)
    assert combined.attempts == (record.attempts if record else 0)
    assert status is not DONE or combined.error is None


def test_a_successful_attempt_records_its_times_and_the_agents_summary() -> None:
    before = _having(status=FAILED, attempts=1, error=ERROR)
    usage = Usage(summary="done it", tokens=7)
    record = before.after_success(task(), result_of_attempt(2, usage=usage)).record(
        task()
    )
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


def test_a_failed_attempt_records_its_error_for_the_next_one() -> None:
    record = _having().after_failure(task(), 1, ERROR, None).record(task())
    assert (record.status, record.attempts, record.error, record.final) == (
        FAILED,
        1,
        ERROR,
        False,
    )


@pytest.mark.parametrize("retryable", [True, False])
def test_a_failure_that_no_retry_can_fix_is_final(retryable: bool) -> None:
    failure = ERROR.model_copy(update={"retryable": retryable})
    after = _having().after_failure(task(), 1, failure, result_of_attempt())
    assert after.standing(task(), 3) is (Standing.OPEN if retryable else Standing.STUCK)


def test_only_the_end_of_a_long_log_is_recorded() -> None:
    failure = ERROR.model_copy(update={"log_tail": "x" * KEPT_TAIL + "the end"})
    error = _having().after_failure(task(), 1, failure, None).record(task()).error
    assert error is not None
    assert len(error.log_tail) == KEPT_TAIL
    assert error.log_tail.endswith("the end")


@pytest.mark.parametrize(
    "kind", [FailureKind.INTERRUPTED, FailureKind.RATE_LIMIT, FailureKind.STALE]
)
def test_an_attempt_that_is_not_the_tasks_fault_changes_nothing(
    kind: FailureKind,
) -> None:
    before = _having(status=FAILED, attempts=1, error=ERROR)
    assert (
        before.after_failure(
            task(), 2, Failure(kind=kind, message="x"), result_of_attempt(2)
        )
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
        _having(**record).after_success(task(), result_of_attempt(attempt))
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
            now = now.after_success(task(), result_of_attempt(attempt, usage=usage))
        else:
            now = now.after_failure(
                task(),
                attempt,
                ERROR,
                result_of_attempt(attempt, usage=usage, failure=ERROR),
            )
    assert now.record(task()).cost_usd == total
    assert now.record(task()).tokens == (None if total is None else total * 100)


def test_an_attempt_without_a_result_makes_the_cost_unknown() -> None:
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
        ({"status": "completed", "attempts": 0, "skipped": True}, 3),
        ({"status": "completed", "attempts": 3, "skipped": True, "error": ERROR}, 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("change", [Progress.with_retry, Progress.with_redo])
def test_retry_opens_a_task_that_has_not_landed_and_keeps_its_attempts(
    change: Callable[[Progress, Task, int], Progress],
    record: dict[str, Any],
    limit: int,
) -> None:
    before = _having(**record)
    after = change(before, task(), 3)
    assert after.standing(task(), 3) is Standing.OPEN
    assert after.record(task()).attempts == before.record(task()).attempts
    assert after.attempt_limit(task(), 3) == limit


@pytest.mark.parametrize(
    ("satisfied", "standing"), [(False, Standing.STUCK), (True, Standing.COMPLETED)]
)
def test_a_skipped_task_satisfies_its_dependents_only_on_request(
    satisfied: bool, standing: Standing
) -> None:
    after = _having(status=FAILED, attempts=2).with_skip(task(), satisfied=satisfied)
    assert after.standing(task(), 3) is standing
    assert after.record(task()).attempts == 2


def test_a_completed_task_is_not_skipped_by_the_plans_mark() -> None:
    marked = task(skipped=True)
    done = Record(status=Status.COMPLETED, attempts=1)
    assert Progress("p", {marked.id: done}).record(marked) == done


def test_a_skip_mark_has_no_effect_once_it_is_removed_from_the_plan() -> None:
    marked, unmarked = task(skipped=True), task()
    before = Progress("p").with_every_task([marked])
    assert before.standing(marked, 3) is Standing.STUCK
    assert before.standing(unmarked, 3) is Standing.OPEN
    assert (
        before.with_retry(marked, 3).with_every_task([marked]).standing(marked, 3)
        is Standing.OPEN
    )


# The last one is as `skip` of a completed task once left it.
_LANDED = [
    ({"status": DONE, "attempts": 1}, 3),
    ({"status": DONE, "attempts": 3}, 4),
    ({"status": DONE, "attempts": 1, "skipped": True}, 3),
]


@pytest.mark.parametrize(("record", "limit"), _LANDED, ids=str)
def test_neither_skip_nor_retry_touches_a_task_that_has_landed(
    record: dict[str, Any], limit: int
) -> None:
    before = _having(**record)
    assert before.has_landed(task())
    assert before.with_retry(task(), 3) == before
    assert before.with_skip(task(), satisfied=False) == before
    assert before.with_skip(task(), satisfied=True) == before


def test_a_task_that_was_undone_and_is_tried_again_has_not_failed() -> None:
    undone = _having(status=DONE, attempts=1).with_undo(task(), 3)
    record = undone.with_retry(task(), 3).record(task())
    assert (record.status, record.error) == (PENDING, None)


def test_what_a_person_accepted_says_so_until_it_is_undone() -> None:
    accepted = _having(status=FAILED, attempts=1, error=ERROR).with_accepted(
        task(), 1, ["a +1 -0"], "2026-01-01T00:00:00Z", verified=False
    )
    assert accepted.record(task()).accepted == "unverified"
    undone = accepted.with_undo(task(), 3)
    assert undone.record(task()).accepted is None


@pytest.mark.parametrize(("record", "limit"), _LANDED, ids=str)
def test_redo_opens_a_task_that_has_landed_and_keeps_its_attempts(
    record: dict[str, Any], limit: int
) -> None:
    before = _having(**record)
    after = before.with_redo(task(), 3)
    assert after.record(task()).status is PENDING
    assert after.standing(task(), 3) is Standing.OPEN
    assert after.record(task()).attempts == before.record(task()).attempts
    assert after.attempt_limit(task(), 3) == limit


def test_a_task_that_the_plan_marks_as_completed_has_landed() -> None:
    assert Progress("tasks.yml").has_landed(task(source_status=DONE))
    assert not Progress("tasks.yml").has_landed(task())


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({}, False),
        ({"prompt": "Add it.\n\n- [X] a test\n  1. [x]  documents"}, False),
        ({"prompt": "Add it.  \n- [ ] a test\n\n  1. [ ] documents\n"}, False),
        ({"title": "Add a page ✅"}, False),
        ({"title": "~~Add a page~~"}, False),
        ({"source_status": DONE, "line": 9, "skip_reason": "done"}, False),
        ({"context": (Reference("docs/plan.md"),)}, False),
        ({"depends_on": ("T0",), "max_attempts": 9, "verify": "true"}, False),
        ({"title": "Add two pages"}, True),
        ({"prompt": "Add it.\n- [ ] two tests\n  1. [ ] documents"}, True),
        ({"prompt": "Add it."}, True),
        ({"files": ("src/**",)}, True),
        ({"acceptance": ("It is fast.",)}, True),
    ],
    ids=str,
)
def test_a_completed_task_is_reported_once_its_request_changes_but_not_its_marks(
    fields: dict[str, Any], changed: bool
) -> None:
    as_given = {
        "title": "Add a page",
        "prompt": "Add it.\n- [ ] a test\n  1. [ ] documents",
    }
    landed = task(**as_given)
    after = Progress("tasks.yml").after_success(landed, result_of_attempt())
    now = task(**as_given | fields)
    assert after.has_changed_since(now) is changed
    reopened = after.with_redo(landed, 3)
    assert not reopened.has_changed_since(task(**as_given | {"title": "Other"}))


def test_a_record_without_a_digest_of_its_request_is_never_reported() -> None:
    assert not _having(status=DONE, attempts=1).has_changed_since(task(title="Other"))


@pytest.mark.parametrize(
    ("record", "attempt", "same_text", "in_plan", "reason"),
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
def test_a_result_counts_only_if_it_follows_the_records_at_the_head(
    record: dict[str, Any],
    attempt: int,
    same_text: bool,
    in_plan: bool,
    reason: str | None,
) -> None:
    current = task()
    digest = current.digest
    if not same_text:
        digest = task(prompt="before it was changed").digest
    stale = progress.stale_reason(
        _having(**record), current if in_plan else None, digest, attempt
    )
    if reason is None:
        assert stale is None
    else:
        assert stale is not None
        assert reason in stale


def test_a_landed_result_is_stale_the_second_time() -> None:
    landed = task()
    after = Progress("tasks.yml").after_success(landed, result_of_attempt())
    assert progress.stale_reason(after, landed, landed.digest, 1)


@pytest.mark.parametrize(
    ("records", "other", "ahead"),
    [
        ({}, {}, False),
        ({"A": Record(attempts=1)}, {}, True),
        ({"A": Record(attempts=1)}, {"A": Record(attempts=1)}, False),
        ({"A": Record(attempts=1)}, {"A": Record(attempts=2)}, False),
        ({"A": Record(status=DONE)}, {"A": Record()}, True),
        ({"A": Record(status=DONE)}, {"A": Record(status=DONE)}, False),
        ({"A": Record()}, {"A": Record(status=DONE)}, False),
    ],
    ids=repr,
)
def test_progress_is_ahead_if_it_has_an_attempt_or_a_completion_more(
    records: dict[str, Record], other: dict[str, Record], ahead: bool
) -> None:
    assert Progress("p", records).is_ahead_of(Progress("p", other)) is ahead


def test_records_are_in_plan_order_with_removed_tasks_last() -> None:
    text = progress_file.render(
        Progress("p", {name: Record() for name in "XBA"}), ["A", "B", "C"]
    )
    assert [line.lstrip(",")[1] for line in text.splitlines()[2:-2:2]] == [
        "A",
        "B",
        "X",
    ]


def test_the_file_has_its_published_format() -> None:
    text = progress_file.render(_having(status=DONE, attempts=1), ["T1"])
    assert json.loads(text) == {
        "version": 1,
        "plan": "tasks.yml",
        "tasks": {"T1": {"status": "completed", "attempts": 1}},
    }


def test_status_and_attempts_are_written_even_if_they_are_the_defaults() -> None:
    assert json.loads(progress_file.render(_having(), ["T1"]))["tasks"]["T1"] == {
        "status": "pending",
        "attempts": 0,
    }


def test_a_record_keeps_the_fields_of_a_newer_version() -> None:
    text = '{"version": 1, "plan": "p", "tasks": {"T1": {"status": "failed", "attempts": 1, "mood": "good"}}}'
    after = progress_file.parse("x", text, "p").after_failure(task(), 2, ERROR, None)
    assert (
        json.loads(progress_file.render(after, ["T1"]))["tasks"]["T1"]["mood"] == "good"
    )


def test_the_file_keeps_the_fields_of_a_newer_version() -> None:
    text = '{"version": 1, "plan": "p", "archive": [7], "tasks": {"T1": {}}}'
    after = progress_file.parse("x", text, "p").after_failure(task(), 1, ERROR, None)
    assert json.loads(progress_file.render(after, ["T1"]))["archive"] == [7]


def test_without_a_file_there_is_no_progress() -> None:
    assert progress_file.parse("x", None, "p") == Progress("p")


GOOD = progress_file.render(
    Progress("p", {"T1": Record(), "T2": Record()}), ["T1", "T2"]
)


@pytest.mark.parametrize(
    ("text", "start"),
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
        # conflict markers of a merge: the first one is on line 5
        (GOOD.replace(',"T2"', '<<<<<<< ours\n,"T2"'), "x:5: unreadable progress"),
        (GOOD[:-3], "x:7: unreadable progress"),
        # a merge that kept the records of both sides
        (
            GOOD.replace('"T2"', '"T1"'),
            "x:5: two records of T1; the other one is on line 3; keep one of them",
        ),
        (GOOD.replace('"attempts": 0', f'"attempts": {10**10}'), "x:3: unreadable"),
    ],
)
def test_an_unreadable_file_is_a_located_problem_and_never_an_empty_start(
    text: str, start: str
) -> None:
    assert problems(lambda: progress_file.parse("x", text, "p"))[0].startswith(start)


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
    assert records.seconds_between(started, finished) == seconds


# -- the run on GitHub Actions --

RUN = records.RunRecord(id="4711", round=2, spent_usd=1.25, inputs={"plan": "é.yml"})


def test_the_run_stands_in_the_last_line_and_survives() -> None:
    before = Progress("p", {"A": Record()}).with_run(RUN)
    text = progress_file.render(before, ["A"])
    assert text.splitlines()[-1] == (
        '}, "run": {"id": "4711", "round": 2, "spent_usd": 1.25, '
        '"inputs": {"plan": "é.yml"}}}'
    )
    assert progress_file.parse("x", text, "p") == before
    assert progress_file.parse("x", text, "p").with_records({}).run == RUN


def test_without_a_run_the_file_is_as_before() -> None:
    assert "run" not in progress_file.render(Progress("p", {"A": Record()}), ["A"])


def test_an_unreadable_run_has_its_place() -> None:
    text = '{"version": 1, "plan": "p", "tasks": {}, "run": {"id": 1}}'
    (first,) = problems(lambda: progress_file.parse("x", text, "p"))
    assert first.startswith("x:1: unreadable progress: run.id")


CONFLICT = Failure(
    kind=FailureKind.CONFLICT, message="x", paths=("a", "b"), excused=True
)


def test_a_conflict_that_is_excused_raises_attempts_and_limit_alike() -> None:
    before = _having(status=FAILED, attempts=2, error=ERROR)
    after = before.after_failure(task(), 3, CONFLICT, None)
    record = after.record(task())
    assert (record.attempts, record.conflicts) == (3, 1)
    assert after.attempt_limit(task(), 3) == 4
    assert after.standing(task(), 3) is Standing.OPEN
    assert after.standing(task(max_attempts=2), 3) is Standing.STUCK
    # The settings still decide on the others.
    assert after.attempt_limit(task(), 5) == 6


def test_a_conflict_that_is_not_excused_is_an_attempt_and_remembered_too() -> None:
    at_fault = CONFLICT.model_copy(update={"excused": False})
    after = _having(attempts=2, status=FAILED).after_failure(task(), 3, at_fault, None)
    assert after.standing(task(), 3) is Standing.STUCK
    assert after.past_conflicts(task(), 3).paths == ("a", "b")


@pytest.mark.parametrize("own_limit", [None, 2])
def test_as_many_conflicts_are_excused_as_a_task_has_attempts(
    own_limit: int | None,
) -> None:
    checked, now = task(max_attempts=own_limit), _having()
    limit = own_limit or 3
    for attempt in range(1, limit + 1):
        assert now.excuses_conflict(checked, 3)
        now = now.after_failure(checked, attempt, CONFLICT, None)
    assert not now.excuses_conflict(checked, 3)
    assert now.attempt_limit(checked, 3) == 2 * limit


def test_retry_after_excused_conflicts_grants_one_attempt() -> None:
    record = {"status": FAILED, "attempts": 5, "conflicts": 2}
    before = _having(**record)
    assert before.standing(task(), 3) is Standing.STUCK
    for after in (before.with_retry(task(), 3), before.with_redo(task(), 3)):
        assert after.attempt_limit(task(), 3) == 6


def test_where_a_task_has_conflicted_stays_known_within_a_limit() -> None:
    now = _having().after_failure(task(), 1, CONFLICT, None)
    many = CONFLICT.model_copy(update={"paths": tuple(f"p{n}" for n in range(99))})
    now = now.after_failure(task(), 2, many, None)
    now = now.after_success(task(), result_of_attempt(3))
    paths = now.record(task()).conflict_paths
    assert paths[:3] == ("a", "b", "p0")
    assert len(paths) == 50


@pytest.mark.parametrize(
    ("conflicts", "max_attempts", "alone"),
    [(0, 3, False), (1, 3, False), (2, 3, True), (1, 1, True)],
)
def test_after_two_conflicts_nothing_unknown_may_run_beside_a_task(
    conflicts: int, max_attempts: int, alone: bool
) -> None:
    before = _having(conflicts=conflicts, conflict_paths=("a",))
    assert before.past_conflicts(task(), max_attempts).alone is alone


def test_a_file_without_conflicts_is_read_and_written_as_before() -> None:
    text = (
        '{"version": 1, "plan": "p", "tasks": {\n\n'
        '"T1": {"status": "failed", "attempts": 2, "allowed": 4}\n\n}}\n'
    )
    read = progress_file.parse("x", text, "p")
    assert read.attempt_limit(task(), 3) == 4
    assert read.past_conflicts(task(), 3).paths == ()
    assert progress_file.render(read, ["T1"]) == text


def _kept(attempt: int, one: Task | None = None) -> KeptWork:
    request = (one or task()).request_digest
    return KeptWork(commit=f"{attempt}" * 40, attempt=attempt, request=request)


def _after(
    now: Progress, attempt: int, failure: Failure, *, from_work: bool
) -> Progress:
    kept = _kept(attempt)
    return now.after_failure(
        task(), attempt, failure, None, kept=kept, from_work=from_work
    )


def test_a_task_goes_on_with_the_kept_work_until_it_is_completed() -> None:
    now = _after(_having(), 1, ERROR, from_work=False)
    assert now.work_to_start_from(task()) == _kept(1)
    text = progress_file.render(now, ["T1"])
    assert progress_file.parse("x", text, "tasks.yml").work_to_start_from(
        task()
    ) == _kept(1)
    now = _after(now, 2, ERROR, from_work=True)
    assert now.work_to_start_from(task()) == _kept(2)
    done = now.after_success(task(), result_of_attempt(attempt=3))
    assert done.record(task()).kept is None
    assert done.with_redo(task(), 3).work_to_start_from(task()) is None


def test_a_task_that_asks_for_something_else_does_not_go_on_with_its_work() -> None:
    now = _after(_having(), 1, ERROR, from_work=False)
    assert now.work_to_start_from(task(prompt="something else")) is None
    assert now.work_to_start_from(task(verify="true")) == _kept(1)


SLOW = Failure(kind=FailureKind.TIMEOUT, message="exceeded its time limit of 5 s")
OTHER_ERROR = ERROR.model_copy(update={"message": "it broke at 10:31"})
OTHER_CONFLICT = CONFLICT.model_copy(update={"message": "y"})


@pytest.mark.parametrize(
    ("failures", "goes_on"),
    [
        ([ERROR], True),
        ([ERROR, ERROR], True),
        ([ERROR, ERROR, ERROR], False),
        ([ERROR, SLOW, ERROR], True),
        ([ERROR, SLOW, SLOW], False),
        ([ERROR, CONFLICT, CONFLICT], False),
        ([ERROR, CONFLICT, OTHER_CONFLICT], True),
        # The message of an agent's failure may differ each time.
        ([SLOW, ERROR, OTHER_ERROR], False),
    ],
)
def test_after_two_attempts_from_work_that_fail_alike_one_starts_from_the_base(
    failures: list[Failure], goes_on: bool
) -> None:
    now = _having()
    for attempt, failure in enumerate(failures, start=1):
        now = _after(now, attempt, failure, from_work=attempt > 1)
    assert (now.work_to_start_from(task()) is not None) is goes_on
    # The work of the attempt from the base is another one to go on with.
    attempt = len(failures) + 1
    now = _after(now, attempt, failures[-1], from_work=False)
    assert now.work_to_start_from(task()) == _kept(attempt)


QUESTION = Failure(kind=FailureKind.QUESTION, message="Which\x1b[2J one?\u200b ")


def test_a_question_waits_and_raises_attempts_and_limit_alike() -> None:
    now = _after(_having(), 1, QUESTION, from_work=False)
    record = now.record(task())
    [question] = record.questions
    assert (question.attempt, question.text) == (1, "Which\ufffd[2J one?")
    assert (record.status, record.error, record.attempts) == (Status.PENDING, None, 1)
    assert now.standing(task(), 1) is Standing.ASKING
    assert now.attempt_limit(task(), 1) == 2
    assert now.work_to_start_from(task()) == _kept(1)
    text = progress_file.render(now, ["T1"])
    assert '"version": 1' in text
    assert (
        progress_file.parse("x", text, "tasks.yml").standing(task(), 1)
        is Standing.ASKING
    )
    answered = now.with_answer(task(), "this")
    assert answered.standing(task(), 1) is Standing.OPEN
    failed = _after(answered, 2, ERROR, from_work=True)
    assert failed.standing(task(), 1) is Standing.STUCK
    assert failed.record(task()).questions[0].answer == "this"
    done = answered.after_success(task(), result_of_attempt(attempt=2))
    assert done.record(task()).questions == ()


def test_a_task_may_ask_three_times() -> None:
    now = _having()
    for attempt in (1, 2, 3):
        assert now.may_ask(task())
        now = _after(now, attempt, QUESTION, from_work=attempt > 1)
        now = now.with_answer(task(), "this")
    assert not now.may_ask(task())
    assert now.attempt_limit(task(), 1) == 4


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"skipped": True}, Standing.STUCK),
        ({"final": True}, Standing.STUCK),
        ({"gate": True}, Standing.ASKING),
    ],
)
def test_a_task_that_waits_for_an_answer_can_still_be_skipped_or_held(
    record: dict[str, Any], expected: Standing
) -> None:
    questions = [Question(attempt=1, text="?")]
    now = _having(attempts=1, questions=questions, **record)
    assert now.standing(task(), 3) is expected
