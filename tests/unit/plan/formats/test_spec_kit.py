"""The spec-kit format: each rule of reading and writing, with a minimal text."""

from __future__ import annotations

from textwrap import dedent

import pytest

from runner.core.task import Plan, Status
from runner.plan.context import read_context
from runner.plan.formats import MemoryTree, native
from runner.plan.formats.spec_kit import SpecKit
from runner.plan.formats.spec_kit_files import named_files
from runner.plan.progress import Progress
from tests.support.builders import problems
from tests.support.trees import checked, load, mark


def plan(text: str, **options: str) -> Plan:
    return load("tasks.md", dedent(text), options=options)


def ready(text: str, **options: str) -> list[str]:
    loaded_plan = plan(text, **options)
    standings = Progress("tasks.md").standings(loaded_plan, 3)
    return list(checked(loaded_plan).ready(standings))


def waits(text: str, **options: str) -> dict[str, str]:
    return {task.id: " ".join(task.waits_for) for task in plan(text, **options).tasks}


def test_a_run_of_parallel_tasks_is_one_step_and_a_phase_is_a_barrier() -> None:
    text = """\
        ## Phase 1: Setup
        - [ ] T001 a
        - [ ] T002 [P] b
        - [X] T003 [P] [US1] c
        - [ ] T004 d
        ## Phase 2: More
        - [ ] T005 [P] e
        - [ ] T006 [P] f
        ### Phase 3
        - [ ] T007 [P] g
        """
    assert waits(text) == {
        "T001": "", "T002": "T001", "T003": "T001", "T004": "T002 T003", "T005": "T004", "T006": "T004",
        "T007": "T005 T006",
    }  # fmt: skip
    third = plan(text).tasks[2]
    assert (third.title, third.source_status, third.line) == ("c", Status.COMPLETED, 4)
    assert third.prompt == "Phase 1: Setup › story US1"


@pytest.mark.parametrize("task_id", ["T002", "**T002**", "`T002`"])
def test_labels_may_be_written_as_code(task_id: str) -> None:
    text = f"""\
        ## Sprint 0
        - [ ] T001 [P] a
        - [ ] {task_id} `[P] [US1] [size: S]` Create `apps/x.py`
        - [ ] T003 [P] b
        """
    assert ready(text) == ["T001", "T002", "T003"]
    assert plan(text).tasks[1].title == "Create `apps/x.py`"


@pytest.mark.parametrize("words", ["`[id]` is a route", "`[P]`", "`[P]`s are letters"])
def test_other_code_in_brackets_is_no_label(words: str) -> None:
    (task,) = plan(f"- [ ] T001 {words}\n").tasks
    assert task.title == words


def test_a_wrapped_line_extends_the_title_and_a_list_becomes_the_prompt() -> None:
    (task,) = plan(
        "- [ ] T001 Create\n      `a/b.py` now\n  - with care\n\nText.\n"
    ).tasks
    assert (task.title, task.files) == ("Create `a/b.py` now", ("a/b.py",))
    assert task.prompt == "- with care"


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("Create src/models/user.py", ("src/models/user.py",)),
        (
            "Create `src/app/[id]/page.tsx`, then tests/",
            ("src/app/\\[id]/page.tsx", "tests/**"),
        ),
        ("Fix env-command.ts:264.", ("env-command.ts",)),
        (
            "Update README.md and pyproject.toml (both)",
            ("README.md", "pyproject.toml", "uv.lock", "poetry.lock"),
        ),
        ("Edit ./.github/workflows/ci.yml", (".github/workflows/ci.yml",)),
        ("Write `.gitignore` entries", (".gitignore",)),
        ("Configure Cargo.toml with dependencies", ("Cargo.toml", "Cargo.lock")),
        ("Create project structure per plan.md and contracts/", ()),
        ("Set up Next.js, Node.js and express.js", ()),
        ("Copy schema.yaml to ~/.config/x/ in src/a/", ("schema.yaml", "src/a/**")),
        ("Add /speck.branch and /api/users endpoints", ()),
        ("See https://example.com/a.py and e.g. i.e. v1.2", ()),
        ("Handle and/or cases of input/output, 4/4 PASS", ()),
        ("Escape ../../etc/passwd.txt", ()),
        ("Call detectRoot() in `foo.bar()`", ()),
        (
            "Create `Makefile` as [contracts/make.md](./contracts/make.md) says",
            ("Makefile",),
        ),
        ("Verify [S1](./quickstart.md) and [the API](contracts/api.yaml)", ()),
        (
            "Build src/a.py with a Dockerfile and deploy/Dockerfile.dev",
            ("src/a.py", "Dockerfile", "deploy/Dockerfile.dev"),
        ),
        ("Write a multi-stage Dockerfile", ()),  # other files may be meant as well
        (f"Create {'a/' * 200}b.py and c/../d.py", ()),  # no path is like these
        ("Create `docker/Containerfile`", ("docker/Containerfile",)),
    ],
)
def test_paths_in_the_text_become_files(text: str, files: tuple[str, ...]) -> None:
    assert named_files(text) == files


