"""Plain checklists: what is a task, what is a part of one, what is neither."""

from __future__ import annotations

import pytest

from runner.core.task import Plan, Status
from runner.plan.formats import MemoryTree
from runner.plan.progress import Progress
from tests.support.trees import checked, load, mark, outcome

PLAN = "IMPLEMENTATION_PLAN.md"
SHOP = """# Implementation plan

Goal: a shop that takes money.

## Phase 1: Basket
- [x] Keep the basket in `src/basket.py`
- [ ] Show the total
  - round half up
  - [ ] test for an empty basket

## Phase 2: Payment
1. [ ] Talk to the bank (`src/bank.py`)
2. [ ] Say why a card was refused
- plain notes are no tasks

## Later
- [ ] Gift cards *(optional)*
"""


def _ids(plan: Plan) -> list[str]:
    return [task.id for task in plan.tasks]


def _ready(plan: Plan) -> list[str]:
    return list(checked(plan).ready(Progress("p").standings(plan, 3)))


def _titles(text: str, **choice: object) -> list[str]:
    return [task.title for task in load("TODO.md", text, **choice).tasks]


def test_headings_are_groups_and_the_order_of_the_file_counts() -> None:
    plan = load(PLAN, SHOP)
    assert plan.source == "checklist"
    assert _ids(plan) == [
        "keep-the-basket-in-src-basket-py",
        "show-the-total",
        "talk-to-the-bank-src-bank-py",
        "say-why-a-card-was-refused",
    ]
    assert _ready(plan) == ["show-the-total"]
    assert len(_ready(load(PLAN, SHOP, options={"order": "none"}))) == 3
    total = plan.tasks[1]
    assert total.prompt == (
        "Phase 1: Basket\n\n- round half up\n  - test for an empty basket"
    )
    assert [reference.name for reference in total.context] == [PLAN]


def test_what_is_left_out_is_said_with_how_to_run_it() -> None:
    notes = "\n".join(load(PLAN, SHOP).notes)
    assert f"{PLAN}:17: 1 task below `Later` left out" in notes
    assert "--option optional=include" in notes
    assert f"{PLAN}:9: 1 check box below other tasks" in notes
    included = load(PLAN, SHOP, options={"optional": "include", "subtasks": "tasks"})
    assert _ids(included)[-1] == "gift-cards-optional"
    assert "test-for-an-empty-basket" in _ids(included)


def test_a_task_is_ticked_with_its_parts_and_stays_the_same_task() -> None:
    plan = load(PLAN, SHOP)
    changed = mark(plan, MemoryTree({PLAN: SHOP}), {"show-the-total": Status.COMPLETED})
    ticked = SHOP.replace("[ ] Show", "[x] Show").replace("[ ] test", "[x] test")
    assert changed == {PLAN: ticked}
    later = load(PLAN, ticked)
    assert [task.digest for task in later.tasks] == [task.digest for task in plan.tasks]
    reopened = mark(
        later, MemoryTree({PLAN: ticked}), {"show-the-total": Status.PENDING}
    )
    assert reopened == {PLAN: ticked.replace("[x] Show", "[ ] Show")}


def test_an_open_box_below_a_ticked_one_is_a_task_and_the_tick_stays() -> None:
    text = "- [x] a\n  - [x] b\n  - [ ] c\n  - [ ] d\n- [ ] e\n"
    plan = load("TODO.md", text)
    assert _ids(plan) == ["c", "d", "e"]
    assert any("`a` is ticked, but tasks below it are open" in n for n in plan.notes)
    changed = mark(plan, MemoryTree({"TODO.md": text}), {"c": Status.COMPLETED})
    assert changed == {"TODO.md": text.replace("[ ] c", "[x] c")}


@pytest.mark.parametrize(
    "text",
    [
        "```\n- [ ] example\n```\n- [ ] real\n",
        "<!--\n- [ ] example\n-->\n- [ ] real\n",
        "> - [ ] quoted\n\n- [ ] real\n",
        "Like this:\n\n    - [ ] code\n\n- [ ] real\n",
        "## Legend\n- [ ] open\n- [x] done\n## Now\n- [ ] real\n",
        "- [ ] real\n\n**Acceptance criteria:**\n\n- [ ] it works\n",
        "- [ ] real\n**Acceptance Criteria**:\n- [ ] it works\n",
        "- [ ] real\n  - [ ] part\n    - [ ] part of a part\n",
        "- [ ] real\n  - Acceptance:\n    - [ ] it works\n",
        "- [ ] real\n\n## 6. Verification\n- [ ] tests pass\n### Manual\n- [ ] look\n",
        "- [ ] real\n## Phase 1 Success Criteria:\n- [ ] it works\n",
        "- [ ] real\n- [ ] ~~dropped~~\n- [ ] [a link](x.md)\n- [ ](y.md)\n",
        "- [ ] real\n## Nice to have\n- [ ] more\n## Out of scope\n- [ ] other\n",
        "- [ ] real\n- text [ ] with a box\n* plain\n",
    ],
)
def test_only_what_a_reader_would_call_a_task_is_one(text: str) -> None:
    titles = _titles(text)
    assert [title for title in titles if "a link" not in title] == ["real"]


