"""The Backlog.md format: each rule of reading and writing, with minimal files."""

from __future__ import annotations

import pytest

from runner.core.task import Plan, Status, Task
from runner.plan.formats import MemoryTree
from runner.plan.formats.backlog_md import BacklogMd
from tests.support.builders import problems
from tests.support.trees import load, mark


def file(task_id: str, *more: str, status: str = "To Do", body: str = "") -> str:
    lines = [
        "---",
        f"id: {task_id}",
        "title: t",
        f"status: {status}",
        *more,
        "---",
        body,
    ]
    return "\n".join(lines)


def plan(*texts: str, **files: str) -> Plan:
    """The plan of these task files, and of others whose paths are written with __ for a
    slash.
    """
    files_by_path = {
        f"backlog/tasks/task-f{number}.md": text for number, text in enumerate(texts)
    }
    return load(
        "backlog",
        {
            **files_by_path,
            **{
                f"backlog/{path.replace('__', '/')}": text
                for path, text in files.items()
            },
        },
    )


def only(*more: str, **fields: str) -> Task:
    return plan(file("task-1", *more, **fields)).tasks[0]


def finished(*ids: str) -> dict[str, str]:
    return {
        f"completed__task-{task_id}.md": file(task_id, status="Done") for task_id in ids
    }


@pytest.mark.parametrize(
    ("path", "detected"),
    [
        ("backlog/tasks/task-1.md", True),
        ("backlog/tasks/task-1.txt", False),
        ("backlog/completed/task-1.md", True),
        ("backlog/drafts/task-1.md", False),
    ],
)
def test_a_folder_is_detected_by_the_markdown_files_in_its_tasks(
    path: str, detected: bool
) -> None:
    tree = MemoryTree({path: file("task-1")})
    assert BacklogMd().detect("backlog", tree) is detected


@pytest.mark.parametrize(("written", "task_id"), [
    ("task-1", "task-1"), ("TASK-01", "task-1"), ("Task-001", "task-1"), ("'task-1'", "task-1"),
    ("BACK-355.2", "BACK-355.02"), ("task-355.2", "BACK-355.02"), ("355.02", "BACK-355.02"),
    ("task-epic-11.175.1", "task-epic-11.175.1"), ("TASK-EPIC-11.175.01", "task-epic-11.175.1"),
    ("4.10", "task-4.10"), ("task-4.1", "task-4.1"),
])  # fmt: skip
def test_dependencies_match_without_case_leading_zeros_and_prefix(
    written: str, task_id: str
) -> None:
    completed_files = finished(
        "task-1", "BACK-355.02", "task-epic-11.175.1", "task-4.1", "task-4.10"
    )
    loaded_plan = plan(file("X-9", f"dependencies: [{written}]"), **completed_files)
    assert next(task.depends_on for task in loaded_plan.tasks if task.id == "X-9") == (
        task_id,
    )


@pytest.mark.parametrize("dependencies", [
    "dependencies:\n  - task-1\n  - 'task-2'", "dependencies: [task-1, \"task-2\"]",
    "dependencies:\n- task-1 \n- task-2 ",
])  # fmt: skip
def test_dependencies_may_be_any_kind_of_yaml_list(dependencies: str) -> None:
    loaded_plan = plan(file("task-1"), file("task-2"), file("task-3", dependencies))
    assert loaded_plan.tasks[2].depends_on == ("task-1", "task-2")


@pytest.mark.parametrize(
    "nothing", ["dependencies: []", "dependencies:", "dependencies: ~", "labels: []"]
)
def test_an_empty_list_of_dependencies_may_be_written_in_many_ways(
    nothing: str,
) -> None:
    assert only(nothing).depends_on == ()


def left_out(loaded_plan: Plan) -> list[str]:
    return [str(record.problem) for record in loaded_plan.left_out]


def test_a_task_with_an_ambiguous_dependency_is_left_out() -> None:
    loaded_plan = plan(
        file("a-1"), file("b-1"), file("c-2", "dependencies:", "  - d-1")
    )
    assert left_out(loaded_plan) == [
        "backlog/tasks/task-f2.md:6: c-2 depends on d-1, which may be a-1 or b-1; write the whole id"
    ]
    assert [task.id for task in loaded_plan.tasks if task.skipped] == ["c-2"]


