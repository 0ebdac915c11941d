"""The Task Master format: each rule of reading and writing, with a minimal text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.core.task import Plan, Status, Task
from runner.plan.formats import MemoryTree
from tests.support.builders import problems
from tests.support.trees import load, mark

TAGS = '{"backend": {"tasks": [{"id": 1, "title": "x"}]}, "front": {"tasks": [{"id": 1, "title": "y"}]}}'


def plan(*tasks: dict[str, Any], options: dict[str, str] | None = None) -> Plan:
    text = json.dumps({"master": {"tasks": [{"title": "t", **task} for task in tasks]}})
    return load("tasks.json", text, options=options or {})


def only(**fields: Any) -> Task:
    return plan({"id": 1, **fields}).tasks[0]


@pytest.mark.parametrize(("written", "expected"), [
    (1, "1"), ("1", "1"), ("auto-discovery", "auto-discovery"), (" 7 ", "7"),
])  # fmt: skip
def test_ids_and_dependencies_are_read_as_text(written: Any, expected: str) -> None:
    tasks = plan({"id": written}, {"id": "other", "dependencies": [written]}).tasks
    assert (tasks[0].id, tasks[1].depends_on) == (expected, (expected,))


@pytest.mark.parametrize(("word", "status", "skipped"), [
    ("pending", "pending", False), ("in-progress", "in_progress", False), ("in_progress", "in_progress", False),
    ("done", "completed", False), ("completed", "completed", False), ("Done", "completed", False),
    ("cancelled", "pending", True), ("deferred", "pending", True), ("review", "pending", True),
    ("blocked", "pending", True), (None, "pending", False),
])  # fmt: skip
def test_status_words(word: str | None, status: str, skipped: bool) -> None:
    task = only(status=word)
    assert (task.source_status, task.skipped) == (status, skipped)


def test_an_unknown_status_is_reported_with_the_nearest_word() -> None:
    text = '{"tasks": [\n {"id": 1, "title": "t",\n  "status": "dnoe"}]}'
    assert problems(lambda: load("tasks.json", text)) == [
        "tasks.json:3: 1: 'dnoe' is not a valid status; did you mean 'done'?"
    ]


def test_the_prompt_contains_every_text_field() -> None:
    task = only(
        description="What.", details="How.\nMore.", testStrategy="So.", priority="high",
        subtasks=[{"id": 1, "title": "a", "status": "done"},
                  {"id": 2, "title": "b", "description": "c", "details": "d"}],
    )  # fmt: skip
    assert task.priority == 1
    assert task.prompt == (
        "What.\n\n## Details\n\nHow.\nMore.\n\n## Test strategy\n\nSo.\n\n"
        "## Subtasks\n\n- [x] 1.1 a\n- [ ] 1.2 b: c\n  d"
    )


def test_a_dependency_on_a_subtask_waits_for_its_whole_task() -> None:
    loaded_plan = plan(
        {"id": 1, "subtasks": [{"id": 1, "title": "a"}]},
        {"id": 2, "dependencies": ["1.1"]},
    )
    assert loaded_plan.tasks[1].depends_on == ("1",)
    assert (
        "2 depends on the subtask 1.1, so it waits for all of 1" in loaded_plan.notes[0]
    )


def test_subtasks_may_depend_on_siblings_full_ids_and_whole_tasks() -> None:
    subtasks = [
        {"id": 1, "title": "a"},
        {"id": "2", "title": "b", "dependencies": [1]},
        {"id": 3, "title": "c", "dependencies": ["5.2"]},
        {"id": 4, "title": "d", "dependencies": ["9"]},
    ]
    loaded_plan = plan(
        {"id": 8}, {"id": 9}, {"id": 5, "dependencies": [8], "subtasks": subtasks}, {"id": 6, "dependencies": [5]},
        options={"subtasks": "tasks"},
    )  # fmt: skip
    waits = {task.id: set(task.depends_on) for task in loaded_plan.tasks}
    assert waits == {
        "8": set(), "9": set(), "5.1": {"8"}, "5.2": {"5.1", "8"}, "5.3": {"5.2", "8"}, "5.4": {"9", "8"},
        "6": {"5.1", "5.2", "5.3", "5.4"},
    }  # fmt: skip


def test_open_subtasks_of_a_finished_task_count_as_finished_with_a_note() -> None:
    loaded_plan = plan(
        {"id": 1, "status": "done", "subtasks": [{"id": 1, "title": "a"}]},
        options={"subtasks": "tasks"},
    )
    assert loaded_plan.tasks[0].source_status is Status.COMPLETED
    assert "1.1 is open, but its parent is not" in loaded_plan.notes[0]


def test_a_parent_is_done_when_all_of_its_subtasks_are() -> None:
    text = json.dumps(
        {
            "tasks": [
                {
                    "id": 1,
                    "title": "t",
                    "status": "pending",
                    "subtasks": [
                        {"id": 1, "title": "a", "status": "done"},
                        {"id": 2, "title": "b", "status": "pending"},
                    ],
                }
            ]
        }
    )
    loaded_plan = load("tasks.json", text, options={"subtasks": "tasks"})
    tree = MemoryTree({"tasks.json": text})
    assert mark(loaded_plan, tree, {"1.2": Status.COMPLETED}) == {
        "tasks.json": text.replace('"pending"', '"done"')
    }
    assert mark(loaded_plan, tree, {"1.2": Status.FAILED}) == {}


def test_several_tags_need_a_choice_unless_one_is_the_default() -> None:
    assert problems(lambda: load("tasks.json", TAGS)) == [
        "tasks.json:1: there is no tag 'master'; choose one with  --option tag=NAME: backend, front"
    ]
    assert problems(lambda: load("tasks.json", TAGS, options={"tag": "fornt"})) == [
        "tasks.json:1: there is no tag 'fornt'; did you mean 'front'?"
    ]
    loaded_plan = load("tasks.json", TAGS, options={"tag": "front"})
    assert [task.title for task in loaded_plan.tasks] == ["y"]
    assert loaded_plan.notes == (
        "tasks.json: only the tag front is read; ignored: backend (1 task)",
    )
    assert load("tasks.json", TAGS.replace("front", "master")).tasks[0].title == "y"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "tasks.json:1: there is no list of tasks"),
        ("[1]", "tasks.json:1: there is no list of tasks"),
        ('{"tasks": []}', "tasks.json:1: no tasks found"),
        ('{"tasks": [\n3]}', "tasks.json:2: a task is a number, not an object"),
        ('{"tasks": [\n{"title": "x"}]}', "tasks.json:2: a task has no id"),
        (
            '{"tasks": [\n{"id": 1}]}',
            "tasks.json:2: 1: title: expected text that is not empty",
        ),
        (
            '{"tasks": [{"id": 1, "title": "x",\n"dependencies": "1,2"}]}',
            "tasks.json:2: 1: its dependencies are not a list",
        ),
        (
            '{"tasks": [{"id": 1, "title": "x", "dependencies": [\n{}]}]}',
            "tasks.json:2: 1: its dependencies are not a list",
        ),
        (
            '{"tasks": [{"id": 1, "title": "x",\n"subtasks": {}}]}',
            "tasks.json:2: 1: its subtasks are an object",
        ),
        (
            '{"tasks": [\n{"id": "a\\u0000b", "title": "x"}]}',
            "tasks.json:2: a�b: id: expected no special characters",
        ),
        (
            '{"tasks": [{"id": 1, "title": "x", "status": ["done"]}]}',
            "tasks.json:1: 1: 'a list' is not a valid status",
        ),
    ],
)
def test_unreadable_input_is_reported_with_its_line(text: str, message: str) -> None:
    assert problems(lambda: load("tasks.json", text, strict=True))[0].startswith(
        message
    )


def test_an_unknown_dependency_is_reported_with_the_nearest_id() -> None:
    loaded_plan = plan({"id": "setup"}, {"id": 2, "dependencies": ["stup"]})
    (record,) = loaded_plan.left_out
    assert (
        str(record.problem)
        == "tasks.json:1: 2 depends on stup, which is not in the plan; did you mean setup?"
    )


def test_only_the_status_word_changes_and_no_task_without_one() -> None:
    text = '{"tasks":[{ "status" :\t"pending","id":1,"title":"\\u00e9","x":30.10 },\r\n{"id":2,"title":"b"}]}'
    loaded_plan = load("tasks.json", text)
    tree = MemoryTree({"tasks.json": text})
    done = mark(loaded_plan, tree, {"1": Status.COMPLETED, "2": Status.COMPLETED})
    assert done == {"tasks.json": text.replace('"pending"', '"done"')}
    assert mark(loaded_plan, tree, {"1": Status.FAILED, "2": Status.IN_PROGRESS}) == {}
    assert mark(loaded_plan, MemoryTree(done), {"1": Status.PENDING}) == {
        "tasks.json": text
    }


TASKS = json.dumps(
    {
        "master": {"tasks": [{"id": 1, "title": "Old"}]},
        "web": {"tasks": [{"id": 1, "title": "Current"}]},
    }
)
STATE = '{"currentTag": "web"}'


@pytest.mark.parametrize("path", [".taskmaster", ".taskmaster/tasks/tasks.json"])
@pytest.mark.parametrize(
    ("state", "options", "title"),
    [
        (STATE, {}, "Current"),
        (STATE, {"tag": "master"}, "Old"),
        ('{"currentTag": ""}', {}, "Old"),
        ("{", {}, "Old"),
        (None, {}, "Old"),
    ],
)
def test_the_tag_of_the_options_outranks_the_current_one_and_that_the_default(
    path: str, state: str | None, options: dict[str, str], title: str
) -> None:
    files = {".taskmaster/tasks/tasks.json": TASKS}
    if state is not None:
        files[".taskmaster/state.json"] = state
    assert load(path, files, options=options).tasks[0].title == title


def test_a_plan_from_before_the_folder_taskmaster_has_its_state_in_it() -> None:
    files = {"tasks/tasks.json": TASKS, ".taskmaster/state.json": STATE}
    assert load("tasks/tasks.json", files).tasks[0].title == "Current"


def test_a_current_tag_without_tasks_is_a_mistake() -> None:
    files = {
        ".taskmaster/tasks/tasks.json": TASKS,
        ".taskmaster/state.json": '{"currentTag": "gone"}',
    }
    assert problems(lambda: load(".taskmaster", files)) == [
        (
            ".taskmaster/tasks/tasks.json:1: there is no tag 'gone'; "
            "choose one with  --option tag=NAME: master, web"
        )
    ]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"_schema": "1"}, "a task has no id"),
        ({"id": 1, "title": "again"}, "the id 1 is used twice (also on line 1)"),
        (
            {"id": 3, "title": "x", "status": "someday"},
            "3: 'someday' is not a valid status",
        ),
        ({"id": 3, "title": ""}, "3: title: expected text that is not empty, got ''"),
        (
            {"id": 3, "title": "x", "dependencies": "1"},
            "3: its dependencies are not a list of ids",
        ),
        ({"id": 3, "title": "x", "subtasks": 1}, "3: its subtasks are a number"),
    ],
)
def test_an_odd_record_is_left_out_and_the_others_run(
    record: dict[str, Any], problem: str
) -> None:
    readable = [{"id": number} for number in (5, 6, 7, 8)]
    dependents = [{"id": 2, "dependencies": [1]}, {"id": 4, "dependencies": [3]}]
    loaded_plan = plan({"id": 1}, *dependents, *readable, record)
    assert loaded_plan.left_out[0].problem.what == problem
    open_ids = {task.id for task in loaded_plan.tasks if not task.skipped}
    assert {"1", "2", "5", "8"} <= open_ids
    assert "3" not in open_ids
    # It waits for the skipped task, or is left out because there is none.
    dependent = loaded_plan.task("4")
    assert dependent is not None
    assert dependent.skipped or dependent.depends_on == ("3",)


def test_of_two_tasks_with_one_id_the_unfinished_one_counts_and_is_marked() -> None:
    text = (
        '{"tasks": [{"id": 1, "title": "a", "status": "done"},\n'
        '{"id": 1, "title": "b", "status": "pending"},\n'
        '{"id": 2, "title": "c", "dependencies": [1, 2]},'
        '{"id": 3, "title": "d"}, {"id": 4, "title": "e"}, {"id": 5, "title": "f"}]}'
    )
    loaded_plan = load("tasks.json", text)
    assert loaded_plan.tasks[0].title == "b"
    assert [str(record.problem) for record in loaded_plan.left_out] == [
        (
            "tasks.json:1: the id 1 is used twice (also on line 2); "
            "give every task its own id"
        ),
        "tasks.json:3: 2 depends on itself; remove 2 from its dependencies",
    ]
    marked = mark(
        loaded_plan, MemoryTree({"tasks.json": text}), {"1": Status.COMPLETED}
    )
    assert marked == {"tasks.json": text.replace('"pending"', '"done"')}