def test_every_box_that_is_no_task_is_counted_in_a_note() -> None:
    text = (
        "> - [ ] quoted\n\nLike this:\n\n    - [ ] code\n\n- [ ] real\n  - [ ] part\n"
        "- [ ] ~~dropped~~\n\n## Acceptance\n- [ ] it works\n```\n- [ ] example\n```\n"
    )
    notes = "\n".join(load("TODO.md", text).notes)
    for line in (1, 5, 8, 9, 12, 13):
        assert f"TODO.md:{line}: " in notes, line


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("- Backend\n  - [ ] a\n- Frontend\n  - [ ] b\n", ["a", "b"]),
        ("- [ ] Phase 1: Core\n    - [x] a\n    - [ ] b\n", ["a", "b"]),
        ("- [ ] 1. Core\n  - [ ] 1.1 a\n  - [ ] 1.2 b\n- [ ] 2. c\n", ["a", "b", "c"]),
        ("- [ ] 1. Core\n- [ ] 1.1 a\n", ["a"]),
        ("- [] a\n* [X] b\n+ [ ] c\n1) [ ] d\n", ["a", "b", "c", "d"]),
        ("## Phase 3: Validation\n- [ ] a\n## Phase 4: Future work\n- [ ] b\n", ["a", "b"]),
        ("## Release checklist\n- [ ] a\n", ["a"]),
        ("## Acceptance and demo\n- [ ] a\n## Deliverables\n- [ ] b\n", ["a", "b"]),
        ("# First\n- [ ] a\n# Acceptance\n- [ ] b\n# Later\n- [ ] c\n", ["a"]),
        ("Backend\n    - [ ] a\n", ["a"]),
        ("- [ ] a\n\n  more of a\n\nProse.\n\n- [ ] b\n---\n- [ ] c\n", ["a", "b", "c"]),
    ],
)  # fmt: skip
def test_spellings_of_tasks(text: str, titles: list[str]) -> None:
    assert _titles(text) == titles


def test_a_group_is_ticked_with_its_last_task() -> None:
    text = "- [ ] Phase 1: Core\n  - [x] a\n  - [ ] b\n"
    plan = load("TODO.md", text)
    changed = mark(plan, MemoryTree({"TODO.md": text}), {"b": Status.COMPLETED})
    assert changed["TODO.md"] == text.replace("[ ]", "[x]")


def test_a_list_item_above_tasks_is_in_their_prompt() -> None:
    task = load("TODO.md", "## Now\n- Backend\n  - [ ] a\n").tasks[0]
    assert task.prompt == "Now › Backend"


def test_an_odd_mark_holds_back_what_follows() -> None:
    text = "- [ ] a\n- [~] b\n- [ ] c\n"
    plan = load("TODO.md", text)
    assert (_ready(plan), len(plan.left_out)) == (["a"], 1)
    assert _ids(load("TODO.md", text, skip_lines=[2])) == ["a", "c"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- rewrite it\n- test it\n", "no tasks found: 2 list items, but no check box"),
        (
            "## Success criteria\n- [ ] a\n",
            "no tasks found: only 1 check box",
        ),
        ("## Later\n- [ ] a\n", "no tasks found: all are optional or for later"),
        ("", "no tasks found"),
    ],
)
def test_a_checklist_without_tasks_says_why(text: str, what: str) -> None:
    plan, (problem,) = outcome("TODO.md", text)
    assert plan is None
    assert problem.what.startswith(what)


def test_a_markdown_file_without_tasks_and_such_a_name_is_no_checklist() -> None:
    for path in ("README.md", "notes/a.md"):
        _, (problem,) = outcome(path, "- text\n")
        assert problem.what == "unknown plan format"
    assert load("docs/migration.md", "- [ ] a\n").source == "checklist"


# Structure of public files; the ids that a reader would list, in their order.
KREUZUNGEN = """# TODO

- [x] remove flow bite
- [] set up linting
- [x] Analytics
  - [x] number users
  - [] number of registered users with webhook
    - [] number with the "write" permission
- [] order river in info
- [] implement it and profile it [https://x.y/z?tab=readme](https://x.y/z?tab=readme)
- [ ] fix email
"""
CALORIES = """# Plan
## Phase 1: Server
**Environment Setup**
1. Initialize project
   ```bash
   npm init -y
   ```
## Success Criteria by Phase
### Phase 1 Success:
- [ ] Can add meals
"""
PUBLISH = """# Pre-Publish Checklist

- [ ] Update `repository.url` in `package.json`
- [ ] Run `first-publish.yml` via Actions (Actions tab → First Publish)

# Post-First-Publish

- [ ] Delete this file
"""
MINHOME = (
    "- [ ] Split config\n- [x] MCP\n  - [x] Furniture groups\n- [ ] Pairing\n- [ ] "
)


@pytest.mark.parametrize(
    ("text", "done", "opened"),
    [
        (KREUZUNGEN, 1, 5),
        (PUBLISH, 0, 3),
        (MINHOME, 1, 2),
    ],
)
def test_structures_of_public_checklists(text: str, done: int, opened: int) -> None:
    tasks = load("TODO.md", text).tasks
    completed = [task for task in tasks if task.source_status is Status.COMPLETED]
    assert (len(completed), len(tasks) - len(completed)) == (done, opened)


def test_a_plan_whose_only_boxes_are_criteria_is_refused() -> None:
    plan, (problem,) = outcome("IMPLEMENTATION_PLAN.md", CALORIES)
    assert plan is None
    assert problem.what == "no tasks found: only 1 check box of criteria"