def test_files_may_be_unlimited() -> None:
    assert plan("- [ ] T001 Create a/b.py\n", files="any").tasks[0].files is None
    assert plan("- [ ] T001 Think\n").tasks[0].files is None


def test_dependencies_of_single_tasks_are_added_and_prose_is_ignored() -> None:
    text = """\
        - [ ] T001 [P] a
        - [ ] T002 [P] b (depends on T001)
        - [ ] T003 [P] Configure dependencies of T001 (it depends)
        - [ ] T004 [P] d
        - [ ] T005 [P] e
        ## Dependencies
        - T003 blocks T004
        - T004 after T003, before T005
        - Tests (T001-T002) → Implementation (T005)
        - Phase 2 depends on Phase 9
        """
    assert waits(text) == {
        "T001": "",
        "T002": "T001",
        "T003": "",
        "T004": "T003",
        "T005": "T004 T001 T002",
    }


def test_a_dependency_that_the_order_implies_is_not_repeated() -> None:
    text = "- [ ] T001 a\n- [ ] T002 b\n## Dependencies\n- T002 depends on T001\n"
    assert waits(text) == {"T001": "", "T002": "T001"}


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "- [ ] T001 a\n- [ ] T002 b\n## Dependencies\n- T002 before T001\n",
            (
                "tasks.md:4: T001 waits for T002 here, but T002 does not come before it in "
                "the file: not followed"
            ),
        ),
        (
            "- [ ] T001 a (depends on T002)\n- [ ] T002 b\n",
            (
                "tasks.md:1: T001 waits for T002 here, but T002 does not come before it in "
                "the file: not followed"
            ),
        ),
        (
            "- [ ] T001 a (depends on T009)\n- [ ] T002 b\n",
            "tasks.md:1: T001 depends on T009, which is not in the plan: not followed",
        ),
        (
            "- [x] T001 a\n- [x] T002 b\n## Dependencies\n- T14 → T002\n",
            "tasks.md:4: this line names T14, which is not in the plan: not followed",
        ),
    ],
)
def test_prose_that_contradicts_the_order_or_names_unknown_tasks_is_a_note(
    text: str, note: str
) -> None:
    loaded_plan = plan(text)
    assert loaded_plan.notes == (note,)
    assert waits(text) == {"T001": "", "T002": "T001"}


def test_of_a_cycle_among_parallel_tasks_what_is_against_the_file_is_dropped() -> None:
    text = (
        "- [ ] T001 [P] a (depends on T002)\n- [ ] T002 [P] b (depends on T001)\n"
        "- [ ] T003 [P] c (depends on T004)\n- [ ] T004 [P] d\n"
    )
    assert waits(text) == {"T001": "", "T002": "T001", "T003": "T004", "T004": ""}
    assert plan(text).notes[0].startswith("tasks.md:1: T001 waits for T002 here, but")


