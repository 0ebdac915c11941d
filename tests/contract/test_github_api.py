"""What fanin asks of GitHub and what it makes of the answers; both sides held to
GitHub's description.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import requests
import yaml
from responses import matchers

from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.github_api.client import (
    ApiCommit,
    Change,
    GitHub,
    Job,
    fits_one_call,
    tree_chunks,
)
from runner.github_api.errors import (
    BadToken,
    BranchRefuses,
    DispatchRefused,
    GitHubRefused,
    GitHubUnreachable,
    HeadMoved,
    MayNotOpenPulls,
    MissingPermission,
    NoDispatchTrigger,
    NoSuchBranch,
    NotFound,
    NotVerified,
    RateLimited,
    TreeDiffers,
    UndeclaredInputs,
    UnexpectedAnswer,
    dispatch_yaml,
    rate_limit_wait,
)
from runner.github_api.pulls import BODY_LIMIT, Pull, truncated, web_url
from runner.github_api.session import Retry
from tests.support.openapi import API, Contract, example

REPO = f"{API}/repos/o/r"
TEMPLATE = "/repos/{owner}/{repo}"
BASE, NEW, OTHER = "b" * 40, "c" * 40, "d" * 40
NOW = 1_000_000.0
NOT_ACCESSIBLE = "Resource not accessible by integration"


@pytest.fixture
def slept() -> list[float]:
    """The waits that were asked for; none is waited."""
    return []


@pytest.fixture
def api(gh: Contract, slept: list[float]) -> GitHub:
    return GitHub(
        "a-token", "o/r", timeout=5, retry=Retry(sleep=slept.append, now=lambda: NOW)
    )


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not check answers against the description, to test a broken one."""
    monkeypatch.setattr("tests.support.openapi.check_answer", lambda *_: None)


def no(message: str) -> dict[str, Any]:
    """An error as GitHub forms it."""
    return {"message": message, "documentation_url": "https://docs.github.com/rest"}


def invalid(message: str) -> dict[str, Any]:
    """The error for a pull request that cannot be; the words that matter are inside."""
    detail = {"resource": "PullRequest", "code": "custom", "message": message}
    return no("Validation Failed") | {"errors": [detail]}


def bodies(gh: Contract, method: str, ending: str) -> list[Any]:
    """The JSON of every request of a method to addresses of an ending."""
    return [
        json.loads(str(call.request.body))
        for call in gh.calls
        if call.request.method == method and str(call.request.url).endswith(ending)
    ]


def more(url: str) -> dict[str, str]:
    """The header of a first page that is not the last."""
    return {
        "Link": f'<{url}?per_page=100&page=2>; rel="next", <{url}?per_page=100&page=2>; rel="last"'
    }


def query(**parameters: Any) -> list[Any]:
    """Matches requests with exactly these parameters."""
    return [matchers.query_param_matcher(parameters)]


def url_of(call: Any) -> str:
    return str(call.request.url)


# -- artifacts --


def test_artifacts_of_a_run_are_listed_over_all_pages(
    gh: Contract, api: GitHub
) -> None:
    path = "/actions/runs/{run_id}/artifacts"
    answer = example("get", f"{TEMPLATE}{path}", 200)
    one = answer["artifacts"][0]
    listed = [{**one, "id": number, "name": f"a{number}"} for number in range(101)]
    listed[100]["expired"] = True
    url = f"{REPO}/actions/runs/7/artifacts"
    for page, items in ((1, listed[:100]), (2, listed[100:])):
        gh.get(
            url,
            json={**answer, "artifacts": items},
            match=query(per_page=100, page=page),
        )
    found = api.artifacts("7")
    assert [artifact.name for artifact in found] == [f"a{n}" for n in range(101)]
    assert [artifact.id for artifact in found if artifact.expired] == [100]


def test_jobs_of_all_attempts_of_a_run_are_listed_with_the_names_of_their_steps(
    gh: Contract, api: GitHub
) -> None:
    path = "/actions/runs/{run_id}/jobs"
    answer = example("get", f"{TEMPLATE}{path}", 200)
    # the example lacks a field that the schema requires
    one = {**answer["jobs"][0], "created_at": "2020-01-20T17:42:40Z"}
    step = {**one["steps"][0], "name": "Upload result 0f"}
    listed = [{**one, "name": f"task {number}"} for number in range(101)]
    listed[100] |= {"steps": [step], "status": "in_progress"}
    url = f"{REPO}/actions/runs/7/jobs"
    for page, items in ((1, listed[:100]), (2, listed[100:])):
        gh.get(
            url,
            json={**answer, "jobs": items},
            match=query(filter="all", per_page=100, page=page),
        )
    found = api.jobs("7")
    assert [job.name for job in found] == [f"task {n}" for n in range(101)]
    assert found[0].has_ended
    assert found[100] == Job("task 100", has_ended=False, steps=("Upload result 0f",))


def test_a_token_that_may_not_list_artifacts_is_told_the_permission(
    gh: Contract, api: GitHub
) -> None:
    url = f"{REPO}/actions/runs/7/artifacts"
    gh.get(url, json=no(NOT_ACCESSIBLE), status=403)
    with pytest.raises(MissingPermission, match="actions: read"):
        api.artifacts("7")


# -- dispatch --

DISPATCHES = f"{REPO}/actions/workflows/fanin.yml/dispatches"
STATE = {"fanin-state": "{}"}


def test_dispatch_returns_the_address_of_the_run(gh: Contract, api: GitHub) -> None:
    answer = example(
        "post", f"{TEMPLATE}/actions/workflows/{{workflow_id}}/dispatches", 200
    )
    gh.post(DISPATCHES, json=answer)
    assert api.dispatch("fanin.yml", "main", STATE) == answer["html_url"]
    assert bodies(gh, "POST", "/dispatches") == [
        {"ref": "refs/heads/main", "inputs": STATE, "return_run_details": True}
    ]


def test_dispatch_without_details_in_the_answer(gh: Contract, api: GitHub) -> None:
    gh.post(DISPATCHES, status=204)
    assert api.dispatch("fanin.yml", "main", STATE) is None


def test_enterprise_server_is_not_asked_for_run_details(gh: Contract) -> None:
    gh.api = "https://git.example.com/api/v3"
    gh.post(DISPATCHES.replace(API, gh.api), status=204)
    assert (
        GitHub("a-token", "o/r", f"{gh.api}/").dispatch("fanin.yml", "main", STATE)
        is None
    )
    assert bodies(gh, "POST", "/dispatches") == [
        {"ref": "refs/heads/main", "inputs": STATE}
    ]