def test_a_task_with_an_unknown_dependency_is_left_out() -> None:
    loaded_plan = plan(file("task-10"), file("task-2", "dependencies: [task-11]"))
    (message,) = left_out(loaded_plan)
    assert message.startswith(
        "backlog/tasks/task-f1.md:2: task-2 depends on task-11, which is not in the plan; did you mean "
    )


@pytest.mark.parametrize(("word", "status", "skipped"), [
    ("To Do", "pending", False), ("To do", "pending", False), ("In Progress", "in_progress", False),
    ("In-Progress", "in_progress", False), ("Done", "completed", False), ('"Done"', "completed", False),
    ("Completed", "completed", False), ("Skipped", "pending", True), ("Won't Do", "pending", True),
    ("Won’t Do", "pending", True), ("", "pending", False), ("~", "pending", False),
])  # fmt: skip
def test_status_words_and_their_variants(word: str, status: str, skipped: bool) -> None:
    task = only(status=word)
    assert (task.source_status, task.skipped) == (status, skipped)


@pytest.mark.parametrize(
    ("configured", "done"),
    [
        ("[Idea, Review, Built, Shipped]", ["Shipped", "Done"]),
        ("[Idea, Review, Built, Done, Shipped]", ["Shipped"]),
        ("[Idea, Review, Built, Done, Shipped, Archived]", ["Shipped"]),
        ("[Idea, Review, Built, Done, Archived, Cancelled]", ["Done"]),
    ],
)
def test_the_last_configured_status_that_is_not_a_rejection_means_completed(
    configured: str, done: list[str]
) -> None:
    words = ["Idea", "Review", "Built", "Shipped", "Done"]
    states = [file(f"task-{n}", status=word) for n, word in enumerate(words)]
    loaded_plan = plan(*states, **{"config.yml": f"statuses: {configured}\n"})
    completed = [
        words[int(task.id.removeprefix("task-"))]
        for task in loaded_plan.tasks
        if task.source_status is Status.COMPLETED
    ]
    assert completed == done
    assert loaded_plan.tasks[1].skipped  # review waits for a person


def test_a_task_with_an_unknown_status_is_left_out_and_satisfies_nobody() -> None:
    dependent = file("task-2", "dependencies: [task-1]")
    loaded_plan = plan(
        file("task-1", status="Donne"), dependent, file("task-3"), file("task-4")
    )
    assert left_out(loaded_plan) == [
        "backlog/tasks/task-f0.md:4: task-1: 'Donne' is not a valid status; did you mean 'done'?"
    ]
    assert loaded_plan.tasks[0].skipped
    assert loaded_plan.tasks[1].depends_on == ("task-1",)


@pytest.mark.parametrize(
    ("path", "named", "status"),
    [
        ("backlog", "", "completed"),
        (".backlog", "", "completed"),
        ("docs/backlog", "backlog_directory: docs/backlog/\n", "completed"),
        # the repository's configuration is of another folder
        ("docs/backlog", "", "in_progress"),
        ("backlog", "backlog_directory: elsewhere\n", "in_progress"),
    ],
)
def test_the_repositorys_configuration_outranks_the_folders_own(
    path: str, named: str, status: str
) -> None:
    tree = {
        "backlog.config.yml": f"{named}statuses: [Idea, Shipped]\n",
        f"{path}/config.yml": "statuses: [Idea, Shipped, Sold]\n",
        f"{path}/tasks/task-1 - x.md": file("task-1", status="Shipped"),
    }
    assert str(load(path, tree, source="backlog-md").tasks[0].source_status) == status


def test_tasks_in_completed_are_done_and_unknown_folders_are_ignored() -> None:
    loaded_plan = plan(
        file("task-3"),
        completed__task_x=file("no-9"),
        **{
            "completed__task-x.md": file("task-1", status="Odd"),
            "archive__a.md": "x",
            "drafts__b.md": "y",
        },
    )
    assert [(task.id, task.source_status) for task in loaded_plan.tasks] == [
        ("task-1", "completed"),
        ("task-3", "pending"),
    ]
    assert [note for note in loaded_plan.notes if "ignored" in note] == [
        "backlog/archive: ignored, 1 file",
        "backlog/drafts: ignored, 1 file",
    ]


