"""GitHub's GraphQL API as its own schema describes it: whether a question may be asked
and an answer may come.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import requests
from graphql import (
    GraphQLAbstractType,
    GraphQLSchema,
    build_schema,
    execute_sync,
    parse,
    validate,
)
from graphql.execution.values import get_variable_values
from graphql.language import DocumentNode, OperationDefinitionNode


class GraphQLBreach(Exception):
    """A question or a stub that GitHub's schema does not allow."""


@cache
def schema() -> GraphQLSchema:
    """The extract, read once."""
    return build_schema(
        (Path(__file__).parents[1] / "contract" / "github-graphql.graphql").read_text(
            encoding="utf-8"
        )
    )


def _document(query: str) -> DocumentNode:
    document = parse(query)
    if errors := validate(schema(), document):
        raise GraphQLBreach("; ".join(error.message for error in errors))
    return document


def _asked(request: requests.PreparedRequest) -> tuple[DocumentNode, dict[str, Any]]:
    """The question and its variables. GraphQLBreach if the schema does not allow them."""
    body = json.loads(request.body or b"{}")
    if strange := set(body) - {"query", "variables", "operationName"}:
        raise GraphQLBreach(f"GitHub does not document {', '.join(sorted(strange))}")
    document = _document(body["query"])
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    given = body.get("variables") or {}
    if unknown := set(given) - {
        each.variable.name.value for each in operation.variable_definitions or ()
    }:
        raise GraphQLBreach(f"the query has no variable {', '.join(sorted(unknown))}")
    values = get_variable_values(schema(), operation.variable_definitions or (), given)
    if isinstance(values, list):
        raise GraphQLBreach("; ".join(error.message for error in values))
    return document, given


def _kind(value: Any, _: object, abstract: GraphQLAbstractType) -> str:
    """The type of an answer where the question does not ask for it: any that it may be."""
    return str(
        value.get("__typename")
        or next(iter(schema().get_possible_types(abstract))).name
    )


def check_request(request: requests.PreparedRequest) -> None:
    """Raise GraphQLBreach if GitHub's schema does not allow such a question."""
    _asked(request)


def check_answer(request: requests.PreparedRequest, answer: requests.Response) -> None:
    """Raise GraphQLBreach if the schema does not allow such an answer: wrong types,
    nulls, fields nobody asked for.
    """
    document, variables = _asked(request)
    if answer.status_code != 200:
        return
    data = answer.json()
    if "errors" in data:
        if not all(isinstance(error.get("message"), str) for error in data["errors"]):
            raise GraphQLBreach("an error has no message")
        return
    done = execute_sync(
        schema(),
        document,
        root_value=data["data"],
        variable_values=variables,
        type_resolver=_kind,
    )
    if done.errors:
        raise GraphQLBreach("; ".join(error.message for error in done.errors))
    if done.data != data["data"]:
        raise GraphQLBreach(
            "the stub has fields that were not asked for, or lacks some that were"
        )