@pytest.mark.parametrize(
    ("status", "message", "kind", "match"),
    [
        (
            422,
            "Workflow does not have 'workflow_dispatch' trigger",
            NoDispatchTrigger,
            r"(?s)no `workflow_dispatch`.*yml on main.*on:\n  workflow_dispatch:\n    inputs:\n      fanin-state:",
        ),
        (
            422,
            'Unexpected inputs provided: ["fanin-state"]',
            UndeclaredInputs,
            r"(?s)does not declare the input fanin-state.*\n      fanin-state:\n",
        ),
        (422, "No ref found for: main", NoSuchBranch, "push the branch first"),
        (
            422,
            "Cannot trigger a 'workflow_dispatch' on a disabled workflow",
            DispatchRefused,
            "enable it on the",
        ),
        (422, "Required input 'x' not provided", DispatchRefused, "'x' not provided"),
        (
            404,
            "Not Found",
            NotFound,
            r"(?s)GitHub has no workflow fanin\.yml.*default branch.*actions: write",
        ),
        (
            403,
            NOT_ACCESSIBLE,
            MissingPermission,
            r"(?s)needs `actions: write`.*permissions:\n      actions: write",
        ),
        (401, "Bad credentials", BadToken, "does not accept the token"),
        (400, "Problems parsing JSON", GitHubRefused, r"refused \(400 Problems"),
    ],
)
def test_refused_dispatch_says_what_to_do(
    gh: Contract,
    api: GitHub,
    status: int,
    message: str,
    kind: type[Exception],
    match: str,
) -> None:
    gh.post(DISPATCHES, json=no(message), status=status)
    with pytest.raises(kind, match=match) as caught:
        api.dispatch("fanin.yml", "main", STATE)
    assert type(caught.value) is kind


def test_errors_of_the_callers_workflow_are_the_users_to_fix() -> None:
    for kind in (NoDispatchTrigger, UndeclaredInputs, DispatchRefused):
        assert issubclass(kind, UsageProblem)
    assert issubclass(MissingPermission, EnvironmentBroken)


def test_dispatch_is_never_sent_twice_after_a_failure(
    gh: Contract, api: GitHub, slept: list[float]
) -> None:
    gh.post(DISPATCHES, body="<html>Bad Gateway</html>", status=502)
    with pytest.raises(GitHubUnreachable, match="may or may not have done it"):
        api.dispatch("fanin.yml", "main", STATE)
    assert (len(gh.calls), slept) == (1, [])


@pytest.mark.parametrize(
    "inputs", [{f"i{n}": "" for n in range(26)}, {"fanin-state": "x" * 65_536}]
)
def test_a_dispatch_above_githubs_limit_is_not_sent(
    api: GitHub, gh: Contract, inputs: dict[str, str]
) -> None:
    with pytest.raises(
        DispatchRefused, match="GitHub accepts 25 inputs and 65535 characters"
    ):
        api.dispatch("fanin.yml", "main", inputs)
    assert len(gh.calls) == 0


def test_trigger_starts_the_users_workflow_without_inputs(
    gh: Contract, api: GitHub
) -> None:
    gh.post(f"{REPO}/actions/workflows/ci.yml/dispatches", status=204)
    assert api.trigger("ci.yml", "fanin/1") is None
    sent = bodies(gh, "POST", "/dispatches")
    assert sent == [
        {"ref": "refs/heads/fanin/1", "inputs": {}, "return_run_details": True}
    ]


def test_workflow_name_is_one_segment_of_the_address(gh: Contract, api: GitHub) -> None:
    gh.post(f"{REPO}/actions/workflows/a%2F..%2Fci%23.yml/dispatches", status=204)
    api.trigger("a/../ci#.yml", "main")
    assert "/a%2F..%2Fci%23.yml/" in url_of(gh.calls[0])


def test_trigger_advises_no_inputs(gh: Contract, api: GitHub) -> None:
    gh.post(
        f"{REPO}/actions/workflows/ci.yml/dispatches",
        status=422,
        json=no("Workflow does not have 'workflow_dispatch' trigger"),
    )
    with pytest.raises(NoDispatchTrigger, match=r"on:\n  workflow_dispatch:\Z"):
        api.trigger("ci.yml", "main")


def test_the_advised_yaml_is_a_workflow_trigger() -> None:
    # this one keeps `on` a word
    parsed = yaml.load(dispatch_yaml(["fanin-state"]), Loader=yaml.BaseLoader)
    assert (
        parsed["on"]["workflow_dispatch"]["inputs"]["fanin-state"]["required"]
        == "false"
    )


# -- comments --

COMMENTS = f"{REPO}/issues/7/comments"
MARKER = "<!-- fanin -->"


def comment(
    number: int, body: str, *, login: str = "github-actions[bot]", kind: str = "Bot"
) -> dict[str, Any]:
    made: dict[str, Any] = example(
        "get", f"{TEMPLATE}/issues/{{issue_number}}/comments", 200
    )[0]
    made["user"] |= {"login": login, "type": kind}
    return made | {
        "id": number,
        "body": body,
        "url": f"{REPO}/issues/comments/{number}",
        "html_url": f"https://github.com/o/r/pull/7#issuecomment-{number}",
    }


def me(gh: Contract, login: str | None = None) -> None:
    """Who the token is: a user, or an app, which may not ask."""
    if login is None:
        gh.get(f"{API}/user", json=no(NOT_ACCESSIBLE), status=403)
    else:
        answer = example("get", "/user", 200) | {"login": login}
        # missing in GitHub's example
        gh.get(f"{API}/user", json=answer | {"user_view_type": "private"})


def test_first_comment_is_created_under_its_marker(gh: Contract, api: GitHub) -> None:
    gh.get(COMMENTS, json=[comment(1, "nice work")])
    gh.post(COMMENTS, json=comment(2, f"{MARKER}\nround 1"), status=201)
    assert (
        api.sticky_comment(7, MARKER, "round 1")
        == "https://github.com/o/r/pull/7#issuecomment-2"
    )
    assert bodies(gh, "POST", "/comments") == [{"body": f"{MARKER}\nround 1"}]


def test_our_comment_is_edited_in_place_also_on_the_second_page(
    gh: Contract, api: GitHub
) -> None:
    gh.get(
        COMMENTS,
        json=[comment(1, "nice")],
        headers=more(COMMENTS),
        match=query(per_page=100),
    )
    gh.get(
        COMMENTS,
        json=[comment(2, f"{MARKER}\nround 1")],
        match=query(per_page=100, page=2),
    )
    me(gh)
    gh.patch(f"{REPO}/issues/comments/2", json=comment(2, f"{MARKER}\nround 2"))
    assert api.sticky_comment(7, MARKER, "round 2").endswith("-2")
    assert bodies(gh, "PATCH", "/2") == [{"body": f"{MARKER}\nround 2"}]


