"""A stand-in for GitHub that holds both sides to GitHub's own description.

`Contract` is a `responses` mock: each request the code makes, and each answer a test
stubs, is validated against the extract beside this file. A test passes only if GitHub
documents such a call and such an answer.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import jsonschema
import requests
import responses
from openapi_core import OpenAPI
from openapi_core.contrib.requests import (
    RequestsOpenAPIRequest,
    RequestsOpenAPIResponse,
)
from openapi_core.exceptions import OpenAPIError

from tests.support import graphql_api

API = "https://api.github.com"
JSON = "application/json"


class ContractError(Exception):
    """A request or a stub that GitHub's description does not allow.

    No AssertionError: the code under test takes those for PyGithub's and would turn it
    into its own error.
    """


@dataclass(frozen=True)
class Route:
    """One path template: a pattern for real paths, and which of its parameters may hold
    slashes.
    """

    template: str
    pattern: re.Pattern[str]
    multi: frozenset[str]


@cache
def description() -> dict[str, Any]:
    """The extract, read once. Copy what you change."""
    extract = Path(__file__).parents[1] / "contract" / "github-openapi.json"
    loaded: dict[str, Any] = json.loads(extract.read_text(encoding="utf-8"))
    return loaded


@cache
def _validator() -> OpenAPI:
    # openapi-core resolves the document in place.
    return OpenAPI.from_dict(copy.deepcopy(description()))


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """What a `$ref` stands for."""
    while "$ref" in node:
        section, name = node["$ref"].removeprefix("#/components/").split("/", 1)
        node = description()["components"][section][name]
    return node


def _route(template: str, methods: dict[str, Any]) -> Route:
    parameters = [
        resolve(each) for each in next(iter(methods.values())).get("parameters", [])
    ]
    multi = frozenset(
        each["name"] for each in parameters if each.get("x-multi-segment")
    )
    pattern = re.sub(
        r"\\\{(\w+)\\\}",
        lambda m: f"(?P<{m[1]}>{'.+' if m[1] in multi else '[^/]+'})",
        re.escape(template),
    )
    return Route(template, re.compile(pattern), multi)


@cache
def _routes() -> tuple[Route, ...]:
    return tuple(
        _route(template, methods)
        for template, methods in description()["paths"].items()
    )


def find_route(path: str) -> Route | None:
    """The template of a request's path; the one with the most literal text if several
    fit.
    """
    fitting = [route for route in _routes() if route.pattern.fullmatch(path)]
    return max(
        fitting,
        key=lambda route: len(re.sub(r"\{\w+\}", "", route.template)),
        default=None,
    )


def one_segment(path: str, route: Route) -> str:
    """`path` with the slashes of `{ref}` and the like encoded: openapi-core knows one
    segment a parameter.
    """
    match = route.pattern.fullmatch(path)
    assert match
    values = {
        name: quote(unquote(value), safe="") if name in route.multi else value
        for name, value in match.groupdict().items()
    }
    return re.sub(r"\{(\w+)\}", lambda m: values[m[1]], route.template)


def unknown_fields(
    schema: dict[str, Any], value: Any, where: str = ""
) -> Iterator[str]:
    """Fields of a body that the schema does not name: schemas allow them, so a misspelt
    one would pass.
    """
    schema = resolve(schema)
    if isinstance(value, list):
        for item in value:
            yield from unknown_fields(schema.get("items", {}), item, f"{where}[]")
    elif (
        isinstance(value, dict)
        and "properties" in schema
        and not schema.get("additionalProperties")
    ):
        for name, item in value.items():
            if name not in schema["properties"]:
                yield f"{where}.{name}".lstrip(".")
            else:
                yield from unknown_fields(
                    schema["properties"][name], item, f"{where}.{name}"
                )


def _because(error: BaseException) -> str:
    """The most telling words in an openapi-core error: of alternatives, what the
    nearest one lacks.
    """
    cause = error.__cause__
    best = jsonschema.exceptions.best_match(getattr(cause, "schema_errors", ()))
    if best is None:
        return f"{type(error).__name__}: {cause or error}"
    # jsonschema begins with the whole value, which may be long; what is wrong with it
    # stands at the end.
    words = (
        best.message
        if len(best.message) < 400
        else f"{best.message[:100]} … {best.message[-250:]}"
    )
    return f"{type(error).__name__}: {'/'.join(map(str, best.absolute_path)) or 'body'}: {words}"


class Contract(responses.RequestsMock):
    """Stub GitHub with it as with `responses`; ContractError names the first breach of
    the description.
    """

    api = API  # set it to the root of an Enterprise Server to stand in for that

    def _on_request(
        self, adapter: Any, request: Any, *, retries: Any = None, **kwargs: Any
    ) -> Any:
        # PyGithub writes the port into every address; a stub without it would not
        # match.
        request.url = request.url.replace(":443/", "/", 1)
        if request.url == f"{self.api.removesuffix('/v3')}/graphql":
            return self._on_question(adapter, request, retries=retries, **kwargs)
        described = request.copy() if request.url.startswith(f"{self.api}/") else None
        if described is not None:
            described.url = API + request.url.removeprefix(self.api)
            check_request(described)
        elif "Authorization" in request.headers:
            raise ContractError(
                f"the token is sent to {urlsplit(request.url).hostname}"
            )
        answer = super()._on_request(adapter, request, retries=retries, **kwargs)
        if described is not None:
            check_answer(described, answer)
        return answer

    def _on_question(self, adapter: Any, request: Any, **kwargs: Any) -> Any:
        """As above, for GraphQL, which has a schema instead of an OpenAPI description."""
        try:
            graphql_api.check_request(request)
            answer = super()._on_request(adapter, request, **kwargs)
            graphql_api.check_answer(request, answer)
        except graphql_api.GraphQLBreach as error:
            raise ContractError(f"GraphQL: {error}") from error
        return answer


def _text(body: Any) -> str:
    return body.decode("utf-8") if isinstance(body, bytes) else str(body)


def _as_described(
    request: requests.PreparedRequest,
) -> tuple[requests.PreparedRequest, dict[str, Any]]:
    """The request in the form openapi-core can route, and its operation."""
    call = f"{request.method} {request.url}"
    parts = urlsplit(str(request.url))
    route = find_route(parts.path)
    if route is None:
        raise ContractError(f"{call}: no such path in the extract")
    methods = description()["paths"][route.template]
    if str(request.method).lower() not in methods:
        raise ContractError(
            f"{call}: {route.template} has no {request.method} in the extract"
        )
    routed = request.copy()
    routed.url = f"{API}{one_segment(parts.path, route)}" + (
        f"?{parts.query}" if parts.query else ""
    )
    return routed, methods[str(request.method).lower()]


def check_request(request: requests.PreparedRequest) -> None:
    """Raise ContractError if GitHub does not document such a request."""
    call = f"{request.method} {request.url}"
    routed, operation = _as_described(request)
    if "Authorization" not in request.headers:
        raise ContractError(f"{call}: no token is sent")
    try:
        _validator().validate_request(RequestsOpenAPIRequest(routed))
    except OpenAPIError as error:
        raise ContractError(f"{call}: {_because(error)}") from error
    known = {
        each["name"]
        for each in map(resolve, operation.get("parameters", []))
        if each["in"] == "query"
    }
    strange = sorted(set(parse_qs(urlsplit(str(request.url)).query)) - known)
    if request.body:
        schema = (
            operation.get("requestBody", {})
            .get("content", {})
            .get(JSON, {})
            .get("schema", {})
        )
        strange += unknown_fields(schema, json.loads(_text(request.body)))
    if strange:
        raise ContractError(f"{call}: GitHub does not document {', '.join(strange)}")


def check_answer(request: requests.PreparedRequest, answer: requests.Response) -> None:
    """Raise ContractError if GitHub does not document such an answer.

    GitHub documents few of the errors it gives (a dispatch: none at all). One that the
    operation does not mention must at least be an error as GitHub forms it; a 5xx may
    come from a machine before GitHub.
    """
    stub = f"stub for {request.method} {request.url} -> {answer.status_code}"
    routed, operation = _as_described(request)
    if str(answer.status_code) in operation["responses"]:
        try:
            _validator().validate_response(
                RequestsOpenAPIRequest(routed), RequestsOpenAPIResponse(answer)
            )
        except OpenAPIError as error:
            raise ContractError(f"{stub}: {_because(error)}") from error
    elif answer.status_code < 400:
        raise ContractError(
            f"{stub}: GitHub documents only {', '.join(sorted(operation['responses']))}"
        )
    elif answer.status_code < 500:
        schema = {
            **resolve({"$ref": "#/components/schemas/basic-error"}),
            "required": ["message"],
        }
        try:
            jsonschema.validate(answer.json(), schema)
        except (ValueError, jsonschema.ValidationError) as error:
            raise ContractError(
                f"{stub}: no error as GitHub forms it: {str(error)[:200]}"
            ) from error


def example(method: str, template: str, status: int) -> Any:
    """GitHub's own example of an answer, to be changed and stubbed."""
    media = description()["paths"][template][method]["responses"][str(status)][
        "content"
    ][JSON]
    return copy.deepcopy(media["example"])
