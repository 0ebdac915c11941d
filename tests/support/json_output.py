"""What commands print with `--json`, against the schemas that the project publishes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

import jsonschema

from runner import schemas

_COMMANDS = ("status", "show", "kept", "check", "simulate")
_REQUESTS = {"retry", "skip", "hold", "approve", "reply", "undo", "accept"}


def validate(argv: Sequence[str], output: str) -> None:
    """Raises ValidationError if `output` is not what the schema of the command says, or
    has a field that it does not name.

    Of all commands that print JSON; the output of any other is not looked at.
    """
    name = schema_name(argv)
    if name is None:
        return
    is_stream = name == schemas.EVENTS
    for text in output.splitlines() if is_stream else [output]:
        if text.strip():
            _validator(name).validate(json.loads(text))


def schema_name(argv: Sequence[str]) -> str | None:
    """The schema of what `fanin ARGV` prints; None if that is no JSON."""
    if "graph" in argv and "json" in argv:
        return "graph.schema.json"
    if "--json" not in argv:
        return None
    if "run" in argv and "--dry-run" not in argv:
        return schemas.EVENTS
    if _REQUESTS & set(argv):
        return "request.schema.json"
    named = [command for command in _COMMANDS if command in argv]
    return f"{named[0]}.schema.json" if named else None


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = schemas.generate(name)
    for definition in (schema, *schema.get("$defs", {}).values()):
        if "properties" in definition:
            definition["additionalProperties"] = False
    return jsonschema.Draft202012Validator(schema)