@pytest.mark.parametrize(
    ("line", "waiting"),
    [
        ("T001 independent, T002 sequential after T001", {"T002": "T001"}),
        (
            "T002 depends on T001; T003 depends on T002",
            {"T002": "T001", "T003": "T002"},
        ),
        ("T002, T003 after T001", {"T002": "T001", "T003": "T001"}),
        ("T003 is blocked by T001 and T002", {"T003": "T001 T002"}),
        ("T2 → T3", {"T003": "T002"}),
        ("T001–T002 → T003", {"T003": "T001 T002"}),
    ],
)
def test_a_line_of_the_dependencies_section_orders_the_tasks_that_it_names(
    line: str, waiting: dict[str, str]
) -> None:
    text = (
        "- [ ] T001 [P] a\n- [ ] T002 [P] b\n- [ ] T003 [P] c\n"
        f"## Dependencies\n- {line}\n"
    )
    loaded_plan = plan(text)
    assert loaded_plan.notes == ()
    assert waits(text) == {"T001": "", "T002": "", "T003": "", **waiting}


def test_a_plan_without_tasks_is_refused() -> None:
    message = (
        "tasks.md:1: no tasks found; write tasks as `- [ ] T001 [P] [US1] What to do"
    )
    text = "```\n- [ ] T001 a\n```\n"
    assert problems(lambda: load("tasks.md", text, source="spec-kit"))[0].startswith(
        message
    )


@pytest.mark.parametrize("phases", ["barriers", "stories"])
def test_a_ticked_task_does_not_stand_in_for_the_open_ones_before_it(
    phases: str,
) -> None:
    text = """\
        ## Phase 1: Setup
        - [ ] T001 a
        - [x] T002 b
        - [ ] T003 c
        ## Phase 2: Foundation
        - [ ] T004 d
        - [x] T005 e
        ## Phase 3: User Story 1
        - [ ] T006 [P] [US1] f
        - [ ] T007 [P] [US1] g
        """
    assert ready(text, phases=phases) == ["T001"]
    finished = text.replace("[ ] T001", "[X] T001").replace("[ ] T003", "[X] T003")
    assert ready(finished, phases=phases) == ["T004"]
    assert ready(finished.replace("[ ] T004", "[x] T004"), phases=phases) == [
        "T006",
        "T007",
    ]


def test_a_ticked_phase_does_not_stand_in_for_the_open_one_before_it() -> None:
    text = """\
        ## Phase 1
        - [ ] T001 [P] a
        - [ ] T002 [P] b
        ## Phase 2
        - [x] T003 c
        - [x] T004 [P] d
        ## Phase 3
        - [ ] T005 e
        """
    assert waits(text)["T005"] == "T004 T001 T002"


def test_ticks_in_the_order_of_the_file_change_no_digest_of_what_is_open() -> None:
    text = "## Phase 1\n- [ ] T001 a\n- [ ] T002 b\n## Phase 2\n- [ ] T003 c\n"
    ticked = text.replace("[ ] T001", "[X] T001")
    digests = [
        [task.digest for task in plan(version).tasks] for version in (text, ticked)
    ]
    assert digests[0] == digests[1]


def test_similar_bullets_are_not_tasks() -> None:
    text = "- [ ] T001 a\n## Notes\n- [P] tasks = different files\n- [ ] Review the whole\n- [Story] label\n"
    assert list(waits(text)) == ["T001"]


@pytest.mark.parametrize("line", [
    "- [ ] T001 [P] [US1] x", "- [ ] T001 [P][US1] x", "* [ ] **T001** [P] [US1] x", "- [ ] T001: [US1] [P] x",
])  # fmt: skip
def test_a_task_line_may_be_written_in_several_ways(line: str) -> None:
    (task,) = plan(f"{line}\n").tasks
    assert (task.id, task.title, task.prompt) == ("T001", "x", "story US1")
    assert waits(f"{line}\n- [ ] T002 [P] y\n")["T002"] == ""


def test_ids_include_letters_and_leading_zeros_and_ranges_follow_numbers() -> None:
    text = "- [ ] T049 [P] a\n- [ ] T049a [P] b\n- [ ] T050 [P] c\n- [ ] T051 [P] d (depends on T049-T050)\n"
    assert waits(text)["T051"] == "T049 T049a T050"


