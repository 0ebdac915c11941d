r"""The ai-sdlc format on plans that agents wrote for ai-sdlc itself.

They are vendored (tests/resources/plans/ATTRIBUTION.md). The numbers were counted
without this package, over files whose items are all outside fences:

    tasks    grep -cE '^- \[[ xX]\] \*\*T[0-9]+\*\*: ' FILE
    edges    grep -E '^  - Dependencies: T' FILE | grep -v -- '-T' | grep -oE 'T[0-9]+' | wc -l
             plus, by hand, the lengths of the ranges that grep -E '^  - Dependencies: .*-T' FILE prints
    nothing  grep -ciE '^  - Files: (none|n/a)' FILE
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.core.errors import InvalidInput, Problem
from runner.core.task import Plan, Status
from runner.plan.formats.ai_sdlc import AiSdlc
from runner.plan.formats.base import Mark, MemoryTree

ROOT = Path(__file__).parents[4]
VENDORED = ROOT / "tests" / "resources" / "plans"
SOURCE = AiSdlc()

# file: tasks, edges, tasks that may change nothing, lines with `Files` in prose
READABLE = {
    "ai-sdlc-S-0072.md": (15, 23, 2, [92]),
    "ai-sdlc-S-0129.md": (19, 21, 3, []),
    "patrob__ai-sdlc__S-0046_story.md": (32, 51, 5, []),
    "patrob__ai-sdlc__S-0047_story.md": (27, 39, 6, []),
    "patrob__ai-sdlc__S-0063-resume-work-existing-worktree_IMPLEMENTATION_PLAN.md": (
        32,
        30 + 26,
        2,
        [69, 124, 297, 306, 347],
    ),
}


def read(name: str) -> str:
    """The file's text, line endings as they are."""
    return (VENDORED / name).read_bytes().decode()


def write_back(text: str, marks: Mapping[str, Mark]) -> str:
    return SOURCE.write_back("plan.md", MemoryTree({"plan.md": text}), marks, {}).get(
        "plan.md", text
    )


def load(name: str) -> Plan:
    return SOURCE.load(name, MemoryTree({name: read(name)}), {})


def problems(name: str) -> list[Problem]:
    with pytest.raises(InvalidInput) as caught:
        load(name)
    return list(caught.value.problems)


@pytest.mark.parametrize("name", READABLE)
def test_counts_equal_those_of_grep(name: str) -> None:
    plan = load(name)
    tasks, edges, nothing, prose = READABLE[name]
    assert SOURCE.detect(name, MemoryTree({name: read(name)}))
    assert len(plan.tasks) == tasks
    assert sum(len(task.depends_on) for task in plan.tasks) == edges
    assert sum(task.allow_empty for task in plan.tasks) == nothing
    assert [int(note.split(":")[1]) for note in plan.notes] == prose
    assert sum(task.files is None for task in plan.tasks) == len(prose)


@pytest.mark.parametrize("name", READABLE)
def test_every_dependency_is_a_task_and_every_task_has_its_line(name: str) -> None:
    plan = load(name)
    lines = read(name).split("\n")
    task_ids = {task.id for task in plan.tasks}
    assert {
        dependency for task in plan.tasks for dependency in task.depends_on
    } <= task_ids
    assert all(
        lines[task.line - 1] == f"- [ ] **{task.id}**: {task.title}"
        for task in plan.tasks
    )


@pytest.mark.parametrize("name", READABLE)
def test_finishing_one_task_changes_one_line_and_adds_one_section(name: str) -> None:
    text = read(name)
    task = load(name).tasks[-1]
    after = write_back(text, {task.id: Mark(Status.COMPLETED)})
    before_table, heading, table = after.rpartition("## Task Progress")
    assert heading
    assert len(table.strip().split("\n")) == 2 + READABLE[name][0]
    old, new = text.split("\n"), before_table.split("\n")
    assert [
        number for number, (a, b) in enumerate(zip(old, new, strict=False), 1) if a != b
    ] == [task.line]
    done = [
        task.id
        for task in SOURCE.load(name, MemoryTree({name: after}), {}).tasks
        if task.source_status is Status.COMPLETED
    ]
    assert done == [task.id]


