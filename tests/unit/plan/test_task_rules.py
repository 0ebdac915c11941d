"""Settings of single tasks, and tasks that could never land, are applied to a plan."""

from __future__ import annotations

from typing import Any

import pytest

from runner.config.settings import Settings, load
from runner.core.errors import InvalidInput
from runner.core.task import AgentSettings, Plan, Status
from runner.plan.formats import MemoryTree
from runner.plan.formats.spec_kit import SpecKit
from runner.plan.task_rules import apply_rules
from tests.support.builders import plan, task

TASKS_MD = "specs/001-x/tasks.md"


def applied(one_plan: Plan, **settings: Any) -> Plan:
    return apply_rules(one_plan, Settings.model_validate(settings).task_rules)


def spec_kit(*texts: str) -> Plan:
    lines = [f"- [ ] T{number:03d} {text}\n" for number, text in enumerate(texts, 1)]
    tree = MemoryTree({TASKS_MD: "".join(lines)})
    return SpecKit().load("specs/001-x", tree, {})


def test_a_task_may_change_the_documents_of_its_feature() -> None:
    texts = ["Make src/a.py", "Bring specs/001-x/quickstart.md up to date"]
    checked = applied(spec_kit(*texts), plan="specs/001-x")
    assert [task.skipped for task in checked.tasks] == [False, False]
    assert checked.notes == ()


def test_a_task_on_protected_files_is_skipped_with_a_note_that_can_be_followed() -> (
    None
):
    original = spec_kit("[P] Make src/a.py", "[P] Update CLAUDE.md", "Use src/a.py")
    checked = applied(original)
    assert [task.skipped for task in checked.tasks] == [False, True, False]
    assert checked.notes == (
        (
            f"{TASKS_MD}:2: T002 is skipped: it may change only protected paths: CLAUDE.md; "
            "1 task waits for it; allow it in fanin.yml:  "
            "tasks: {T002: {allow: [CLAUDE.md]}}"
        ),
    )
    followed = load({}, {}, "tasks: {T002: {allow: [CLAUDE.md]}}\n")
    allowed = apply_rules(original, followed.task_rules)
    assert [task.skipped for task in allowed.tasks] == [False, False, False]
    assert allowed.notes == ()


def test_the_note_counts_what_waits_because_of_the_order() -> None:
    later = task("B").model_copy(update={"open_before": ("A",)})
    checked = applied(plan(task("A", files=("CLAUDE.md",)), later))
    assert "1 task waits for it" in checked.notes[0]


def test_nothing_opens_the_plan_itself() -> None:
    original = spec_kit(f"Tick boxes in {TASKS_MD}")
    settings = {"plan": "specs/001-x", "tasks": {"T001": {"allow": [TASKS_MD]}}}
    checked = applied(original, **settings)
    assert checked.tasks[0].skipped
    assert checked.notes[0].endswith("do it by hand, then  fanin skip T001 --satisfied")


def test_the_text_of_a_plan_alone_never_opens_an_agents_instructions() -> None:
    for name in ("CLAUDE.md", "AGENTS.md", "GEMINI.md"):
        checked = applied(spec_kit(f"Write `{name}`, as {name} (allow: {name})"))
        assert checked.tasks[0].skipped, name


def test_a_finished_or_skipped_task_gets_no_note() -> None:
    finished = task("T1", files=("CLAUDE.md",), source_status=Status.COMPLETED)
    postponed = task("T2", files=("CLAUDE.md",), skipped=True)
    checked = applied(plan(finished, postponed))
    assert checked.notes == ()
    assert checked.tasks == (finished, postponed)


def test_settings_of_a_task_replace_what_the_plan_says_and_nothing_else() -> None:
    original = task("T1", files=("a",), verify="make a", allow=(".github/x",))
    changed = applied(
        plan(original, task("T2")),
        tasks={"T1": {"files": ["b", "c/**"], "agent": "claude"}},
    ).tasks
    assert changed[0] == original.model_copy(
        update={"files": ("b", "c/**"), "agent": AgentSettings(preset="claude")}
    )
    assert changed[0].digest != original.digest
    assert changed[1] == task("T2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: {T1: {prompt: x}}\n", "fanin.yml:1: unknown key 'tasks.T1.prompt'"),
        ("tasks: {T1: {allow: ['!']}}\n", "fanin.yml:1: tasks"),
        ("tasks: [T1]\n", "fanin.yml:1: tasks: expected"),
    ],
)
def test_a_mistake_in_the_settings_of_a_task_is_reported_with_its_line(
    text: str, message: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        load({}, {}, text)
    assert str(caught.value.problems[0]).startswith(message)