def test_unchanged_comment_is_left_alone(gh: Contract, api: GitHub) -> None:
    gh.get(COMMENTS, json=[comment(2, f"{MARKER}\nsame")])
    me(gh)
    assert api.sticky_comment(7, MARKER, "same").endswith("-2")


@pytest.mark.parametrize(
    ("body", "login", "kind", "token_of"),
    [
        pytest.param(
            f"{MARKER}\nplanted",
            "mallory",
            "User",
            None,
            id="a person's, for an app's token",
        ),
        pytest.param(
            f"{MARKER}\nplanted", "mallory", "User", "octocat", id="another person's"
        ),
        pytest.param(
            f"{MARKER}\nother",
            "a[bot]",
            "Bot",
            "octocat",
            id="a bot's, for a person's token",
        ),
    ],
)
def test_a_planted_marker_is_not_ours(
    gh: Contract, api: GitHub, body: str, login: str, kind: str, token_of: str | None
) -> None:
    gh.get(COMMENTS, json=[comment(1, body, login=login, kind=kind)])
    me(gh, token_of)
    gh.post(COMMENTS, json=comment(2, "x"), status=201)
    assert api.sticky_comment(7, MARKER, "round 1").endswith("-2")


def test_a_quoted_marker_is_not_ours(gh: Contract, api: GitHub) -> None:
    gh.get(COMMENTS, json=[comment(1, f"> {MARKER}")])
    gh.post(COMMENTS, json=comment(2, "x"), status=201)
    assert api.sticky_comment(7, MARKER, "round 1").endswith("-2")


def test_a_persons_token_edits_the_comment_of_that_person(
    gh: Contract, api: GitHub
) -> None:
    gh.get(COMMENTS, json=[comment(3, f"{MARKER}\nold", login="octocat", kind="User")])
    me(gh, "octocat")
    gh.patch(f"{REPO}/issues/comments/3", json=comment(3, "x"))
    assert api.sticky_comment(7, MARKER, "new").endswith("-3")


def test_a_deleted_account_is_nobody(gh: Contract, api: GitHub) -> None:
    gh.get(COMMENTS, json=[comment(1, f"{MARKER}\nold") | {"user": None}])
    me(gh)
    gh.post(COMMENTS, json=comment(2, "x"), status=201)
    assert api.sticky_comment(7, MARKER, "new").endswith("-2")


def test_a_comment_deleted_in_the_meantime_is_created_again(
    gh: Contract, api: GitHub
) -> None:
    gh.get(COMMENTS, json=[comment(1, f"{MARKER}\nold")])
    me(gh)
    gh.patch(f"{REPO}/issues/comments/1", json=no("Not Found"), status=404)
    gh.post(COMMENTS, json=comment(2, "x"), status=201)
    assert api.sticky_comment(7, MARKER, "new").endswith("-2")


def test_comment_names_the_missing_permission(gh: Contract, api: GitHub) -> None:
    gh.get(COMMENTS, json=[])
    gh.post(COMMENTS, json=no(NOT_ACCESSIBLE), status=403)
    with pytest.raises(MissingPermission, match="pull-requests: write"):
        api.sticky_comment(7, MARKER, "x")


@pytest.mark.parametrize(
    ("ask", "url"),
    [
        (lambda api: api.sticky_comment(7, MARKER, "x"), f"{REPO}/issues/7/comments"),
        (lambda api: api.open_pull("fanin/1", "main", "t", "b"), f"{REPO}/pulls"),
    ],
)
def test_what_may_not_have_been_created_is_looked_for_and_created_once_more(
    gh: Contract, api: GitHub, ask: Callable[[GitHub], object], url: str
) -> None:
    looked = gh.get(url, json=[])
    posted = gh.post(url, body="<html>Bad Gateway</html>", status=502)
    with pytest.raises(GitHubUnreachable, match="may or may not have done it"):
        ask(api)
    assert (looked.call_count, posted.call_count) == (2, 2)


def test_a_pull_request_that_was_opened_in_spite_of_a_failure_is_not_opened_twice(
    gh: Contract, api: GitHub
) -> None:
    gh.get(PULLS, json=[])
    posted = gh.post(PULLS, body="<html>Bad Gateway</html>", status=502)
    gh.get(PULLS, json=[pull(7)])
    assert api.open_pull("fanin/1", "main", "t", "b").number == 7
    assert posted.call_count == 1


def test_a_comment_that_was_written_in_spite_of_a_failure_is_not_written_twice(
    gh: Contract, api: GitHub
) -> None:
    gh.get(COMMENTS, json=[])
    posted = gh.post(COMMENTS, body="<html>Bad Gateway</html>", status=502)
    gh.get(COMMENTS, json=[comment(1, f"{MARKER}\nx")])
    gh.get(f"{API}/user", json=no(NOT_ACCESSIBLE), status=403)
    api.sticky_comment(7, MARKER, "x")
    assert posted.call_count == 1


def test_a_visible_marker_is_refused(api: GitHub) -> None:
    with pytest.raises(ValueError, match="a marker is an HTML comment"):
        api.sticky_comment(7, "fanin", "x")


def test_a_long_comment_is_truncated_to_githubs_limit(
    gh: Contract, api: GitHub
) -> None:
    gh.get(COMMENTS, json=[])
    gh.post(COMMENTS, json=comment(2, "x"), status=201)
    api.sticky_comment(7, MARKER, "line of text\n" * 10_000)
    sent = bodies(gh, "POST", "/comments")[0]["body"]
    assert BODY_LIMIT - 20 < len(sent) <= BODY_LIMIT
    assert sent.startswith(f"{MARKER}\n")
    assert sent.endswith(
        "line of text\n\n_Truncated: GitHub accepts at most 65,536 characters._"
    )


@pytest.mark.parametrize("size", [BODY_LIMIT, BODY_LIMIT + 1])
def test_the_limit_is_exact(size: int) -> None:
    assert (truncated("x" * size) == "x" * size) is (size == BODY_LIMIT)
    assert len(truncated("x" * size)) <= BODY_LIMIT


def test_truncation_inside_a_code_fence_closes_it() -> None:
    assert truncated("```\n" + "log\n" * 100, 200).count("```") == 2
    assert truncated("```\nlog\n```\n" + "text\n" * 100, 200).count("```") == 2


# -- pull requests --

PULLS = f"{REPO}/pulls"


