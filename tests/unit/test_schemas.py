"""The shipped schemas are those of the models, and take exactly what the readers take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from runner import schemas
from runner.config.settings import load
from runner.core.errors import InvalidInput
from runner.plan.formats.base import MemoryTree
from runner.plan.formats.native import Native
from runner.schemas import settings_files


@pytest.mark.parametrize("name", schemas.NAMES)
def test_shipped_schema_is_the_generated_one(name: str) -> None:
    shipped = json.loads((schemas.FOLDER / name).read_text())
    assert shipped == schemas.generate(name), "run  python -m runner.schemas"


ROOT = schemas.FOLDER.parents[1]


@pytest.mark.parametrize("name", settings_files.FILES)
def test_shipped_file_has_the_settings_of_the_rows(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text.count("BEGIN settings: ") == text.count("END settings") > 0
    assert text == settings_files.rendered(text), "run  python -m runner.schemas"


def test_every_generated_part_is_used() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in settings_files.FILES]
    for part in settings_files.PARTS:
        assert any(f"BEGIN settings: {part}," in text for text in texts), part


def test_only_the_generated_part_of_a_file_changes() -> None:
    text = "a:\n  # BEGIN settings: with, x\n  old\n  # END settings\nb:\n"
    rendered = settings_files.rendered(text)
    assert rendered.startswith("a:\n  # BEGIN settings: with, x\n  plan: ")
    assert rendered.endswith("\n  # END settings\nb:\n")
    assert "old" not in rendered


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(KeyError):
        settings_files.rendered("# BEGIN settings: odd, x\n# END settings\n")


def accepts(name: str, document: Any) -> bool:
    return jsonschema.Draft202012Validator(schemas.generate(name)).is_valid(document)


TASK = {"id": "T1", "title": "x"}


@pytest.mark.parametrize("task", [
    TASK, {**TASK, "id": 7}, {**TASK, "files": "src/**"}, {**TASK, "files": []}, {**TASK, "timeout": "30m"},
    {**TASK, "timeout": 5}, {**TASK, "agent": {"command": ["x"]}}, {**TASK, "x-mine": 1}, {**TASK, "depends_on": "T0"},
    {"id": "T1"}, {**TASK, "depend_on": []}, {**TASK, "timeout": "soon"}, {**TASK, "max_attempts": 0},
    {**TASK, "agent": {"preset": "a", "command": ["b"]}}, {**TASK, "title": ""}, {**TASK, "priority": "high"},
])  # fmt: skip
def test_tasks_schema_and_reader_agree(task: dict[str, Any]) -> None:
    text = yaml.safe_dump({"version": 1, "tasks": [task]})
    try:
        Native().load("tasks.yml", MemoryTree({"tasks.yml": text}), {})
        read = True
    except InvalidInput:
        read = False
    assert accepts("tasks.schema.json", yaml.safe_load(text)) is read


@pytest.mark.parametrize("settings", [
    {}, {"parallel": True}, {"limits": {"size": "4MiB"}}, {"agent": {"command": ["a"], "env": ["KEY"]}}, {"x-a": 1},
    {"paralell": True}, {"max_concurrent": 0}, {"max_concurrent": 257}, {"limits": {"size": "big"}}, {"agent": {}},
    {"agent": {"command": ["a"], "env": ["NO-NAME"]}}, {"commit_strategy": "both"}, {"plan": "a.md"}, {"plan": 5},
    {"plan": {"source": "beads", "path": "a"}}, {"plan": {"paht": "a"}}, {"plan": {"options": {"tag": "a"}}},
    {"env": {"A": "x"}}, {"env": {"A": 1}}, {"env": {"NO-NAME": "x"}}, {"env": ["A=x"]},
])  # fmt: skip
def test_settings_schema_and_reader_agree(settings: dict[str, Any]) -> None:
    try:
        load({}, {}, yaml.safe_dump(settings))
        read = True
    except InvalidInput:
        read = False
    assert accepts("fanin.schema.json", settings) is read


RELEASED = ROOT / "tests/resources/released"


@pytest.mark.parametrize("path", sorted(RELEASED.glob("*.json")), ids=lambda p: p.name)
def test_what_a_release_has_printed_is_still_there(path: Path) -> None:
    released = json.loads(path.read_text(encoding="utf-8"))
    assert lost_names(released, schemas.generate(path.name)) == []


def test_a_field_or_a_value_that_is_gone_is_found() -> None:
    old = {"properties": {"a": {"enum": ["x", "y"]}, "b": {}}, "required": ["a", "b"]}
    new = {"properties": {"a": {"enum": ["x", "z"]}, "c": {}}, "required": ["a", "c"]}
    assert lost_names(old, old) == []
    assert lost_names(old, new) == [
        "/properties/a/enum: y",
        "/properties/b",
        "/required: b",
    ]


def lost_names(old: Any, new: Any, where: str = "") -> list[str]:
    """The fields, types and values of the old schema that the new one lacks."""
    lost: list[str] = []
    for key, value in old.items():
        here = f"{where}/{key}"
        if key in {"description", "title", "default", "$schema"}:
            continue
        if key not in new:
            lost.append(here)
        elif isinstance(value, dict):
            lost += lost_names(value, new[key], here)
        elif key in {"enum", "required"}:
            lost += [f"{here}: {each}" for each in value if each not in new[key]]
        elif key in {"type", "const", "$ref"} and value != new[key]:
            lost.append(f"{here}: {value}")
        elif key in {"anyOf", "oneOf"}:
            lost += [f"{here}: {each}" for each in value if each not in new[key]]
    return lost
