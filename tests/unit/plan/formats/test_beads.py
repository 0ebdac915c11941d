"""The beads format: each rule of reading and writing, with the fewest lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.core.task import Plan, Status, Task
from runner.plan.formats import MemoryTree
from tests.support.builders import problems
from tests.support.trees import checked, load, mark


def issue(issue_id: str, *needs: tuple[str, str], **fields: Any) -> dict[str, Any]:
    listed = [
        {"issue_id": issue_id, "depends_on_id": target, "type": kind}
        for target, kind in needs
    ]
    return {
        "id": issue_id,
        "title": "t",
        "status": "open",
        "issue_type": "task",
        "dependencies": listed,
        **fields,
    }


def plan(*issues: dict[str, Any]) -> Plan:
    return load("issues.jsonl", "".join(json.dumps(each) + "\n" for each in issues))


def waits(*issues: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {task.id: task.depends_on for task in plan(*issues).tasks}


def only(**fields: Any) -> Task:
    return plan(issue("a-1", **fields)).tasks[0]


def test_only_some_dependency_types_block() -> None:
    loaded_plan = plan(
        issue("a-1"), issue("a-2", ("a-1", "blocks")), issue("a-3", ("a-1", "related"), ("a-2", "discovered-from")),
        issue("a-4", ("a-1", "parent-child")), issue("a-5", ("a-1", "blocked-by")), issue("a-6", ("a-1", "needs")),
    )  # fmt: skip
    assert [task.depends_on for task in loaded_plan.tasks] == [
        (),
        ("a-1",),
        (),
        (),
        ("a-1",),
        ("a-1",),
    ]
    assert loaded_plan.notes == (
        "issues.jsonl:6: a-6: the unknown dependency type 'needs' counts as blocks",
    )


def test_a_blocked_parent_blocks_its_children_but_an_open_parent_does_not() -> None:
    epic = issue("e", ("a-1", "blocks"), issue_type="epic")
    dependencies = waits(
        issue("a-1"),
        epic,
        issue("a-2", ("e", "parent-child")),
        issue("a-3", ("a-2", "parent-child")),
    )
    assert dependencies == {"a-1": (), "a-2": ("a-1",), "a-3": ("a-1",)}
    closed = {**epic, "status": "closed"}
    assert waits(issue("a-1"), closed, issue("a-2", ("e", "parent-child")))["a-2"] == ()


def test_blocks_on_an_epic_means_all_descendants_and_waits_for_its_children() -> None:
    epic = issue("e", issue_type="epic")
    children = [
        issue("a-1", ("e", "parent-child")),
        issue("a-2", ("a-1", "parent-child")),
    ]
    dependencies = waits(
        epic, *children, issue("b-1", ("e", "blocks")), issue("b-2", ("e", "waits-for"))
    )
    assert (dependencies["b-1"], dependencies["b-2"]) == (("a-1", "a-2"), ("a-1",))


@pytest.mark.parametrize(
    ("fields", "dependency", "reason"),
    [
        ({}, ("g", "blocks"), "it waits for g (gate), which is open"),
        ({}, ("e", "blocks"), "it waits for e (epic), which is open"),
        ({}, ("a-0", "conditional-blocks"), "it only runs if a-0 fails"),
        (
            {"defer_until": "2030-01-01T00:00:00Z"},
            None,
            "it is deferred until 2030-01-01T00:00:00Z",
        ),
        (
            {"status": "blocked"},
            None,
            "its status is blocked, but no open dependency says why",
        ),
    ],
)
def test_an_issue_that_cannot_start_is_skipped_with_the_reason(
    fields: dict[str, Any], dependency: tuple[str, str] | None, reason: str
) -> None:
    blockers = [
        issue("g", issue_type="gate"),
        issue("e", issue_type="epic"),
        issue("a-0"),
    ]
    loaded_plan = plan(
        *blockers, issue("a-1", *([dependency] if dependency else []), **fields)
    )
    task = loaded_plan.task("a-1")
    assert task is not None
    assert task.skipped
    assert f"issues.jsonl:4: a-1 is skipped: {reason}" in loaded_plan.notes


def test_a_closed_or_deleted_prerequisite_blocks_nothing() -> None:
    prerequisites = [
        issue("e", issue_type="epic", status="closed"),
        issue("d", status="tombstone"),
    ]
    loaded_plan = plan(*prerequisites, issue("a-1", ("e", "blocks"), ("d", "blocks")))
    assert [(task.id, task.depends_on, task.skipped) for task in loaded_plan.tasks] == [
        ("a-1", (), False)
    ]
    assert loaded_plan.notes == (
        "issues.jsonl: ignored because they are not tasks: 1 epic, 1 deleted (tombstone)",
    )


@pytest.mark.parametrize("fields", [
    {"issue_type": "message"}, {"issue_type": "merge-request"}, {"is_template": True}, {"ephemeral": True},
    {"_type": "memory"},
])  # fmt: skip
def test_records_that_are_not_work_are_not_tasks(fields: dict[str, Any]) -> None:
    assert list(waits(issue("a-1"), issue("a-2", **fields))) == ["a-1"]


@pytest.mark.parametrize(("word", "status", "skipped"), [
    ("open", "pending", False), ("in_progress", "in_progress", False), ("hooked", "in_progress", False),
    ("closed", "completed", False), ("done", "completed", False), ("deferred", "pending", True),
    ("pinned", "pending", True),
])  # fmt: skip
def test_status_words(word: str, status: str, skipped: bool) -> None:
    task = only(status=word)
    assert (task.source_status, task.skipped) == (status, skipped)


@pytest.mark.parametrize(
    ("priority", "expected"), [(0, 2), (1, 1), (2, 0), (4, -2), (None, 0), ("high", 0)]
)
def test_priority_zero_is_the_highest(priority: Any, expected: int) -> None:
    assert only(priority=priority).priority == expected


def test_the_prompt_contains_every_text_field() -> None:
    task = only(
        description="D",
        design="E",
        acceptance_criteria="A",
        notes="N",
        estimated_minutes=90,
    )
    assert (
        task.prompt
        == "D\n\n## Design\n\nE\n\n## Acceptance criteria\n\nA\n\n## Notes\n\nN"
    )
    assert task.estimate == 5400.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n[1]\n", "issues.jsonl:2: a line is a list, not an object"),
        (
            '{"id":"a-1","title":"x"}\n{"id":\n',
            "issues.jsonl:2: not valid JSON: a value is missing here",
        ),
        ('{"title":"x"}\n', "issues.jsonl:1: an issue has no id"),
        (
            '{"id":"a-1","title":"x","status":"opne"}\n',
            "issues.jsonl:1: 'opne' is not a valid status; did you mean 'open'?",
        ),
        (
            '{"id":"a-1","title":""}\n',
            "issues.jsonl:1: a-1: title: expected text that is not empty",
        ),
        (
            '{"id":"a","title":"x"}\n\n{"id":"a","title":"y"}\n',
            "issues.jsonl:3: the id a is used twice (first on",
        ),
        (
            '{"id":"a-1","title":"x","dependencies":["b"]}\n',
            "issues.jsonl:1: a-1: its dependencies cannot be read",
        ),
        ("\n\n", "issues.jsonl:1: no tasks found"),
    ],
)
def test_unreadable_input_is_reported_with_its_line(text: str, message: str) -> None:
    assert problems(lambda: load("issues.jsonl", text))[0].startswith(message)


def test_a_file_of_another_kind_is_not_read_to_its_end() -> None:
    messages = problems(lambda: load("issues.jsonl", "not JSON\n" * 200))
    assert 1 < len(messages) < 100


def test_a_dependency_on_a_missing_issue_is_refused() -> None:
    loaded_plan = plan(issue("bd-12"), issue("bd-2", ("bd-13", "blocks")))
    (message,) = problems(lambda: checked(loaded_plan))
    assert message.startswith(
        "issues.jsonl:2: bd-2 depends on bd-13, which is not in the plan; did you mean bd-"
    )


def test_only_the_status_word_changes_and_line_endings_stay() -> None:
    text = (
        '{ "id":"a-1", "title":"\\u00e9 open", "status" : "open" }\r\n\n'
        '{"status":"in_progress","id":"a-2","title":"é"}\n{"id":"a-3","title":"no word"}'
    )
    loaded_plan, tree = (
        load("x.jsonl", text, source="beads"),
        MemoryTree({"x.jsonl": text}),
    )
    done = mark(
        loaded_plan, tree, dict.fromkeys(["a-1", "a-2", "a-3"], Status.COMPLETED)
    )
    after = text.replace('"status" : "open"', '"status" : "closed"').replace(
        '"in_progress"', '"closed"'
    )
    assert done == {"x.jsonl": after}
    assert mark(loaded_plan, tree, {"a-1": Status.FAILED, "a-2": Status.FAILED}) == {}
    assert mark(loaded_plan, MemoryTree(done), {"a-1": Status.PENDING}) == {
        "x.jsonl": after.replace('"status" : "closed"', '"status" : "open"')
    }
