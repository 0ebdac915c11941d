"""Cuts GitHub's descriptions of its REST and GraphQL APIs down to what fanin calls.

    npm install @octokit/openapi @octokit/graphql-schema
    cd node_modules/@octokit
    python -m tests.contract.extract openapi/generated/api.github.com.json graphql-schema/schema.graphql

For maintainers: after a new call in runner/github_api.py or runner/issue_api.py, add
its operation here and run this again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_schema,
    get_named_type,
    parse,
    visit,
)

from runner.github_api.client import CREATE_COMMIT
from runner.github_api.comments import REVIEW_THREADS
from runner.github_api.issues import HISTORY
from runner.github_api.pulls import MARK_READY

TARGET = Path(__file__).with_name("github-openapi.json")
GRAPHQL = Path(__file__).with_name("github-graphql.graphql")
REPO = "/repos/{owner}/{repo}"
OPERATIONS = (
    ("get", "/user"),
    ("get", REPO),
    ("get", f"{REPO}/actions/artifacts/{{artifact_id}}/{{archive_format}}"),
    ("get", f"{REPO}/actions/runs/{{run_id}}/artifacts"),
    ("get", f"{REPO}/actions/runs/{{run_id}}/jobs"),
    ("post", f"{REPO}/actions/workflows/{{workflow_id}}/dispatches"),
    ("get", f"{REPO}/collaborators/{{username}}/permission"),
    ("post", f"{REPO}/git/blobs"),
    ("post", f"{REPO}/git/commits"),
    ("get", f"{REPO}/git/matching-refs/{{ref}}"),
    ("get", f"{REPO}/git/ref/{{ref}}"),
    ("post", f"{REPO}/git/refs"),
    ("patch", f"{REPO}/git/refs/{{ref}}"),
    ("post", f"{REPO}/git/trees"),
    ("get", f"{REPO}/issues"),
    ("get", f"{REPO}/issues/comments/{{comment_id}}"),
    ("patch", f"{REPO}/issues/comments/{{comment_id}}"),
    ("post", f"{REPO}/issues/comments/{{comment_id}}/reactions"),
    ("get", f"{REPO}/issues/{{issue_number}}"),
    ("patch", f"{REPO}/issues/{{issue_number}}"),
    ("get", f"{REPO}/issues/{{issue_number}}/comments"),
    ("post", f"{REPO}/issues/{{issue_number}}/comments"),
    ("get", f"{REPO}/issues/{{issue_number}}/dependencies/blocked_by"),
    ("post", f"{REPO}/issues/{{issue_number}}/labels"),
    ("delete", f"{REPO}/issues/{{issue_number}}/labels/{{name}}"),
    ("get", f"{REPO}/issues/{{issue_number}}/sub_issues"),
    ("get", f"{REPO}/milestones"),
    ("post", f"{REPO}/merges"),
    ("get", f"{REPO}/pulls"),
    ("post", f"{REPO}/pulls"),
    ("get", f"{REPO}/pulls/{{pull_number}}"),
    ("patch", f"{REPO}/pulls/{{pull_number}}"),
    ("get", f"{REPO}/rules/branches/{{branch}}"),
)
# the shape of errors that no operation mentions
ALWAYS = ("#/components/schemas/basic-error",)
PROSE = frozenset(
    {
        "description",
        "summary",
        "externalDocs",
        "tags",
        "title",
        "operationId",
        "example",
        "examples",
    }
)
# their keys are names, not keywords
NAMED = frozenset({"properties", "headers", "responses", "content"})


def slim(node: Any) -> Any:
    """`node` without prose and examples; what a validator reads stays."""
    if isinstance(node, list):
        return [slim(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if key in PROSE or (key.startswith("x-") and key != "x-multi-segment"):
            continue
        if key in NAMED:
            kept[key] = {name: slim(item) for name, item in value.items()}
        else:
            kept[key] = value if key in ("enum", "default") else slim(value)
    return kept


def references(node: Any) -> Iterator[str]:
    """Every `$ref` in `node`."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            elif key != "example":
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def official_example(media: dict[str, Any], components: dict[str, Any]) -> Any:
    """GitHub's first example of an answer, or None."""
    for example in media.get("examples", {}).values():
        reference = example.get("$ref")
        found = (
            components["examples"][reference.rpartition("/")[2]]
            if reference
            else example
        )
        return found.get("value")
    return media.get("example")