def test_of_two_tasks_with_one_id_the_unfinished_one_counts() -> None:
    doubled = [file("task-1", status="Done"), file("TASK-01")]
    loaded_plan = plan(*doubled, file("task-2", "dependencies: [task-1]"))
    assert left_out(loaded_plan) == [
        (
            "backlog/tasks/task-f0.md:2: the id task-1 is used twice "
            "(also in backlog/tasks/task-f1.md); give every task its own id"
        )
    ]
    assert [(task.id, task.source_status) for task in loaded_plan.tasks] == [
        ("TASK-01", "pending"),
        ("task-2", "pending"),
    ]
    files = {f"backlog/tasks/task-f{n}.md": text for n, text in enumerate(doubled)}
    assert list(
        mark(loaded_plan, MemoryTree(files), {"TASK-01": Status.COMPLETED})
    ) == ["backlog/tasks/task-f1.md"]


def test_finished_copies_of_a_task_are_harmless() -> None:
    moved = {
        "backlog/tasks/task-1 - a.md": file("task-1", status="Done"),
        "backlog/completed/task-1 - a.md": file("task-1", status="Done"),
        "backlog/tasks/task-2 - b.md": file("task-2", "dependencies: [task-1]"),
    }
    first = load("backlog", moved)
    assert [(task.id, task.source_status) for task in first.tasks] == [
        ("task-1", "completed"),
        ("task-2", "pending"),
    ]
    assert (len(first.notes), first.left_out) == (1, ())
    copies = {
        "completed__task-a.md": file("task-1"),
        "completed__task-b.md": file("TASK-1"),
    }
    loaded_plan = plan(file("task-2"), **copies)
    assert len(loaded_plan.tasks) == 2
    assert any(
        "is also in backlog/completed/task-b.md" in note for note in loaded_plan.notes
    )


def test_tasks_are_ordered_by_the_numbers_in_their_ids() -> None:
    loaded_plan = plan(
        *(file(task_id) for task_id in ("task-4.10", "task-4.2", "task-12", "task-4"))
    )
    assert [task.id for task in loaded_plan.tasks] == [
        "task-4",
        "task-4.2",
        "task-4.10",
        "task-12",
    ]


def test_the_text_is_the_prompt_without_markers_and_comments() -> None:
    body = (
        "\n## Description\n\n<!-- SECTION:DESCRIPTION:BEGIN -->\nDo.\n<!-- SECTION:DESCRIPTION:END -->\n\n"
        "## Acceptance Criteria\n<!-- AC:BEGIN -->\n- [ ] #1 ok\n<!-- AC:END -->\n\n"
        "## Comments\n\n<!-- COMMENTS:BEGIN -->\nauthor: @x\n---\nChat.\n<!-- COMMENTS:END -->\n\n## Plan\nSo.\n"
    )
    assert only(body=body).prompt == (
        "## Description\n\nDo.\n\n## Acceptance Criteria\n- [ ] #1 ok\n\n## Plan\nSo."
    )


def test_a_file_that_is_not_valid_yaml_is_one_record_that_is_left_out() -> None:
    folder = {
        "b/tasks/task-1 - a.md": "---\nid: task-1\ntitle: a: b\n---\n",
        "b/tasks/task-2 - b.md": "---\nid: task-2\n---\n",
        "b/tasks/task-3 - c.md": "---\nid: task-3\n---\n",
        "b/completed/task-4 - d.md": "---\nid: task-4\n---\n",
    }
    plan = load("b", folder)
    assert [task.id for task in plan.tasks] == ["task-2", "task-3", "task-4"]
    [record] = plan.left_out
    assert record.task_id is None
    assert str(record.problem).startswith("b/tasks/task-1 - a.md:3: not valid YAML")