STORIES = """\
    ## Phase 1: Foundation
    - [ ] T001 a
    ## Phase 2: User Story 1
    - [ ] T002 b
    ## Phase 3: User Story 2
    - [ ] T003 c
    ## Phase 4: User Story 3
    - [ ] T004 d
    ## Phase 5: Polish
    - [ ] T005 e
    ## Dependencies
    - **User Story 3**: after US1
    """


def test_parallel_stories_wait_for_the_foundation_and_for_stories_they_name() -> None:
    assert list(waits(STORIES).values()) == ["", "T001", "T002", "T003", "T004"]
    dependencies = waits(STORIES, phases="stories")
    assert (dependencies["T003"], set(dependencies["T004"].split())) == (
        "T001",
        {"T001", "T002"},
    )
    assert set(dependencies["T005"].split()) >= {"T002", "T003", "T004"}


@pytest.mark.parametrize(
    ("done_box", "tick"), [("[x]", "x"), ("[X]", "X"), ("[ ]", "X")]
)
def test_a_tick_uses_the_letter_that_the_file_uses(done_box: str, tick: str) -> None:
    text = f"intro\r\n- {done_box} T001 a\r\n* [ ] **T002** [P] b  \r\n\t- [ ] T003 c"
    loaded_plan, tree = (
        load("tasks.md", text, source="spec-kit"),
        MemoryTree({"tasks.md": text}),
    )
    done = mark(loaded_plan, tree, {"T002": Status.COMPLETED, "T003": Status.FAILED})
    assert done == {"tasks.md": text.replace("* [ ]", f"* [{tick}]")}
    assert mark(loaded_plan, MemoryTree(done), {"T002": Status.FAILED}) == {
        "tasks.md": text
    }


def test_a_task_knows_the_documents_of_its_feature() -> None:
    tree = MemoryTree(
        {
            "specs/001-x/tasks.md": "- [ ] T001 Make src/a.py\n- [ ] T002 Make src/b.py\n",
            "specs/001-x/plan.md": "Python",
            "specs/001-x/contracts/api.yml": "openapi: 3.1.0",
            "specs/002-y/plan.md": "Go",
        }
    )
    first, second = SpecKit().load("specs/001-x", tree, {}).tasks
    text = read_context(first.context, tree)
    assert text.splitlines()[2:4] == [
        "- specs/001-x/plan.md",
        "- specs/001-x/contracts/api.yml",
    ]
    assert "openapi: 3.1.0" in text
    assert "Go" not in text
    assert second.context is first.context


ODD_LINES = """\
    ## Phase 1: Setup
    - [ ] T001 Make src/a.py
    - [~] T002 Make src/b.py
    - [ ] T003-FULL Make src/c.py
    ## Phase 2: Use it
    - [ ] T004 Use src/b.py and src/c.py in src/d.py
    """


def test_a_line_that_cannot_be_read_is_told_and_waited_for() -> None:
    loaded_plan = plan(ODD_LINES)
    assert [task.id for task in loaded_plan.tasks] == ["T001", "T003-FULL", "T004"]
    assert loaded_plan.notes == (
        (
            "left out: tasks.md:3: cannot read this task line, so what follows waits: "
            "`- [~] T002 Make src/b.py`; write it as "
            "`- [ ] T001 [P] [US1] What to do in src/file.py`, "
            "or skip it with  --skip-line 3"
        ),
    )
    assert loaded_plan.left_out_summary == "1 record left out, see fanin check"
    assert ready(ODD_LINES) == ["T001"]
    assert {task.id: task.blocker for task in loaded_plan.tasks} == {
        "T001": "",
        "T003-FULL": "line 3",
        "T004": "line 3",
    }


def test_a_line_that_a_person_skips_holds_nothing_back() -> None:
    loaded_plan = load("tasks.md", dedent(ODD_LINES), skip_lines=[3, 4])
    assert [task.blocker for task in loaded_plan.tasks] == ["", "", ""]
    assert loaded_plan.left_out == ()
    assert loaded_plan.notes == (
        "tasks.md:3: skipped by --skip-line: `- [~] T002 Make src/b.py`",
        "tasks.md:4: --skip-line names this line, but there is no unread task on it",
    )