def pull(
    number: int,
    head: str = "fanin/1",
    base: str = "main",
    *,
    repo: str = "o/r",
    method: str = "get",
) -> dict[str, Any]:
    found = example(method, f"{TEMPLATE}/pulls", 200 if method == "get" else 201)
    made: dict[str, Any] = found[0] if isinstance(found, list) else found
    made["requested_teams"] = []  # GitHub's example breaks its own schema
    made["head"]["ref"], made["base"]["ref"] = head, base
    made["head"]["repo"]["full_name"] = repo
    made["draft"] = False
    return made | {
        "number": number,
        "html_url": f"https://github.com/o/r/pull/{number}",
    }


def test_find_open_pull_asks_for_our_head_only(gh: Contract, api: GitHub) -> None:
    gh.get(
        PULLS,
        json=[pull(3)],
        match=query(state="open", head="o:fanin/1", base="main", per_page=100),
    )
    found = api.find_open_pull("fanin/1", "main")
    assert found is not None
    assert replace(found, commit="", body="", node_id="") == Pull(
        3, "https://github.com/o/r/pull/3", "fanin/1", "main"
    )


@pytest.mark.parametrize(
    "found", [[], [pull(1, "other")], [pull(1, base="dev")], [pull(1, repo="fork/r")]]
)
def test_pulls_of_others_are_not_ours(
    gh: Contract, api: GitHub, found: list[Any]
) -> None:
    gh.get(PULLS, json=found)
    assert api.find_open_pull("fanin/1", "main") is None


def test_pull_of_a_deleted_fork_is_not_ours(
    gh: Contract, api: GitHub, unchecked: None
) -> None:
    found = pull(1)
    # GitHub answers so, though its description says it never does
    found["head"]["repo"] = None
    gh.get(PULLS, json=[found])
    assert api.find_open_pull("fanin/1", "main") is None


def test_owner_may_be_spelt_in_another_case(gh: Contract, api: GitHub) -> None:
    gh.get(PULLS, json=[pull(3, repo="O/R")])
    assert api.find_open_pull("fanin/1", "main")


def test_open_pull_opens_a_pull_request(gh: Contract, api: GitHub) -> None:
    gh.get(PULLS, json=[])
    gh.post(PULLS, json=pull(4, method="post"), status=201)
    assert api.open_pull("fanin/1", "main", "t" * 300, "x" * 70_000).number == 4
    sent = bodies(gh, "POST", "/pulls")[0]
    assert (
        sent["head"],
        sent["base"],
        sent["title"],
        len(sent["body"]) <= BODY_LIMIT,
    ) == (
        "fanin/1",
        "main",
        "t" * 256,
        True,
    )


def test_open_pull_returns_the_open_one(gh: Contract, api: GitHub) -> None:
    gh.get(PULLS, json=[pull(3)])
    assert api.open_pull("fanin/1", "main", "t", "b").number == 3


def test_open_pull_returns_that_of_a_faster_run(gh: Contract, api: GitHub) -> None:
    gh.get(PULLS, json=[])
    gh.post(
        PULLS, status=422, json=invalid("A pull request already exists for o:fanin/1.")
    )
    gh.get(PULLS, json=[pull(5)])
    assert api.open_pull("fanin/1", "main", "t", "b").number == 5


@pytest.mark.parametrize(
    ("status", "message", "advice"),
    [
        (
            403,
            "GitHub Actions is not permitted to create or approve pull requests.",
            "Allow GitHub Actions to create and approve pull requests",
        ),
        (
            422,
            "GitHub Actions is not permitted to create or approve pull requests.",
            "Allow GitHub Actions to create and approve pull requests",
        ),
        (403, NOT_ACCESSIBLE, "pull-requests: write"),
    ],
)
def test_where_actions_may_not_open_pulls_a_person_can(
    gh: Contract, api: GitHub, status: int, message: str, advice: str
) -> None:
    gh.get(PULLS, json=[])
    gh.post(PULLS, json=no(message), status=status)
    with pytest.raises(MayNotOpenPulls, match=advice) as caught:
        api.open_pull("fanin/a b", "main", "t", "b")
    assert (
        caught.value.compare_url
        == "https://github.com/o/r/compare/main...fanin/a%20b?expand=1"
    )
    assert caught.value.compare_url in str(caught.value)


def test_pull_refused_for_another_reason_tells_it(gh: Contract, api: GitHub) -> None:
    gh.get(PULLS, json=[])
    gh.post(PULLS, status=422, json=invalid("No commits between main and fanin/1"))
    with pytest.raises(
        GitHubRefused,
        match="422 Validation Failed: No commits between main and fanin/1",
    ):
        api.open_pull("fanin/1", "main", "t", "b")


DRAFTS = "Draft pull requests are not supported in this repository."


def test_a_draft_is_asked_for_and_where_there_is_none_a_pull_request_opened(
    gh: Contract, api: GitHub
) -> None:
    gh.get(PULLS, json=[])
    gh.post(PULLS, status=422, json=invalid(DRAFTS))
    gh.post(PULLS, json=pull(4, method="post"), status=201)
    assert api.open_pull("fanin/1", "main", "t", "b", draft=True).state == "open"
    sent = bodies(gh, "POST", "/pulls")
    assert [body.get("draft") for body in sent] == [True, None]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"draft": True}, "draft"),
        ({}, "open"),
        ({"state": "closed", "merged_at": "2026-11-27T08:00:00Z"}, "merged"),
        ({"state": "closed", "merged_at": None}, "closed"),
    ],
)
def test_the_state_of_a_pull_request(
    gh: Contract, api: GitHub, fields: dict[str, Any], state: str
) -> None:
    made = pull(3) | {"merged_at": None} | fields
    gh.get(PULLS, json=[made])
    found = api.find_pull("fanin/1", "main")
    assert found is not None
    assert (found.state, found.commit) == (state, made["head"]["sha"])


def test_an_open_pull_request_counts_more_than_a_newer_closed_one(
    gh: Contract, api: GitHub
) -> None:
    newer = pull(4) | {"state": "closed", "merged_at": None}
    gh.get(PULLS, json=[newer, pull(3)], match=query(
        state="all", head="o:fanin/1", base="main", per_page=100
    ))  # fmt: skip
    found = api.find_pull("fanin/1", "main")
    assert found is not None
    assert found.number == 3


def test_a_pull_request_is_described_and_reopened(gh: Contract, api: GitHub) -> None:
    gh.patch(f"{PULLS}/3", json=pull(3, method="post"))
    api.describe_pull(3, "x" * 70_000)
    api.reopen_pull(3)
    described, reopened = bodies(gh, "PATCH", "/pulls/3")
    assert len(described["body"]) <= BODY_LIMIT
    assert reopened == {"state": "open"}


