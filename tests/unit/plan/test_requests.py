"""A request is decided when it is applied, for each of its tasks alone."""

from __future__ import annotations

import pytest

from runner.core.errors import UsageProblem
from runner.core.result import Failure, FailureKind
from runner.core.task import Plan, PlanSettings, Standing, Status
from runner.plan.changes import ChangeSet, apply_changes, requests_subject
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.requests import (
    ApproveRequest,
    HoldRequest,
    ProgressRequest,
    ReplyRequest,
    Request,
    RetryRequest,
    SkipRequest,
    UndoRequest,
    check_request,
    decide,
    describe,
    parse_request,
)
from runner.plan.snapshot import Snapshot
from tests.support.builders import task

DONE = Record(status=Status.COMPLETED, attempts=1)
FAILED = Record(status=Status.FAILED, attempts=3, final=True)


def retry(*ids: str, redo: bool = False, failed: bool = False) -> RetryRequest:
    return RetryRequest(
        branch="main",
        plan=PlanSettings(path="tasks.yml"),
        progress="p",
        tasks=ids,
        redo=redo,
        failed=failed,
    )


def skip(*ids: str) -> SkipRequest:
    plan = PlanSettings(path="tasks.yml")
    return SkipRequest(branch="main", plan=plan, progress="p", tasks=ids)


def hold(*ids: str) -> HoldRequest:
    plan = PlanSettings(path="tasks.yml")
    return HoldRequest(branch="main", plan=plan, progress="p", tasks=ids)


def approve(*ids: str) -> ApproveRequest:
    plan = PlanSettings(path="tasks.yml")
    return ApproveRequest(branch="main", plan=plan, progress="p", tasks=ids)


def reply(answer: str, task_id: str = "A") -> ReplyRequest:
    plan = PlanSettings(path="tasks.yml")
    return ReplyRequest(
        branch="main", plan=plan, progress="p", tasks=(task_id,), answer=answer
    )


def undo(*ids: str, with_dependents: bool = False) -> UndoRequest:
    return UndoRequest(
        branch="main",
        plan=PlanSettings(path="tasks.yml"),
        progress="p",
        tasks=ids,
        with_dependents=with_dependents,
    )


def snapshot(**records: Record) -> Snapshot:
    plan = Plan(path="tasks.yml", source="native", tasks=(task("A"), task("B")))
    graph = TaskGraph(plan.tasks, plan.path)
    return Snapshot("c0", plan, graph, Progress("tasks.yml", records))


def standing(of: Snapshot, task_id: str) -> Standing:
    return of.progress.standings(of.plan, 3)[task_id]


@pytest.mark.parametrize(
    "request_",
    [retry("A", "B", redo=True), skip("B"), undo("A"), reply("yes")],
)
def test_a_request_is_read_as_it_was_written(request_: Request) -> None:
    assert parse_request(request_.model_dump_json().encode()) == request_


