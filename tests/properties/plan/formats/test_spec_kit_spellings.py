"""Two thousand odd spellings of a task line: each is read, or reported and waited for.

The grammar has the parts of `- [ ] T002 [P] [US1] text`, each in the forms that models
and people write. Every plan has an odd line between two ordinary phases.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from runner.core.task import Plan
from runner.plan.progress import Progress
from tests.support.trees import checked, load

SPELLINGS = 2_000

BULLETS = [
    *("- ", "* ", "+ ", "-", "", "1. ", "2) ", "10. ", "• ", "– ", "— ", "·", "> - "),
    *("| ", "a) ", "- - ", "\\- ", "  - ", "\t- ", "\u200b- ", "-\u00a0", "#. ", "○ "),
]
BOXES = [
    *(
        "[ ]",
        "[]",
        "[  ]",
        "[\u00a0]",
        "[\t]",
        "[~]",
        "[-]",
        "[>]",
        "[/]",
        "[?]",
        "[!]",
    ),
    *(
        "[.]",
        "[…]",
        "［ ］",
        "【 】",
        "〔 〕",
        "( )",
        "{ }",
        "☐",
        "□",
        "⬜",
        "\\[ \\]",
        "**[ ]**",
    ),
    *(
        "`[ ]`",
        "[ ].",
        "[ ]:",
        "[WIP]",
        "[o]",
        "[ ] [ ]",
        "［　］",
        "[\u3000]",
        "<[ ]>",
    ),
]
TICKED_BOXES = ["[x]", "[X]", "[ x]", "[x ]", "[✓]", "[✔]", "[✅]", "☑", "(x)", "【x】"]
IDS = [
    *("T002", "**T002**", "`T002`", "[T002]", "(T002)", "T-002", "T_002", "US1-T002"),
    *(
        "T003-FULL",
        "T002a",
        "T002.1",
        "T002.1.1",
        "t002",
        "#T002",
        "__T002__",
        "~~T002~~",
    ),
    *(
        "T002-T004",
        "T002–T004",
        "T002, T003",
        "T002/T003",
        "T002 & T003",
        "T002 and T003",
    ),
    *(
        "Т002",
        "TASK-002",
        "Task 2",
        "T 002",
        "002",
        "2.1",
        "[US1] T002",
        "[P] T002",
        "",
    ),
    *(
        "T００２",
        "T002+",
        "T-",
        "TXXX",
        "T002ab",
        "【T002】",
        "ID: T002",
        "*T002*",
        "T002-1",
    ),
]
AFTER_IDS = [
    " ",
    ": ",
    ":",
    ". ",
    ") ",
    " - ",
    " – ",
    " — ",
    "\t",
    "\u00a0",
    "：",
    "",
    " | ",
]
LABELS = [
    "",
    "[P] ",
    "[US1] ",
    "[P] [US1] ",
    "[P][US2] ",
    "(P) ",
    "【P】",
    "[Story 1] ",
]
TEXTS = [
    "Make src/b.py",
    "Make `src/b.py` and tests/test_b.py",
    "src/b.py",
    "Add POST /api/users in src/api/users.ts",
    "**Make** src/b.py (depends on T001)",
    "",
    "…",
    "把 src/b.py 写好",
]


def odd_lines(boxes: list[str]) -> Iterator[str]:
    """Lines of the grammar, each of which has a box, in a fixed random order.

    The first form of each part is the usual one. Half of the lines are odd in one part.
    """
    parts = [BULLETS, boxes, [" ", "", "  "], IDS, AFTER_IDS, LABELS, TEXTS]
    chance = random.Random(16)
    seen: set[str] = set()
    while len(seen) < SPELLINGS:
        odd_parts = range(len(parts))
        if chance.random() < 0.5:
            odd_parts = range(odd := chance.randrange(len(parts)), odd + 2)
        line = "".join(
            chance.choice(forms) if number in odd_parts else forms[0]
            for number, forms in enumerate(parts)
        )
        if line not in seen:
            seen.add(line)
            yield line


def plan_around(line: str) -> Plan:
    text = (
        "# Tasks\n\n## Phase 1: Setup\n\n- [X] T001 Make src/a.py\n"
        f"{line}\n\n## Phase 2: Use it\n\n- [ ] T900 [P] Use src/b.py in src/d.py\n"
    )
    return load("specs/001-x/tasks.md", text, source="spec-kit")


def ready(plan: Plan) -> set[str]:
    standings = Progress(plan.path).standings(plan, 3)
    return set(checked(plan).ready(standings))


def lines_mentioned(plan: Plan) -> set[int]:
    return {int(note.split("tasks.md:")[1].split(":")[0]) for note in plan.notes}


def belongs_to_first_task(plan: Plan, line: str) -> bool:
    """Whether the line, which has no id of a task, is a step of the task above it."""
    return line[0] in " \t" and line.strip() in plan.tasks[0].prompt


def test_every_open_line_is_read_or_reported_and_waited_for() -> None:
    wrong: list[str] = []
    read = 0
    for line in odd_lines(BOXES):
        plan = plan_around(line)
        if belongs_to_first_task(plan, line):
            continue
        tasks_on_line = [task.id for task in plan.tasks if task.line == 6]
        is_waited_for = "T900" not in ready(plan)
        if tasks_on_line:
            read += 1
            is_handled = ready(plan) == set(tasks_on_line)
        else:
            is_handled = 6 in lines_mentioned(plan) and len(plan.left_out) == 1
        if not (is_handled and is_waited_for):
            wrong.append(line)
    assert wrong == []
    # A reader that reads nothing would pass what is above.
    assert read > SPELLINGS / 8


def test_every_ticked_line_is_read_or_reported_and_holds_nothing_back() -> None:
    wrong: list[str] = []
    for line in odd_lines(TICKED_BOXES):
        plan = plan_around(line)
        is_task = any(task.line == 6 for task in plan.tasks)
        is_task = is_task or belongs_to_first_task(plan, line)
        if not (is_task or 6 in lines_mentioned(plan)) or ready(plan) != {"T900"}:
            wrong.append(line)
    assert wrong == []


@pytest.mark.parametrize("line", ["- [~] T002 Make b", "- [ ] Make b", "- ( ) T002 b"])
def test_an_open_line_that_a_person_skips_holds_nothing_back(line: str) -> None:
    text = f"## Phase 1\n- [X] T001 a\n{line}\n## Phase 2\n- [ ] T900 b\n"
    plan = load("tasks.md", text, source="spec-kit", skip_lines=[3])
    assert ready(plan) == {"T900"}
    assert 3 in lines_mentioned(plan)