@pytest.mark.parametrize(
    ("mergeable", "expected"), [(True, False), (False, True), (None, False)]
)
def test_a_pull_request_that_conflicts_is_known_after_a_while(
    gh: Contract, api: GitHub, mergeable: object, expected: bool
) -> None:
    made = pull(3, method="post") | {"mergeable": mergeable}
    gh.get(f"{PULLS}/3", json=made)
    assert api.has_conflict(Pull(3, "", "fanin/1", "main")) is expected


def test_the_base_is_merged_into_the_branch_unless_they_conflict(
    gh: Contract, api: GitHub
) -> None:
    url = f"{REPO}/merges"
    commit = example("post", f"{TEMPLATE}/merges", 201)
    del commit["files"]  # GitHub's example breaks its own schema
    gh.post(url, json=commit, status=201)
    assert api.merge_into("fanin/1", BASE, "Merge main")
    assert bodies(gh, "POST", "/merges") == [
        {"base": "fanin/1", "head": BASE, "commit_message": "Merge main"}
    ]
    gh.replace("POST", url, status=204)  # nothing to merge
    assert api.merge_into("fanin/1", BASE, "Merge main")
    gh.replace("POST", url, json=no("Merge conflict"), status=409)
    assert not api.merge_into("fanin/1", BASE, "Merge main")


def test_a_draft_is_marked_ready_by_a_token_that_may(gh: Contract, api: GitHub) -> None:
    draft = Pull(3, "", "fanin/1", "main", "draft", node_id="PR_3")
    url = f"{API}/graphql"
    answer = {"markPullRequestReadyForReview": {"pullRequest": {"isDraft": False}}}
    gh.post(url, json={"data": answer})
    api.mark_pull_ready(draft)
    assert bodies(gh, "POST", "/graphql")[0]["variables"] == {
        "input": {"pullRequestId": "PR_3"}
    }
    gh.post(url, json={"errors": [{"type": "FORBIDDEN", "message": NOT_ACCESSIBLE}]})
    with pytest.raises(MissingPermission, match="contents: write` and `pull-requests"):
        api.mark_pull_ready(draft)


@pytest.mark.parametrize(
    ("api_url", "web"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://api.octo.ghe.com/", "https://octo.ghe.com"),
        ("https://api.example.com/api/v3", "https://api.example.com"),
        ("http://github.localhost:8741/api/v3", "http://github.localhost:8741"),
    ],
)
def test_web_address_from_the_apis(api_url: str, web: str) -> None:
    assert web_url(api_url) == web


# -- branches --


def ref(branch: str, sha: str) -> dict[str, Any]:
    made: dict[str, Any] = example("get", f"{TEMPLATE}/git/ref/{{ref}}", 200)
    made["object"]["sha"] = sha
    return made | {"ref": f"refs/heads/{branch}"}


@pytest.mark.parametrize(("branch", "path"), [("main", "main"), ("a/b#c", "a/b%23c")])
def test_branch_head(gh: Contract, api: GitHub, branch: str, path: str) -> None:
    gh.get(f"{REPO}/git/ref/heads/{path}", json=ref(branch, BASE))
    assert api.branch_head(branch) == BASE
    assert url_of(gh.calls[0]).endswith(path)


@pytest.mark.parametrize(
    ("status", "message"), [(404, "Not Found"), (409, "Git Repository is empty.")]
)
def test_no_branch_has_no_head(
    gh: Contract, api: GitHub, status: int, message: str
) -> None:
    gh.get(f"{REPO}/git/ref/heads/main", json=no(message), status=status)
    assert api.branch_head("main") is None


def test_branch_head_does_not_take_a_refusal_for_no_branch(
    gh: Contract, api: GitHub
) -> None:
    gh.get(f"{REPO}/git/ref/heads/main", json=no(NOT_ACCESSIBLE), status=403)
    with pytest.raises(MissingPermission, match="contents: read"):
        api.branch_head("main")


# -- commits by API --

TREE = "e" * 40


def tree_ids(count: int) -> list[str]:
    return [f"{number:040x}" for number in range(1, count + 1)]


def stub_blobs(gh: Contract, *shas: str) -> None:
    for sha in shas:
        gh.post(
            f"{REPO}/git/blobs",
            status=201,
            json={"sha": sha, "url": f"{REPO}/git/blobs/{sha}"},
        )


def stub_trees(gh: Contract, *shas: str) -> None:
    for sha in shas:
        answer = example("post", f"{TEMPLATE}/git/trees", 201) | {"sha": sha}
        gh.post(f"{REPO}/git/trees", json=answer, status=201)


def stub_commit(
    gh: Contract, sha: str, *, verified: bool = True, reason: str = "valid"
) -> None:
    answer = example("post", f"{TEMPLATE}/git/commits", 201) | {"sha": sha}
    answer["verification"] |= {
        "verified": verified,
        "reason": reason,
        "verified_at": None,
    }
    gh.post(f"{REPO}/git/commits", json=answer, status=201)


def stub_move(
    gh: Contract, branch: str = "main", *, status: int = 200, message: str = ""
) -> None:
    answer = ref(branch, NEW) if status == 200 else no(message)
    gh.patch(f"{REPO}/git/refs/heads/{branch}", json=answer, status=status)


# createCommitOnBranch cannot express it.
ONE_FILE = ApiCommit("Land", BASE, (Change("a.sh", "100755", b"\xff"),), TREE)
PLAIN_FILE = ApiCommit(
    "Land\n\nbody", BASE, (Change("a.txt", "100644", b"hi", "100644"),), TREE
)


def test_commit_via_api_sends_what_github_signs(gh: Contract, api: GitHub) -> None:
    changes = (
        Change("bin/x", "100755", b"\x00\xff"),
        Change("gone", "100644", None),
        Change("link", "120000", b"bin/x"),
        Change("lib", "160000", OTHER.encode()),
        Change("same", "100644", b"\x00\xff"),
        Change("text", "100644", "é\r\n".encode()),
    )
    stub_blobs(gh, "1" * 40)
    stub_trees(gh, "3" * 40, TREE)
    stub_commit(gh, NEW)
    stub_move(gh, "fanin/1")
    assert (
        api.commit_via_api(
            "fanin/1", BASE, [ApiCommit("Land\n\nbody", "f" * 40, changes, TREE)]
        )
        == NEW
    )
    blobs = bodies(gh, "POST", "/blobs")
    assert [base64.b64decode(blob["content"]) for blob in blobs] == [b"\x00\xff"]
    assert bodies(gh, "POST", "/trees") == [
        {
            "base_tree": "f" * 40,
            "tree": [{"path": "gone", "mode": "100644", "type": "blob", "sha": None}],
        },
        {
            "base_tree": "3" * 40,
            "tree": [
                {"path": "bin/x", "mode": "100755", "type": "blob", "sha": "1" * 40},
                {"path": "link", "mode": "120000", "type": "blob", "content": "bin/x"},
                {"path": "lib", "mode": "160000", "type": "commit", "sha": OTHER},
                {"path": "same", "mode": "100644", "type": "blob", "sha": "1" * 40},
                {
                    "path": "text",
                    "mode": "100644",
                    "type": "blob",
                    "content": "é\r\n",
                },
            ],
        },
    ]
    assert bodies(gh, "POST", "/commits") == [
        {"message": "Land\n\nbody", "tree": TREE, "parents": [BASE]}
    ]
    assert bodies(gh, "PATCH", "/heads/fanin/1") == [{"sha": NEW, "force": False}]


