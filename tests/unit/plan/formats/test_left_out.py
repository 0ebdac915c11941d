"""Records that are left out: what is skipped, what is noted, when the plan is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.core.task import Plan
from tests.support.builders import problems
from tests.support.trees import load


def plan_text(*tasks: dict[str, Any]) -> str:
    rows = ",\n".join(json.dumps({"title": "t", **task}) for task in tasks)
    return f'{{"master": {{"tasks": [\n{rows}\n]}}}}'


def load_tasks(*tasks: dict[str, Any], **choice: object) -> Plan:
    return load("tasks.json", plan_text(*tasks), **choice)


READABLE = [{"id": number} for number in range(10, 20)]


def test_a_task_with_an_unknown_dependency_is_skipped_with_a_note() -> None:
    plan = load_tasks({"id": 1, "dependencies": ["setup"]}, *READABLE)
    task = plan.tasks[0]
    assert (task.skipped, task.depends_on) == (True, ())
    assert plan.left_out_summary == "1 record left out, see fanin check"
    assert plan.notes == (
        (
            "left out: tasks.json:2: 1 depends on setup, which is not in the plan; "
            "name a task of this plan"
        ),
    )


def test_unknown_dependencies_that_are_to_be_dropped_leave_nothing_out() -> None:
    tasks: list[dict[str, Any]] = [{"id": 1, "dependencies": [91]}, *READABLE]
    plan = load_tasks(*tasks, ignore_dangling=True)
    assert (plan.tasks[0].skipped, plan.left_out) == (False, ())


def test_a_task_that_depends_on_itself_is_left_out() -> None:
    plan = load_tasks({"id": 1, "dependencies": [1]}, *READABLE)
    assert (plan.tasks[0].skipped, plan.tasks[0].depends_on) == (True, ())
    assert plan.left_out[0].problem.what == "1 depends on itself"


def test_the_dependents_of_a_skipped_task_are_named() -> None:
    dependents = [{"id": number, "dependencies": [1]} for number in range(2, 9)]
    plan = load_tasks({"id": 1, "status": "cancelled"}, *dependents)
    assert plan.notes == (
        (
            "tasks.json:2: 1 is skipped (cancelled), so these cannot run: "
            "2, 3, 4, 5, 6 and 2 more"
        ),
    )


def test_a_strict_plan_has_no_record_left_out() -> None:
    tasks: list[dict[str, Any]] = [{"id": 1, "dependencies": [91]}, *READABLE]
    (message,) = problems(lambda: load_tasks(*tasks, strict=True))
    assert message.startswith("tasks.json:2: 1 depends on 91, which is not in the plan")
    assert load_tasks(*READABLE, strict=True).left_out == ()


@pytest.mark.parametrize(
    ("readable", "left_out", "refused"),
    [(1, 1, False), (0, 1, True), (4, 2, False), (3, 2, True), (6, 3, False)],
)
def test_more_than_one_record_and_a_third_of_them_refuse_the_plan(
    readable: int, left_out: int, refused: bool
) -> None:
    odd = [{"id": number, "dependencies": [91]} for number in range(1, 1 + left_out)]
    text = plan_text(*odd, *READABLE[:readable])
    if refused:
        assert len(problems(lambda: load("tasks.json", text))) == left_out
    else:
        assert len(load("tasks.json", text).left_out) == left_out


def test_tasks_on_a_cycle_are_left_out_and_what_waits_for_them_cannot_run() -> None:
    plan = load_tasks(
        {"id": 1, "dependencies": [2]},
        {"id": 2, "dependencies": [3]},
        {"id": 3, "dependencies": [1, 10]},
        {"id": 4, "dependencies": [3]},
        *READABLE,
    )
    assert [task.id for task in plan.tasks if task.skipped] == ["1", "2", "3"]
    assert [task.depends_on for task in plan.tasks[:4]] == [(), (), ("10",), ("3",)]
    assert str(plan.left_out[0].problem) == (
        "tasks.json:2: dependency cycle: 1 → 2 → 3 → 1; "
        "remove one of these dependencies"
    )


def test_a_cycle_through_a_completed_task_holds_nobody_up() -> None:
    plan = load_tasks(
        {"id": 1, "dependencies": [2]},
        {"id": 2, "dependencies": [1], "status": "done"},
    )
    assert [(task.depends_on, task.skipped) for task in plan.tasks] == [
        (("2",), False),
        ((), False),
    ]
    assert plan.left_out == ()


def test_a_plan_that_is_mostly_a_cycle_is_refused() -> None:
    tasks = [{"id": 1, "dependencies": [2]}, {"id": 2, "dependencies": [1]}]
    messages = problems(lambda: load_tasks(*tasks, {"id": 3}))
    assert messages[0].startswith("tasks.json:2: dependency cycle: 1 → 2 → 1")
