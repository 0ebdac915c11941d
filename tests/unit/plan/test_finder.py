"""Which plans a repository has, and which of them is taken."""

from __future__ import annotations

import json

import pytest

from runner.core.task import Task
from runner.plan.finder import MAX_PLANS, find_plans, has_barriers
from runner.plan.formats import MemoryTree
from runner.plan.graph import TaskGraph

TASK_MASTER = json.dumps(
    {
        "master": {
            "tasks": [
                {"id": 1, "title": "a", "status": "done", "dependencies": []},
                {"id": 2, "title": "b", "status": "pending", "dependencies": []},
            ]
        }
    }
)
DONE = "# Tasks\n\n## Phase 1\n\n- [x] T001 Write a\n"
OPEN = "# Tasks\n\n## Phase 1\n\n- [ ] T001 Write a\n"


def _find(texts: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (plan.path, plan.describe()) for plan in find_plans(texts, MemoryTree(texts))
    ]


def test_every_plan_is_found_where_its_tool_keeps_it() -> None:
    task = "---\nid: task-1\ntitle: a\nstatus: To Do\n---\n"
    found = _find(
        {
            "README.md": "- [ ] no plan\n",
            ".taskmaster/tasks/tasks.json": TASK_MASTER,
            "specs/001-a/tasks.md": OPEN,
            "backlog/tasks/task-1 - a.md": task,
            "backlog/config.yml": "",
            "openspec/changes/add-a/tasks.md": "## 1. A\n\n- [ ] 1.1 Write a\n",
            "openspec/changes/archive/old/tasks.md": "## 1. A\n\n- [ ] 1.1 Write a\n",
            ".kiro/specs/a/tasks.md": "- [ ] 1. Write a\n",
            "TODO.md": "- [ ] Write a\n",
        }
    )
    assert found == [
        (".taskmaster/tasks/tasks.json", "task-master, 2 tasks, 1 open"),
        ("backlog", "backlog-md, 1 task, 1 open"),
        ("openspec/changes/add-a/tasks.md", "openspec, 1 task, 1 open"),
        (".kiro/specs/a/tasks.md", "kiro, 1 task, 1 open"),
        ("specs/001-a/tasks.md", "spec-kit, 1 task, 1 open"),
        ("TODO.md", "checklist, 1 task, 1 open"),
    ]


def test_a_plan_with_open_tasks_precedes_a_finished_one() -> None:
    found = _find({"specs/1/tasks.md": DONE, "specs/2/tasks.md": OPEN})
    assert [path for path, _ in found] == ["specs/2/tasks.md", "specs/1/tasks.md"]


def test_a_plan_that_cannot_be_read_is_named_last_with_its_problem() -> None:
    found = _find({"tasks.yml": "version: 1\n", "specs/1/tasks.md": DONE})
    assert [path for path, _ in found] == ["specs/1/tasks.md", "tasks.yml"]
    assert found[1][1].startswith("cannot be read: tasks.yml:")


def test_the_number_of_plans_is_bounded() -> None:
    texts = {f"specs/{number}/tasks.md": OPEN for number in range(MAX_PLANS + 5)}
    assert len(_find(texts)) == MAX_PLANS


@pytest.mark.parametrize(
    ("depends_on", "expected"),
    [
        ({}, False),
        ({"A": [], "B": [], "C": []}, False),  # one batch
        ({"A": [], "B": [], "C": [], "D": []}, True),  # more tasks than slots
        ({"A": [], "B": ["A"], "C": ["B"]}, False),  # one after the other
        ({"A": [], "B": [], "C": ["A"]}, True),  # C waits for B, too
        ({"A": [], "B": ["A"], "C": ["A"]}, False),  # the last batch
        ({"A": ["done"], "B": [], "C": ["B"]}, True),
    ],
)
def test_a_plan_has_barriers_where_a_batch_of_several_tasks_precedes_another(
    depends_on: dict[str, list[str]], expected: bool
) -> None:
    tasks = [Task(id="done", title="x")]
    tasks += [
        Task(id=name, title="x", depends_on=tuple(needs))
        for name, needs in depends_on.items()
    ]
    graph = TaskGraph(tasks, "tasks.yml")
    assert has_barriers(graph, list(depends_on)) == expected
