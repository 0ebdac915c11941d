"""Which issues are tasks, with which text and dependencies, and the answers to them."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.result import Failure, FailureKind
from runner.core.task import Status
from runner.github_api.issue_types import Edit, Event, Issue
from runner.issues import approval
from runner.issues.approval import LandedWork
from runner.plan.formats.github_issues import Approved, IssuesFile, Refused, Wait
from runner.plan.records import Record
from runner.plan.view import TaskView
from tests.support.builders import task
from tests.support.issue_histories import history

BEFORE, BETWEEN, LABEL = (
    "2026-01-01T10:00:00Z",
    "2026-01-01T11:00:00Z",
    "2026-01-02T10:00:00Z",
)


JUST_BEFORE, AFTER, MUCH_LATER = (
    "2026-01-02T09:59:30Z",
    "2026-01-03T10:00:00Z",
    "2026-01-04T10:00:00Z",
)


BY_WRITER = Event("labeled", LABEL, "writer", "fanin")


def issue(**changes: Any) -> Issue:
    made: dict[str, Any] = {"number": 7, "url": "https://github.com/o/r/issues/7"}
    return Issue(**{**made, "updated_at": AFTER, "repository": "o/r", **changes})


def approved_text(
    *events: Event, label: str = "fanin", number: int = 7, **changes: Any
) -> Approved | Refused:
    return approval.approved_text(
        issue(number=number),
        label,
        history(*events, **changes),
        lambda login: login == "writer",
    )


def test_an_issue_labelled_by_a_writer_is_a_task_with_its_text() -> None:
    assert approved_text(BY_WRITER) == Approved(
        number=7,
        title="Now",
        body="now",
        url="https://github.com/o/r/issues/7",
        labelled_by="writer",
        labelled_at=LABEL,
        updated_at=AFTER,
    )


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([], "does not say who put the label on it"),
        ([Event("labeled", LABEL, "writer", "bug")], "does not say who"),
        (
            [Event("labeled", LABEL, "stranger", "fanin")],
            "stranger, who has no write access",
        ),
        ([Event("labeled", LABEL, None, "fanin")], "a deleted account"),
        ([BY_WRITER, Event("unlabeled", AFTER, "writer", "fanin")], "does not say who"),
        # the last label counts, so a stranger's is not taken for a writer's earlier one
        (
            [
                BY_WRITER,
                Event("unlabeled", AFTER, "x", "fanin"),
                Event("labeled", MUCH_LATER, "x", "fanin"),
            ],
            "from x, who",
        ),
        # also within one second: GitHub lists events in order
        (
            [
                BY_WRITER,
                Event("unlabeled", LABEL, "x", "fanin"),
                Event("labeled", LABEL, "x", "fanin"),
            ],
            "from x, who",
        ),
        (
            [Event("labeled", LABEL, "writer", "fanin", bot=True)],
            "writer, a bot, and bots cannot approve",
        ),
        ([BY_WRITER, Event("transferred", AFTER, "x")], "came from another repository"),
    ],
)
def test_an_issue_without_a_writers_label_is_not_a_task(
    events: list[Event], why: str
) -> None:
    refused = approved_text(*events)
    assert isinstance(refused, Refused)
    assert why in refused.why
    assert "label" in refused.why.partition("; ")[2]


def test_labels_are_compared_as_github_does() -> None:
    assert isinstance(
        approved_text(Event("labeled", LABEL, "writer", "Fanin"), label="fanin "),
        Approved,
    )


@pytest.mark.parametrize(
    ("edits", "body"),
    [
        ((), "now"),
        # edited before the label only
        ((Edit(BEFORE, "as opened"), Edit(BETWEEN, "now")), "now"),
        ((Edit(BEFORE, "as opened"), Edit(AFTER, "evil")), "as opened"),
        (
            (
                Edit(BEFORE, "first"),
                Edit(BETWEEN, "second"),
                Edit(AFTER, "evil"),
                Edit(MUCH_LATER, "x"),
            ),
            "second",
        ),
        (
            (
                Edit(BEFORE, None),
                Edit(BETWEEN, "second"),
                Edit(AFTER, None),
                Edit(MUCH_LATER, "x"),
            ),
            "second",
        ),
        # a person knows the text that they have just written
        ((Edit(BEFORE, "as opened"), Edit(JUST_BEFORE, "mine", "writer")), "mine"),
        ((Edit(LABEL, "opened with the label", "writer"),), "opened with the label"),
    ],
)
def test_the_body_is_that_of_the_time_of_labelling(
    edits: tuple[Edit, ...], body: str
) -> None:
    approved = approved_text(BY_WRITER, edits=edits)
    assert isinstance(approved, Approved), approved
    assert approved.body == body


@pytest.mark.parametrize(
    ("events", "changes"),
    [
        # the revision that counts was deleted
        ([], {"edits": (Edit(BEFORE, None), Edit(AFTER, "evil"))}),
        ([], {"edits": (Edit(AFTER, "evil"),)}),  # the history begins too late
        # in the same second, perhaps after the label
        ([], {"edits": (Edit(BEFORE, "good"), Edit(LABEL, "evil"))}),
        ([], {"edits": (Edit(BEFORE, "good"), Edit(LABEL, "mine", "writer"))}),
        # the page may have shown the earlier text
        ([], {"edits": (Edit(BEFORE, "good"), Edit(JUST_BEFORE, "evil", "author"))}),
        ([], {"edits": (Edit(BEFORE, "good"), Edit(JUST_BEFORE, "evil"))}),
        # the history lags behind
        ([], {"edits": (Edit(BEFORE, "old"), Edit(BETWEEN, "other")), "body": "newer"}),
        ([], {"edited": AFTER}),  # edited, and no history
        ([Event("renamed", LABEL, "author", old_title="Then")], {}),
        ([Event("renamed", JUST_BEFORE, "author", old_title="Then")], {}),
    ],
)
def test_an_issue_with_an_uncertain_text_is_not_a_task(
    events: list[Event], changes: dict[str, Any]
) -> None:
    refused = approved_text(*events, BY_WRITER, **changes)
    assert isinstance(refused, Refused), refused
    assert refused.why.endswith(approval.RELABEL)


@pytest.mark.parametrize(
    ("renamings", "title"),
    [
        ([], "Now"),
        ([Event("renamed", BEFORE, "author", old_title="Older")], "Now"),
        ([Event("renamed", AFTER, "author", old_title="Then")], "Then"),
        (
            [
                Event("renamed", AFTER, "a", old_title="Then"),
                Event("renamed", MUCH_LATER, "a", old_title="Evil"),
            ],
            "Then",
        ),
        ([Event("renamed", JUST_BEFORE, "writer", old_title="Older")], "Now"),
    ],
)
def test_the_title_is_that_of_the_time_of_labelling(
    renamings: list[Event], title: str
) -> None:
    approved = approved_text(BY_WRITER, *renamings)
    assert isinstance(approved, Approved), approved
    assert approved.title == title


def test_hidden_text_is_not_in_the_task() -> None:
    approved = approved_text(BY_WRITER, title="T\u200bitle\n", body="a <!-- hidden -->")
    assert isinstance(approved, Approved)
    assert (approved.title, approved.body) == ("Title", "a")


@pytest.mark.parametrize(
    ("body", "links"),
    [
        ("Blocked by #9", [("o/r", 9)]),
        ("- **Depends on:** #9, #10 and p/q#3", [("o/r", 9), ("o/r", 10), ("p/q", 3)]),
        ("1. blocked by #9", [("o/r", 9)]),
        ("This was blocked by nothing, see #9", []),
        ("It depends on #9", []),  # prose: only lines that begin so
        ("Blocked by #0 and #x9", []),
        ("blocked by #9\nblocked by #9", [("o/r", 9)]),
        ("Blocked by ../..#1 and x/..#2", []),
        ("- [ ] `blocked by` #9", []),
    ],
)
def test_dependencies_in_the_text(body: str, links: list[tuple[str, int]]) -> None:
    assert approval.dependencies_in_text(body, "o/r") == links


@pytest.mark.parametrize(
    ("changes", "satisfied"),
    [
        ({"state": "open"}, False),
        ({"state": "closed", "state_reason": "completed"}, True),
        ({"state": "closed", "state_reason": None}, True),
        ({"state": "closed", "state_reason": "not_planned"}, False),
        ({"state": "closed", "state_reason": "duplicate"}, False),
        ({"state": "closed", "pull_request": True, "merged": True}, True),
        ({"state": "closed", "pull_request": True, "merged": False}, False),
        ({"state": "open", "pull_request": True}, False),
    ],
)
def test_only_completed_or_merged_satisfies_a_dependency(
    changes: dict[str, Any], satisfied: bool
) -> None:
    assert approval.dependency_on(issue(**changes), "blocked_by").satisfied is satisfied
    assert not approval.unknown_dependency("o/r", 1).satisfied


def test_changes_list_issues_that_were_added_changed_removed_or_refused() -> None:
    def file(*issues: Approved, refused: tuple[Refused, ...] = ()) -> IssuesFile:
        return IssuesFile(
            fanin="github-issues",
            version=1,
            repository="o/r",
            label="fanin",
            issues=issues,
            refused=refused,
        )

    def numbered(number: int, **changes: Any) -> Approved:
        approved = approved_text(BY_WRITER, number=number)
        assert isinstance(approved, Approved)
        return approved.model_copy(update=changes)

    before = file(numbered(1), numbered(2), numbered(3))
    wait = Wait(repository="o/r", number=1, state="open")
    after = file(
        numbered(1, updated_at="later"),
        numbered(2, waits_for=(wait,)),
        numbered(4),
        refused=(Refused(number=5, why="so"),),
    )
    assert approval.changes(before, after) == [
        "+ #4 Now",
        "~ #2 Now",
        "- #3 Now",
        "! #5 is not a task: so",
    ]
    assert approval.changes(None, before) == ["+ #1 Now", "+ #2 Now", "+ #3 Now"]
    assert approval.needs_update(None, before)
    assert approval.needs_update(before, after)
    assert not approval.needs_update(
        before, file(numbered(1, updated_at="later"), numbered(2), numbered(3))
    )


def view(state: str, **record: Any) -> TaskView:
    return TaskView(task(id="7"), state, Record(**record), record.get("reason", "why"))


DONE = {
    "status": Status.COMPLETED,
    "attempts": 2,
    "agent": "claude",
    "cost_usd": 0.5,
    "summary": "Did <it> @all",
}


LOST = {
    "status": Status.FAILED,
    "attempts": 3,
    "error": Failure(kind=FailureKind.NO_CHANGE, message="no"),
}


@pytest.mark.parametrize(
    ("when_done", "state", "record", "close", "label"),
    [
        ("comment", "completed", DONE, False, None),
        ("close", "completed", DONE, True, None),
        ("label", "completed", DONE, False, "fanin:done"),
        ("comment", "failed", LOST, False, None),
        ("close", "failed", LOST, False, None),
        ("label", "failed", LOST, False, "fanin:failed"),
    ],
)
def test_a_finished_task_is_answered_on_its_issue(
    when_done: str, state: str, record: dict[str, Any], close: bool, label: str | None
) -> None:
    (answer,) = approval.answers_for(
        [view(state, **record)],
        when_done,
        LandedWork("main", "https://x/main", {"7": "abc123"}),
    )
    assert (answer.number, answer.close, answer.label) == (7, close, label)
    assert answer.stamp == f"<!-- fanin issue: {state} {record['attempts']} -->"
    assert "[`main`](https://x/main)" in answer.body
    assert ("in abc123" in answer.body) is (state == "completed")


def test_an_agents_summary_is_escaped_in_the_comment() -> None:
    (answer,) = approval.answers_for(
        [view("completed", **DONE)], "comment", LandedWork("main")
    )
    assert "<it>" not in answer.body
    assert "@all" not in answer.body


@pytest.mark.parametrize(
    "state", ["ready", "blocked", "pending", "held", "skipped", "in_progress"]
)
def test_an_unfinished_task_gets_no_answer(state: str) -> None:
    assert (
        approval.answers_for([view(state, attempts=1)], "close", LandedWork("main"))
        == []
    )


def test_a_task_completed_without_an_attempt_gets_no_answer() -> None:
    assert (
        approval.answers_for(
            [view("completed", status=Status.COMPLETED, skipped=True)],
            "close",
            LandedWork("main"),
        )
        == []
    )
