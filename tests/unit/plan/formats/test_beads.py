"""beads' issues.jsonl: each rule of reading and of writing back, with the fewest lines
that need it.
"""

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
    return load("issues.jsonl", "".join(json.dumps(one) + "\n" for one in issues))


def waits(*issues: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {task.id: task.depends_on for task in plan(*issues).tasks}


def only(**fields: Any) -> Task:
    return plan(issue("a-1", **fields)).tasks[0]


def test_only_some_types_gate() -> None:
    found = plan(
        issue("a-1"), issue("a-2", ("a-1", "blocks")), issue("a-3", ("a-1", "related"), ("a-2", "discovered-from")),
        issue("a-4", ("a-1", "parent-child")), issue("a-5", ("a-1", "blocked-by")), issue("a-6", ("a-1", "needs")),
    )  # fmt: skip
    assert [task.depends_on for task in found.tasks] == [
        (),
        ("a-1",),
        (),
        (),
        ("a-1",),
        ("a-1",),
    ]
    assert found.notes == (
        "issues.jsonl:6: a-6: the unknown dependency type 'needs' counts as blocks",
    )


def test_a_blocked_parent_blocks_its_children_and_an_open_one_does_not() -> None:
    epic = issue("e", ("a-1", "blocks"), issue_type="epic")
    found = waits(
        issue("a-1"),
        epic,
        issue("a-2", ("e", "parent-child")),
        issue("a-3", ("a-2", "parent-child")),
    )
    assert found == {"a-1": (), "a-2": ("a-1",), "a-3": ("a-1",)}
    closed = {**epic, "status": "closed"}
    assert waits(issue("a-1"), closed, issue("a-2", ("e", "parent-child")))["a-2"] == ()


def test_an_epic_stands_for_its_children_and_waits_for_means_all_of_them() -> None:
    epic = issue("e", issue_type="epic")
    children = [
        issue("a-1", ("e", "parent-child")),
        issue("a-2", ("a-1", "parent-child")),
    ]
    found = waits(
        epic, *children, issue("b-1", ("e", "blocks")), issue("b-2", ("e", "waits-for"))
    )
    assert (found["b-1"], found["b-2"]) == (("a-1", "a-2"), ("a-1",))


@pytest.mark.parametrize(
    ("fields", "needs", "why"),
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
def test_what_cannot_start_is_skipped_with_the_reason(
    fields: dict[str, Any], needs: tuple[str, str] | None, why: str
) -> None:
    others = [
        issue("g", issue_type="gate"),
        issue("e", issue_type="epic"),
        issue("a-0"),
    ]
    found = plan(*others, issue("a-1", *([needs] if needs else []), **fields))
    task = found.task("a-1")
    assert task is not None
    assert task.skipped
    assert f"issues.jsonl:4: a-1 is skipped: {why}" in found.notes


def test_a_finished_or_deleted_prerequisite_holds_nobody_up() -> None:
    others = [
        issue("e", issue_type="epic", status="closed"),
        issue("d", status="tombstone"),
    ]
    found = plan(*others, issue("a-1", ("e", "blocks"), ("d", "blocks")))
    assert [(task.id, task.depends_on, task.skipped) for task in found.tasks] == [
        ("a-1", (), False)
    ]
    assert found.notes == (
        "issues.jsonl: ignored because they are not tasks: 1 epic, 1 deleted (tombstone)",
    )


@pytest.mark.parametrize("fields", [
    {"issue_type": "message"}, {"issue_type": "merge-request"}, {"is_template": True}, {"ephemeral": True},
    {"_type": "memory"},
])  # fmt: skip
def test_records_that_are_no_work_are_no_tasks(fields: dict[str, Any]) -> None:
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
    ("priority", "found"), [(0, 2), (1, 1), (2, 0), (4, -2), (None, 0), ("high", 0)]
)
def test_priority_zero_is_the_highest(priority: Any, found: int) -> None:
    assert only(priority=priority).priority == found


def test_a_task_says_all_that_its_agent_needs() -> None:
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
    ("text", "said"),
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
def test_what_cannot_be_read_is_said_with_its_line(text: str, said: str) -> None:
    assert problems(lambda: load("issues.jsonl", text))[0].startswith(said)


def test_a_dependency_on_what_is_not_there_fails_closed() -> None:
    found = plan(issue("bd-12"), issue("bd-2", ("bd-13", "blocks")))
    (said,) = problems(lambda: checked(found))
    assert said.startswith(
        "issues.jsonl:2: bd-2 depends on bd-13, which is not in the plan; did you mean bd-"
    )


def test_only_the_status_word_changes_and_line_ends_stay() -> None:
    text = (
        '{ "id":"a-1", "title":"\\u00e9 open", "status" : "open" }\r\n\n'
        '{"status":"in_progress","id":"a-2","title":"é"}\n{"id":"a-3","title":"no word"}'
    )
    found, tree = load("x.jsonl", text, source="beads"), MemoryTree({"x.jsonl": text})
    done = mark(found, tree, dict.fromkeys(["a-1", "a-2", "a-3"], Status.COMPLETED))
    after = text.replace('"status" : "open"', '"status" : "closed"').replace(
        '"in_progress"', '"closed"'
    )
    assert done == {"x.jsonl": after}
    assert mark(found, tree, {"a-1": Status.FAILED, "a-2": Status.FAILED}) == {}
    assert mark(found, MemoryTree(done), {"a-1": Status.PENDING}) == {
        "x.jsonl": after.replace('"status" : "closed"', '"status" : "open"')
    }