def test_a_strict_reading_refuses_a_plan_with_such_a_line() -> None:
    (message,) = problems(lambda: load("tasks.md", dedent(ODD_LINES), strict=True))
    assert message.startswith("tasks.md:3: cannot read this task line")


def test_a_ticked_line_that_cannot_be_read_holds_nothing_back() -> None:
    text = "- [x] T001, T002 both\n- [ ] T003 c\n"
    assert ready(text) == ["T003"]
    assert plan(text).notes == (
        (
            "tasks.md:1: cannot read this task line, but it is ticked: "
            "`- [x] T001, T002 both`"
        ),
    )


def test_parallel_tasks_beside_an_unread_parallel_line_may_run() -> None:
    text = "- [~] T001 [P] a\n- [ ] T002 [P] b\n- [ ] T003 c\n"
    assert ready(text) == ["T002"]


def test_a_task_that_names_an_unread_line_waits_for_it() -> None:
    text = "- [~] T001 [P] a\n- [ ] T002 [P] b (depends on T001)\n- [ ] T003 [P] c\n"
    assert ready(text) == ["T003"]


@pytest.mark.parametrize("phases", ["barriers", "stories"])
def test_an_unread_line_holds_back_all_later_phases(phases: str) -> None:
    text = """\
        ## Phase 1: User Story 1
        - [?] T001 a
        ## Phase 2: User Story 2
        - [ ] T002 b
        ## Phase 3: User Story 3
        - [ ] T003 c
        """
    loaded_plan = plan(text, phases=phases)
    assert [task.blocker for task in loaded_plan.tasks] == ["line 2", "line 2"]


def test_an_id_that_two_tasks_have_is_that_of_the_first() -> None:
    text = "- [ ] T001 a\n- [ ] T001 b\n- [ ] T002 c\n"
    loaded_plan = plan(text)
    assert [task.title for task in loaded_plan.tasks] == ["a", "c"]
    assert ready(text) == ["T001"]
    tree = MemoryTree({"tasks.md": text})
    assert mark(loaded_plan, tree, {"T001": Status.COMPLETED}) == {
        "tasks.md": text.replace("[ ] T001 a", "[X] T001 a")
    }


def test_a_legend_and_a_summary_that_repeat_ids_are_no_tasks() -> None:
    text = """\
        ## Format
        - [ ] `T001` ...
        - [ ] [TaskID] [P?] [Story?] Description with file path
        ## Phase 1
        - [ ] T001 a
        - [ ] T002 b
        ## Next steps
        1. [ ] T001: begin
        2. [ ] Tell everybody
        """
    assert ready(text) == ["T001"]
    assert [task.title for task in plan(text).tasks] == ["a", "b"]
    assert len(plan(text).notes) == 3


def test_check_boxes_below_a_task_belong_to_its_prompt() -> None:
    text = "- [ ] T001 a\n  - [ ] first step\n\n  - [ ] second step\n- [ ] T002 b\n"
    first, second = plan(text).tasks
    assert first.prompt == "- [ ] first step\n\n  - [ ] second step"
    assert second.blocker == ""


@pytest.mark.parametrize(
    "label", ["### Acceptance criteria", "**Acceptance Criteria**:", "**Checkpoint:**"]
)
def test_check_boxes_of_criteria_hold_nothing_back(label: str) -> None:
    text = f"""\
        ## Phase 1
        - [ ] T001 a
        {label}
        - [ ] It works
        ## Phase 2
        - [ ] T002 b
        """
    assert plan(text).left_out == ()
    assert plan(text).notes == (
        "tasks.md:4: 1 check box without an id outside of the task lists: not tasks",
    )


