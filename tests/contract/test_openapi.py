"""The stand-in itself: it must see what is wrong, or the other tests here prove
nothing.
"""

from __future__ import annotations

from typing import Any

import pytest
import requests
from github import Auth, Github, GithubException
from openapi_spec_validator import validate

from tests.contract import extract
from tests.support.openapi import (
    API,
    Contract,
    ContractError,
    description,
    example,
    find_route,
    one_segment,
)

REPO = f"{API}/repos/o/r"
TEMPLATE = "/repos/{owner}/{repo}"
COMMENTS = f"{REPO}/issues/7/comments"
AUTH = {"Authorization": "token x"}


def send(method: str, url: str, body: Any = None, **headers: str) -> requests.Response:
    return requests.request(method, url, json=body, headers=AUTH | headers, timeout=5)


def comment(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = example(
        "post", f"{TEMPLATE}/issues/{{issue_number}}/comments", 201
    )
    return made | changes


# --- requests


@pytest.mark.parametrize(
    ("method", "path", "body", "match"),
    [
        ("POST", "/issues/7/comments", {}, "'body' is a required property"),
        ("POST", "/issues/7/comments", {"body": 1}, "1 is not of type 'string'"),
        (
            "POST",
            "/issues/7/comments",
            {"body": "x", "boddy": "y"},
            "GitHub does not document boddy",
        ),
        (
            "POST",
            "/git/trees",
            {"tree": [{"path": "a", "shaa": "b"}]},
            r"does not document tree\[\]\.shaa",
        ),
        (
            "POST",
            "/git/trees",
            {"tree": [{"path": "a", "mode": "0644"}]},
            "'0644' is not one of",
        ),
        ("POST", "/git/commits", {"message": "m"}, "'tree' is a required property"),
        (
            "POST",
            "/actions/workflows/ci.yml/dispatches",
            {"inputs": {}},
            "'ref' is a required property",
        ),
        (
            "POST",
            "/actions/workflows/ci.yml/dispatches",
            {"ref": "x", "inputs": {str(n): "" for n in range(26)}},
            "too many properties",
        ),
        ("GET", "/pulls?state=nope", None, "'nope' is not one of"),
        ("GET", "/pulls?heads=x", None, "GitHub does not document heads"),
        ("GET", "/actions/runs/nine/artifacts", None, "nine"),
        ("PATCH", "/git/ref/heads/main", {"sha": "x"}, r"\{ref\} has no PATCH"),
        ("GET", "/branches", None, "no such path in the extract"),
    ],
)
def test_a_wrong_request_is_seen(
    gh: Contract, method: str, path: str, body: Any, match: str
) -> None:
    gh.assert_all_requests_are_fired = False
    gh.add(method, f"{REPO}{path.partition('?')[0]}", json=comment(), status=201)
    with pytest.raises(ContractError, match=match):
        send(method, f"{REPO}{path}", body)


def test_a_request_without_the_token_is_seen(gh: Contract) -> None:
    with pytest.raises(ContractError, match="no token is sent"):
        requests.get(COMMENTS, timeout=5)


def test_the_token_sent_elsewhere_is_seen(gh: Contract) -> None:
    with pytest.raises(
        ContractError, match=r"the token is sent to store\.example\.net"
    ):
        send("GET", "https://store.example.net/x")


# --- stubs


@pytest.mark.parametrize(
    ("answer", "status", "match"),
    [
        (comment(id="seven"), 201, "id: 'seven' is not of type 'integer'"),
        ({"id": 7}, 201, "is a required property"),
        (comment(), 200, "GitHub documents only 201, 403, 404, 410, 422"),
        ({"oops": 1}, 422, "'message' is a required property"),
        (
            {"message": 1, "documentation_url": "x"},
            403,
            "message: 1 is not of type 'string'",
        ),
        ({"error": "x"}, 401, "no error as GitHub forms it"),
        ("text", 429, "no error as GitHub forms it"),
    ],
)
def test_a_stub_that_breaks_the_schema_is_seen(
    gh: Contract, answer: Any, status: int, match: str
) -> None:
    gh.post(COMMENTS, json=answer, status=status)
    with pytest.raises(ContractError, match=rf"stub for POST .*{match}"):
        send("POST", COMMENTS, {"body": "x"})


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (comment(), 201),
        ({"message": "Bad credentials", "documentation_url": "x"}, 401),
        ("down", 503),
    ],
)
def test_what_github_does_passes(gh: Contract, answer: Any, status: int) -> None:
    gh.post(COMMENTS, json=answer, status=status)
    assert send("POST", COMMENTS, {"body": "x"}).status_code == status


