"""The spec-kit format: each rule of reading and writing, with a minimal text."""

from __future__ import annotations

from textwrap import dedent

import pytest

from runner.core.task import Plan, Status
from runner.plan.context import read_context
from runner.plan.formats import MemoryTree
from runner.plan.formats.spec_kit import SpecKit
from runner.plan.formats.spec_kit_files import named_files
from tests.support.builders import problems
from tests.support.trees import checked, load, mark


def plan(text: str, **options: str) -> Plan:
    return load("tasks.md", dedent(text), options=options)


def waits(text: str, **options: str) -> dict[str, str]:
    return {task.id: " ".join(task.depends_on) for task in plan(text, **options).tasks}


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
    ("text", "message"),
    [
        (
            "- [ ] T001 a\n- [ ] T002 b\n## Dependencies\n- T002 before T001\n",
            "tasks.md:4: T001 waits for T002 here, but T002 does not come before it in the file; move T002 up",
        ),
        (
            "- [ ] T001 a (depends on T009)\n",
            "tasks.md:1: T001 depends on T009, which is not in the plan; name a task of this plan",
        ),
        (
            "- [ ] T001 a\n- [~] T002 b\n",
            "tasks.md:2: cannot read this task line: `- [~] T002 b`; write ",
        ),
        (
            "- [ ] T001 a\n- [] T002 b\n",
            "tasks.md:2: cannot read this task line: `- [] T002 b`; write ",
        ),
        (
            "```\n- [ ] T001 a\n```\n",
            "tasks.md:1: no tasks found; write tasks as `- [ ] T001 [P] [US1] What to do",
        ),
    ],
)
def test_an_impossible_order_is_reported_with_its_line(text: str, message: str) -> None:
    assert problems(lambda: load("tasks.md", text, source="spec-kit"))[0].startswith(
        message
    )


def test_a_dependency_against_the_order_is_a_cycle() -> None:
    loaded_plan = plan("- [ ] T001 a (depends on T002)\n- [ ] T002 b\n")
    assert (
        "dependency cycle: T001 → T002 → T001"
        in problems(lambda: checked(loaded_plan))[0]
    )


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