@pytest.mark.parametrize(
    "line",
    [
        "- [ ] [T002] Make src/b.py", "1. [ ] T002 Make src/b.py", "- [ ] `T002` Make src/b.py",
        "- [ ] T-002 Make src/b.py", "- [ ] US1-T002 Make src/b.py", "- [ ]T002 Make src/b.py",
        "- [] T002 Make src/b.py", "• [ ] T002 – Make src/b.py", "- [ ] [P1] [SETUP] T002 Make src/b.py",
        "- [ ] t002: Make src/b.py", "- [ ] (T002) Make src/b.py", "[ ] T002. Make src/b.py",
    ],
)  # fmt: skip
def test_a_task_in_another_form_is_read_and_ticked(line: str) -> None:
    text = f"- [X] T001 Make src/a.py\r\n{line}\r\n## Phase 2\r\n- [ ] T003 c"
    loaded_plan = plan(text)
    assert [task.title.removeprefix("– ") for task in loaded_plan.tasks] == [
        "Make src/a.py",
        "Make src/b.py",
        "c",
    ]
    second = loaded_plan.tasks[1]
    assert (second.files, second.line) == (("src/b.py",), 2)
    tree = MemoryTree({"tasks.md": text})
    done = mark(loaded_plan, tree, {second.id: Status.COMPLETED})
    box = "[]" if "[]" in line else "[ ]"
    assert done == {"tasks.md": text.replace(box, "[X]", 1)}
    again = load("tasks.md", done["tasks.md"])
    assert again.tasks[1].source_status is Status.COMPLETED


@pytest.mark.parametrize(
    "label", ["**Goal**: checkpoint", "Checkpoint: Foundation is ready", "**Tasks**:"]
)
def test_check_boxes_below_any_other_line_are_waited_for(label: str) -> None:
    text = f"## Phase 1\n{label}\n- [ ] Make a\n## Phase 2\n- [ ] T002 b\n"
    assert plan(text).tasks[0].blocker == "line 3"


@pytest.mark.parametrize(
    ("line", "task_id"),
    [
        ("- [ ] T008-08: c", "T008-08"),
        ("- [ ] T008-1 c", "T008-1"),
        ("- [ ] T008.a c", "T008.a"),
        ("- [ ] T008-010 c", None),
        ("- [ ] T8-9 c", None),
    ],
)
def test_a_number_behind_an_id_is_a_part_or_a_range(
    line: str, task_id: str | None
) -> None:
    loaded_plan = plan(f"- [x] T001 a\n{line}\n")
    ids = [task.id for task in loaded_plan.tasks]
    assert ids == ["T001", *([task_id] if task_id else [])]
    assert bool(loaded_plan.left_out) == (task_id is None)


def test_a_tick_out_of_order_changes_no_other_task() -> None:
    text = "## Phase 1\n- [ ] T001 a\n- [ ] T002 b\n- [ ] T003 c\n"
    ticked = text.replace("[ ] T002", "[x] T002")
    before, after = plan(text).tasks[2], plan(ticked).tasks[2]
    assert (before.waits_for, after.waits_for) == (("T002",), ("T002", "T001"))
    assert after.digest == before.digest
    assert "depends_on:\n  - T002\n  - T001\n" in native.render(plan(ticked))


def test_ids_of_two_numbers_are_tasks_if_the_page_writes_them_so() -> None:
    text = (
        "## Phase 1\n- [x] T001-001 a\n- [ ] T001-002 [P] b\n"
        "2. [ ] T001-003 – c\n## Dependencies\nT001-001 → T001-002\n"
    )
    plan = load("tasks.md", text)
    assert [task.id for task in plan.tasks] == ["T001-001", "T001-002", "T001-003"]
    assert not plan.left_out
    changed = mark(plan, MemoryTree({"tasks.md": text}), {"T001-002": Status.COMPLETED})
    assert changed["tasks.md"] == text.replace("[ ] T001-002", "[x] T001-002")
    one = load("tasks.md", "- [ ] T002-001 a\n- [ ] T003 b\n")
    assert [task.id for task in one.tasks] == ["T002-001", "T003"]


def test_a_range_on_one_line_is_still_reported() -> None:
    plan = load("tasks.md", "- [ ] T001 a\n- [ ] T004-006 b\n- [ ] T007-009 c\n")
    assert [task.id for task in plan.tasks] == ["T001"]
    assert len(plan.left_out) == 2
