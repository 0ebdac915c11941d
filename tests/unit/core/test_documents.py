"""Data that crosses rooms and jobs: what it accepts, what its identity is, what
survives the journey.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from runner.core.documents import clean, duration_text, parse_duration, parse_size
from runner.core.limits import Limits
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind, Usage
from runner.core.task import AgentSettings, Status, Task, TaskFields
from tests.support.builders import TREE, entry, manifest, plan, result, task


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45s", 45),
        ("30m", 1800),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 2m ", 120),
        ("1h1m1s", 3661),
        (90, 90),
        (0.5, 0.5),
        ("90", 90),  # the plain number as a flag or a variable gives it
    ],
)
def test_a_duration_is_hours_minutes_and_seconds_or_a_plain_number(
    text: object, seconds: float
) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "m",
        "-5s",
        "0s",
        0,
        -1,
        True,
        "1d",
        "1m1h",
        "soon",
        None,
        math.nan,
        math.inf,
        10**9,
    ],
)
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4 MiB", 4 * 2**20),
        ("4mib", 4 * 2**20),
        ("500kB", 500_000),
        ("1.5KiB", 1536),
        ("7", 7),
        (7, 7),
        ("2GB", 2e9),
    ],
)
def test_a_size_is_a_number_with_a_binary_or_decimal_unit(
    text: object, size: int
) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "MiB", "-1", "4 parsecs", True, None, "1e9"])
def test_anything_else_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(value)


@pytest.mark.parametrize(
    "task_id",
    ["T1", "1.10", "007", "feat/login", "a:b", "a b", "Größe", "x" * 200, "#3"],
)
def test_an_id_is_any_printable_text(task_id: str) -> None:
    assert task(task_id).id == task_id


@pytest.mark.parametrize(
    "task_id",
    ["", " T1", "T1 ", "T\n1", "T1\n", "T\t1", "T\x001", "T\x7f1", "x" * 201, 5, None],
)
def test_an_id_has_no_spaces_at_its_ends_and_no_control_characters(
    task_id: Any,
) -> None:
    with pytest.raises(ValidationError):
        task(task_id)


@pytest.mark.parametrize("name", ["1A", "A-B", "", "A B", "A=B", "A\n"])
def test_an_agents_variable_must_be_a_variables_name(name: str) -> None:
    with pytest.raises(ValidationError):
        AgentSettings(preset="claude", env=(name,))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"preset": "claude", "command": ["x"]},
        {"command": []},
        {"command": [""]},
        {"env": ["A"]},
    ],
)
def test_an_agent_is_exactly_one_of_preset_and_command(value: object) -> None:
    with pytest.raises(ValidationError):
        AgentSettings.model_validate(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("claude", "claude"),
        ({"preset": "codex"}, "codex"),
        ({"command": ["python3", "a.py"]}, "python3"),
    ],
)
def test_an_agent_is_named_by_its_preset_or_its_program(
    value: object, name: str
) -> None:
    assert AgentSettings.model_validate(value).name == name


@pytest.mark.parametrize("model", [TaskFields, AgentSettings, Limits])
def test_what_a_person_writes_may_hold_no_unknown_key(
    model: type[TaskFields | AgentSettings | Limits],
) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        model.model_validate({"id": "T1", "title": "x", "preset": "p", "depend_on": []})


def test_what_fanin_wrote_keeps_the_fields_of_a_newer_version() -> None:
    text = manifest(entry()).model_dump_json()[:-1] + ', "carbon_g": 7}'
    again = Manifest.model_validate_json(text).model_dump_json()
    assert json.loads(again)["carbon_g"] == 7


OTHER: dict[str, object] = {
    "id": "T2",
    "title": "Another title",
    "prompt": "another prompt",
    "files": ("src/**",),
    "depends_on": ("T0",),
    "acceptance": ("it works",),
    "agent": AgentSettings(preset="p"),
    "verify": "make test",
    "timeout": 5.0,
    "max_attempts": 7,
    "estimate": 5.0,
    "priority": 1,
    "allow": ("action.yml",),
    "allow_empty": True,
    "retry_from": "base",
    "gate": True,
}


def test_the_table_below_names_every_field_of_a_task() -> None:
    assert set(OTHER) == set(TaskFields.model_fields)


@pytest.mark.parametrize("name", sorted(OTHER.keys() - {"gate"}))
def test_a_task_with_another_text_is_another_task(name: str) -> None:
    changed: dict[str, Any] = {"title": task().title} | (
        {"task_id": "T2"} if name == "id" else {name: OTHER[name]}
    )
    assert task(**changed).digest != task().digest


def test_a_gate_that_is_set_while_an_attempt_runs_does_not_make_its_result_stale() -> (
    None
):
    assert task(gate=True).digest == task().digest


def test_no_files_and_an_empty_list_of_files_are_two_things() -> None:
    assert task(files=()).digest != task(files=None).digest


def test_a_tasks_place_and_marks_are_no_part_of_its_identity() -> None:
    assert (
        task(line=99, source_status=Status.COMPLETED, skipped=True).digest
        == task().digest
    )


def test_a_manifest_and_its_seal_survive_the_journey_to_another_job() -> None:
    previous = Failure(kind=FailureKind.TIMEOUT, message="too slow")
    there = manifest(
        entry(task(files=("a",), timeout="5m", line=4)),
        entry(task("b/c:d"), index=1, previous=previous),
    )
    back = Manifest.model_validate_json(there.model_dump_json())
    assert back.digest == there.digest
    assert [one.task.digest for one in back.entries] == [
        one.task_digest for one in there.entries
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"round": 3},
        {"base": "c" * 40},
        {"never": ("x",)},
        {"entries": (entry(attempt=2),)},
    ],
)
def test_a_changed_manifest_has_another_seal(changed: dict[str, object]) -> None:
    assert (
        manifest(entry()).model_copy(update=changed).digest != manifest(entry()).digest
    )


def test_a_batch_is_named_by_run_and_round() -> None:
    assert manifest(run="r9", round=4).batch == "r9.4"


def test_a_result_folder_is_named_by_the_index_since_ids_may_hold_slashes() -> None:
    assert entry(task("../a/b:c"), index=7).folder == "007"


FAILED = Failure(kind=FailureKind.AGENT_ERROR, message="no")


@pytest.mark.parametrize(
    "fields",
    [
        {"succeeded": True, "failure": FAILED},
        {"succeeded": False, "failure": None},
        {"tree": "xyz"},
        {"tree": "a" * 41},
        {"tree": TREE + "\n"},
        {"pack": "../../change.pack"},
        {"version": 2},
        {"usage": {"cost_usd": -1}},
        {"usage": {"cost_usd": math.inf}},
        {"usage": {"cost_usd": math.nan}},
        {"usage": {"tokens": -1}},
        {"tree": TREE, "pack": None},  # a tree whose objects nobody sent
        {"started": "yesterday"},
        # no zone: cannot be compared with one that has it
        {"finished": "2026-01-02T03:04:05"},
    ],
    ids=repr,
)
def test_a_result_that_contradicts_itself_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        result(**fields)


@pytest.mark.parametrize("tree", ["0" * 40, "f" * 64])
def test_a_result_names_its_tree_in_either_object_format(tree: str) -> None:
    assert result(tree=tree, pack="change.pack").tree == tree


def test_what_an_agent_did_not_say_is_unknown_and_not_zero() -> None:
    assert (Usage().cost_usd, Usage().tokens, Usage().summary) == (None, None, None)


@pytest.mark.parametrize("kind", FailureKind)
def test_an_attempt_costs_one_unless_it_was_not_the_tasks_fault(
    kind: FailureKind,
) -> None:
    free = {
        FailureKind.INTERRUPTED,
        FailureKind.RATE_LIMIT,
        FailureKind.USAGE_LIMIT,
        FailureKind.STALE,
        FailureKind.BASE_RED,
        FailureKind.NOT_READY,
    }
    assert Failure(kind=kind, message="x").counted is (kind not in free)


def test_a_task_cannot_be_changed_in_place() -> None:
    frozen: Task = task()
    with pytest.raises(ValidationError, match="frozen"):
        frozen.title = "other"  # type: ignore[misc]


def test_a_plan_gives_a_task_by_its_id_or_none() -> None:
    found = plan(task("A"), task("B"))
    assert found.task("B") is found.tasks[1]
    assert found.task("C") is None


HOSTILE = "\x1b]52;c;eA==\x07\x9b31m\u202edone\r\x00"


def test_a_plans_texts_lose_what_acts_on_a_terminal() -> None:
    fields = TaskFields(
        id="T1", title=f"a\n{HOSTILE}b", prompt=HOSTILE, acceptance=(HOSTILE,)
    )
    texts = [fields.title, fields.prompt, *fields.acceptance]
    for text in texts:
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
        assert "done" in text
    assert "\n" not in fields.title


@pytest.mark.parametrize(
    "task_id",
    [
        "a\x9bb",
        "\x85a",
        "a\u202eb",
        "\u2066a",
        "a\u2028b",
        "a\u200bb",
        "\ufeffa",
        "a\n",
    ],
)
def test_an_id_has_no_invisible_or_control_characters(task_id: str) -> None:
    with pytest.raises(ValidationError):
        TaskFields(id=task_id, title="x")
    assert TaskFields(id="é/ß:1 ☃", title="x").id == "é/ß:1 ☃"


@pytest.mark.parametrize("text", ["12h", "1h30m", "45s", "1h1m1s", "0.5s"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert duration_text(parse_duration(text)) == text


def test_pydantic_compiles_no_annotation_of_a_document_from_text() -> None:
    for module in ("runner.schemas", "runner.plan.progress", "runner.plan.requests"):
        importlib.import_module(module)
    # Single documents of modules that import types for the type checker alone.
    others = {"runner.core.result_folder", "runner.actions.round_state"}
    found = set()
    for document in _subclasses(BaseModel):
        if any(isinstance(each, str) for each in document.__annotations__.values()):
            found.add(document.__module__)
    assert {module for module in found if module.startswith("runner.")} <= others


def _subclasses(document: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in document.__subclasses__():
        yield each
        yield from _subclasses(each)


def test_only_text_that_needs_no_cleaning_is_left_as_it_is() -> None:
    plain = "".join(map(chr, range(0x20, 0x7F)))
    assert clean(plain) is plain
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x202A, 0x2066):
        if chr(code) not in "\t\n":
            assert clean(f"a{chr(code)}b") in {"a\ufffdb", "a\nb"}, code
    assert clean("a\r\nb\tc") == "a\nb\tc"
