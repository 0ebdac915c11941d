"""The beads format: each rule of reading and writing, with the fewest lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from runner.core.task import Plan, Status, Task
from runner.plan.formats import MemoryTree
from runner.plan.formats.beads import Beads
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
        (),
    ]


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


@pytest.mark.parametrize("child_status", ["open", "closed"])
def test_an_epic_blocks_until_it_is_closed_whatever_its_children_are(
    child_status: str,
) -> None:
    child = issue("a-1", ("e", "parent-child"), status=child_status)
    waiting = issue("b-1", ("e", "blocks"))
    epic = issue("e", issue_type="epic")
    loaded_plan = plan(epic, child, waiting)
    assert loaded_plan.tasks[1].skipped
    assert loaded_plan.notes[-1] == (
        "issues.jsonl:3: b-1 is skipped: it waits for e (epic), which is open; "
        "once it is done:  bd close e"
    )
    closed_epic = {**epic, "status": "closed"}
    assert not plan(closed_epic, child, waiting).tasks[1].skipped


def test_waits_for_means_all_children_or_any_of_them() -> None:
    children = [
        issue("a-1", ("e", "parent-child"), status="closed"),
        issue("a-2", ("e", "parent-child")),
        issue("a-3", ("a-2", "parent-child")),
    ]
    all_children = issue("b-1", ("e", "waits-for"))
    any_child = issue("b-2", ("e", "waits-for"))
    any_child["dependencies"][0]["metadata"] = '{"gate":"any-children"}'
    epic = issue("e", issue_type="epic")
    dependencies = waits(epic, *children, all_children, any_child)
    assert (dependencies["b-1"], dependencies["b-2"]) == (("a-1", "a-2"), ())


@pytest.mark.parametrize(
    ("fields", "dependency", "reason"),
    [
        ({}, ("g", "blocks"), "it waits for g (gate), which is open"),
        (
            {},
            ("external:web:login", "blocks"),
            "it waits for another project: external:web:login",
        ),
        ({"pinned": True}, None, "it is pinned"),
        ({"status": "in_progress"}, None, "its status is in_progress"),
        ({}, ("late", "parent-child"), "its parent late is deferred until 2099-01-01"),
        ({"defer_until": "soon"}, None, "it is deferred until soon"),
        ({}, ("a-0", "conditional-blocks"), "it only runs if a-0 fails"),
        (
            {"defer_until": "2030-01-01T00:00:00Z"},
            None,
            "it is deferred until 2030-01-01T00:00:00Z",
        ),
        ({"status": "blocked"}, None, "its status is blocked"),
    ],
)
def test_an_issue_that_cannot_start_is_skipped_with_the_reason(
    fields: dict[str, Any], dependency: tuple[str, str] | None, reason: str
) -> None:
    blockers = [
        issue("g", issue_type="gate"),
        issue("late", issue_type="epic", defer_until="2099-01-01"),
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
    ("open", "pending", False), ("in_progress", "in_progress", True), ("hooked", "in_progress", True),
    ("blocked", "pending", True), (None, "pending", False), ("", "pending", False),
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
            "issues.jsonl:1: a-1: 'opne' is not a valid status; did you mean 'open'?",
        ),
        (
            '{"id":"a-1","title":""}\n',
            "issues.jsonl:1: a-1: title: expected text that is not empty",
        ),
        (
            '{"id":"a","title":"x"}\n\n{"id":"a","title":"y"}\n',
            "issues.jsonl:3: the id a is used twice (also on line 1)",
        ),
        (
            '{"id":"a-1","title":"x","dependencies":[7]}\n',
            "issues.jsonl:1: a-1: its dependencies cannot be read",
        ),
        ("\n\n", "issues.jsonl:1: no tasks found"),
    ],
)
def test_unreadable_input_is_reported_with_its_line(text: str, message: str) -> None:
    found = problems(lambda: load("issues.jsonl", text, strict=True))
    assert found[0].startswith(message)


def test_a_file_of_another_kind_is_not_read_to_its_end() -> None:
    messages = problems(lambda: load("issues.jsonl", "not JSON\n" * 200))
    assert 1 < len(messages) < 100


def test_an_issue_with_a_missing_dependency_is_left_out() -> None:
    loaded_plan = plan(issue("bd-12"), issue("bd-2", ("bd-13", "blocks")))
    (record,) = loaded_plan.left_out
    assert str(record.problem).startswith(
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


def test_an_odd_record_is_left_out_and_satisfies_nobody() -> None:
    loaded_plan = plan(
        {"_schema": "beads-jsonl/1", "_sort": "stable-v1"},
        issue("b-1"),
        issue("b-2", status="in_review"),
        issue("b-3", ("b-2", "blocks")),
        issue("b-4"),
        issue("b-5"),
        issue("b-6"),
    )
    assert loaded_plan.left_out_summary == "2 records left out, see fanin check"
    assert [record.problem.line for record in loaded_plan.left_out] == [1, 3]
    skipped = [task.id for task in loaded_plan.tasks if task.skipped]
    assert skipped == ["b-2"]
    assert checked(loaded_plan).dependencies("b-3") == ("b-2",)
    assert loaded_plan.notes[-1] == (
        "issues.jsonl:3: b-2 is skipped (left out, see fanin check), "
        "so these cannot run: b-3"
    )


def test_one_of_two_records_may_be_odd() -> None:
    loaded_plan = plan(issue("b-1"), issue("b-2", status="in_review"))
    assert [task.skipped for task in loaded_plan.tasks] == [False, True]


def test_of_two_issues_with_one_id_the_open_one_counts_and_is_marked() -> None:
    lines = [
        '{"id":"a","title":"first","status":"closed"}',
        '{"id":"a","title":"second","status":"open"}',
        '{"id":"b","title":"b","dependencies":[{"depends_on_id":"a","type":"blocks"}]}',
    ]
    text = "\n".join(lines)
    loaded_plan = load("issues.jsonl", text)
    assert [(task.title, task.depends_on) for task in loaded_plan.tasks] == [
        ("second", ()),
        ("b", ("a",)),
    ]
    tree = MemoryTree({"issues.jsonl": text})
    assert mark(loaded_plan, tree, {"a": Status.COMPLETED}) == {
        "issues.jsonl": text.replace('"open"', '"closed"')
    }


@pytest.mark.parametrize(
    ("entry", "depends_on"),
    [
        ("a", ("a",)),
        ({"id": "a", "type": "blocks"}, ("a",)),
        ({"id": "a", "title": "a", "dependency_type": "blocks"}, ("a",)),
        ({"id": "a", "dependency_type": "related"}, ()),
        ({"id": "a"}, ("a",)),
    ],
    ids=str,
)
def test_a_dependency_may_be_an_id_or_the_issue_itself(
    entry: object, depends_on: tuple[str, ...]
) -> None:
    loaded_plan = plan(issue("a"), {**issue("b"), "dependencies": [entry]})
    assert not loaded_plan.left_out
    assert checked(loaded_plan).dependencies("b") == depends_on


def test_a_deferral_ends_at_its_time() -> None:
    at_noon = Beads(now=lambda: datetime(2026, 5, 1, 12, tzinfo=UTC))

    def is_skipped(defer_until: str) -> bool:
        text = json.dumps(issue("a-1", defer_until=defer_until))
        tree = MemoryTree({"issues.jsonl": text})
        return at_noon.load("issues.jsonl", tree, {}).tasks[0].skipped

    assert not is_skipped("2020-01-01T00:00:00Z")
    assert not is_skipped("2026-05-01T12:00:00Z")
    assert not is_skipped("2026-05-01T13:59:59.123456789+02:00")
    assert is_skipped("2026-05-01T12:00:00.5Z")
    assert is_skipped("2026-05-01T11:00:00-02:00")
    assert is_skipped("2026-05-02")


def test_conditional_blocks_opens_after_a_failure_only() -> None:
    waiting = issue("b", ("a", "conditional-blocks"))
    failed = issue("a", status="closed", close_reason="Build failed")
    succeeded = issue("a", status="closed", close_reason="Shipped")
    assert not plan(failed, waiting).tasks[1].skipped
    assert plan(succeeded, waiting).tasks[1].skipped


def test_a_pinned_issue_blocks_nothing_as_in_beads() -> None:
    assert waits(issue("p", status="pinned"), issue("a", ("p", "blocks")))["a"] == ()


def test_a_dependency_counts_for_the_issue_that_it_names() -> None:
    other = issue("a-2")
    other["dependencies"] = [
        {"issue_id": "a-3", "depends_on_id": "a-1", "type": "blocks"}
    ]
    dependencies = waits(issue("a-1"), other, issue("a-3"))
    assert dependencies == {"a-1": (), "a-2": (), "a-3": ("a-1",)}


def test_issues_with_one_reason_to_be_skipped_share_a_note() -> None:
    numbers = range(1, 8)
    loaded_plan = plan(*[issue(f"a-{n}", status="hooked") for n in numbers])
    assert loaded_plan.notes == (
        (
            "issues.jsonl:1: a-1, a-2, a-3, a-4, a-5, 2 more are skipped: "
            "its status is hooked"
        ),
    )


def test_children_are_told_what_their_epic_and_those_above_it_say() -> None:
    loaded_plan = plan(
        issue("e", issue_type="epic", title="Payments", description="Pay", design="D"),
        issue("f", ("e", "parent-child"), issue_type="feature", title="Cards"),
        issue("a", ("f", "parent-child"), title="Visa"),
    )
    task = loaded_plan.task("a")
    assert task is not None
    assert task.context == (
        ("feature f: Cards", ""),
        ("epic e: Payments", "Pay\n\n## Design\n\nD"),
    )


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ('{"database":"beads.db","jsonl_export":"work.jsonl"}', "work.jsonl"),
        ('{"jsonl_export":"gone.jsonl"}', "issues.jsonl"),
        ("{", "issues.jsonl"),
    ],
)
def test_the_metadata_of_the_folder_names_the_export(metadata: str, name: str) -> None:
    files = {
        ".beads/metadata.json": metadata,
        ".beads/work.jsonl": json.dumps(issue("w")),
        ".beads/issues.jsonl": json.dumps(issue("i")),
    }
    assert load(".beads", files).tasks[0].id == name[0]


@pytest.mark.parametrize(
    ("files", "export"),
    [
        ({".beads/beads.db": "x"}, ".beads/issues.jsonl"),
        ({".beads/metadata.json": '{"jsonl_export":"a.jsonl"}'}, ".beads/a.jsonl"),
        ({"sub/dolt/.dolt/config.json": "{}"}, "sub/issues.jsonl"),
    ],
)
def test_a_folder_with_only_a_database_says_how_to_export_it(
    files: dict[str, str], export: str
) -> None:
    folder = export.split("/")[0]
    assert problems(lambda: load(folder, files)) == [
        (
            f"{folder}: there is no export of the issues, only a database of beads; "
            f"write and commit it:  bd export -o {export}"
        )
    ]


def test_parents_in_a_circle_are_blocked_together() -> None:
    dependencies = waits(
        issue("x"),
        issue("a", ("b", "parent-child"), ("x", "blocks")),
        issue("b", ("c", "parent-child")),
        issue("c", ("a", "parent-child")),
        issue("d", ("b", "parent-child")),
    )
    assert dependencies == {
        "x": (),
        "a": ("x",),
        "b": ("x",),
        "c": ("x",),
        "d": ("x",),
    }


def test_an_issue_inherits_the_blockers_of_all_its_parents() -> None:
    dependencies = waits(
        issue("x"),
        issue("y"),
        issue("p", ("x", "blocks")),
        issue("q", ("y", "blocks")),
        issue("r", ("p", "parent-child"), ("q", "parent-child")),
        issue("s", ("r", "parent-child")),
    )
    assert dependencies["s"] == ("x", "y")