def test_large_commit_is_built_in_chunks(gh: Contract, api: GitHub) -> None:
    changes = tuple(Change(f"f{number}", "100644", b"x") for number in range(201))
    ids = tree_ids(3)
    stub_trees(gh, *ids)
    stub_commit(gh, NEW)
    stub_move(gh)
    api.commit_via_api("main", BASE, [ApiCommit("Land", TREE, changes)])
    sent = bodies(gh, "POST", "/trees")
    assert [len(body["tree"]) for body in sent] == [100, 100, 1]
    assert [body["base_tree"] for body in sent] == [TREE, *ids[:2]]
    assert bodies(gh, "POST", "/commits")[0]["tree"] == ids[2]


def test_several_commits_move_the_branch_once(gh: Contract, api: GitHub) -> None:
    stub_blobs(gh, "1" * 40)
    for sha in (OTHER, NEW):
        stub_trees(gh, TREE)
        stub_commit(gh, sha)
    stub_move(gh)
    assert api.commit_via_api("main", BASE, [ONE_FILE, ONE_FILE]) == NEW
    assert [body["parents"] for body in bodies(gh, "POST", "/commits")] == [
        [BASE],
        [OTHER],
    ]
    assert bodies(gh, "PATCH", "/main") == [{"sha": NEW, "force": False}]


def test_commit_without_changes_keeps_its_tree(gh: Contract, api: GitHub) -> None:
    stub_commit(gh, NEW)
    stub_move(gh)
    api.commit_via_api("main", BASE, [ApiCommit("Land", TREE, ())])
    assert bodies(gh, "POST", "/commits")[0]["tree"] == TREE


@pytest.mark.parametrize(
    ("reason", "match"),
    [
        ("unsigned", r"\(unsigned\)(?s:.*)never for a personal one"),
        ("gpgverify_unavailable", "run again"),
        ("bad_email", r"\(bad_email\)(?s:.*)use GITHUB_TOKEN"),
    ],
)
def test_unsigned_commit_never_lands(
    gh: Contract, api: GitHub, reason: str, match: str
) -> None:
    stub_blobs(gh, "1" * 40)
    stub_trees(gh, TREE)
    stub_commit(gh, NEW, verified=False, reason=reason)
    with pytest.raises(NotVerified, match=match):
        api.commit_via_api("main", BASE, [ONE_FILE])
    assert bodies(gh, "PATCH", "/main") == []


def test_another_tree_never_lands(gh: Contract, api: GitHub) -> None:
    stub_blobs(gh, "1" * 40)
    stub_trees(gh, OTHER)
    with pytest.raises(TreeDiffers, match=r"built tree d{12} where e{12} was merged"):
        api.commit_via_api("main", BASE, [ONE_FILE])
    assert url_of(gh.calls[-1]).endswith("/git/trees")


def stub_one_call(gh: Contract, sha: str, tree: str) -> None:
    commit = {"oid": sha, "tree": {"oid": tree}}
    gh.post(
        f"{API}/graphql", json={"data": {"createCommitOnBranch": {"commit": commit}}}
    )


def refuse_one_call(gh: Contract, message: str, kind: str) -> None:
    error = {"type": kind, "message": message, "path": ["createCommitOnBranch"]}
    gh.post(
        f"{API}/graphql",
        json={"data": {"createCommitOnBranch": None}, "errors": [error]},
    )


def test_a_commit_of_plain_files_is_one_call(gh: Contract, api: GitHub) -> None:
    stub_one_call(gh, NEW, TREE)
    commit = ApiCommit(
        "Land\n\nbody",
        BASE,
        (
            Change("a.txt", "100644", b"\xff", "100644"),
            Change("gone", "100644", None, "100644"),
        ),
        TREE,
    )
    assert api.commit_via_api("main", BASE, [commit]) == NEW
    (body,) = bodies(gh, "POST", "/graphql")
    assert body["variables"]["input"] == {
        "branch": {"repositoryNameWithOwner": "o/r", "branchName": "main"},
        "message": {"headline": "Land", "body": "body"},
        "expectedHeadOid": BASE,
        "fileChanges": {
            "additions": [{"path": "a.txt", "contents": "/w=="}],
            "deletions": [{"path": "gone"}],
        },
    }
    assert len(gh.calls) == 1


def test_a_moved_branch_refuses_the_one_call(gh: Contract, api: GitHub) -> None:
    refuse_one_call(gh, "Expected branch to point to b but it did not.", "STALE_DATA")
    gh.get(f"{REPO}/git/ref/heads/main", json=ref("main", OTHER))
    with pytest.raises(HeadMoved, match=r"moved from b{12} to d{12}"):
        api.commit_via_api("main", BASE, [PLAIN_FILE])


def test_where_the_one_call_is_refused_rest_says_why(gh: Contract, api: GitHub) -> None:
    refuse_one_call(gh, "Repository rule violations found", "UNPROCESSABLE")
    gh.get(f"{REPO}/git/ref/heads/main", json=ref("main", BASE))
    stub_trees(gh, TREE)
    stub_commit(gh, NEW)
    stub_move(gh, status=422, message="Repository rule violations found")
    with pytest.raises(BranchRefuses, match="Repository rule violations found"):
        api.commit_via_api("main", BASE, [PLAIN_FILE])