def operation(source: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """One operation, slim, with the example of each good answer kept for the stubs of
    our tests.
    """
    kept: dict[str, Any] = slim(source)
    for status, answer in kept["responses"].items():
        if "$ref" in answer:
            continue
        answer["description"] = ""  # OpenAPI demands it
        media = source["responses"][status].get("content", {}).get("application/json")
        example = (
            official_example(media, components)
            if media and status.startswith("2")
            else None
        )
        if example is not None:
            answer["content"]["application/json"]["example"] = example
    return kept


def extract(spec: dict[str, Any]) -> dict[str, Any]:
    """The operations above and every component they lead to."""
    paths: dict[str, Any] = {}
    for method, path in OPERATIONS:
        paths.setdefault(path, {})[method] = operation(
            spec["paths"][path][method], spec["components"]
        )
    components: dict[str, dict[str, Any]] = {}
    waiting = {*references(paths), *ALWAYS}
    while waiting:
        section, name = waiting.pop().removeprefix("#/components/").split("/", 1)
        if name in components.setdefault(section, {}):
            continue
        part = slim(spec["components"][section][name])
        if section == "responses":
            part["description"] = ""
        components[section][name] = part
        waiting.update(references(part))
    info = {
        "title": "Excerpt of GitHub's REST API description",
        "version": spec["info"]["version"],
        "license": {"name": "MIT", "url": "https://spdx.org/licenses/MIT"},
    }
    return {
        "openapi": spec["openapi"],
        "info": info,
        "servers": [{"url": "https://api.github.com"}],
        "paths": paths,
        "components": components,
    }


def block(node: Any, depth: int) -> str:
    """JSON with each key of the first `depth` levels on its own line, sorted."""
    if depth == 0:
        return json.dumps(node, sort_keys=True)
    rows = [f"{json.dumps(key)}: {block(node[key], depth - 1)}" for key in sorted(node)]
    return "{\n" + ",\n".join(rows) + "\n}"


def text(document: dict[str, Any]) -> str:
    """One path or component a line, so that the diff of an update shows what changed."""
    depths = {"paths": 1, "components": 2}
    parts = [
        f"{json.dumps(key)}: {block(value, depths.get(key, 0))}"
        for key, value in document.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def used(schema: GraphQLSchema, query: str) -> dict[str, dict[str, set[str]]]:
    """Type → field → its arguments, as far as the query uses them."""
    found: dict[str, dict[str, set[str]]] = {}
    types = TypeInfo(schema)

    class Collector(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            parent = types.get_parent_type()
            assert parent is not None
            arguments = {argument.name.value for argument in node.arguments or ()}
            found.setdefault(parent.name, {}).setdefault(node.name.value, set()).update(
                arguments
            )

    visit(parse(query), TypeInfoVisitor(types, Collector()))
    return found


Fields = dict[str, dict[str, set[str]]]


def graphql_extract(schema: GraphQLSchema, queries: tuple[str, ...]) -> str:
    """The types and fields that the queries use, and what these end in, in GitHub's own
    words.
    """
    found: Fields = {}
    for query in queries:
        for name, fields in used(schema, query).items():
            for field, arguments in fields.items():
                found.setdefault(name, {}).setdefault(field, set()).update(arguments)
    for name in [
        name
        for name in found
        if isinstance(schema.type_map[name], GraphQLInterfaceType)
    ]:
        for one in schema.get_possible_types(schema.type_map[name]):  # type: ignore[arg-type]
            found.setdefault(one.name, {}).update(found[name])
    leaves = set[GraphQLNamedType]()
    lines = [line for name in found for line in declared(schema, name, found, leaves)]
    inputs = [leaf for leaf in leaves if isinstance(leaf, GraphQLInputObjectType)]
    lines += declared_inputs(inputs, leaves)
    for leaf in sorted(leaves, key=lambda one: one.name):
        if isinstance(leaf, GraphQLEnumType):
            lines.append(f"enum {leaf.name} {{ {' '.join(leaf.values)} }}")
        elif isinstance(leaf, GraphQLScalarType) and leaf.name not in {
            "String",
            "Int",
            "Boolean",
            "ID",
            "Float",
        }:
            lines.append(f"scalar {leaf.name}")
    return "\n".join(lines) + "\n"


def declared(
    schema: GraphQLSchema, name: str, found: Fields, leaves: set[GraphQLNamedType]
) -> Iterator[str]:
    """The lines that declare one type; what its fields and their arguments end in is
    added to `leaves`.
    """
    kind = schema.type_map[name]
    if isinstance(kind, GraphQLUnionType):
        yield f"union {name} = {' | '.join(one.name for one in kind.types if one.name in found)}"
        return
    above = [one.name for one in getattr(kind, "interfaces", ()) if one.name in found]
    word = "interface" if isinstance(kind, GraphQLInterfaceType) else "type"
    yield f"{word} {name}{' implements ' + ' & '.join(above) if above else ''} {{"
    for field in found[name]:
        if field == "__typename":
            continue
        known = kind.fields[field]  # type: ignore[attr-defined]
        arguments = sorted(found[name][field])
        given = ", ".join(f"{each}: {known.args[each].type}" for each in arguments)
        yield f"  {field}{f'({given})' if given else ''}: {known.type}"
        leaves |= {
            get_named_type(known.type),
            *(get_named_type(known.args[each].type) for each in arguments),
        }
    yield "}"


def declared_inputs(
    inputs: list[GraphQLInputObjectType], leaves: set[GraphQLNamedType]
) -> list[str]:
    """The lines that declare input types with all their fields, and those below them."""
    lines = []
    declared_names = set[str]()
    while inputs:
        kind = inputs.pop()
        if kind.name in declared_names:
            continue
        declared_names.add(kind.name)
        lines.append(f"input {kind.name} {{")
        for name, entry in kind.fields.items():
            lines.append(f"  {name}: {entry.type}")
            leaf = get_named_type(entry.type)
            leaves.add(leaf)
            if isinstance(leaf, GraphQLInputObjectType):
                inputs.append(leaf)
        lines.append("}")
    return lines


if __name__ == "__main__":
    graph = build_schema(
        Path(sys.argv[2]).read_text(encoding="utf-8"), assume_valid=True
    )
    GRAPHQL.write_text(
        graphql_extract(graph, (HISTORY, CREATE_COMMIT, REVIEW_THREADS, MARK_READY)),
        encoding="utf-8",
    )
    full = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    TARGET.write_text(text(extract(full)), encoding="utf-8")
