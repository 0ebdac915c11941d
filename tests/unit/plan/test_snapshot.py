"""When a plan that was read before is read again, and how tasks are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.core.errors import InvalidInput, UsageProblem
from runner.core.task import PlanSettings
from runner.plan.snapshot import Snapshot, read_template, read_working_tree

CHOICE = PlanSettings(path="tasks.yml")
PLAN = """\
version: 1
tasks:
  - {id: first, title: First}
  - {id: second, title: Second, depends_on: [first]}
"""


def _read(root: Path, choice: PlanSettings = CHOICE) -> Snapshot:
    return read_working_tree(root, choice, ".fanin/progress.json")


def test_an_unchanged_plan_is_the_same_object(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").write_text(PLAN)
    first = _read(tmp_path)
    assert _read(tmp_path).graph is first.graph
    detected = CHOICE.model_copy(update={"source": first.plan.source})
    assert _read(tmp_path, detected).graph is first.graph


def test_a_changed_plan_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").write_text(PLAN)
    _read(tmp_path)
    (tmp_path / "tasks.yml").write_text(PLAN.replace("Second", "Changed"))
    assert _read(tmp_path).plan.tasks[1].title == "Changed"


def test_a_plan_is_read_again_with_other_settings(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").write_text(PLAN.replace("[first]", "[unknown]"))
    lenient = CHOICE.model_copy(update={"ignore_dangling": True})
    assert _read(tmp_path, lenient).plan.tasks[1].depends_on == ()
    with pytest.raises(InvalidInput, match="second depends on unknown"):
        _read(tmp_path)


def test_named_tasks_are_in_plan_order(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").write_text(PLAN)
    named = _read(tmp_path).tasks_named(["second", "first"])
    assert [task.id for task in named] == ["first", "second"]


@pytest.mark.parametrize(
    ("task_id", "remedy"),
    [("secnd", "did you mean second?"), ("zzz", "fanin status  lists the tasks")],
)
def test_an_unknown_task_is_refused_with_the_nearest_spelling(
    tmp_path: Path, task_id: str, remedy: str
) -> None:
    (tmp_path / "tasks.yml").write_text(PLAN)
    snapshot = _read(tmp_path)
    with pytest.raises(UsageProblem) as caught:
        snapshot.tasks_named([task_id])
    assert caught.value.message == f"there is no task {task_id} in tasks.yml"
    assert caught.value.advice == remedy


def test_a_missing_prompt_template_is_a_problem() -> None:
    assert read_template(None, None) is None
    with pytest.raises(InvalidInput, match=r"prompt\.md: there is no such prompt"):
        read_template("prompt.md", None)


TWO_PLANS = "# Plan\n- [ ] **T1**: a\n## Revision\n- [ ] **T1**: b\n"


def test_the_progress_of_one_plan_is_not_that_of_another_in_the_same_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "story.md").write_text(TWO_PLANS)
    (tmp_path / ".fanin").mkdir()
    file = tmp_path / ".fanin" / "progress.json"
    file.write_text('{"version": 1, "plan": "story.md", "tasks": {}}')
    with pytest.raises(InvalidInput) as caught:
        _read(tmp_path, PlanSettings(path="story.md"))
    assert caught.value.problems[0].what == (
        "this is the progress of story.md, not of story.md#Revision"
    )
    file.write_text('{"version": 1, "plan": "story.md#Revision", "tasks": {}}')
    snapshot = _read(tmp_path, PlanSettings(path="story.md"))
    assert snapshot.progress.plan == "story.md#Revision"
    assert snapshot.plan.tasks[0].title == "b"
    with pytest.raises(InvalidInput):
        _read(tmp_path, PlanSettings.model_validate("story.md#Plan"))