def test_another_tree_from_the_one_call_is_an_error(gh: Contract, api: GitHub) -> None:
    stub_one_call(gh, NEW, OTHER)
    with pytest.raises(TreeDiffers, match="look at main"):
        api.commit_via_api("main", BASE, [PLAIN_FILE])


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (Change("x", "100755", b""),),
        (Change("x", "100644", b"", "100755"),),
        (Change("x", "120000", b"y"),),
        (Change("x", "160000", b"d" * 40),),
        (Change("x", "120000", None, "120000"),),
        (Change("x", "100644", None, "100644"), Change("x/y", "100644", b"")),
        tuple(Change(f"f{number}", "100644", b"x") for number in range(101)),
        (Change("x", "100644", bytes(10_000_001)),),
    ],
)
def test_what_one_call_cannot_express(changes: tuple[Change, ...]) -> None:
    assert not fits_one_call(ApiCommit("Land", TREE, changes))


def test_requests_of_text_have_a_size() -> None:
    changes = [Change(name, "100644", b"x" * 60) for name in "abcd"]
    chunks = tree_chunks(changes, 100, 150)
    assert [[change.path for change in chunk] for chunk in chunks] == [
        ["a", "b"],
        ["c", "d"],
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (b"x" * 200_000, "x" * 200_000),
        (b"x" * 200_001, None),
        (b"\0", None),
        (b"\xff", None),
    ],
)
def test_small_text_goes_inside_the_request(content: bytes, text: str | None) -> None:
    assert Change("x", "100644", content).inline_text == text


@pytest.mark.parametrize(
    ("status", "message", "head", "kind", "match"),
    [
        (
            422,
            "Update is not a fast forward",
            OTHER,
            HeadMoved,
            r"moved from b{12} to d{12}",
        ),
        (409, "Conflict", OTHER, HeadMoved, r"moved from b{12} to d{12}"),
        (422, "Reference does not exist", None, NoSuchBranch, "main was deleted"),
        (
            422,
            "Repository rule violations found",
            BASE,
            BranchRefuses,
            "refused fanin's commit .422 Repository",
        ),
        (
            403,
            "Protected branch update failed",
            BASE,
            BranchRefuses,
            "403 Protected branch",
        ),
    ],
)
def test_a_branch_that_does_not_move(
    gh: Contract,
    api: GitHub,
    status: int,
    message: str,
    head: str | None,
    kind: type[Exception],
    match: str,
) -> None:
    stub_commit(gh, NEW)
    stub_move(gh, status=status, message=message)
    gh.get(
        f"{REPO}/git/ref/heads/main",
        json=ref("main", head) if head else no("Not Found"),
        status=200 if head else 404,
    )
    with pytest.raises(kind, match=match):
        api.commit_via_api("main", BASE, [ApiCommit("Land", TREE, ())])


def test_a_rate_limit_is_not_a_branch_that_refuses(
    gh: Contract, slept: list[float]
) -> None:
    stub_commit(gh, NEW)
    stub_move(gh, status=403, message="You have exceeded a secondary rate limit.")
    api = GitHub("a-token", "o/r", retry=Retry(budget_seconds=1, sleep=slept.append))
    with pytest.raises(RateLimited, match="asks to wait 60 s"):
        api.commit_via_api("main", BASE, [ApiCommit("Land", TREE, ())])
    assert url_of(gh.calls[-1]).endswith("/git/refs/heads/main")


def test_branch_names_are_encoded(gh: Contract, api: GitHub) -> None:
    stub_commit(gh, NEW)
    stub_move(gh, "a/b%23c")
    api.commit_via_api("a/b#c", BASE, [ApiCommit("Land", TREE, ())])
    assert url_of(gh.calls[-1]).endswith("/git/refs/heads/a/b%23c")


def test_move_names_the_missing_permission(gh: Contract, api: GitHub) -> None:
    stub_commit(gh, NEW)
    stub_move(gh, status=403, message=NOT_ACCESSIBLE)
    with pytest.raises(MissingPermission, match="contents: write"):
        api.commit_via_api("main", BASE, [ApiCommit("Land", TREE, ())])


def test_an_empty_list_of_commits_is_a_programming_error(api: GitHub) -> None:
    with pytest.raises(ValueError, match="no commit to make"):
        api.commit_via_api("main", BASE, [])


def test_chunks_delete_before_they_write() -> None:
    changes = [
        Change("a/b", "100644", b""),
        Change("a", "100644", None),
        Change("c", "100644", b""),
    ]
    assert [[change.path for change in chunk] for chunk in tree_chunks(changes, 1)] == [
        ["a"],
        ["a/b"],
        ["c"],
    ]


# -- artifacts --


# -- people --


def test_actor_permission(gh: Contract, api: GitHub) -> None:
    answer = example("get", f"{TEMPLATE}/collaborators/{{username}}/permission", 200)
    answer["permission"] = "write"
    answer["user"]["role_name"] = "write"  # GitHub's example breaks its own schema
    gh.get(f"{REPO}/collaborators/octocat/permission", json=answer)
    assert api.actor_permission("octocat") == "write"


def test_a_stranger_may_do_nothing(gh: Contract, api: GitHub) -> None:
    gh.get(
        f"{REPO}/collaborators/ghost/permission",
        json=no("ghost is not a user"),
        status=404,
    )
    assert api.actor_permission("ghost") == "none"


# -- limits, failures, answers that are not GitHub's --

HEAD = f"{REPO}/git/ref/heads/main"


def limited(
    gh: Contract,
    *,
    status: int = 403,
    message: str = "API rate limit exceeded for installation",
    **headers: str,
) -> None:
    gh.get(
        HEAD,
        json=no(message),
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def test_primary_limit_is_waited_out(
    gh: Contract, api: GitHub, slept: list[float]
) -> None:
    limited(gh, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW) + 90))
    gh.get(HEAD, json=ref("main", BASE))
    assert api.branch_head("main") == BASE
    assert slept == [91.0]


def test_secondary_limit_waits_for_the_named_time(
    gh: Contract, api: GitHub, slept: list[float]
) -> None:
    limited(
        gh,
        status=429,
        message="You have exceeded a secondary rate limit.",
        retry_after="17",
    )
    gh.get(HEAD, json=ref("main", BASE))
    assert api.branch_head("main") == BASE
    assert slept == [17.0]


def test_secondary_limit_without_a_time_doubles(
    gh: Contract, api: GitHub, slept: list[float]
) -> None:
    limited(gh, message="You have exceeded a secondary rate limit.")
    limited(gh, message="You have exceeded a secondary rate limit.")
    gh.get(HEAD, json=ref("main", BASE))
    assert api.branch_head("main") == BASE
    assert slept == [60.0, 120.0]


def test_a_limited_dispatch_is_sent_again(
    gh: Contract, api: GitHub, slept: list[float]
) -> None:
    gh.post(
        DISPATCHES,
        json=no("secondary rate limit"),
        status=403,
        headers={"Retry-After": "5"},
    )
    gh.post(DISPATCHES, status=204)
    api.dispatch("fanin.yml", "main", STATE)
    assert slept == [5.0]


