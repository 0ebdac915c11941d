"""Which issues are tasks: who labelled them, with which text, what they wait for; and what each is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import issues
from runner.issues import Edit, Event, Issue, Place
from runner.models import Failure, FailureKind, Status
from runner.pictures import View
from runner.progress import Record
from runner.sources.github_issues import Approved, IssuesFile, Refused, Wait
from tests.unit.make import task

BEFORE, LABEL, AFTER = "2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z", "2026-01-03T10:00:00Z"
BY_WRITER = Event("labeled", LABEL, "writer", "fanin")


def issue(**changes: Any) -> Issue:
    made: dict[str, Any] = {"number": 7, "title": "Now", "body": "now", "url": "https://github.com/o/r/issues/7"}
    return Issue(**{**made, "updated_at": AFTER, "repository": "o/r", **changes})


def vouched(*events: Event, edits: tuple[Edit, ...] = (), label: str = "fanin", **changes: Any) -> Approved | Refused:
    return issues.vouched(issue(**changes), label, events, edits, lambda login: login == "writer")


def test_an_issue_labelled_by_a_writer_is_a_task_with_its_text() -> None:
    assert vouched(BY_WRITER) == Approved(
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
        ([Event("labeled", LABEL, "stranger", "fanin")], "stranger, who may not write here"),
        ([Event("labeled", LABEL, None, "fanin")], "an account that is gone"),
        ([BY_WRITER, Event("unlabeled", AFTER, "writer", "fanin")], "does not say who"),
        # the last one counts: a stranger's label is not a writer's earlier one
        (
            [BY_WRITER, Event("unlabeled", AFTER, "x", "fanin"), Event("labeled", AFTER + "1", "bot", "fanin")],
            "bot, who",
        ),
    ],
)
def test_an_issue_nobody_vouched_for_is_no_task(events: list[Event], why: str) -> None:
    found = vouched(*events)
    assert isinstance(found, Refused)
    assert why in found.why
    assert "label" in found.why.partition("; ")[2]


def test_labels_are_told_apart_as_github_does() -> None:
    assert isinstance(vouched(Event("labeled", LABEL, "writer", "Fanin"), label="fanin "), Approved)


@pytest.mark.parametrize(
    ("edits", "body"),
    [
        ((), "now"),
        ((Edit(BEFORE, "as opened"), Edit(BEFORE + "1", "now")), "now"),  # edited before the label only
        ((Edit(BEFORE, "as opened"), Edit(AFTER, "evil")), "as opened"),
        ((Edit(BEFORE, "first"), Edit(BEFORE + "1", "second"), Edit(AFTER, "evil"), Edit(AFTER + "1", "x")), "second"),
        ((Edit(AFTER, "evil"), Edit(BEFORE, "as opened")), "as opened"),  # in any order
    ],
)
def test_the_text_is_the_one_that_was_there_at_the_label(edits: tuple[Edit, ...], body: str) -> None:
    found = vouched(BY_WRITER, edits=edits)
    assert isinstance(found, Approved)
    assert found.body == body


@pytest.mark.parametrize(
    "edits",
    [
        (Edit(BEFORE, None), Edit(AFTER, "evil")),  # the revision that counts was deleted
        (Edit(AFTER, "evil"),),  # the history begins too late
        (Edit(BEFORE, "good"), Edit(LABEL, "evil")),  # before or after the label, within the second?
    ],
)
def test_a_text_that_cannot_be_known_is_no_task(edits: tuple[Edit, ...]) -> None:
    found = vouched(BY_WRITER, edits=edits)
    assert isinstance(found, Refused)
    assert found.why.endswith(issues.AGAIN)


@pytest.mark.parametrize(
    ("renamings", "title"),
    [
        ([], "Now"),
        ([Event("renamed", BEFORE, "author", old_title="Older")], "Now"),
        ([Event("renamed", AFTER, "author", old_title="Then")], "Then"),
        (
            [Event("renamed", AFTER + "1", "author", old_title="Evil"), Event("renamed", AFTER, "a", old_title="Then")],
            "Then",
        ),
        ([Event("renamed", LABEL, "author", old_title="Then")], "Then"),
    ],
)
def test_the_title_is_the_one_that_was_there_at_the_label(renamings: list[Event], title: str) -> None:
    found = vouched(BY_WRITER, *renamings)
    assert isinstance(found, Approved)
    assert found.title == title


@given(
    st.lists(st.tuples(st.integers(0, 59), st.text(max_size=3)), min_size=1, max_size=6, unique_by=lambda one: one[0]),
    st.integers(0, 59),
)
def test_no_later_text_is_ever_taken(revisions: list[tuple[int, str]], second: int) -> None:
    edits = [Edit(f"2026-01-01T00:00:{at:02}Z", f"{at} {text}") for at, text in sorted(revisions)]
    found = issues.body_at(edits[-1].body or "", edits, f"2026-01-01T00:00:{second:02}Z")
    assert found is None or int(found.split()[0]) < second


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a <!-- hidden --> b", "a  b"),
        ("a\n<!-- hidden\nhidden -->\nb", "a\n\nb"),
        ("a\n<!-- never closed\nhidden", "a\n"),
        ("<!-- one --> a <!-- two -->", " a "),
        ("```html\n<!-- shown -->\n```", "```html\n<!-- shown -->\n```"),
        ("<!--\n```\n-->\nshown\n```\n", "\nshown\n```\n"),
        ("<!-- ```\n``` hidden -->x", "x"),
        ("~~~\n<!-- shown\n~~~\n<!-- hidden -->", "~~~\n<!-- shown\n~~~\n"),
        ("zero\u200bwidth\u00ad and\U000e0041 tags", "zerowidth and tags"),
        ('a\n[note]: # (hidden)\n[x]: <> "hidden"\nb', "a\nb"),
        ('see [x]\n\n[x]: https://e.org "hidden"', "see [x]\n\n[x]: https://e.org"),
        ("plain\r\ntext", "plain\ntext"),
    ],
)
def test_what_a_page_does_not_show_is_left_out(text: str, shown: str) -> None:
    assert issues.seen(text) == shown


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("Blocked by #9", [("o/r", 9)]),
        ("- **Depends on:** #9, #10 and p/q#3", [("o/r", 9), ("o/r", 10), ("p/q", 3)]),
        ("1. blocked by #9", [("o/r", 9)]),
        ("This was blocked by nothing, see #9", []),
        ("It depends on #9", []),  # prose: only lines that begin so
        ("Blocked by #0 and #x9", []),
        ("blocked by #9\nblocked by #9", [("o/r", 9)]),
    ],
)
def test_dependencies_in_the_text(body: str, found: list[tuple[str, int]]) -> None:
    assert issues.mentioned(body, "o/r") == found


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
def test_only_what_is_done_satisfies(changes: dict[str, Any], satisfied: bool) -> None:
    assert issues.wait_for(issue(**changes), "blocked_by").satisfied is satisfied
    assert not issues.unseen_wait("o/r", 1).satisfied


def test_changes_tell_what_came_went_and_changed() -> None:
    def file(*found: Approved, refused: tuple[Refused, ...] = ()) -> IssuesFile:
        return IssuesFile(
            fanin="github-issues", version=1, repository="o/r", label="fanin", issues=found, refused=refused
        )

    def one(number: int, **changes: Any) -> Approved:
        found = vouched(BY_WRITER, number=number)
        assert isinstance(found, Approved)
        return found.model_copy(update=changes)

    before = file(one(1), one(2), one(3))
    wait = Wait(repository="o/r", number=1, state="open")
    after = file(
        one(1, updated_at="later"),
        one(2, waits_for=(wait,)),
        one(4),
        refused=(Refused(number=5, title="t", why="so"),),
    )
    assert issues.changes(before, after) == ["+ #4 Now", "~ #2 Now", "- #3 Now", "! #5 is no task: so"]
    assert issues.changes(None, before) == ["+ #1 Now", "+ #2 Now", "+ #3 Now"]


def view(state: str, **record: Any) -> View:
    return View(task(id="7"), state, Record(**record), record.get("reason", "why"))


DONE = {"status": Status.COMPLETED, "attempts": 2, "agent": "claude", "cost_usd": 0.5, "summary": "Did <it> @all"}
LOST = {"status": Status.FAILED, "attempts": 3, "error": Failure(kind=FailureKind.NO_CHANGE, message="no")}


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
def test_a_finished_task_is_told_to_its_issue(
    when_done: str, state: str, record: dict[str, Any], close: bool, label: str | None
) -> None:
    (answer,) = issues.answers([view(state, **record)], when_done, Place("main", "https://x/main", {"7": "abc123"}))
    assert (answer.number, answer.close, answer.label) == (7, close, label)
    assert answer.stamp == f"<!-- fanin issue: {state} {record['attempts']} -->"
    assert "[`main`](https://x/main)" in answer.body
    assert ("in abc123" in answer.body) is (state == "completed")


def test_what_an_agent_said_is_no_markup_in_the_comment() -> None:
    (answer,) = issues.answers([view("completed", **DONE)], "comment", Place("main"))
    assert "<it>" not in answer.body
    assert "@all" not in answer.body


@pytest.mark.parametrize("state", ["ready", "blocked", "pending", "held", "skipped", "in_progress"])
def test_what_is_not_finished_is_told_nothing(state: str) -> None:
    assert issues.answers([view(state, attempts=1)], "close", Place("main")) == []


def test_a_task_completed_without_an_attempt_is_told_nothing() -> None:
    assert issues.answers([view("completed", status=Status.COMPLETED, skipped=True)], "close", Place("main")) == []
