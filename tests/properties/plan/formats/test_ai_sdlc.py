"""Properties of plan.formats.ai sdlc, over generated inputs."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from runner.core.errors import InvalidInput
from runner.core.task import Plan, Status
from runner.plan.formats.base import Mark
from tests.support.ai_sdlc_plans import FAILED, TABLE, load, write_back

LINES = st.sampled_from(
    [
        "",
        "# Plan",
        "## Phase 1: x",
        "---",
        "text",
        "  - detail  ",
        "  - Files: `a`",
        "  - Dependencies: T1",
        "```",
        "```json",
        "  ```",
        "~~~",
        "<!--",
        "-->",
        "{",
        "\t- tab",
        "| Task | Status |",
        "| T1 | failed |",
        "+",
        "| Task | Status | Started | Completed |",
        "|---|---|---|---|",
        "| T2 | pending | - | - |",
        "| T3 | completed",
        "|a|b\\|c|",
        "  ## Task Progress",
        "\u2028x\x0c",
        "- [ ] **T1** nearly",
        "- [x] plain",
        "a\rb",
        "## Task Progress",
    ]
)


ITEMS = st.builds(
    "{}- [{}] **T{}**: title{}".format,
    st.sampled_from(["", "", "  "]),
    st.sampled_from(" xX"),
    st.integers(1, 4),
    st.sampled_from(["", "  "]),
)


# Random lines seldom make a plan that loads; these do, so that the round trip is not
# vacuous.
PLANS = st.builds(
    lambda boxes, between, table: (
        "".join(
            f"- [{box}] **T{number}**: title\n{extra}\n"
            for number, box, extra in zip((2, 1, 3), boxes, between, strict=True)
        )
        + table
    ),
    st.lists(st.sampled_from(" xX"), min_size=3, max_size=3),
    st.lists(
        st.sampled_from(
            [
                "",
                "  - Dependencies: T1",
                "## Next",
                "```\n- [ ] **T9**: x\n```",
                "  ```ts\n  x",
            ]
        ),
        min_size=3,
        max_size=3,
    ),
    st.sampled_from(
        [
            "",
            "text",
            TABLE,
            TABLE + "| T1 | failed |",
            TABLE + "| T3 | pending | - | - |\n\nAfter",
            "## Task Progress\n\n| Error | Status | Task |\n|-|-|-|\n| a\\|b | failed | T2 |\n",
        ]
    ),
)


TEXTS = st.builds(
    lambda lines, end, last: end.join(lines) + (end if last else ""),
    st.lists(st.one_of(LINES, ITEMS), max_size=14),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)


TRAPS = st.sampled_from(
    ["a | b", "```", "-->", "<!--", "x" * 400, "\\", "|", "a\\|b", "-"]
)


WORDS = st.one_of(st.none(), st.text(max_size=30), TRAPS)


MARKS = st.dictionaries(
    st.sampled_from(["T1", "T2", "T3", "T4"]),
    st.builds(Mark, st.sampled_from(Status), WORDS, WORDS, WORDS),
    max_size=4,
)


def _has_doubled_ids(plan: Plan) -> bool:
    """Whether another task may take the place of one that is ticked."""
    return any("is also on line" in record.problem.what for record in plan.left_out)


def loaded(text: str) -> tuple[dict[str, dict[str, Any]], set[str]] | None:
    """The tasks by id, and the ids of those that are left out because of their order."""
    try:
        plan = load(text)
    except InvalidInput:
        return None
    # Of several plans in a file only the check boxes are written.
    assume(not plan.section)
    assume(not _has_doubled_ids(plan))
    tasks = {
        task.id: {**task.model_dump(), "status": task.source_status}
        for task in plan.tasks
    }
    return tasks, {record.task_id for record in plan.left_out if record.task_id}


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(PLANS, TEXTS), marks=MARKS)
@example(text="<!--\n- [ ] **T1**: a", marks={"T1": Mark(Status.FAILED, error="-->")})
@example(
    text="- [ ] **T1**: a\n## Task Progress\n| Task | Status |\n| T1 | failed",
    marks={"T1": FAILED},
)
def test_writing_back_is_idempotent_and_touches_only_boxes_and_the_table(
    text: str, marks: dict[str, Mark]
) -> None:
    with suppress(InvalidInput):
        assume(not _has_doubled_ids(load(text)))
    after = write_back(text, marks)
    assert write_back(after, marks) == after

    def rest(page: str) -> list[str]:
        boxes = re.sub(r"(?m)^(\s*[-*+] \[)[ xX](\] \*\*T)", r"\1?\2", page)
        lines = (
            line
            for line in re.split(r"\r?\n", boxes)
            if not line.lstrip().startswith("|")
        )
        return [line for line in lines if line and line != "## Task Progress"]

    assert rest(after) == rest(text)
    assert after.endswith("\n") == text.endswith("\n")


def _reopened(before: dict[str, dict[str, Any]], marks: dict[str, Mark]) -> set[str]:
    finished = {n for n, task in before.items() if task["status"] is Status.COMPLETED}
    return {n for n in finished & set(marks) if marks[n].status is not Status.COMPLETED}


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(PLANS, TEXTS), marks=MARKS)
@example(
    text="- [x] **T1**: a\n  - Dependencies: T1",
    marks={"T1": Mark(Status.PENDING)},
)
def test_written_marks_are_read_back_and_unmarked_tasks_keep_their_status(
    text: str, marks: dict[str, Mark]
) -> None:
    first = loaded(text)
    if first is None:
        return
    before, left_out_before = first
    second = loaded(write_back(text, marks))
    assert second is not None
    after, left_out_after = second
    # What a finished task depends on is not checked, until a mark reopens it.
    assert left_out_after <= left_out_before | _reopened(before, marks)
    assert set(after) == set(before)
    for name in set(before) - left_out_before - left_out_after:
        status = marks[name].status if name in marks else before[name]["status"]
        assert after[name] == {**before[name], "status": status}
