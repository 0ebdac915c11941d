"""BMAD's `sprint-status.yaml`: which story is next, and how its status moves."""

from __future__ import annotations

import pytest

from runner.core.task import Plan, Status
from runner.plan.formats import MemoryTree
from runner.plan.progress import Progress
from tests.support.trees import checked, load, mark, outcome

FOLDER = "_bmad-output/implementation-artifacts"
SPRINT = f"{FOLDER}/sprint-status.yaml"
STATUS = """# Épics — «planned»
story_location: "{project-root}/stories"

development_status:
  # Epic 1: é
  epic-1: in-progress
  1-1-basket: done  # 2026-01-02
  1-2-total: review
  1-3-pay: ready-for-dev  # é
  1-4-refuse: "in-progress"
  # 1-9-gone: cut
  epic-1-retrospective: optional
  2-1-receipt: backlog
  2-2-mail: ready-for-dev
"""
STORY = """# Story 1.3: Pay by card

Status: ready-for-dev

## Story
As a visitor I want to pay.

## Acceptance Criteria
1. A refused card says why.

## Tasks / Subtasks
- [ ] Task 1

```
# not a heading
```

## Dev Notes
Long.

## Dev Agent Record
"""
FILES = {
    SPRINT: STATUS,
    f"{FOLDER}/1-3-pay.md": STORY,
    "stories/1-4-refuse.md": "# 1-4: Refuse\n",
}


def _ready(plan: Plan) -> list[str]:
    return list(checked(plan).ready(Progress("p").standings(plan, 3)))


def _plan(path: str = SPRINT, **choice: object) -> Plan:
    return load(path, FILES, **choice)


def test_the_first_story_that_is_ready_or_begun_is_next() -> None:
    plan = _plan()
    assert plan.source == "bmad"
    assert [task.id for task in plan.tasks] == [
        "1-1-basket", "1-2-total", "1-3-pay", "1-4-refuse", "2-1-receipt", "2-2-mail",
    ]  # fmt: skip
    assert _ready(plan) == ["1-3-pay"]
    assert plan.task("1-4-refuse").waits_for == ("1-3-pay",)  # type: ignore[union-attr]
    assert _ready(_plan(options={"order": "none"})) == ["1-3-pay", "1-4-refuse"]
    skipped = {task.id: task.skip_reason for task in plan.tasks if task.skipped}
    assert skipped == {
        "1-2-total": "review",
        "2-1-receipt": "backlog",
        "2-2-mail": "left out, see fanin check",
    }


@pytest.mark.parametrize("path", [FOLDER, "_bmad-output"])
def test_the_folder_of_the_file_will_do(path: str) -> None:
    assert _ready(_plan(path)) == ["1-3-pay"]


def test_a_story_that_is_ready_without_its_file_is_left_out() -> None:
    (left_out,) = _plan().left_out
    assert left_out.task_id == "2-2-mail"
    assert str(left_out.problem).startswith(f"{SPRINT}:14: 2-2-mail: there is no file")


def test_what_waits_for_a_story_that_cannot_be_read_is_named() -> None:
    text = STATUS.replace("1-3-pay: ready-for-dev", "1-3-pay: reddy")
    plan = load(SPRINT, {**FILES, SPRINT: text})
    assert _ready(plan) == []
    assert "1-3-pay is skipped (left out, see fanin check), so these cannot run: " in (
        "\n".join(plan.notes)
    )
    odd = f"1-3-{'x' * 300}"
    plan = load(SPRINT, {**FILES, SPRINT: STATUS.replace("1-3-pay", odd)})
    assert _ready(plan) == []


def test_the_prompt_is_what_the_story_asks_and_the_context_its_file() -> None:
    task = _plan().task("1-3-pay")
    assert task is not None
    assert task.title == "Pay by card"
    assert task.prompt == (
        f"The story is in {FOLDER}/1-3-pay.md.\n\n## Story\n\nAs a visitor I want to pay."
        "\n\n## Acceptance Criteria\n\n1. A refused card says why."
        "\n\n## Tasks / Subtasks\n\n- [ ] Task 1\n\n```\n# not a heading\n```"
    )
    assert task.context[0].name == f"{FOLDER}/1-3-pay.md"