@pytest.mark.parametrize(
    "line",
    [
        "assignee: @me",
        "assignee:\n  - @me",
        "assignee: [@me, @you-too]",
        "reporter: @a.b",
    ],
)
def test_names_with_an_at_sign_need_no_quotes(line: str) -> None:
    assert only(line, "priority: high").priority == 1


def test_a_task_without_a_title_is_named_after_its_file() -> None:
    loaded_plan = load("b", {"b/tasks/task-1 - Fix-it.md": "---\nid: task-1\n---\n"})
    assert loaded_plan.tasks[0].title == "task-1 - Fix-it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "---\ntitle: x\n---\n",
            "backlog/tasks/task-f0.md:1: this task file has no id; begin it with",
        ),
        (
            "---\nid: task-1\ntitle: a: b\n---\n",
            "backlog/tasks/task-f0.md:3: not valid YAML: mapping values",
        ),
        (
            "---\nid: task-1\nid: task-2\n---\n",
            "backlog/tasks/task-f0.md:3: duplicate key 'id'",
        ),
        (
            "---\nid: task-1\ndependencies: {a: b}\n---\n",
            "backlog/tasks/task-f0.md:3: task-1: its dependencies are not a list",
        ),
        (
            "---\nid: task-1\ndependencies: [[a]]\n---\n",
            "backlog/tasks/task-f0.md:3: task-1: its dependencies are not a list",
        ),
        (
            "no front matter\n",
            "backlog/tasks/task-f0.md:1: no front matter, so it has no id; begin it with",
        ),
    ],
)
def test_unreadable_files_are_reported_with_their_line(text: str, message: str) -> None:
    files = {"backlog/tasks/task-f0.md": text}
    choice = {"source": "backlog-md", "strict": True}
    assert problems(lambda: load("backlog", files, **choice))[0].startswith(message)


@pytest.mark.parametrize(("before", "after"), [
    ("status: To Do", "status: Done"), ('status: "To Do"', 'status: "Done"'),
    ("status : 'To Do'  # x", "status : 'Done'  # x"), ("status: In Progress\r", "status: Done\r"),
])  # fmt: skip
def test_only_the_status_word_changes(before: str, after: str) -> None:
    text = f"---\nid: task-1\ntitle: t\n{before}\nupdated_date: '2026-01-01 00:00'\n---\nstatus: To Do\n"
    files = {"backlog/tasks/task-a.md": text, "backlog/tasks/task-b.md": file("task-2")}
    loaded_plan, tree = load("backlog", files), MemoryTree(files)
    done = mark(loaded_plan, tree, {"task-1": Status.COMPLETED})
    assert done == {"backlog/tasks/task-a.md": text.replace(before, after, 1)}
    assert (
        mark(loaded_plan, tree, {"task-1": Status.FAILED, "task-2": Status.IN_PROGRESS})
        == {}
    )


def test_written_statuses_are_those_of_the_configuration() -> None:
    files = {
        "b/config.yml": "statuses: [Open, Busy, Finished, Archived]\n",
        "b/tasks/task-a.md": file("task-1", status="Busy"),
    }
    loaded_plan = load("b", files)
    done = mark(loaded_plan, MemoryTree(files), {"task-1": Status.COMPLETED})
    assert "status: Finished\n" in done["b/tasks/task-a.md"]
    assert (
        "status: Open\n"
        in mark(loaded_plan, MemoryTree({**files, **done}), {"task-1": Status.PENDING})[
            "b/tasks/task-a.md"
        ]
    )


def test_only_files_that_backlog_md_lists_are_tasks() -> None:
    files = {
        "backlog/config.yml": "task_prefix: BACK\n",
        "backlog/tasks/back-1 - a.md": file("BACK-1"),
        "backlog/tasks/epics/back-9 - nested.md": file("BACK-9"),
        "backlog/tasks/BACK-4 - upper.md": file("BACK-4"),
        "backlog/tasks/notes.md": "# Notes",
        "backlog/tasks/task-3 - x.md": file("task-3"),
        "backlog/completed/old/back-7.md": file("BACK-7"),
    }
    loaded_plan = load("backlog", files)
    assert [task.id for task in loaded_plan.tasks] == ["BACK-1"]
    assert loaded_plan.notes == (
        (
            "backlog: 2 files in subfolders, which Backlog.md does not list: "
            "completed/old/back-7.md, tasks/epics/back-9 - nested.md"
        ),
        (
            "backlog: 3 files not named back-*.md, which Backlog.md does not list: "
            "tasks/BACK-4 - upper.md, tasks/notes.md, tasks/task-3 - x.md"
        ),
    )
    assert loaded_plan.left_out == ()


