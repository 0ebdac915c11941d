"""What fanin asks GitHub about issues and tells them; both sides held to GitHub's
descriptions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import requests

from runner.core.errors import UsageProblem
from runner.github_api.errors import MissingPermission, NotFound, RateLimited
from runner.github_api.issue_types import MARKER, Answer, Edit, Event, History
from runner.github_api.issues import HISTORY, IssueApi
from runner.github_api.session import Retry
from runner.issues import jobs
from runner.issues.jobs import IssueOptions
from runner.plan.formats.github_issues import IssuesFile, Wait, render
from tests.contract.test_github_api import (
    COMMENTS,
    NOT_ACCESSIBLE,
    NOW,
    REPO,
    bodies,
    comment,
    me,
    more,
    no,
    query,
)
from tests.support.openapi import API, Contract, ContractError, example

TEMPLATE = "/repos/{owner}/{repo}"
ISSUES, GRAPHQL = f"{REPO}/issues", f"{API}/graphql"
THEN, LABELLED, LATER = (
    "2026-01-01T00:00:00Z",
    "2026-01-02T00:00:00Z",
    "2026-01-03T00:00:00Z",
)
LISTED = {
    "state": "open",
    "labels": "fanin",
    "sort": "created",
    "direction": "asc",
    "per_page": 100,
}


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def api(gh: Contract, slept: list[float]) -> IssueApi:
    return IssueApi(
        "a-token", "o/r", timeout=5, retry=Retry(sleep=slept.append, now=lambda: NOW)
    )


def issue(number: int, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = example("get", f"{TEMPLATE}/issues", 200)[0]
    # null for most, which GitHub's description forgets
    del made["pull_request"], made["state_reason"]
    return made | {
        "number": number,
        "title": f"Issue {number}",
        "body": "text",
        "html_url": f"https://github.com/o/r/issues/{number}",
        "repository_url": f"{API}/repos/o/r",
        "updated_at": LABELLED,
        "sub_issues_summary": {"total": 0, "completed": 0, "percent_completed": 0},
        "issue_dependencies_summary": {
            "blocked_by": 0,
            "blocking": 0,
            "total_blocked_by": 0,
            "total_blocking": 0,
        },
        **changes,
    }


def blocked(number: int, **changes: Any) -> dict[str, Any]:
    summary = {
        "blocked_by": 1,
        "blocking": 0,
        "total_blocked_by": 1,
        "total_blocking": 0,
    }
    return issue(number, issue_dependencies_summary=summary, **changes)


def event(
    kind: str,
    at: str,
    login: str | None = "writer",
    *,
    app: bool = False,
    **fields: Any,
) -> dict[str, Any]:
    actor = {"__typename": "Bot" if app else "User", "login": login} if login else None
    label = (
        {"label": {"name": "fanin"}}
        if kind in ("LabeledEvent", "UnlabeledEvent")
        else {}
    )
    return {"__typename": kind, "createdAt": at, "actor": actor, **label, **fields}


def edit(
    at: str, body: str | None, deleted: str | None = None, by: str | None = "author"
) -> dict[str, Any]:
    return {
        "editedAt": at,
        "deletedAt": deleted,
        "diff": body,
        "editor": {"login": by} if by else None,
    }


def history_answer(
    *events: Mapping[str, Any],
    edits: Sequence[Mapping[str, Any]] = (),
    more: str | None = None,
    **issue: Any,
) -> dict[str, Any]:
    """GitHub's answer about the history of an issue; `more` is the cursor of another
    page of edits.
    """
    end = {"hasNextPage": False, "endCursor": None}
    page = {"hasNextPage": True, "endCursor": more} if more else end
    found = {
        "title": "Title",
        "body": "text",
        "lastEditedAt": None,
        "userContentEdits": {"nodes": list(edits), "pageInfo": page},
        "timelineItems": {"nodes": list(events), "pageInfo": end},
    }
    return {"data": {"repository": {"issue": found | issue}}}


LABEL = event("LabeledEvent", LABELLED)


def permission(gh: Contract, login: str, level: str) -> None:
    made = example("get", f"{TEMPLATE}/collaborators/{{username}}/permission", 200)
    made["user"]["role_name"] = level  # GitHub's example lacks it
    gh.get(
        f"{REPO}/collaborators/{login}/permission", json=made | {"permission": level}
    )


# -- reading --


def test_labelled_issues_are_listed_over_all_pages_without_pull_requests(
    gh: Contract, api: IssueApi
) -> None:
    pull = issue(
        3, pull_request={"url": "", "html_url": "", "diff_url": "", "patch_url": ""}
    )
    gh.get(
        ISSUES,
        json=[issue(1), pull],
        headers=more(ISSUES),
        match=query(**LISTED, page=1),
    )
    gh.get(ISSUES, json=[issue(2, body=None)], match=query(**LISTED, page=2))
    issues = api.labelled("fanin")
    assert [issue.number for issue in issues] == [1, 2]
    assert (issues[0].repository, issues[0].updated_at) == ("o/r", LABELLED)


@pytest.mark.parametrize(("named", "number"), [("v1.0", "7"), ("7", "7"), ("8", "9")])
def test_a_milestone_is_named_by_title_or_number(
    gh: Contract, api: IssueApi, named: str, number: str
) -> None:
    one = example("get", f"{TEMPLATE}/milestones", 200)[0]
    titles = [one | {"number": 7, "title": "v1.0"}, one | {"number": 9, "title": "8"}]
    gh.get(
        f"{REPO}/milestones",
        json=titles,
        match=query(state="all", per_page=100, page=1),
    )
    gh.get(ISSUES, json=[], match=query(**LISTED, page=1, milestone=number))
    assert api.labelled("fanin", named) == []


def test_an_unknown_milestone_is_refused_with_the_existing_ones(
    gh: Contract, api: IssueApi
) -> None:
    one = example("get", f"{TEMPLATE}/milestones", 200)[0]
    gh.get(f"{REPO}/milestones", json=[one | {"title": "v1.0"}])
    with pytest.raises(UsageProblem, match=r"no milestone 'v2'") as caught:
        api.labelled("fanin", "v2")
    assert "v1.0" in caught.value.advice


def test_a_history_is_read_over_all_pages_oldest_first(
    gh: Contract, api: IssueApi
) -> None:
    renamed = event("RenamedTitleEvent", LATER, previousTitle="Old")
    first = [edit(LATER, "third"), edit(LABELLED, "second", by=None)]
    gh.post(
        GRAPHQL,
        json=history_answer(
            LABEL, renamed, edits=first, more="c", body="third", lastEditedAt=LATER
        ),
    )
    gh.post(
        GRAPHQL,
        json=history_answer(
            event("UnlabeledEvent", LATER, None),
            event("TransferredEvent", LATER, app=True),
            edits=[edit(THEN, "first", deleted=LABELLED)],
            body="third",
            lastEditedAt=LATER,
        ),
    )
    assert api.history(7) == History(
        "Title",
        "third",
        LATER,
        (
            Event("labeled", LABELLED, "writer", "fanin"),
            Event("renamed", LATER, "writer", old_title="Old"),
            Event("unlabeled", LATER, None, "fanin"),
            Event("transferred", LATER, "writer", bot=True),
        ),
        (
            Edit(THEN, None, "author"),
            Edit(LABELLED, "second"),
            Edit(LATER, "third", "author"),
        ),
    )
    asked = [json.loads(call.request.body or "")["variables"] for call in gh.calls]
    same = {"owner": "o", "name": "r", "number": 7, "events": None}
    assert asked == [{**same, "edits": cursor} for cursor in (None, "c")]


def test_an_enterprise_server_is_asked_at_its_own_address(gh: Contract) -> None:
    gh.api = "https://git.example.com/api/v3"
    gh.post("https://git.example.com/api/graphql", json=history_answer())
    assert IssueApi("a-token", "o/r", "https://git.example.com/api/v3").history(
        7
    ) == History("Title", "text")


@pytest.mark.parametrize(
    ("kind", "error", "match"),
    [
        ("NOT_FOUND", NotFound, "404 Could not resolve"),
        ("FORBIDDEN", MissingPermission, "issues: read"),
        ("INSUFFICIENT_SCOPES", MissingPermission, "issues: read"),
    ],
)
def test_a_refusal_of_graphql_is_an_error_like_one_of_rest(
    gh: Contract, api: IssueApi, kind: str, error: type[Exception], match: str
) -> None:
    gh.post(
        GRAPHQL,
        json={
            "data": None,
            "errors": [{"type": kind, "message": "Could not resolve to an Issue"}],
        },
    )
    with pytest.raises(error, match=match):
        api.history(7)


def test_a_rate_limit_of_graphql_is_waited_out(
    gh: Contract, api: IssueApi, slept: list[float]
) -> None:
    reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 30)}
    gh.post(
        GRAPHQL,
        json={
            "errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]
        },
        headers=reset,
    )
    gh.post(GRAPHQL, json=history_answer())
    assert api.history(7).title == "Title"
    assert slept == [31.0]


def test_a_rate_limit_beyond_the_budget_names_the_time(gh: Contract) -> None:
    reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 3600)}
    gh.get(ISSUES, json=no("API rate limit exceeded"), status=403, headers=reset)
    with pytest.raises(RateLimited, match="wait 3601 s"):
        IssueApi(
            "a-token", "o/r", retry=Retry(now=lambda: NOW, sleep=lambda _: None)
        ).labelled("fanin")


def test_a_label_with_a_comma_is_refused(api: IssueApi) -> None:
    with pytest.raises(UsageProblem, match="has a comma"):
        api.labelled("a,b")


def test_related_issues_are_read_only_if_there_are_any(
    gh: Contract, api: IssueApi
) -> None:
    gh.get(
        ISSUES,
        json=[
            issue(1),
            blocked(2),
            issue(
                3,
                sub_issues_summary={"total": 1, "completed": 0, "percent_completed": 0},
            ),
        ],
    )
    gh.get(
        f"{ISSUES}/2/dependencies/blocked_by",
        json=[issue(9, state="closed", state_reason="completed")],
    )
    gh.get(f"{ISSUES}/3/sub_issues", json=[issue(8, repository_url=f"{API}/repos/p/q")])
    one, two, three = api.labelled("fanin")
    assert (api.blocked_by(one), api.sub_issues(one)) == ([], [])
    assert [(found.number, found.state_reason) for found in api.blocked_by(two)] == [
        (9, "completed")
    ]
    assert [(found.number, found.repository) for found in api.sub_issues(three)] == [
        (8, "p/q")
    ]


def test_only_a_server_without_dependencies_may_lack_their_list(
    gh: Contract, api: IssueApi
) -> None:
    old = issue(1)
    del old["issue_dependencies_summary"]
    gh.get(ISSUES, json=[old, blocked(2)])
    gh.get(f"{ISSUES}/1/dependencies/blocked_by", json=no("Not Found"), status=404)
    gh.get(f"{ISSUES}/2/dependencies/blocked_by", json=no("Not Found"), status=404)
    one, two = api.labelled("fanin")
    assert api.blocked_by(one) == []
    with pytest.raises(NotFound, match="issues: read"):
        api.blocked_by(two)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_hidden_issue_is_none(gh: Contract, api: IssueApi, status: int) -> None:
    gh.get(f"{API}/repos/p/q/issues/1", json=no("Not Found"), status=status)
    assert api.issue("p/q", 1) is None


def test_a_merged_pull_request_is_recognised(gh: Contract, api: IssueApi) -> None:
    pull = {
        "url": "",
        "html_url": "",
        "diff_url": "",
        "patch_url": "",
        "merged_at": THEN,
    }
    gh.get(f"{ISSUES}/5", json=issue(5, state="closed", pull_request=pull))
    found = api.issue("o/r", 5)
    assert found is not None
    assert (found.pull_request, found.merged) == (True, True)


@pytest.mark.parametrize(
    ("level", "may"),
    [("admin", True), ("write", True), ("read", False), ("none", False)],
)
def test_who_may_write_is_asked_once(
    gh: Contract, api: IssueApi, level: str, may: bool
) -> None:
    permission(gh, "someone", level)
    assert api.may_write("someone") is may
    assert api.may_write("someone") is may
    assert len(gh.calls) == 1


# -- the whole --


def test_collecting_approves_texts_finds_dependencies_and_asks_only_what_changed(
    gh: Contract, api: IssueApi
) -> None:
    body = "Blocked by #1\nDepends on #40\nDepends on #40"
    gh.get(
        ISSUES,
        json=[issue(1), blocked(2), issue(3, title="Evil of 3", body="evil of 3")],
    )
    permission(gh, "writer", "write")
    permission(gh, "stranger", "read")
    edits = [edit(THEN, "as labelled"), edit(LATER, "evil")]
    gh.post(
        GRAPHQL,
        json=history_answer(LABEL, edits=edits, body="evil", lastEditedAt=LATER),
    )
    gh.post(GRAPHQL, json=history_answer(LABEL, body=body))
    gh.post(
        GRAPHQL,
        json=history_answer(
            event("LabeledEvent", LABELLED, "stranger"),
            title="Evil of 3",
            body="evil of 3",
        ),
    )
    gh.get(f"{ISSUES}/2/dependencies/blocked_by", json=[issue(1)])
    gh.get(f"{ISSUES}/40", json=issue(40, state="closed", state_reason="completed"))
    collected = jobs.collect_issues(api, None, IssueOptions())
    assert [(issue.number, issue.body) for issue in collected.issues] == [
        (1, "as labelled"),
        (2, body),
    ]
    assert collected.issues[1].waits_for == (
        Wait(repository="o/r", number=1, state="open", said="blocked_by"),
        Wait(
            repository="o/r", number=40, state="closed", reason="completed", said="text"
        ),
    )
    assert [issue.number for issue in collected.refused] == [3]
    # an agent can read the file, so it has nothing of a stranger's text
    assert "evil" not in render(collected).casefold()

    calls = len(gh.calls)
    assert jobs.collect_issues(api, collected, IssueOptions()) == collected
    asked = [str(call.request.url).partition("?")[0] for call in list(gh.calls)[calls:]]
    # no history of an unchanged issue, but the state of its dependencies
    assert asked == [
        ISSUES,
        GRAPHQL,
        f"{ISSUES}/2/dependencies/blocked_by",
        f"{ISSUES}/40",
    ]


@pytest.mark.parametrize("change", ["updated", "label", "revoked"])
def test_an_approved_issue_is_read_again_after_a_change(
    gh: Contract, api: IssueApi, change: str
) -> None:
    label = "other" if change == "label" else "fanin"
    gh.get(
        ISSUES, json=[issue(1, updated_at=LATER if change == "updated" else LABELLED)]
    )
    permission(gh, "writer", "read" if change == "revoked" else "write")
    gh.post(
        GRAPHQL,
        json=history_answer(event("LabeledEvent", LABELLED, label={"name": label})),
    )
    known = {
        "number": 1,
        "title": "Old",
        "body": "old",
        "url": "u",
        "labelled_by": "writer",
    }
    before = IssuesFile.model_validate(
        {
            "fanin": "github-issues",
            "version": 1,
            "repository": "o/r",
            "label": "fanin",
            "issues": [known | {"labelled_at": THEN, "updated_at": LABELLED}],
        }
    )
    collected = jobs.collect_issues(api, before, IssueOptions(label))
    assert [issue.title for issue in collected.issues] == (
        [] if change == "revoked" else ["Title"]
    )


# -- answering --

STAMP = f"{MARKER}: completed 1 -->"
ANSWER = Answer(7, STAMP, "Done")


def test_an_answer_is_one_comment_written_once(gh: Contract, api: IssueApi) -> None:
    gh.get(COMMENTS, json=[comment(1, "nice")])
    gh.post(COMMENTS, json=comment(2, f"{STAMP}\nDone"), status=201)
    assert api.post_answer(ANSWER)
    assert bodies(gh, "POST", "/comments") == [{"body": f"{STAMP}\nDone"}]
    gh.replace(
        "GET",
        COMMENTS,
        json=[comment(1, "nice"), comment(2, f"{STAMP}\nDone, with another commit")],
    )
    me(gh)
    assert not api.post_answer(ANSWER)
    assert len(bodies(gh, "POST", "/comments")) == 1


def test_a_new_result_replaces_the_previous_answer(gh: Contract, api: IssueApi) -> None:
    gh.get(COMMENTS, json=[comment(2, f"{MARKER}: failed 3 -->\nFailed")])
    me(gh)
    gh.patch(f"{REPO}/issues/comments/2", json=comment(2, "x"))
    assert api.post_answer(ANSWER)
    assert bodies(gh, "PATCH", "/comments/2") == [{"body": f"{STAMP}\nDone"}]


BEGUN = f"{MARKER}: begun -->\nDone"


def test_a_comment_gets_its_stamp_only_after_the_issue_is_changed(
    gh: Contract, api: IssueApi
) -> None:
    gh.get(COMMENTS, json=[])
    gh.post(COMMENTS, json=comment(2, BEGUN), status=201)
    gh.patch(f"{ISSUES}/7", json=no("Issues are locked"), status=403)
    closing = Answer(7, STAMP, "Done", close=True)
    with pytest.raises(MissingPermission, match="issues: write"):
        api.post_answer(closing)
    assert bodies(gh, "POST", "/comments") == [{"body": BEGUN}]
    # the next time it is begun again, in the same comment
    gh.replace("GET", COMMENTS, json=[comment(2, BEGUN)])
    gh.replace("PATCH", f"{ISSUES}/7", json=issue(7, state="closed"))
    me(gh)
    gh.patch(f"{REPO}/issues/comments/2", json=comment(2, "x"))
    assert api.post_answer(closing)
    assert bodies(gh, "PATCH", "/comments/2") == [
        {"body": BEGUN},
        {"body": f"{STAMP}\nDone"},
    ]
    assert bodies(gh, "PATCH", "/issues/7")[-1] == {
        "state": "closed",
        "state_reason": "completed",
    }


def test_a_label_replaces_the_other_one(gh: Contract, api: IssueApi) -> None:
    gh.get(COMMENTS, json=[])
    gh.post(COMMENTS, json=comment(2, BEGUN), status=201)
    gh.post(f"{ISSUES}/7/labels", json=[])
    gh.delete(
        f"{ISSUES}/7/labels/fanin%3Afailed", json=no("Label does not exist"), status=404
    )
    gh.patch(f"{REPO}/issues/comments/2", json=comment(2, "x"))
    assert api.post_answer(
        Answer(7, STAMP, "Done", label="fanin:done", unlabel="fanin:failed")
    )
    assert bodies(gh, "POST", "/labels") == [{"labels": ["fanin:done"]}]


def test_a_persons_later_change_is_left_alone(gh: Contract, api: IssueApi) -> None:
    gh.get(COMMENTS, json=[comment(2, f"{STAMP}\nDone")])
    me(gh)
    assert not api.post_answer(Answer(7, STAMP, "Done", close=True, label="fanin:done"))
    assert {call.request.method for call in gh.calls} == {"GET"}


def test_a_comment_of_somebody_else_with_our_marker_is_not_ours(
    gh: Contract, api: IssueApi
) -> None:
    gh.get(COMMENTS, json=[comment(2, f"{STAMP}\nDone", login="mallory", kind="User")])
    me(gh)
    gh.post(COMMENTS, json=comment(3, "x"), status=201)
    assert api.post_answer(ANSWER)


def test_a_missing_permission_is_named(gh: Contract, api: IssueApi) -> None:
    gh.get(COMMENTS, json=[])
    gh.post(COMMENTS, json=no(NOT_ACCESSIBLE), status=403)
    with pytest.raises(MissingPermission, match="issues: write"):
        api.post_answer(ANSWER)


# -- the stand-in itself --


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (
            {"query": '{ repository(owner: "o", name: "r") { nme } }'},
            "Cannot query field 'nme'",
        ),
        ({"query": HISTORY, "variables": {"owner": "o", "name": "r"}}, r"\$number"),
        (
            {"query": HISTORY, "variables": {"owner": "o", "name": "r", "number": "7"}},
            "cannot represent",
        ),
        (
            {
                "query": HISTORY,
                "variables": {"owner": "o", "name": "r", "number": 7, "x": 1},
            },
            "no variable x",
        ),
        ({"query": HISTORY, "queries": 1}, "does not document queries"),
    ],
)
def test_a_wrong_question_is_seen(
    gh: Contract, body: dict[str, Any], match: str
) -> None:
    gh.assert_all_requests_are_fired = False
    gh.post(GRAPHQL, json=history_answer())
    with pytest.raises(ContractError, match=match):
        requests.post(GRAPHQL, json=body, timeout=5)


@pytest.mark.parametrize(
    "answer",
    [
        history_answer(edits=[edit("", "") | {"editedAt": None}]),
        history_answer(edits=[{"editedAt": THEN}]),
        history_answer(event("LabeledEvent", THEN, label=None)),
        history_answer(strange=1),
        {"data": {"repo": 1}},
    ],
)
def test_a_wrong_stub_is_seen(
    gh: Contract, api: IssueApi, answer: dict[str, Any]
) -> None:
    gh.post(GRAPHQL, json=answer)
    with pytest.raises(ContractError, match="GraphQL"):
        api.history(7)