def test_waits_together_stay_within_the_budget(
    gh: Contract, slept: list[float]
) -> None:
    api = GitHub(
        "a-token",
        "o/r",
        retry=Retry(budget_seconds=100, sleep=slept.append, now=lambda: NOW),
    )
    limited(gh, retry_after="60")
    gh.get(HEAD, json=ref("main", BASE))
    api.branch_head("main")
    limited(gh, retry_after="41")
    with pytest.raises(
        RateLimited, match=r"asks to wait 41 s .403 API rate limit exceeded"
    ):
        api.branch_head("main")
    assert slept == [60.0]


@pytest.mark.parametrize(
    ("status", "reason", "headers", "wait"),
    [
        (403, NOT_ACCESSIBLE, {}, None),
        (
            403,
            NOT_ACCESSIBLE,
            {"x-ratelimit-remaining": "12", "x-ratelimit-reset": str(int(NOW) + 9)},
            None,
        ),
        (404, "secondary rate limit", {"retry-after": "3"}, None),
        (403, "", {"retry-after": "0"}, 1.0),
        (
            403,
            "",
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) - 9)},
            1.0,
        ),
        (429, "", {}, 60.0),
        (429, "", {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60.0),
    ],
)
def test_what_is_a_rate_limit(
    status: int, reason: str, headers: dict[str, str], wait: float | None
) -> None:
    assert rate_limit_wait(status, reason, headers, now=NOW, rate_limits=0) == wait


@pytest.mark.parametrize(
    "failure",
    [
        {"body": "<html>Unicorn!</html>", "status": 502},
        {"json": {"message": "Server Error"}, "status": 500},
        {"body": requests.ConnectionError("reset")},
        {"body": requests.ReadTimeout("slow")},
    ],
)
def test_reading_is_repeated_after_a_failure(
    gh: Contract, api: GitHub, slept: list[float], failure: dict[str, Any]
) -> None:
    gh.get(HEAD, **failure)
    gh.get(HEAD, **failure)
    gh.get(HEAD, json=ref("main", BASE))
    assert api.branch_head("main") == BASE
    assert slept == [1.0, 2.0]


def test_repeating_stops_after_the_last_attempt(
    gh: Contract, api: GitHub, slept: list[float]
) -> None:
    gh.get(HEAD, body="down", status=503)
    with pytest.raises(GitHubUnreachable, match=r"did not answer .503., asked 4 times"):
        api.branch_head("main")
    assert (len(gh.calls), slept) == (4, [1.0, 2.0, 4.0])


def test_repeating_stops_when_the_budget_is_used_up(
    gh: Contract, slept: list[float]
) -> None:
    api = GitHub("a-token", "o/r", retry=Retry(budget_seconds=2.5, sleep=slept.append))
    gh.get(HEAD, body="down", status=503)
    with pytest.raises(GitHubUnreachable, match="asked 2 times"):
        api.branch_head("main")
    assert slept == [1.0]


def test_pygithub_itself_neither_waits_nor_repeats(
    gh: Contract, api: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept_here: list[float] = []
    sleep, this_thread = time.sleep, threading.get_ident()

    def noted_sleep(seconds: float) -> None:
        # The thread that watches git of an earlier test may sleep.
        if threading.get_ident() == this_thread:
            slept_here.append(seconds)
        sleep(seconds)

    monkeypatch.setattr("time.sleep", noted_sleep)
    stub_blobs(gh, "1" * 40)
    stub_trees(gh, TREE)
    stub_commit(gh, NEW)
    stub_move(gh)
    api.commit_via_api("main", BASE, [ONE_FILE])
    assert slept_here == []


@pytest.mark.parametrize(
    ("ask", "url", "answer", "match"),
    [
        (lambda api: api.branch_head("main"), HEAD, {"json": []}, "no `object.sha`"),
        (
            lambda api: api.branch_head("main"),
            HEAD,
            {"body": "<html>Log in first</html>"},
            "no `object.sha`",
        ),
        (
            lambda api: api.branch_head("main"),
            HEAD,
            {"body": '{"cut'},
            "makes no sense",
        ),
    ],
)
def test_an_answer_that_is_not_githubs(
    gh: Contract,
    api: GitHub,
    unchecked: None,
    ask: Callable[[GitHub], object],
    url: str,
    answer: dict[str, Any],
    match: str,
) -> None:
    gh.get(url, **answer)
    with pytest.raises(UnexpectedAnswer, match=f"(?s){match}.*check GITHUB_API_URL"):
        ask(api)


def test_a_next_page_on_another_server_is_not_followed(
    gh: Contract, api: GitHub
) -> None:
    gh.get(
        COMMENTS,
        json=[comment(1, "x")],
        headers=more("https://elsewhere.example.net/repos/o/r/issues/7/comments"),
    )
    with pytest.raises(UnexpectedAnswer, match=r"elsewhere\.example\.net"):
        api.sticky_comment(7, MARKER, "x")


def test_a_redirect_to_another_server_is_not_followed(
    gh: Contract, api: GitHub
) -> None:
    gh.get(
        REPO,
        status=301,
        headers={"Location": "https://elsewhere.example.net/repos/o/r"},
        json=no("Moved Permanently"),
    )
    with pytest.raises(UnexpectedAnswer, match=r"elsewhere\.example\.net"):
        api._send("GET", "/repos/o/r", needs="metadata: read")


def test_no_error_contains_the_token(gh: Contract) -> None:
    gh.get(HEAD, json=no("Bad credentials"), status=401)
    with pytest.raises(BadToken, match="does not accept the token") as caught:
        GitHub("ghs_verysecret", "o/r").branch_head("main")
    assert "verysecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("token", "repository", "match"),
    [
        ("", "o/r", r"no token.*(?s:.)set GITHUB_TOKEN"),
        ("t", "o", "'o' is not a valid repository"),
        ("t", "o/r/x", "write it as owner/name"),
        ("t", "o/r?x", "is not a valid repository"),
    ],
)
def test_an_invalid_token_or_repository_is_refused_at_once(
    token: str, repository: str, match: str
) -> None:
    with pytest.raises(UsageProblem, match=match):
        GitHub(token, repository)


def test_pygithub_is_imported_when_something_is_asked_of_github() -> None:
    program = (
        "import sys; from runner.github_api.client import GitHub\n"
        "from runner.github_api.comments import CommentApi\n"
        "from runner.github_api.issues import IssueApi\n"
        "github = GitHub('token', 'o/r')\n"
        "github.close()\n"
        "assert not {'github', 'requests'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
