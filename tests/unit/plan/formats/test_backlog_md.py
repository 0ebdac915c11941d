"""The Backlog.md format: each rule of reading and writing, with minimal files."""

from __future__ import annotations

import pytest

from runner.core.task import Plan, Status, Task
from runner.plan.formats import MemoryTree
from runner.plan.formats.backlog_md import BacklogMd
from tests.support.builders import problems
from tests.support.trees import checked, load, mark


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
        f"backlog/tasks/f{number}.md": text for number, text in enumerate(texts)
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
    return {f"completed__{task_id}.md": file(task_id, status="Done") for task_id in ids}


@pytest.mark.parametrize(
    ("path", "detected"),
    [
        ("backlog/tasks/task-1.md", True),
        ("backlog/tasks/task-1.txt", False),
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


def test_an_ambiguous_dependency_is_refused_with_its_line() -> None:
    texts = [file("a-1"), file("b-1"), file("c-2", "dependencies:", "  - d-1")]
    assert problems(lambda: plan(*texts)) == [
        "backlog/tasks/f2.md:6: c-2 depends on d-1, which may be a-1 or b-1; write the whole id"
    ]


def test_an_unknown_dependency_is_reported_with_the_nearest_id() -> None:
    loaded_plan = plan(file("task-10"), file("task-2", "dependencies: [task-11]"))
    (message,) = problems(lambda: checked(loaded_plan))
    assert message.startswith(
        "backlog/tasks/f1.md:2: task-2 depends on task-11, which is not in the plan; did you mean "
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


def test_configured_statuses_are_accepted_and_unknown_ones_refused() -> None:
    config = 'statuses: ["Idea", "Review", "Shipped"]\n'
    states = [
        file(f"task-{n}", status=word)
        for n, word in enumerate(["Idea", "Review", "Shipped", "Done"])
    ]
    loaded_plan = plan(*states, **{"config.yml": config})
    assert [str(task.source_status) for task in loaded_plan.tasks] == [
        "pending",
        "in_progress",
        "completed",
        "completed",
    ]
    assert problems(
        lambda: plan(file("task-1", status="Shiped"), **{"config.yml": config})
    ) == [
        "backlog/tasks/f0.md:4: 'Shiped' is not a valid status; did you mean 'shipped'?"
    ]


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
        completed__x=file("no-9"),
        **{
            "completed__x.md": file("task-1", status="Odd"),
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


def test_a_duplicate_id_is_refused_unless_all_copies_are_finished() -> None:
    remainder = "(first in backlog/tasks/f0.md); give every task its own id"
    assert problems(lambda: plan(file("task-1"), file("TASK-01"))) == [
        f"backlog/tasks/f1.md:2: the id TASK-01 is used twice {remainder}"
    ]
    copies = {"completed__a.md": file("task-1"), "completed__b.md": file("TASK-1")}
    loaded_plan = plan(file("task-2"), **copies)
    assert len(loaded_plan.tasks) == 2
    assert any("is also backlog/completed/b.md" in note for note in loaded_plan.notes)


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
            "backlog/tasks/f0.md:1: this task file has no id; begin it with",
        ),
        (
            "---\nid: task-1\ntitle: a: b\n---\n",
            "backlog/tasks/f0.md:3: not valid YAML: mapping values",
        ),
        (
            "---\nid: task-1\nid: task-2\n---\n",
            "backlog/tasks/f0.md:3: duplicate key 'id'",
        ),
        (
            "---\nid: task-1\ndependencies: {a: b}\n---\n",
            "backlog/tasks/f0.md:3: task-1: its dependencies are not a list",
        ),
        (
            "---\nid: task-1\ndependencies: [[a]]\n---\n",
            "backlog/tasks/f0.md:3: task-1: its dependencies are not a list",
        ),
        (
            "no front matter\n",
            "backlog/tasks:1: no tasks found; write files that begin",
        ),
    ],
)
def test_unreadable_files_are_reported_with_their_line(text: str, message: str) -> None:
    files = {"backlog/tasks/f0.md": text}
    assert problems(lambda: load("backlog", files, source="backlog-md"))[0].startswith(
        message
    )


@pytest.mark.parametrize(("before", "after"), [
    ("status: To Do", "status: Done"), ('status: "To Do"', 'status: "Done"'),
    ("status : 'To Do'  # x", "status : 'Done'  # x"), ("status: In Progress\r", "status: Done\r"),
])  # fmt: skip
def test_only_the_status_word_changes(before: str, after: str) -> None:
    text = f"---\nid: task-1\ntitle: t\n{before}\nupdated_date: '2026-01-01 00:00'\n---\nstatus: To Do\n"
    files = {"backlog/tasks/a.md": text, "backlog/tasks/b.md": file("task-2")}
    loaded_plan, tree = load("backlog", files), MemoryTree(files)
    done = mark(loaded_plan, tree, {"task-1": Status.COMPLETED})
    assert done == {"backlog/tasks/a.md": text.replace(before, after, 1)}
    assert (
        mark(loaded_plan, tree, {"task-1": Status.FAILED, "task-2": Status.IN_PROGRESS})
        == {}
    )


def test_written_statuses_are_those_of_the_configuration() -> None:
    files = {
        "b/config.yml": "statuses: [Open, Busy, Finished, Archived]\n",
        "b/tasks/a.md": file("task-1", status="Busy"),
    }
    loaded_plan = load("b", files)
    done = mark(loaded_plan, MemoryTree(files), {"task-1": Status.COMPLETED})
    assert "status: Finished\n" in done["b/tasks/a.md"]
    assert (
        "status: Open\n"
        in mark(loaded_plan, MemoryTree({**files, **done}), {"task-1": Status.PENDING})[
            "b/tasks/a.md"
        ]
    )
