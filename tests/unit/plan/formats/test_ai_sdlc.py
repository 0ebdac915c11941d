"""The ai-sdlc format: each rule of reading and writing, with a minimal text."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from runner.core.errors import InvalidInput, Problem
from runner.core.task import PlanSettings, Status, Task
from runner.plan import formats
from runner.plan.formats import diagnostics
from runner.plan.formats.base import Mark, MemoryTree
from tests.support.ai_sdlc_plans import FAILED, SOURCE, TABLE, load, write_back

DONE = Mark(Status.COMPLETED, "2026-01-16T10:00:00Z", "2026-01-16T10:05:00Z")


def only(text: str) -> Task:
    (task,) = load(text).tasks
    return task


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as caught:
        load(text)
    return caught.value.problems


def left_out(text: str) -> tuple[Problem, ...]:
    """Why records are left out; the tasks that remain of them are skipped."""
    plan = load(text)
    for record in plan.left_out:
        task = plan.task(record.task_id) if record.task_id else None
        assert task is None or task.skipped
    return tuple(record.problem for record in plan.left_out)


def ids(text: str) -> list[str]:
    return [task.id for task in load(text).tasks]


def item(files: str | None = None, dependencies: str | None = None) -> str:
    """One task, T50, with these fields."""
    lines = ["- [ ] **T50**: Do it"]
    lines += [f"  - Files: {files}"] if files is not None else []
    lines += [f"  - Dependencies: {dependencies}"] if dependencies is not None else []
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "line",
    [
        "- [ ] **T7**: Do it",
        "* [ ] **T7**: Do it",
        "+ [ ] **T7**: Do it  ",
        "- [ ] **t7**:Do it",
        "  - [ ] **T7**: Do it",
    ],
)
def test_an_item_is_a_task_with_any_bullet(line: str) -> None:
    task = only(f"# Any heading\n\n{line}\n")
    assert (task.id, task.title, task.line, task.source_status) == (
        "T7",
        "Do it",
        3,
        Status.PENDING,
    )
    assert (task.files, task.depends_on, task.allow_empty) == (None, (), False)


@pytest.mark.parametrize("box", ["x", "X"])
def test_a_ticked_box_is_completed(box: str) -> None:
    assert only(f"- [{box}] **T1**: a\n").source_status is Status.COMPLETED


def test_tasks_are_read_under_any_heading_in_file_order() -> None:
    text = "## Implementation Tasks\n- [ ] **T2**: b\n\n## Phase 2\n\n- [ ] **T1**: a\n---\n### Sub\n- [ ] **T10**: c\n"
    assert ids(text) == ["T2", "T1", "T10"]


def test_prose_and_other_check_lists_are_ignored() -> None:
    text = (
        "---\n*Generated*\n\nPerfect! Now I have it.\n\n---\n# Plan\n- [ ] **T1**: a\n- [ ] plain (T1)\n"
        "- T1 unblocks T2\n### Task 1.1: outline\n- [x] **Bold** words\n- **Files to modify:**\n  - `a`\n"
    )
    assert ids(text) == ["T1"]


def test_the_prompt_is_the_nearest_heading_and_the_other_lines_dedented() -> None:
    text = (
        "# Plan\n## Phase 1: Types\n- [ ] **T1**: a\n  - Files: `x`\n  - Dependencies: none\n  - Add this:\n"
        "    ```ts\n    f(): void;\n\n    // Files: `no`\n    ```\n\n  Free text.\n\n- [ ] **T2**: b\n"
    )
    first, second = load(text).tasks
    assert first.prompt == (
        "Phase 1: Types\n\n- Add this:\n  ```ts\n  f(): void;\n\n  // Files: `no`\n  ```\n\nFree text."
    )
    assert second.prompt == "Phase 1: Types"
    assert first.files == ("x",)


def test_code_in_an_indented_fence_stays_in_its_task_and_keeps_its_indentation() -> (
    None
):
    text = "- [ ] **T1**: a\n  - Add:\n    ```py\ndef f():\n  return 1\n    ```\n  - Dependencies: T9\n"
    task = only(text)
    assert task.prompt == "- Add:\n  ```py\ndef f():\nreturn 1\n  ```"
    assert task.depends_on == ("T9",)


def test_without_heading_and_children_the_prompt_is_empty() -> None:
    assert only("- [ ] **T1**: a\n").prompt == ""


def test_a_task_ends_where_its_indentation_ends() -> None:
    task = only("- [ ] **T1**: a\n  - mine\n\nNot mine.\n  - nor this\n")
    assert task.prompt == "- mine"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_endings_do_not_change_what_is_read(end: str) -> None:
    text = f"## P\n- [ ] **T1**: a\n  - Files: `x`\n  - Dependencies: T2, T3\n  - do\n{TABLE}| T1 | failed | - | - |\n"
    assert load(text.replace("\n", end)).tasks == load(text).tasks
    assert load(text.replace("\n", end)).tasks[0].source_status is Status.FAILED


def test_only_a_newline_ends_a_line() -> None:
    assert (
        only("- [ ] **T1**: a\x0bb\x0c\u2028c\x85d\n  - e\n").title
        == "a\ufffdb\ufffd c\ufffdd"
    )


def test_a_task_inside_a_task_is_left_out() -> None:
    (problem,) = left_out("- [ ] **T1**: a\n  - [ ] **T2**: b\n")
    assert problem.line == 2
    assert "T2 is written inside T1" in problem.what


def test_a_finished_task_inside_a_task_is_no_part_of_it() -> None:
    text = "- [ ] **T1**: a\n  - mine\n  - [x] **T2**: b\n    - Dependencies: T1\n"
    plan = load(text)
    assert [task.prompt for task in plan.tasks] == ["- mine", ""]
    assert plan.tasks[0].depends_on == ()
    assert plan.tasks[1].source_status is Status.COMPLETED
    assert not plan.left_out
    assert "T2 is written inside T1" in plan.notes[0]


def test_tasks_below_a_plain_list_item_are_read() -> None:
    assert ids(
        "- Group\n  - [ ] **T1**: a\n    - Dependencies: T2\n  - [ ] **T2**: b\n"
    ) == ["T1", "T2"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("`src/a.ts`", ("src/a.ts",)),
        ("src/a.ts", ("src/a.ts",)),
        ("`src/a.ts`, `src/b.ts`", ("src/a.ts", "src/b.ts")),
        ("src/a.ts, src/b.ts,", ("src/a.ts", "src/b.ts")),
        ("`src/a.ts`, `src/a.ts`", ("src/a.ts",)),
        ("`src/a.ts` (new)", ("src/a.ts",)),
        ("src/a.ts (new, see below), `b.ts`", ("src/a.ts", "b.ts")),
        ("`a.ts` (extract to helper) or `b.ts`", ("a.ts", "b.ts")),
        ("New file `src/a.ts`", ("src/a.ts",)),
        ("Story file in `docs/stories/`", ("docs/stories/",)),
        ("`a,b.ts`, `c and d.ts`", ("a,b.ts", "c and d.ts")),
        ("app/(auth)/page.tsx", ("app/(auth)/page.tsx",)),
        ("`app/[id]/page.tsx`", ("app/\\[id]/page.tsx",)),
        ("./src/a.ts", ("src/a.ts",)),
        ("`src/**`", ("src/**",)),
        ("Makefile", ("Makefile",)),
    ],
)
def test_files_are_globs(value: str, expected: tuple[str, ...]) -> None:
    task = only(item(files=value))
    assert task.files == expected
    assert not task.allow_empty
    assert load(item(files=value)).notes == ()


@pytest.mark.parametrize(
    "value",
    [
        "None",
        "none",
        "None (verification only)",
        "N/A",
        "n/a (manual, by hand)",
        "None.",
        "None needed",
        "-",
        "None - verification only",
        "None, verification only",
    ],
)
def test_files_none_means_that_no_change_is_success(value: str) -> None:
    task = only(item(files=value))
    assert task.files == ()
    assert task.allow_empty


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("All test files", "All test files"),
        ("Various (as needed)", "Various"),
        ("Same as T35", "Same as T35"),
        ("`a.test.ts` or integration test", "integration test"),
        ("`a.ts`, test files", "test files"),
        ("None, `a.ts`", "None"),
    ],
)
def test_files_in_prose_set_no_limit_and_get_a_note(value: str, part: str) -> None:
    plan = load(item(files=value))
    assert (plan.tasks[0].files, plan.tasks[0].allow_empty) == (None, False)
    (note,) = plan.notes
    assert note.startswith(
        f"plan.md:2: T50 may change any file: `{part}` is not a path; write paths"
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("`src/a\\`", "`src/a\\`: it ends with a backslash"),
        ("`a/../b`", "`a/../b`: it matches nothing: no path has the name '..'"),
        (", ".join(f"`a{n}`" for n in range(1_001)), "1,001 globs, more than 1,000"),
    ],
    ids=["backslash", "dots", "too many"],
)
def test_files_that_match_no_path_set_no_limit_and_get_a_note(
    value: str, what: str
) -> None:
    plan = load(item(files=value))
    assert (plan.tasks[0].files, plan.tasks[0].allow_empty) == (None, False)
    (note,) = plan.notes
    assert note.startswith(f"plan.md:2: T50 may change any file: {what}; ")


def test_a_verification_task_without_files_must_change_something() -> None:
    task = only("- [ ] **T1**: Verify and run tests\n  - No code changes needed\n")
    assert (task.files, task.allow_empty) == (None, False)


def test_an_empty_files_field_is_ignored() -> None:
    task = only(item(files=""))
    assert (task.files, task.allow_empty) == (None, False)


@pytest.mark.parametrize(
    "name", ["Files", "files", "FILES", "File", "**Files**", "*Files*", "__Files__"]
)
def test_the_field_name_may_be_bold_and_in_any_case(name: str) -> None:
    assert only(f"- [ ] **T1**: a\n  - {name}: `x`\n").files == ("x",)


@pytest.mark.parametrize(
    "line", ["  - **Files:** `x`", "\t- Files: `x`", "  * Files : `x`", "  Files: `x`"]
)
def test_a_field_may_be_written_in_several_ways(line: str) -> None:
    assert only(f"- [ ] **T1**: a\n{line}\n").files == ("x",)


def test_files_may_be_a_nested_list_or_wrapped() -> None:
    assert only(
        "- [ ] **T1**: a\n  - Files:\n    - `x`\n    - `y` (new)\n  - do\n"
    ).files == ("x", "y")
    assert only("- [ ] **T1**: a\n  - Files: `x`,\n    `y`\n").files == ("x", "y")


def test_lines_that_only_begin_like_a_field_are_text() -> None:
    task = only(
        "## P\n- [ ] **T1**: a\n  - Files list matches\n  - Test files: `x`\n  - Depends on `y`\n"
    )
    assert (task.files, task.depends_on) == (None, ())
    assert (
        task.prompt == "P\n\n- Files list matches\n- Test files: `x`\n- Depends on `y`"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("none", ""),
        ("None", ""),
        ("None (foundational)", ""),
        ("", ""),
        ("N/A", ""),
        ("-", ""),
        ("none.", ""),
        ("T1", "T1"),
        ("T1, T2,T3", "T1 T2 T3"),
        ("T1; T2", "T1 T2"),
        ("T1 and T2", "T1 T2"),
        ("T1, T2, and T3.", "T1 T2 T3"),
        ("T2, T1, T2", "T2 T1"),
        ("`T1`, **T2**", "T1 T2"),
        ("t1", "T1"),
        ("T1-T4", "T1 T2 T3 T4"),
        ("T8-11", "T8 T9 T10 T11"),
        ("T1–T3", "T1 T2 T3"),
        ("T1 to T3, T5", "T1 T2 T3 T5"),
        ("T1 through T3", "T1 T2 T3"),
        ("T08-T10", "T08 T09 T10"),
        ("T3-T3", "T3"),
        ("T7, T9, T21-T23", "T7 T9 T21 T22 T23"),
        ("T1-T3 (after implementation verified)", "T1 T2 T3"),
        ("T1 (types, and their tests), T2 (see (a))", "T1 T2"),
        ("T1-T4 (all but T3 are quick)", "T1 T2 T3 T4"),
    ],
)
def test_dependencies_are_ids_and_ranges(value: str, expected: str) -> None:
    assert only(item(dependencies=value)).depends_on == tuple(expected.split())


@pytest.mark.parametrize(
    ("value", "what", "remedy"),
    [
        (
            "T10, T11, or T12 (whichever is first)",
            "says `or`",
            "`Dependencies: T10, T11, T12`",
        ),
        (
            "All implementation tasks",
            "`All implementation tasks` is not a task id",
            "`Dependencies: T1, T3-T5`, or `none`",
        ),
        (
            "All test tasks (T3, T8-11, T21-26)",
            "`All test tasks` is not",
            "`Dependencies: T3, T8-11, T21-26`",
        ),
        (
            "T4, architectural decision on caching",
            "`architectural decision on caching`",
            "`Dependencies: T4`",
        ),
        ("S-0047", "`S-0047` is not a task id", "or `none`"),
        ("none, T1", "`none` is not a task id", "`Dependencies: T1`"),
        ("T1 T2", "`T1 T2` is not a task id", "`Dependencies: T1, T2`"),
        ("T1 (x, T2", "cannot read", "`Dependencies: T1, T2`"),
        ("T1 (and T2)", "names T2 only in a remark", "`Dependencies: T1, T2`"),
        ("None (but after T2)", "names T2 only in a remark", "`Dependencies: T2`"),
        ("T9-T3", "the range T9-T3 runs backwards", "write T3-T9"),
        ("T1-T999999", "more than 1000 tasks", "shorter"),
    ],
)
def test_dependencies_in_prose_leave_it_out_with_a_remedy(
    value: str, what: str, remedy: str
) -> None:
    (problem,) = left_out(item(dependencies=value))
    assert (problem.path, problem.line) == ("plan.md", 2)
    assert what in problem.what
    assert remedy in problem.remedy


def test_missing_ids_are_left_to_the_graph() -> None:
    assert only(item(dependencies="T1-T3, T99")).depends_on == ("T1", "T2", "T3", "T99")


@pytest.mark.parametrize(
    "text",
    [
        "  - Depends on: T1, T2\n",
        "  - **Dependencies:** T1, T2\n",
        "  - **dependencies**: T1, T2\n",
        "  - Dependency: T1\n  - Dependencies: T2\n",
        "  - Dependencies: T1,\n    T2\n",
        "  - Dependencies:\n    - T1\n    - T2\n",
        "  - Dependencies: T1\n    - T2\n",
        "  - Detail\n    - Dependencies: T1, T2\n",
        "\tDependencies: T1, T2\n",
    ],
)
def test_no_spelling_of_dependencies_loses_one(text: str) -> None:
    assert only(f"- [ ] **T5**: a\n{text}").depends_on == ("T1", "T2")


def test_a_field_nested_below_an_empty_one_is_a_field() -> None:
    task = only("- [ ] **T1**: a\n  - Dependencies:\n    - Files: `x`\n")
    assert (task.depends_on, task.files) == ((), ("x",))


def test_a_dependency_line_inside_a_fence_is_code() -> None:
    assert (
        only("- [ ] **T1**: a\n  ```\n  - Dependencies: T9\n  ```\n").depends_on == ()
    )


def test_a_dependency_in_the_title_is_left_out() -> None:
    (problem,) = left_out("- [ ] **T2**: Create service (depends on: T1)\n")
    assert "in its title" in problem.what


@pytest.mark.parametrize(
    "line", ["- Dependencies: T1", "Dependencies: T1", "**Depends on:** T1"]
)
def test_dependencies_that_are_not_indented_leave_it_out(line: str) -> None:
    (problem,) = left_out(f"- [ ] **T2**: b\n\n{line}\n")
    assert problem.line == 3
    assert "T2 would not wait" in problem.what


def test_dependencies_after_a_fence_that_ended_the_task_leave_it_out() -> None:
    (problem,) = left_out(
        "- [ ] **T2**: b\n  - Add:\n```ts\nx\n```\n  - Dependencies: T1\n"
    )
    assert problem.line == 6


@pytest.mark.parametrize(
    "text",
    [
        "---\n\n**Dependencies:** T1 of another story\n",
        "## Footer\n- Dependencies: T1\n",
        "\n**Dependencies:** S-0047, S-0048\n",
    ],
)
def test_the_footer_of_a_story_is_not_part_of_a_task(text: str) -> None:
    assert ids(f"- [ ] **T1**: a\n{text}") == ["T1"]


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("```markdown", "```"),
        ("```", "```"),
        ("~~~md", "~~~"),
        ("````md", "`````"),
        (r"\`\`\`markdown", r"\`\`\`"),
        ("<!--", "-->"),
        ("<!-- old", "done -->"),
    ],
)
def test_tasks_in_fences_and_comments_are_examples(opening: str, closing: str) -> None:
    plan = load(
        f"- [ ] **T1**: a\n\n{opening}\n- [ ] **T2**: b\n- [ ] **T1**: c\n{closing}\n\n- [ ] **T3**: d\n"
    )
    assert [task.id for task in plan.tasks] == ["T1", "T3"]
    assert plan.notes == (
        "plan.md:3: 2 task lines up to line 6 in a code fence or comment: not tasks",
    )


def test_a_fence_with_code_inside_an_example_does_not_end_it() -> None:
    text = "```markdown\n- [ ] **T8**: a\n  ```ts\n  x\n  ```\n- [ ] **T9**: b\n```\n- [ ] **T1**: c\n"
    assert ids(text) == ["T1"]


@pytest.mark.parametrize("opening", ["```", "```json", "~~~", "<!--", r"\`\`\`ts"])
def test_an_unclosed_fence_or_comment_hides_nothing(opening: str) -> None:
    plan = load(f"{opening}\ntext\n- [ ] **T1**: a\n\n- [ ] **T2**: b\n")
    assert [task.id for task in plan.tasks] == ["T1", "T2"]
    expected = (
        () if opening == "<!--" else ("plan.md:1: this code fence is never closed",)
    )
    assert tuple(note.partition(",")[0] for note in plan.notes) == expected


def test_an_unclosed_fence_is_not_closed_by_the_end_of_a_later_one() -> None:
    text = "```json\n{\n\n- [ ] **T1**: a\n\n```ts\nx\n```\n\n- [ ] **T2**: b\n"
    assert ids(text) == ["T1", "T2"]


def test_an_unclosed_fence_is_not_closed_by_a_bare_fence_after_tasks() -> None:
    text = "```json\n{\n- [ ] **T1**: a\n\n```\noutput\n```\n- [ ] **T2**: b\n"
    assert ids(text) == ["T1", "T2"]


def test_an_unclosed_fence_in_a_task_ends_before_the_next_task() -> None:
    text = "- [ ] **T1**: a\n  ```\n  x\n  - Dependencies: T9\n- [ ] **T2**: b\n  ```\n  y\n  ```\n- [ ] **T3**: c\n"
    plan = load(text)
    assert [task.id for task in plan.tasks] == ["T1", "T2", "T3"]
    assert plan.tasks[0].depends_on == ("T9",)


def test_a_fence_opened_in_the_front_matter_ends_with_it() -> None:
    text = "---\nid: S-1\nfeedback: |\n  ```json\n  {\n---\n# Plan\n- [ ] **T1**: a\n```\n- [ ] **T2**: x\n```\n"
    assert ids(text) == ["T1"]


@pytest.mark.parametrize(
    "text",
    [
        "---\n*Generated*\n\n- [ ] **T1**: a\n",
        "---\n*Generated*\n\n- [ ] **T1**: a\n\n---\n\nNotes\n",
    ],
)
def test_a_rule_on_the_first_line_is_not_front_matter(text: str) -> None:
    assert ids(text) == ["T1"]


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_items_in_front_matter_are_not_tasks(start: str) -> None:
    assert ids(
        f"{start}---\nfeedback: |\n  - [ ] **T9**: x\n---\n- [ ] **T1**: a\n"
    ) == ["T1"]


@pytest.mark.parametrize(
    ("outer", "inner"), [("~~~", "```"), ("````", "```"), ("```", r"\`\`\`")]
)
def test_a_fence_is_closed_only_by_its_own_kind_and_length(
    outer: str, inner: str
) -> None:
    assert ids(f"- [ ] **T1**: a\n\n{outer}\n{inner}\n- [ ] **T2**: b\n{outer}\n") == [
        "T1"
    ]


def test_every_duplicate_id_is_left_out_with_both_lines() -> None:
    text = (
        "## A\n- [ ] **T1**: a\n- [ ] **T2**: b\n\n- [ ] **T1**: c\n- [ ] **t2**: d\n"
    )
    all_problems = left_out(text)
    assert [problem.line for problem in all_problems] == [5, 6]
    assert all_problems[0].what == "T1 is also on line 2, under `A`"
    assert "keep one of the two plans" in all_problems[0].remedy


@pytest.mark.parametrize(
    "line",
    [
        "- [ ] **T1** title",
        "- [ ] **T1:** title",
        "- **T1**: title",
        "- [ ] T1: title",
        "* [] **T1**: title",
        "- [-] **T1**: title",
        "- [ ] **T1**:",
        "1. [ ] **T1**: title",
        "[ ] **T1**: title",
        "-[ ] **T1**: title",
        "- [ ] **T1.2**: title",
        "- [ ] **T1a**: title",
        "- [ ] **T12345678901**: title",
    ],
)
def test_a_malformed_task_line_is_left_out(line: str) -> None:
    (problem,) = left_out(f"- [ ] **T9**: real\n\n{line}\n")
    assert problem.line == 3
    assert problem.what == f"cannot read this task line: `{line}`"
    assert "- [ ] **T1**: " in problem.remedy


@pytest.mark.parametrize(
    "line",
    [
        "- T1 unblocks all",
        "- T1-T4 come first",
        "- [x] Optional fields (T1)",
        "- ✅ **T1** works",
        "  - **T1**: sub",
        "- [x] **T1-T3 done**",
        "**T1**: prose",
        "- **T9**: done in 3 turns",
        "- [x] T9: reviewed",
        "```\n- [ ] **T1** example\n```",
    ],
)
def test_prose_about_tasks_is_not_a_task(line: str) -> None:
    assert ids(f"- [ ] **T9**: real\n\n{line}\n") == ["T9"]


def test_a_malformed_line_about_an_existing_task_gets_a_note() -> None:
    plan = load("- [ ] **T9**: real\n\n- [x] **T9** done\n")
    assert plan.notes == (
        "plan.md:3: looks like a task but is not written as one; T9 is the task on line 1",
    )


@pytest.mark.parametrize(
    "text", ["", "# Story\n\n- [ ] a check box\n", "## Implementation Tasks\n"]
)
def test_a_plan_without_tasks_is_refused(text: str) -> None:
    (problem,) = problems(text)
    assert problem.what == "no tasks found"
    assert problem.remedy == "write tasks as `- [ ] **T1**: what to do`"


def test_a_plan_with_only_examples_is_refused_with_their_number() -> None:
    (problem,) = problems("```\n- [ ] **T1**: a\n```\n")
    assert (
        problem.what == "no tasks found (1 task line only in code fences or comments)"
    )


def test_all_problems_are_reported_together_in_line_order() -> None:
    text = (
        f"- [ ] **T1**: a\n  - Dependencies: everything\n- [ ] **T1**: b\n- [ ] **T3** c\n\n{TABLE}"
        "| T1 | paused | - | - |\n"
    )
    # T1 is one record, whose row is read before its dependencies.
    assert [problem.line for problem in left_out(text)] == [3, 4, 10]


def with_table(rows: str, header: str = TABLE) -> str:
    return f"- [ ] **T1**: a\n- [x] **T2**: b\n\n{header}{rows}"


@pytest.mark.parametrize(
    "word", ["pending", "in_progress", "completed", "failed", "Failed", "`failed`"]
)
def test_the_table_outranks_the_check_box(word: str) -> None:
    first, second = load(
        with_table(f"| T1 | {word} | - | - |\n| T2 | {word} | - | - |\n")
    ).tasks
    assert (
        first.source_status == second.source_status == Status(word.lower().strip("`"))
    )


def test_a_task_without_a_row_keeps_its_box() -> None:
    tasks = load(with_table("| T1 | failed | - | - |\n")).tasks
    assert [task.source_status for task in tasks] == ["failed", "completed"]


def test_a_check_box_that_contradicts_the_table_gets_a_note() -> None:
    plan = load(with_table("| T1 | completed | - | - |\n| T2 | completed | - | - |\n"))
    assert plan.notes == (
        "plan.md:1: T1: the progress table says completed, the check box does not; the table counts",
    )


def test_columns_are_identified_by_name() -> None:
    header = "#### task progress ##\nSome words.\n| Error | status | Task ID |\n|:--|--|--|\n"
    assert (
        load(with_table("| a \\| b | failed | **T1** |\n", header))
        .tasks[0]
        .source_status
        is Status.FAILED
    )


@pytest.mark.parametrize(
    "row", ["| T1 | paused | - | - |", "| T1 |  | - | - |", "| T1 |"]
)
def test_an_unknown_status_is_left_out(row: str) -> None:
    (problem,) = left_out(with_table(f"{row}\n"))
    assert problem.line == 8
    assert "is not a valid status" in problem.what


def test_the_table_ends_at_the_first_other_line() -> None:
    text = with_table(
        "| T1 | failed | - | - |\n\n| T2 | nonsense | - | - |\n## Next\n| T1 | pending | - | - |\n"
    )
    assert [task.source_status for task in load(text).tasks] == ["failed", "completed"]


def test_a_row_for_an_unknown_task_gets_a_note() -> None:
    plan = load(with_table("| T7 | nonsense | - | - |\n"))
    assert plan.notes == ("plan.md:8: a progress row for T7, which is not in the plan",)


def test_two_rows_or_two_tables_leave_it_out() -> None:
    (row,) = left_out(with_table("| T1 | failed | - | - |\n| T1 | pending | - | - |\n"))
    assert (row.line, row.what) == (
        9,
        "a second progress row for T1, with another status",
    )
    assert not left_out(
        with_table("| T1 | failed | - | - |\n| T1 | failed | - | - |\n")
    )


def test_of_two_tables_the_first_counts_with_a_note() -> None:
    plan = load(
        with_table(f"| T1 | failed | - | - |\n\n{TABLE}| T1 | completed | - | - |\n")
    )
    assert plan.tasks[0].source_status is Status.FAILED
    assert (
        "plan.md:12: a second progress table; the first counts, on line 6" in plan.notes
    )


def test_an_example_table_in_a_fence_is_not_read() -> None:
    assert (
        load(with_table(f"```\n{TABLE}| T1 | failed | - | - |\n```\n", ""))
        .tasks[0]
        .source_status
        is Status.PENDING
    )


def test_a_progress_heading_without_a_table_gets_a_note() -> None:
    (note,) = load(
        "- [ ] **T1**: a\n## Task Progress\nNone yet.\n## X\n| Task | Status |\n| T1 | failed |\n"
    ).notes
    assert note.startswith("plan.md:2: no table")


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("plan.md", "- [ ] **T1**: a\n", True),
        ("docs/PLAN.MD", "* [X] **T1**: a\n", True),
        ("plan.md", "- [ ] **T1** nearly\n", True),
        ("plan.md", TABLE, True),
        ("plan.txt", "- [ ] **T1**: a\n", False),
        ("tasks.md", "- [ ] T001 [P] Create `a.py`\n- [X] T002 [US1] b\n", False),
        ("plan.md", "```\n- [ ] **T1**: a\n```\n", False),
        ("plan.md", f"```\n{TABLE}```\n", False),
        ("plan.md", "- [ ] **TASK-1**: a\n- **T1** is a remark\n", False),
        ("plan.md", "", False),
    ],
)
def test_detect(path: str, text: str, expected: bool) -> None:
    assert SOURCE.detect(path, MemoryTree({path: text})) is expected


def test_boxes_of_unmarked_tasks_and_blank_lines_stay() -> None:
    text = (
        f"\n\n- [X] **T1**: a\n\n\n- [ ] **T2**: b\n \n{TABLE}| T2 | completed |\n\n\n"
    )
    assert write_back(text, {"T2": Mark(Status.COMPLETED)}) == text.replace(
        "- [ ]", "- [x]"
    )


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    pairs = zip(before.split("\n"), after.split("\n"), strict=True)
    return [(old, new) for old, new in pairs if old != new]


def test_one_finished_task_changes_its_box_and_its_row() -> None:
    text = (
        with_table("| T1 | pending | - | - |\n| T2 | completed | - | - |\n")
        + "\nAfter.  \n"
    )
    assert changed_lines(text, write_back(text, {"T1": DONE})) == [
        ("- [ ] **T1**: a", "- [x] **T1**: a"),
        (
            "| T1 | pending | - | - |",
            "| T1 | completed | 2026-01-16T10:00:00Z | 2026-01-16T10:05:00Z |",
        ),
    ]


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("box", [" ", "x", "X"])
def test_a_box_is_ticked_only_for_completed(status: Status, box: str) -> None:
    text = f"* [{box}] **T1**: a  \n{TABLE}| T1 | pending |\n"
    line = write_back(text, {"T1": Mark(status)}).split("\n")[0]
    completed = box if box != " " else "x"
    assert line == f"* [{completed if status is Status.COMPLETED else ' '}] **T1**: a  "


def test_a_missing_row_is_added_at_the_end_of_the_table_in_plan_order() -> None:
    text = f"- [ ] **T3**: c\n- [ ] **T1**: a\n- [ ] **T2**: b\n{TABLE}| T2 | pending | - | - |\n\nAfter\n"
    marks = {"T1": Mark(Status.PENDING), "T3": Mark(Status.IN_PROGRESS, "2026")}
    assert write_back(text, marks) == text.replace(
        "| T2 | pending | - | - |\n",
        "| T2 | pending | - | - |\n| T3 | in_progress | 2026 | - |\n| T1 | pending | - | - |\n",
    )


def test_column_order_and_alignment_stay() -> None:
    text = (
        "- [ ] **T1**: a\n## Task Progress\n| Status      | Owner | Task |\n|---|---|---|\n"
        "| in_progress | me    | T1   |\n"
    )
    assert (
        write_back(text, {"T1": Mark(Status.FAILED)}).split("\n")[4]
        == "| failed      | me    | T1   |"
    )
    two_tasks = text.replace("- [ ] **T1**: a\n", "- [ ] **T1**: a\n- [ ] **T2**: b\n")
    assert write_back(two_tasks, {"T2": DONE}).endswith(
        "| T1   |\n| completed | - | T2 |\n"
    )


def test_an_error_column_is_added_only_when_there_is_an_error() -> None:
    text = with_table("| T1 | pending | - | - |\n| T2 | completed | - | - |\n")
    assert "Error" not in write_back(text, {"T1": DONE})
    assert write_back(text, {"T1": FAILED}).split("\n")[5:9] == [
        "| Task | Status | Started | Completed | Error |",
        "|------|--------|---------|-----------|-------|",
        "| T1 | failed | 2026-01-16T10:00:00Z | 2026-01-16T10:05:00Z | it broke |",
        "| T2 | completed | - | - |",
    ]


def test_an_error_is_removed_once_the_task_is_done() -> None:
    failed = write_back(with_table(""), {"T1": FAILED})
    assert "| it broke |" in failed
    assert "it broke" not in write_back(failed, {"T1": DONE})


@pytest.mark.parametrize(
    ("error", "cell"),
    [
        ("a | b", "a \\| b"),
        ("one\ntwo\r\n  three\x00", "one two three"),
        ("x" * 300, "x" * 199 + "…"),
        ("ends <!-- open --> ", "ends <!-- open -- >"),
        ("\n", "-"),
        ("back\\", "back\\"),
    ],
)
def test_an_error_is_written_as_one_bounded_cell(error: str, cell: str) -> None:
    text = with_table(
        "| T1 | pending | - | - | old |\n", TABLE.replace("|\n", "| Error |\n", 1)
    )
    after = write_back(text, {"T1": Mark(Status.FAILED, error=error)})
    assert after.split("\n")[7].split(" | ", 4)[4].removesuffix(" |").rstrip() == cell
    assert load(after).tasks[0].source_status is Status.FAILED


def test_without_a_table_one_with_all_tasks_is_added_at_the_end() -> None:
    text = "- [ ] **T1**: a\n- [x] **T2**: b\n- [ ] **T3**: c\n"
    assert write_back(text, {"T3": DONE}) == (
        "- [ ] **T1**: a\n- [x] **T2**: b\n- [x] **T3**: c\n\n"
        + TABLE
        + "| T1 | pending | - | - |\n| T2 | completed | - | - |\n"
        "| T3 | completed | 2026-01-16T10:00:00Z | 2026-01-16T10:05:00Z |\n"
    )


def test_an_example_table_in_a_fence_is_not_written_to() -> None:
    text = f"- [ ] **T1**: a\n```\n{TABLE}| T1 | pending | - | - |\n```\n"
    after = write_back(text, {"T1": DONE})
    assert after.startswith(text.replace("[ ]", "[x]"))
    assert after.count("## Task Progress") == 2


def test_a_progress_heading_without_a_table_gets_the_new_table() -> None:
    text = "- [ ] **T1**: a\n## Task Progress\n## Next\n"
    assert write_back(text, {"T1": FAILED}) == (
        "- [ ] **T1**: a\n## Task Progress\n\n| Task | Status | Started | Completed | Error |\n"
        "|------|--------|---------|-----------|-------|\n"
        "| T1 | failed | 2026-01-16T10:00:00Z | 2026-01-16T10:05:00Z | it broke |\n\n## Next\n"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "text", ["- [ ] **T1**: a\n- [ ] **T2**: b", with_table("| T2 | pending | - | - |")]
)
def test_line_endings_and_a_missing_last_newline_stay(text: str, end: str) -> None:
    before = text.replace("\n", end)
    after = write_back(before, {"T1": DONE})
    assert not after.endswith("\n")
    assert re.findall(r"\r?\n", after) == [end] * after.count("\n")
    assert len(after.split(end)) > len(before.split(end))
    assert load(after).tasks[0].source_status is Status.COMPLETED


@pytest.mark.parametrize("marks", [{}, {"T9": DONE}])
def test_marks_of_unknown_tasks_change_nothing(marks: Mapping[str, Mark]) -> None:
    assert write_back("- [ ] **T1**: a", marks) == "- [ ] **T1**: a"


def test_a_task_in_a_fence_is_not_ticked() -> None:
    text = f"```\n- [ ] **T1**: x\n```\n- [ ] **T1**: a\n{TABLE}| T1 | completed |\n"
    assert changed_lines(text, write_back(text, {"T1": Mark(Status.COMPLETED)})) == [
        ("- [ ] **T1**: a", "- [x] **T1**: a")
    ]


TWO_PLANS = """\
# Story
## Implementation Plan
### Phase 1
- [ ] **T1**: a
- [ ] **T2**: b
  - Dependencies: T1