def test_a_breach_is_not_taken_for_an_error_of_pygithub(gh: Contract) -> None:
    assert not issubclass(
        ContractError,
        (AssertionError, GithubException, OSError, RuntimeError, ValueError),
    )
    gh.post(COMMENTS, json={}, status=201)
    repo = Github(auth=Auth.Token("x"), lazy=True, retry=None).get_repo("o/r")
    with pytest.raises(ContractError, match="stub for POST"):
        repo.get_issue(7).create_comment("x")


def test_pygithubs_port_is_no_other_server(gh: Contract) -> None:
    gh.get(
        f"{REPO}/git/ref/heads/a/b",
        json=example("get", f"{TEMPLATE}/git/ref/{{ref}}", 200),
    )
    send("GET", "https://api.github.com:443/repos/o/r/git/ref/heads/a/b")


# --- routes


@pytest.mark.parametrize(
    ("path", "template", "routed"),
    [
        (
            "/repos/o/r/git/ref/heads/a/b",
            f"{TEMPLATE}/git/ref/{{ref}}",
            "/repos/o/r/git/ref/heads%2Fa%2Fb",
        ),
        (
            "/repos/o/r/git/ref/heads%2Fa",
            f"{TEMPLATE}/git/ref/{{ref}}",
            "/repos/o/r/git/ref/heads%2Fa",
        ),
        (
            "/repos/o/r/rules/branches/a/b",
            f"{TEMPLATE}/rules/branches/{{branch}}",
            "/repos/o/r/rules/branches/a%2Fb",
        ),
        ("/repos/o/r", TEMPLATE, "/repos/o/r"),
    ],
)
def test_route(path: str, template: str, routed: str) -> None:
    route = find_route(path)
    assert route
    assert (route.template, one_segment(path, route)) == (template, routed)


@pytest.mark.parametrize(
    "path", ["/repos/o", "/repos/o/r/x/y", "/repos/o/r/issues/7/comments/8"]
)
def test_no_route(path: str) -> None:
    assert find_route(path) is None


# --- the extract


def test_extract_is_valid_openapi() -> None:
    validate(description())


def test_extract_holds_the_listed_operations_and_no_others() -> None:
    found = {
        (method, path)
        for path, methods in description()["paths"].items()
        for method in methods
    }
    assert found == set(extract.OPERATIONS)


def test_extract_leads_nowhere_outside() -> None:
    components = description()["components"]
    for reference in set(extract.references(description())):
        section, name = reference.removeprefix("#/components/").split("/", 1)
        assert name in components[section], reference


def test_slim_keeps_fields_named_like_keywords() -> None:
    schema = {
        "description": "prose",
        "x-github": {},
        "x-multi-segment": True,
        "properties": {
            "description": {
                "type": "string",
                "example": "e",
                "enum": ["a"],
                "default": "a",
            }
        },
    }
    assert extract.slim(schema) == {
        "x-multi-segment": True,
        "properties": {
            "description": {"type": "string", "enum": ["a"], "default": "a"}
        },
    }


def test_text_has_a_line_for_each_component() -> None:
    document = {
        "openapi": "3",
        "paths": {"/b": {}, "/a": {}},
        "components": {"schemas": {"y": {}, "x": {}}},
    }
    assert (
        extract.text(document)
        == """{
"openapi": "3",
"paths": {
"/a": {},
"/b": {}
},
"components": {
"schemas": {
"x": {},
"y": {}
}
}
}
"""
    )