def test_a_file_without_an_id_is_left_out() -> None:
    loaded_plan = plan(file("task-1"), file(""), file("task-2"), file("task-3"))
    assert [task.id for task in loaded_plan.tasks] == ["task-1", "task-2", "task-3"]
    assert left_out(loaded_plan)[0].startswith(
        "backlog/tasks/task-f1.md:1: this task file has no id; begin it with"
    )


@pytest.mark.parametrize("end", ["---## Description\n\nDo.", "----\nDo.", "---  \nDo."])
def test_text_may_follow_the_end_of_the_front_matter(end: str) -> None:
    text = f"---\nid: task-1\ntitle: t\nstatus: To Do\n{end}\n"
    loaded_plan = plan(text)
    assert loaded_plan.tasks[0].prompt.endswith("Do.")
    assert "---" not in loaded_plan.tasks[0].prompt
    tree = MemoryTree({"backlog/tasks/task-f0.md": text})
    assert mark(loaded_plan, tree, {"task-1": Status.COMPLETED}) == {
        "backlog/tasks/task-f0.md": text.replace("To Do", "Done")
    }


def test_front_matter_may_end_with_the_file_if_it_is_yaml() -> None:
    prose = "---\nA rule, then prose: with: colons\n"
    loaded_plan = plan("---\nid: task-1\ntitle: t\n", file("task-2"), prose)
    assert [task.id for task in loaded_plan.tasks] == ["task-1", "task-2"]
    assert left_out(loaded_plan) == [
        "backlog/tasks/task-f2.md:1: its front matter has no end; end it with  ---"
    ]


def test_archived_and_completed_tasks_satisfy_their_dependents() -> None:
    files = {
        "backlog/tasks/task-3 - c.md": file(
            "task-3", "dependencies: [task-1, TASK-02]"
        ),
        "backlog/completed/task-1 - a.md": file("task-1", status="To Do"),
        "backlog/archive/tasks/task-2 - b.md": file("task-2"),
        "backlog/archive/tasks/task-x.md": "not a task",
    }
    loaded_plan = load("backlog", files)
    assert [(task.id, task.depends_on) for task in loaded_plan.tasks] == [
        ("task-1", ()),
        ("task-3", ("task-1",)),
    ]
    assert (
        "backlog: 1 dependency on archived tasks, which count as done: TASK-02"
        in loaded_plan.notes
    )


def test_an_id_in_use_again_outranks_the_archived_one() -> None:
    files = {
        "backlog/tasks/task-1 - a.md": file("task-1"),
        "backlog/tasks/task-2 - b.md": file("task-2", "dependencies: [task-1]"),
        "backlog/archive/tasks/task-1 - old.md": file("task-1"),
    }
    assert load("backlog", files).tasks[1].depends_on == ("task-1",)


def test_a_folder_with_completed_tasks_only_is_a_plan_with_nothing_open() -> None:
    loaded_plan = load(
        "backlog", {"backlog/completed/task-1.md": file("task-1", status="Done")}
    )
    assert [task.source_status for task in loaded_plan.tasks] == [Status.COMPLETED]


def test_the_documents_that_a_task_names_are_its_context() -> None:
    task = file(
        "task-1",
        "references: [src/a.py, ../secret, /etc/passwd]",
        "documentation:",
        "  - docs/api.md",
        "  - doc-3",
        "  - https://example.org/x",
    )
    files = {
        "backlog/tasks/task-1.md": task,
        "backlog/docs/guides/doc-003 - Style.md": "Style",
    }
    assert load("backlog", files).tasks[0].context == (
        ("docs/api.md", None),
        ("backlog/docs/guides/doc-003 - Style.md", None),
        ("https://example.org/x", ""),
        ("src/a.py", None),
    )