def test_a_task_in_a_real_plan_is_read_completely() -> None:
    first = load("ai-sdlc-S-0072.md").tasks[0]
    assert (first.id, first.line) == ("T1", 19)
    assert first.title == "Add optional ticket fields to `StoryFrontmatter` interface"
    assert first.files == ("src/types/index.ts",)
    assert first.prompt == (
        "Phase 1: Type Definition\n\n"
        "- Add after existing fields (around line 245, before closing brace):\n"
        "  ```typescript\n"
        "  // External ticket integration (optional)\n"
        "  ticket_provider?: 'github' | 'jira' | 'linear';\n"
        "  ticket_id?: string;\n"
        "  ticket_url?: string;\n"
        "  ticket_synced_at?: string;\n"
        "  ```"
    )


def test_only_files_none_allows_a_task_to_change_nothing() -> None:
    tasks = load("ai-sdlc-S-0072.md").tasks
    assert [task.id for task in tasks if task.allow_empty] == ["T14", "T15"]
    assert [task.files for task in tasks if task.id in ("T2", "T14")] == [
        ("src/core/story.ts",),
        (),
    ]


def test_a_range_in_a_real_plan_is_expanded() -> None:
    plan = load(
        "patrob__ai-sdlc__S-0063-resume-work-existing-worktree_IMPLEMENTATION_PLAN.md"
    )
    task = plan.task("T52")
    assert task
    assert task.depends_on == tuple(f"T{number}" for number in range(26, 52))


@pytest.mark.parametrize(
    ("name", "lines", "other_heading", "other_lines"),
    [
        # grep -nE '^- \[ \] \*\*T' gives 25 items from line 548 to 787, the review's
        # fixes, and 29 from line 839.
        (
            "patrob__ai-sdlc__S-0045_story.md",
            (25, 548, 787),
            "Phase 1: Type Definitions and Interfaces",
            (29, 839, 1083),
        ),
        # 21 items from 554 to 739, "Addressing Review Feedback", and 29 from 783; of
        # those, one depends on `All implementation tasks`.
        (
            "patrob__ai-sdlc__S-0053_story.md",
            (21, 554, 739),
            "Phase 1: Configuration Schema (Foundation)",
            None,
        ),
        # 32 items from 559 to 890, T26 to T57, "Review Fixes", and 25 from 943, T1 to T25.
        (
            "patrob__ai-sdlc__S-0063_story.md",
            (32, 559, 890),
            "Phase 1: Core Worktree Validation and Phase Detection",
            (25, 943, 1143),
        ),
    ],
)
def test_of_two_plans_in_one_story_the_revision_counts(
    name: str,
    lines: tuple[int, int, int],
    other_heading: str,
    other_lines: tuple[int, int, int] | None,
) -> None:
    def counted(plan: Plan) -> tuple[int, int, int]:
        return len(plan.tasks), plan.tasks[0].line, plan.tasks[-1].line

    plan = load(name)
    assert counted(plan) == lines
    assert f"--plan '{name}#{other_heading}'" in plan.notes[0]
    tree, options = MemoryTree({name: read(name)}), {"heading": other_heading}
    if other_lines is not None:
        assert counted(SOURCE.load(name, tree, options)) == other_lines
        return
    (record,) = SOURCE.load(name, tree, options).left_out
    prose = record.problem
    assert prose.line == 960
    assert "`All implementation tasks` is not a task id" in prose.what


def test_examples_in_escaped_fences_are_not_tasks() -> None:
    name = "patrob__ai-sdlc__S-0044_story.md"
    (problem,) = problems(name)
    # All 13 lines that grep finds are examples: 96-104 and 173-177 in fences, 416-449
    # in fences written \`\`\`.
    assert (
        problem.what == "no tasks found (13 task lines only in code fences or comments)"
    )
    assert not SOURCE.detect(name, MemoryTree({name: read(name)}))


@pytest.mark.parametrize(
    "name", ["patrob__ai-sdlc__S-0048_story.md", "patrob__ai-sdlc__S-0049_story.md"]
)
def test_stories_without_a_plan_are_not_detected_as_this_format(name: str) -> None:
    assert not SOURCE.detect(name, MemoryTree({name: read(name)}))
    assert [problem.what for problem in problems(name)] == ["no tasks found"]


@pytest.mark.parametrize("name", ["001-speck-core-project", "009-multi-repo-stacked"])
def test_spec_kit_plans_are_not_detected_as_this_format(name: str) -> None:
    assert not SOURCE.detect(
        "tasks.md", MemoryTree({"tasks.md": read(f"nprbst__speck__{name}.md")})
    )
