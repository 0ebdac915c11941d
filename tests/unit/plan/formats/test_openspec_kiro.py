"""OpenSpec and Kiro: their ids, order, marks and groups."""

from __future__ import annotations

import pytest

from runner.core.errors import InvalidInput
from runner.core.task import Status
from runner.plan.formats import MemoryTree
from runner.plan.progress import Progress
from tests.support.trees import checked, load, mark

CHANGE = "openspec/changes/add-x/tasks.md"
SPEC = ".kiro/specs/billing/tasks.md"
BILLING = """# Implementation Plan

- [x] 1. Set up
  - _Requirements: 1.1_
- [ ] 2. Invoices
  - [x] 2.1 Model
  - [ ] 2.2 Render
    - _需求: 2.2_
  - [ ]* 2.3 Property tests
- [ ] 3. Checkpoint
- [-] 4. Payments
  - [-] 4.1 Bank
    - _Depends: 2.2_
  - [ ] 4.2 Refuse
"""


def _ready(plan: object) -> list[str]:
    states = Progress("p").standings(plan, 3)  # type: ignore[arg-type]
    return list(checked(plan).ready(states))  # type: ignore[arg-type]


def test_kiro_runs_leaves_in_order_and_leaves_optional_ones_out() -> None:
    plan = load(SPEC, BILLING)
    assert plan.source == "kiro"
    assert [task.id for task in plan.tasks] == ["1", "2.1", "2.2", "3", "4.1", "4.2"]
    assert _ready(plan) == ["2.2"]
    assert any("1 optional task left out" in note for note in plan.notes)
    included = load(SPEC, BILLING, options={"optional": "include"})
    assert included.task("2.3") is not None


def test_kiro_ticks_a_parent_with_its_last_child() -> None:
    plan = load(SPEC, BILLING)
    changed = mark(plan, MemoryTree({SPEC: BILLING}), {"2.2": Status.COMPLETED})
    after = changed[SPEC]
    assert "- [x] 2. Invoices" in after
    assert "- [x] 2.2 Render" in after
    assert "- [ ]* 2.3" in after


def test_kiro_tasks_marked_p_run_together_unless_one_names_another() -> None:
    text = "- [ ] 1. a\n- [ ] 1.1 (P) b\n- [ ] 1.2 (P) c\n- [ ] 1.3 d\n"
    assert _ready(load(SPEC, text)) == ["1.1", "1.2"]
    named = text.replace("(P) c", "(P) c\n  - _依存: 1.1_")
    assert _ready(load(SPEC, named)) == ["1.1"]


def test_kiro_a_task_waits_for_a_later_one_that_it_names() -> None:
    plan = load(SPEC, "- [ ] 1. a\n  - _Depends: 2_\n- [ ] 2. b\n")
    assert _ready(plan) == ["2"]


def test_openspec_runs_in_the_order_of_the_file() -> None:
    text = "## 1. A\n- [x] 1.1 a\n- [ ] 1.2 b\n- [x] 1.3 c\n## 2. B\n- [ ] 2.1 d\n"
    plan = load(CHANGE, text)
    assert plan.source == "openspec"
    assert _ready(plan) == ["1.2"]
    assert plan.task("2.1").open_before == ("1.2",)  # type: ignore[union-attr]
    free = load(CHANGE, text, options={"order": "none"})
    assert _ready(free) == ["1.2", "2.1"]


def test_openspec_takes_the_only_change_with_open_tasks() -> None:
    files = {
        "openspec/changes/a/tasks.md": "- [x] 1.1 a\n",
        "openspec/changes/b/tasks.md": "- [ ] 1.1 b\n",
        "openspec/changes/archive/2025-c/tasks.md": "- [ ] 1.1 c\n",
    }
    plan = load("openspec", files)
    assert plan.path == "openspec/changes/b/tasks.md"
    files["openspec/changes/a/tasks.md"] = "- [ ] 1.1 a\n"
    with pytest.raises(InvalidInput, match="2 changes have open tasks"):
        load("openspec", files)
    archived = load("openspec/changes/archive/2025-c/tasks.md", files)
    assert archived.tasks[0].source_status is Status.COMPLETED


def test_a_mark_that_cannot_be_read_holds_back_what_follows() -> None:
    text = "- [ ] 1.1 a\n- [~] 1.2 b\n- [ ] 1.3 c\n"
    plan = load(CHANGE, text)
    assert _ready(plan) == ["1.1"]
    assert len(plan.left_out) == 1
    skipped = load(CHANGE, text, skip_lines=[2])
    assert [task.id for task in skipped.tasks] == ["1.1", "1.3"]


def test_tasks_without_a_number_are_named_by_their_words_and_repeats_are_kept() -> None:
    plan = load(CHANGE, "- [ ] Add it\n- [ ] 1.1 a\n- [ ] 1.1 b\n")
    assert [task.id for task in plan.tasks] == ["add-it", "1.1", "1.1-2"]


@pytest.mark.parametrize("path", [CHANGE, SPEC])
def test_marks_go_to_the_tasks_that_were_read_though_a_line_is_skipped(
    path: str,
) -> None:
    # With the skipped line counted, the second 1.1 would be called 1.1-2.
    text = "- [ ] 1. a\n  - [?] 1.1 odd\n  - [ ] 1.1 again\n- [ ] 2. b\n"
    plan = load(path, text, skip_lines=[2])
    assert [task.id for task in plan.tasks] == ["1.1", "2"]
    changed = mark(plan, MemoryTree({path: text}), {"1.1": Status.COMPLETED})
    assert changed[path] == text.replace("[ ] 1.1 again", "[x] 1.1 again").replace(
        "[ ] 1. a", "[x] 1. a"
    )


def test_kiro_takes_the_only_spec_with_open_tasks() -> None:
    files = {
        ".kiro/specs/a/tasks.md": "- [x] 1. a\n",
        ".kiro/specs/b/tasks.md": "- [ ] 1. b\n",
        ".kiro/steering/tasks.md": "- [ ] 1. c\n",
    }
    for path in (".kiro", ".kiro/specs"):
        plan = load(path, files)
        assert (plan.source, plan.path) == ("kiro", ".kiro/specs/b/tasks.md")
        assert plan.notes[0].endswith("the only spec with open tasks")
        changed = mark(plan, MemoryTree(files), {"1": Status.COMPLETED})
        assert changed == {plan.path: "- [x] 1. b\n"}
    files[".kiro/specs/a/tasks.md"] = "- [ ] 1. a\n"
    with pytest.raises(InvalidInput, match="2 specs have open tasks") as refused:
        load(".kiro/specs", files)
    assert "--plan '.kiro/specs/*/tasks.md'" in str(refused.value)


def test_kiro_checkpoints_may_change_nothing() -> None:
    text = "- [ ] 1. a\n- [ ] 2. Checkpoint - Ensure all tests pass\n- [ ] 3. 检查点\n"
    plan = load(SPEC, text)
    assert [task.allow_empty for task in plan.tasks] == [False, True, True]


@pytest.mark.parametrize("path", [CHANGE, SPEC])
def test_a_task_whose_text_is_struck_out_is_none(path: str) -> None:
    plan = load(path, "- [ ] 1.1 a\n- [ ] ~~1.2 b~~\n- [ ] 1.3 c\n")
    assert [task.id for task in plan.tasks] == ["1.1", "1.3"]
    assert any("struck out" in note for note in plan.notes)