def test_a_story_ends_in_review_and_goes_back_to_in_progress() -> None:
    tree = MemoryTree(FILES)
    done = {"1-3-pay": Status.COMPLETED, "1-4-refuse": Status.COMPLETED}
    changed = mark(_plan(), tree, done)
    expected = STATUS.replace("1-3-pay: ready-for-dev", "1-3-pay: review")
    expected = expected.replace('"in-progress"', '"review"')
    assert changed == {SPRINT: expected}
    # By its own rules it is neither ready nor done: what fanin finished is recorded.
    assert load(SPRINT, {**FILES, **changed}).task("1-3-pay").skipped  # type: ignore[union-attr]
    finished = mark(_plan(options={"finished": "done"}), tree, done)
    assert "1-3-pay: done" in finished[SPRINT]
    reopened = mark(_plan(), tree, {"1-1-basket": Status.PENDING})
    assert reopened == {SPRINT: STATUS.replace("basket: done", "basket: in-progress")}
    assert mark(_plan(), tree, {"1-3-pay": Status.FAILED}) == {}


def test_the_digest_stays_when_a_story_moves_or_its_agent_keeps_its_record() -> None:
    before = _plan().task("1-3-pay")
    files = {
        SPRINT: STATUS.replace("1-3-pay: ready-for-dev", "1-3-pay: review"),
        f"{FOLDER}/1-3-pay.md": STORY.replace("- [ ]", "- [x]") + "Did it.\n",
    }
    after = load(SPRINT, {**FILES, **files}).task("1-3-pay")
    assert before is not None
    assert after is not None
    assert before.request_digest == after.request_digest


def test_no_story_becomes_another_when_one_before_it_moves() -> None:
    before = _plan().task("1-4-refuse")
    for word in ("review", "done", "backlog"):
        text = STATUS.replace("1-3-pay: ready-for-dev", f"1-3-pay: {word}")
        plan = load(SPRINT, {**FILES, SPRINT: text})
        after = plan.task("1-4-refuse")
        assert before is not None
        assert after is not None
        assert before.digest == after.digest
        assert _ready(plan) == ["1-4-refuse"]


def test_epics_and_retrospectives_are_no_tasks_and_odd_entries_are_noted() -> None:
    text = STATUS + "  cleanup: done\n  3-1-x: {status: done, by: me}\n  3-2-y: [1]\n"
    plan = load(SPRINT, {**FILES, SPRINT: text})
    assert plan.task("3-1-x").source_status is Status.COMPLETED  # type: ignore[union-attr]
    notes = "\n".join(plan.notes)
    assert "2 entries for epics and retrospectives: not tasks" in notes
    assert f"{SPRINT}:15: cleanup is not read" in notes
    assert f"{SPRINT}:17: 3-2-y is not read" in notes


def test_an_unknown_status_holds_back_what_follows() -> None:
    files = {**FILES, SPRINT: STATUS.replace("1-2-total: review", "1-2-total: huh")}
    plan = load(SPRINT, files)
    assert _ready(plan) == []


@pytest.mark.parametrize("text", ["a: 1\n", "development_status: []\n", ""])
def test_a_file_without_the_section_is_refused(text: str) -> None:
    plan, (problem,) = outcome(SPRINT, {SPRINT: text})
    assert plan is None
    assert problem.what == "there is no development_status"


def test_a_native_plan_is_not_taken_for_one() -> None:
    assert (
        load("tasks.yml", "version: 1\ntasks: [{id: A, title: a}]\n").source == "native"
    )


def test_the_template_of_the_tool_is_read_though_its_head_is_not_valid_yaml() -> None:
    text = STATUS.replace('"{project-root}/stories"', "{project-root}/stories")
    text += "  supp-epic-1: backlog\n  se1-1-more: done\nnotes: {broken\n"
    plan = load(SPRINT, {**FILES, SPRINT: text})
    assert _ready(plan) == ["1-3-pay"]
    assert plan.task("se1-1-more") is not None
    assert plan.task("1-4-refuse").prompt == "The story is in stories/1-4-refuse.md."  # type: ignore[union-attr]
    tree = MemoryTree({**FILES, SPRINT: text})
    changed = mark(plan, tree, {"1-3-pay": Status.COMPLETED})
    assert changed == {SPRINT: text.replace("pay: ready-for-dev", "pay: review")}