### Phase 2
- [ ] **T3**: c
  - Dependencies: T2
## Second Plan
### Phase 1
- [ ] **T4**: only here
- [ ] **T1**: d
- [x] **T2**: e
## Notes
"""


def in_plan(text: str, heading: str = "") -> list[str]:
    options = {"heading": heading} if heading else {}
    loaded = SOURCE.load("s.md", MemoryTree({"s.md": text}), options)
    return [f"{task.id} {task.title}" for task in loaded.tasks]


def test_of_two_plans_the_later_counts_with_a_note() -> None:
    loaded = load(TWO_PLANS)
    assert [task.title for task in loaded.tasks] == ["only here", "d", "e"]
    assert loaded.notes == (
        (
            "plan.md:12: the plan `Second Plan` counts, not that on line 4 with 3 tasks; "
            "choose that with  --plan 'plan.md#Implementation Plan'"
        ),
    )
    assert loaded.name == "plan.md#Second Plan"


def test_a_plan_that_its_headings_call_a_revision_is_the_later_wherever_it_is() -> None:
    revised = TWO_PLANS.replace("## Implementation Plan", "## Revision after review")
    assert in_plan(revised) == ["T1 a", "T2 b", "T3 c"]


@pytest.mark.parametrize(
    "heading", ["Implementation Plan", "implementation-plan", "Phase 2"]
)
def test_a_heading_chooses_the_plan(heading: str) -> None:
    assert in_plan(TWO_PLANS, heading) == ["T1 a", "T2 b", "T3 c"]


def test_a_heading_of_a_file_with_one_plan_chooses_its_section() -> None:
    text = "## A\n- [ ] **T1**: a\n## B\n- [ ] **T2**: b\n"
    assert in_plan(text) == ["T1 a", "T2 b"]
    assert in_plan(text, "B") == ["T2 b"]


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        ("Second Plam", "s.md:1: there is no heading `Second Plam`; did you mean `Second Plan`?"),
        ("Phase 1", ("s.md:3: the heading `Phase 1` does not name one plan; name one of: "
         "Implementation Plan, Second Plan")),
    ],
)  # fmt: skip
def test_a_heading_that_names_no_plan_is_refused(heading: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        in_plan(TWO_PLANS, heading)
    assert str(caught.value.problems[0]) == message


def test_only_the_boxes_of_the_plan_that_counts_are_ticked() -> None:
    text = TWO_PLANS + TABLE + "| T1 | completed | - | - |\n"
    assert [task.source_status for task in load(text).tasks] == [
        Status.PENDING,
        Status.PENDING,
        Status.COMPLETED,
    ]
    assert "the check boxes count" in load(text).notes[1]
    ticked = text.replace("- [ ] **T1**: d", "- [x] **T1**: d")
    assert write_back(text, {"T1": DONE}) == ticked
    assert write_back(ticked, {"T1": FAILED}) == text


def test_mistakes_in_the_plan_that_does_not_count_are_not_reported() -> None:
    text = TWO_PLANS.replace("Dependencies: T2", "Dependencies: all of it")
    text = text.replace("- [ ] **T3**: c", "- [ ] **T9** nearly\n- [ ] **T3**: c")
    assert len(load(text).tasks) == 3
    options = {"heading": "Implementation Plan"}
    plan = SOURCE.load("s.md", MemoryTree({"s.md": text}), options)
    assert [record.problem.line for record in plan.left_out] == [8, 10]


CONTINUED = (
    "# Plan - Review Fixes\n## Phase 1: Fixes\n- [ ] **T3**: c\n"
    "## Phase 2: Tests\n- [ ] **T4**: d\n  - Dependencies: T3\n"
    "## Phase 1: Core\n- [ ] **T1**: a\n- [ ] **T2**: b\n  - Dependencies: T1\n"
)


def test_a_revision_that_continues_the_numbers_of_the_plan_below_it_counts() -> None:
    plan = load(CONTINUED)
    assert [task.id for task in plan.tasks] == ["T3", "T4"]
    assert "counts, not that on line 8 with 2 tasks" in plan.notes[0]
    assert in_plan(CONTINUED, "Phase 1: Core") == ["T1 a", "T2 b"]
    assert write_back(CONTINUED, {"T3": DONE}) == CONTINUED.replace(
        "- [ ] **T3**", "- [x] **T3**"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("- Dependencies: T3", "- Dependencies: T2, T3"),
        ("- Dependencies: T1", "- Dependencies: T1, T4"),
        ("**T2**", "**T7**"),
        ("## Phase 1: Core\n", ""),
    ],
)
def test_numbers_that_only_run_backwards_make_no_second_plan(
    old: str, new: str
) -> None:
    plan = load(CONTINUED.replace(old, new))
    assert len(plan.tasks) == 4
    assert not any("counts, not" in note for note in plan.notes)


@pytest.mark.parametrize(("first", "second"), [(" ", " "), ("x", " "), (" ", "x")])
def test_of_a_doubled_id_the_open_task_counts_and_is_marked(
    first: str, second: str
) -> None:
    rest = "- [ ] **T2**: c\n  - Dependencies: T1\n- [ ] **T3**: d\n"
    text = f"- [{first}] **T1**: a\n{rest}- [{second}] **T1**: b\n"
    plan = load(text)
    assert {task.id for task in plan.tasks} == {"T1", "T2", "T3"}
    task = plan.task("T1")
    assert task is not None
    assert task.source_status is Status.PENDING
    assert len(plan.left_out) == 1
    title = "a" if first == " " else "b"
    assert task.title == title
    marked = write_back(text, {"T1": DONE})
    assert f"- [x] **T1**: {title}" in marked


def test_more_than_a_third_of_unreadable_tasks_refuses_the_plan() -> None:
    readable = "".join(f"- [ ] **T{n}**: a\n" for n in range(1, 5))
    unreadable = "- [ ] **T8** b\n- [ ] **T9** c\n"
    settings = PlanSettings(path="plan.md")
    tree = MemoryTree({"plan.md": readable + unreadable})
    plan = formats.load(settings, tree)
    assert plan.left_out_summary == "2 records left out, see fanin check"
    tree = MemoryTree({"plan.md": readable + unreadable + "- [ ] **T7** d\n"})
    with pytest.raises(InvalidInput):
        formats.load(settings, tree)


def test_what_depends_on_a_task_that_is_left_out_cannot_run() -> None:
    text = (
        "- [ ] **T1**: a\n  - Dependencies: everything\n"
        "- [ ] **T2**: b\n  - Dependencies: T1\n"
        "- [ ] **T3**: c\n- [ ] **T4**: d\n"
    )
    tree = MemoryTree({"plan.md": text})
    plan = formats.load(PlanSettings(path="plan.md"), tree)
    assert [task.id for task in plan.tasks if task.skipped] == ["T1"]
    assert plan.notes[0].startswith("left out: plan.md:2: T1: cannot read")
    assert any("these cannot run: T2" in note for note in plan.notes)


def test_a_plan_with_too_many_tasks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "MAX_TASKS", 2)
    (problem,) = problems("".join(f"- [ ] **T{n}**: a\n" for n in range(3)))
    assert problem.what == "3 tasks; at most 2 are allowed"


def test_an_id_that_is_doubled_by_mistake_makes_no_second_plan() -> None:
    text = "## A\n- [ ] **T1**: a\n- [ ] **T2**: b\n## B\n- [ ] **T2**: c\n- [ ] **T3**: d\n"
    (problem,) = left_out(text)
    assert problem.what == "T2 is also on line 3, under `A`"


@pytest.mark.parametrize(
    "line",
    [
        "  - Dependencies: All implementation tasks",
        "- Dependencies: T1",
    ],
)
def test_the_order_of_a_finished_task_is_only_a_note(line: str) -> None:
    text = f"- [x] **T1**: a\n- [x] **T2**: b\n{line}\n"
    loaded = load(text)
    assert len(loaded.tasks) == 2
    assert loaded.notes[0].startswith("plan.md:3: ")
    assert loaded.notes[0].endswith(": not followed, the task is finished")
    assert left_out(text.replace("[x] **T2**", "[ ] **T2**"))[0].line == 3


@pytest.mark.parametrize("word", ["review", "In Review", "needs_review"])
def test_a_task_in_review_is_skipped_and_satisfies_nobody(word: str) -> None:
    text = f"- [ ] **T1**: a\n- [x] **T2**: b\n{TABLE}| T1 | {word} | - | - |\n"
    first, second = load(text).tasks
    assert (first.skipped, first.skip_reason, first.source_status) == (
        True,
        "in review",
        Status.PENDING,
    )
    assert not second.skipped
    assert "T1 | completed" in write_back(text, {"T1": DONE})
