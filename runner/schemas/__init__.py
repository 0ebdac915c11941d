"""JSON Schemas: of tasks.yml and fanin.yml, by which editors complete and check them,
and of what fanin prints for other programs.

`python -m runner.schemas` writes them from the models, and the parts of other files
that `settings_files` makes from the settings. A test compares the shipped files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from runner.config.settings import Settings
from runner.config.settings_table import SETTINGS
from runner.core.documents import Document, UserDocument
from runner.core.events import VERSION, RunEvent
from runner.core.forecast import Forecast
from runner.core.reports import (
    CheckReport,
    GraphReport,
    KeptReport,
    RequestReport,
    StatusReport,
    TaskReport,
    UnreadablePlan,
)
from runner.plan.formats.native import PlanFile

FILES: dict[str, tuple[type[UserDocument], str]] = {
    "tasks.schema.json": (PlanFile, "fanin plan (tasks.yml)"),
    "fanin.schema.json": (Settings, "fanin settings (fanin.yml)"),
}
# What fanin writes. A field of these is never renamed or removed.
EVENTS = "events.schema.json"
OUTPUTS: dict[str, tuple[type[Document], str]] = {
    "graph.schema.json": (
        GraphReport,
        "what fanin graph --format json prints, version 1",
    ),
    "status.schema.json": (StatusReport, "what fanin status --json prints, version 1"),
    "kept.schema.json": (KeptReport, "what fanin kept --json prints, version 1"),
    "request.schema.json": (
        RequestReport,
        "what commands that change the progress print with --json, version 1",
    ),
    "show.schema.json": (TaskReport, "what fanin show --json prints, version 1"),
    "simulate.schema.json": (Forecast, "what fanin simulate --json prints, version 1"),
}
CHECK = "check.schema.json"
NAMES = (*FILES, EVENTS, CHECK, *OUTPUTS)
# Documents that leave out some fields: those that have a default.
_LEAVE_OUT = {"graph.schema.json", "status.schema.json"}
FOLDER = Path(__file__).parent
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

# What the readers take beside the models' own types: a single glob for a list, a number
# for an id, a preset's name for an agent, and keys that begin with x-.
_LISTS = ("files", "depends_on", "allow")
_EXTENSION: dict[str, Any] = {"^x-": {}}
# The models of the settings that are mappings with rows for some of their keys.
_MODELS = {"plan": "PlanSettings", "agent": "AgentSettings", "limits": "Limits"}


def generate(name: str) -> dict[str, Any]:
    """The schema of one document, as JSON data."""
    if name == EVENTS:
        return _event_schema()
    if name == CHECK:
        return _check_schema()
    if name in OUTPUTS:
        return _output_schema(name)
    model, title = FILES[name]
    schema = {
        "$schema": _DIALECT,
        **model.model_json_schema(),
        "title": title,
    }
    schema["patternProperties"] = _EXTENSION
    definitions = schema.get("$defs", {})
    if model is Settings:
        _describe_settings(schema["properties"], definitions)
    if task := definitions.get("TaskFields"):
        task["patternProperties"] = _EXTENSION
        task["properties"]["id"] = {
            "anyOf": [task["properties"]["id"], {"type": "number"}]
        }
        task["properties"]["title"] = {
            "anyOf": [task["properties"]["title"], {"type": "number"}]
        }
        for field in _LISTS:
            task["properties"][field] = {
                "anyOf": [task["properties"][field], {"type": "string"}]
            }
    if agent := definitions.get("AgentSettings"):
        short = {"type": "string", "title": "a preset's name"}
        one_of = [{"required": ["preset"]}, {"required": ["command"]}]
        several = {
            "type": "array",
            "title": "tried in order at usage limits",
            "items": {"$ref": "#/$defs/AgentSettings"},
            "minItems": 1,
        }
        variant = {**agent, "oneOf": one_of}
        definitions["AgentSettings"] = {"anyOf": [short, variant, several]}
    if plan := definitions.get("PlanSettings"):
        several = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        path = plan["properties"]["path"]
        plan["properties"]["path"] = {"anyOf": [path, several]}
        definitions["PlanSettings"] = {
            "anyOf": [{"type": "string", "title": "its file or folder"}, several, plan]
        }
    return schema


def _output_schema(name: str) -> dict[str, Any]:
    """The schema of a document that a command prints."""
    model, title = OUTPUTS[name]
    schema = model.model_json_schema(mode="serialization")
    if name not in _LEAVE_OUT:
        schema = _with_every_field(schema)
    return {"$schema": _DIALECT, **schema, "title": title}


def _check_schema() -> dict[str, Any]:
    """The schema of either document that `fanin check --json` prints."""
    either: Any = CheckReport | UnreadablePlan
    schema = TypeAdapter(either).json_schema(mode="serialization")
    title = "what fanin check --json prints, version 1"
    return {"$schema": _DIALECT, **schema, "title": title}


def _with_every_field(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, by which a document has all fields, also those with their default."""
    for definition in (schema, *schema.get("$defs", {}).values()):
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    return schema


def _event_schema() -> dict[str, Any]:
    """The schema of one line of events.jsonl."""
    any_event: Any = Annotated[RunEvent, Field(discriminator="event")]
    schema = TypeAdapter(any_event).json_schema(mode="serialization")
    schema = _with_every_field(schema)
    title = f"an event of a fanin run, version {VERSION}"
    return {"$schema": _DIALECT, **schema, "title": title}


def _describe_settings(
    properties: dict[str, Any], definitions: dict[str, dict[str, Any]]
) -> None:
    """Take the descriptions of the settings' keys from their rows."""
    for setting in SETTINGS:
        parent, _, key = setting.key.partition(".")
        if key:
            properties_of_parent = definitions[_MODELS[parent]]["properties"]
            properties_of_parent[key]["description"] = setting.description
        else:
            properties[parent]["description"] = setting.description