@pytest.mark.parametrize("text", [b"", b"{}", b'{"kind": "approve", "tasks": []}'])
def test_what_this_version_does_not_know_is_no_request(text: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        parse_request(text)


def test_what_cannot_be_changed_any_more_is_left_and_the_rest_is_done() -> None:
    before = snapshot(A=DONE, B=FAILED)
    decision = decide(retry("A", "B", "gone"), before, 3)
    assert decision.refused == (
        "retry A: A is completed",
        "retry gone: there is no task gone in tasks.yml",
    )
    after = apply_changes(before, [ChangeSet("r", decision.changes)]).snapshot
    assert standing(after, "A") is Standing.COMPLETED
    assert standing(after, "B") is Standing.OPEN
    with pytest.raises(UsageProblem, match="A is completed"):
        check_request(retry("B", "A"), before)


@pytest.mark.parametrize("redo", [False, True])
def test_a_request_that_is_applied_again_grants_no_second_attempt(redo: bool) -> None:
    record = DONE if redo else FAILED
    before = snapshot(A=record)
    changes = ChangeSet("r", decide(retry("A", redo=redo), before, 3).changes)
    once = apply_changes(before, [changes]).snapshot
    twice = apply_changes(once, [changes]).snapshot
    assert twice.progress.records == once.progress.records
    # the attempt was made, and the branch has it
    made = once.progress.records["A"].model_copy(
        update={"attempts": record.attempts + 1, "status": Status.FAILED}
    )
    later = apply_changes(snapshot(A=made), [changes]).snapshot
    assert later.progress.records["A"] == made


def test_failed_tasks_are_those_that_failed_when_the_request_is_applied() -> None:
    request_ = retry(failed=True)
    assert decide(request_, snapshot(), 3).changes == ()
    [change] = decide(request_, snapshot(A=DONE, B=FAILED), 3).changes
    assert change.task == "B"
    assert describe(request_) == "retry --failed"
    assert describe(request_, ["B"]) == "retry B"


def test_the_last_of_two_requests_counts() -> None:
    before = snapshot(A=FAILED)
    sets: list[ChangeSet] = []
    requests: list[ProgressRequest] = [skip("A"), retry("A")]
    for number, request_ in enumerate(requests):
        now = apply_changes(before, sets).snapshot
        sets.append(ChangeSet(str(number), decide(request_, now, 3).changes))
    after = apply_changes(before, sets).snapshot
    assert standing(after, "A") is Standing.OPEN
    assert requests_subject(sets) == "Skip A; retry A"


def test_what_is_asked_for_twice_is_already_done() -> None:
    before = snapshot(A=FAILED)
    once = decide(retry("A", "B"), before, 3)
    assert [change.task for change in once.changes] == ["A"]
    assert once.done == "B is already to be retried"
    after = apply_changes(before, [ChangeSet("r", once.changes)]).snapshot
    again = decide(retry("A", "B"), after, 3)
    assert (again.changes, again.done) == ((), "A, B are already to be retried")
    skipped = apply_changes(
        after, [ChangeSet("s", decide(skip("A"), after, 3).changes)]
    )
    assert decide(skip("A"), skipped.snapshot, 3).done == "A is already skipped"
    assert decide(retry("A"), skipped.snapshot, 3).done == ""
    satisfied = skip("A").model_copy(update={"satisfied": True})
    assert len(decide(satisfied, skipped.snapshot, 3).changes) == 1


def test_a_task_on_hold_is_gated_until_it_is_approved() -> None:
    now, sets = snapshot(B=DONE), []
    told: list[tuple[str, Standing]] = []
    requests: list[ProgressRequest] = [
        *(hold("A"), hold("A"), retry("A"), approve("A", "B"), approve("A"))
    ]
    for number, request_ in enumerate(requests):
        decision = decide(request_, now, 3)
        if decision.changes:
            sets.append(ChangeSet(str(number), decision.changes))
        now = apply_changes(now, sets).snapshot
        told.append((decision.done, standing(now, "A")))
    assert told == [
        ("", Standing.GATED),
        ("A is already on hold", Standing.GATED),
        ("A is already to be retried", Standing.GATED),
        ("B is already free to start", Standing.OPEN),
        ("A is already free to start", Standing.OPEN),
    ]
    assert requests_subject(sets) == "Hold A; approve A"
    assert now.progress.records["A"] == Record()
    with pytest.raises(UsageProblem, match="B is completed"):
        check_request(hold("A", "B"), now)


QUESTION = Failure(kind=FailureKind.QUESTION, message="Which one?")


def asking() -> Snapshot:
    """A has asked in its first attempt."""
    before = snapshot()
    now = before.progress.after_failure(before.graph.tasks["A"], 1, QUESTION, None)
    return before.with_progress(now)


def test_an_answer_lets_the_task_go_on_and_another_one_takes_its_place() -> None:
    now, sets = asking(), []
    assert standing(now, "A") is Standing.ASKING
    steps: list[tuple[str, Standing]] = []
    for number, answer in enumerate(["this", "this", "that"]):
        decision = decide(reply(answer), now, 3)
        sets.append(ChangeSet(str(number), decision.changes))
        now = apply_changes(now, sets[-1:]).snapshot
        steps.append((decision.done, standing(now, "A")))
    assert steps == [
        ("", Standing.OPEN),
        ("A is already answered so", Standing.OPEN),
        ("", Standing.OPEN),
    ]
    assert requests_subject(sets) == "Reply A, A"
    [question] = now.progress.records["A"].questions
    assert (question.text, question.answer) == ("Which one?", "that")
    # what was decided before the attempt that follows changes nothing after it
    failure = QUESTION.model_copy(update={"kind": FailureKind.TIMEOUT})
    task_a = now.graph.tasks["A"]
    later = now.with_progress(now.progress.after_failure(task_a, 2, failure, None))
    assert apply_changes(later, sets).snapshot.progress is later.progress


def test_only_the_question_of_the_last_attempt_is_answered() -> None:
    skipped = decide(skip("A"), asking(), 3).changes
    for now in (
        snapshot(),
        snapshot(A=FAILED),
        snapshot(A=DONE),
        apply_changes(asking(), [ChangeSet("s", skipped)]).snapshot,
    ):
        with pytest.raises(UsageProblem, match="A has no question to answer"):
            check_request(reply("x"), now)


def test_retry_lets_a_task_go_on_without_an_answer() -> None:
    decision = decide(retry("A"), asking(), 1)
    assert decision.done == ""
    now = apply_changes(asking(), [ChangeSet("r", decision.changes)]).snapshot
    record = now.progress.records["A"]
    assert standing(now, "A") is Standing.OPEN
    assert (record.status, record.questions[0].answer) == (Status.PENDING, "")
    assert now.progress.attempt_limit(now.graph.tasks["A"], 1) == 2


def test_only_what_an_attempt_has_landed_is_undone() -> None:
    by_hand = Record(status=Status.COMPLETED)
    skipped = Record(status=Status.COMPLETED, skipped=True)
    for record in (FAILED, by_hand, skipped, Record()):
        with pytest.raises(UsageProblem, match=r"^A "):
            check_request(undo("A"), snapshot(A=record))
    assert [task.id for task in undo("A").chosen(snapshot(A=DONE))] == ["A"]


def test_dependents_at_any_distance_go_with_a_task_if_they_have_landed() -> None:
    plan = Plan(
        path="tasks.yml",
        source="native",
        tasks=(
            task("A"),
            task("B", depends_on=("A",)),
            task("C", depends_on=("B",)),
            task("D", depends_on=("A",)),
        ),
    )
    graph = TaskGraph(plan.tasks, plan.path)
    # B was skipped in between: nothing of it has landed.
    records = {
        "A": DONE,
        "B": Record(status=Status.COMPLETED, skipped=True),
        "C": DONE,
        "D": FAILED,
    }
    before = Snapshot("c0", plan, graph, Progress("tasks.yml", records))
    with pytest.raises(UsageProblem, match="C builds on A"):
        undo("A").chosen(before)
    chosen = undo("A", with_dependents=True).chosen(before)
    assert [each.id for each in chosen] == ["A", "C"]


def test_an_undone_task_is_pending_and_its_attempts_stay() -> None:
    done = Record(
        status=Status.COMPLETED,
        attempts=3,
        changed=("a +1 -0",),
        summary="done",
        request="r",
    )
    before = snapshot(A=done)
    after = before.progress.with_undo(before.graph.tasks["A"], 3)
    assert after.records["A"] == Record(attempts=3, allowed=4)
