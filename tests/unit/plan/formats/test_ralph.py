"""`prd.json` and `feature_list.json`: which story is next, and what is marked."""

from __future__ import annotations

import json

import pytest

from runner.core.task import Plan, Status
from runner.plan.formats import MemoryTree
from runner.plan.progress import Progress
from tests.support.trees import checked, load, mark, outcome

PRD = "prd.json"
FEATURES = "feature_list.json"
SHOP = """{
  "project": "shop", "branchName": "ralph/checkout", "description": "Let people pay",
  "userStories": [
    {"id": "US-001", "title": "Keep a basket", "priority": 1, "passes": true},
    {"id": "US-003", "title": "Send a receipt", "description": "As a buyer.",
     "acceptanceCriteria": ["Within a minute", "typecheck passes"],
     "priority": 3,   "passes":false , "notes": "after US-002"},
    {"id": "US-002", "title": "Pay by card", "priority": 2, "passes": false, "notes": ""}
  ]
}
"""


def _ready(plan: Plan) -> list[str]:
    return list(checked(plan).ready(Progress("p").standings(plan, 3)))


def _features(*features: dict[str, object], **more: object) -> str:
    return json.dumps({**more, "features": list(features)}, indent=2)


def test_the_story_with_the_highest_priority_is_next() -> None:
    plan = load(PRD, SHOP)
    assert (plan.source, _ready(plan)) == ("ralph", ["US-002"])
    assert plan.task("US-003").depends_on == ("US-002",)  # type: ignore[union-attr]
    free = load(PRD, SHOP, options={"order": "none"})
    assert _ready(free) == ["US-003", "US-002"]


def test_the_prompt_has_what_the_story_says_and_the_context_what_the_file_says() -> (
    None
):
    task = load(PRD, SHOP).task("US-003")
    assert task is not None
    assert task.prompt == (
        "As a buyer.\n\n## Acceptance criteria\n\n- Within a minute\n- typecheck passes"
        "\n\n## Notes\n\nafter US-002"
    )
    about, progress = task.context
    assert about.text == "Project: shop\nDescription: Let people pay"
    assert progress.name == "progress.txt"


def test_the_branch_of_the_file_is_not_followed_and_a_note_says_so() -> None:
    (note,) = load(PRD, SHOP).notes
    assert note.startswith("prd.json: branchName ralph/checkout is not followed")


def test_only_the_bytes_of_the_boolean_change() -> None:
    tree = MemoryTree({PRD: SHOP})
    plan = load(PRD, SHOP)
    changed = mark(plan, tree, {"US-003": Status.COMPLETED, "US-002": Status.FAILED})
    assert changed == {PRD: SHOP.replace('"passes":false', '"passes":true')}
    reopened = mark(plan, tree, {"US-001": Status.PENDING})
    assert reopened == {PRD: SHOP.replace('"passes": true', '"passes": false')}


def test_a_story_that_passes_out_of_order_does_not_stand_in_for_open_ones() -> None:
    text = SHOP.replace('"passes":false', '"passes": true')
    text = text.replace(
        "  ]\n",
        '   ,{"id": "US-004", "title": "x", "priority": 4, "passes": false}  ]\n',
    )
    plan = load(PRD, text)
    assert _ready(plan) == ["US-002"]
    assert plan.task("US-004").open_before == ("US-002",)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        '[{"id": 1, "title": "a", "passes": true}, {"id": 2, "title": "b", "passes": false}]',
        '{"stories": [{"id": "1", "passes": true}, {"id": "2", "passes": false}]}',
        '{"tasks": [{"id": "1", "passes": true}, {"id": "2"}], "risks": [{"id": "r", "status": "open"}]}',
        ('{"epics": [{"id": "e", "status": "open", "stories": [{"id": "1", "passes": true}]},'
        ' {"id": "f", "stories": [{"id": "2", "passes": "false"}]}]}'),
        '{"userStories": {"1": {"title": "a", "passes": true}, "2": {"title": "b", "passes": null}}}',
    ],
)  # fmt: skip
def test_shapes_of_the_file(text: str) -> None:
    for path in (PRD, "scripts/ralph/prd.json"):
        plan = load(path, text)
        assert [task.id for task in plan.tasks] == ["1", "2"]
        assert _ready(plan) == ["2"]
    assert load("ralph", {"ralph/prd.json": text}).source == "ralph"


def test_features_without_an_id_are_named_by_their_words() -> None:
    features = [
        {"category": "functional", "description": "New chat button works", "steps": ["Go"]},
        {"category": "style", "description": "New chat button works", "passes": False},
        {"category": "style", "description": "Dark. " + "x" * 200, "passes": True},
    ]  # fmt: skip
    plan = load(FEATURES, json.dumps(features))
    assert plan.source == "feature-list"
    assert [task.id for task in plan.tasks][:2] == [
        "new-chat-button-works",
        "new-chat-button-works-2",
    ]
    assert plan.tasks[0].prompt.endswith(
        "## Steps\n\n- Go\n\n## Category\n\nfunctional"
    )
    assert plan.tasks[2].title == "Dark."


def test_features_with_a_status_word_are_marked_with_a_word_of_the_file() -> None:
    text = _features(
        {"id": 1, "name": "a", "status": "passing", "evidence": "ran it"},
        {"id": 2, "name": "b", "status": "not_started"},
        {"id": 3, "name": "c", "status": "in_progress"},
        {"id": 4, "name": "d", "status": "blocked"},
        {"id": 5, "name": "e", "status": "partial", "dependencies": ["4"]},
    )
    plan = load(FEATURES, text)
    assert _ready(plan) == ["2"]
    # Nothing waits for the blocked feature but what names it.
    assert plan.task("5").depends_on == ("3", "4")  # type: ignore[union-attr]
    assert "ran it" not in plan.tasks[0].prompt
    changed = mark(plan, MemoryTree({FEATURES: text}), {"2": Status.COMPLETED})
    assert changed == {FEATURES: text.replace("not_started", "passing")}
    changed = mark(plan, MemoryTree({FEATURES: text}), {"1": Status.PENDING})
    assert json.loads(changed[FEATURES])["features"][0]["status"] == "not_started"


@pytest.mark.parametrize("name", ["rules", "schema"])
def test_the_words_of_the_rules_are_used_if_no_feature_has_one(name: str) -> None:
    words = ["todo", "doing", "verified"]
    rules = {name: {"status_values": words}}
    text = _features({"id": 1, "name": "a", "status": "todo"}, **rules)
    changed = mark(
        load(FEATURES, text), MemoryTree({FEATURES: text}), {"1": Status.COMPLETED}
    )
    assert json.loads(changed[FEATURES])["features"][0]["status"] == "verified"


def test_a_story_that_is_not_done_by_its_boolean_is_open_whatever_its_status_says() -> (
    None
):
    text = _features(
        {"id": "a", "title": "a", "passes": False, "status": "done"},
        {"id": "b", "title": "b", "passes": False, "blocked": True},
        {"id": "c", "title": "c", "passes": False},
    )
    plan = load(PRD, text)
    assert _ready(plan) == ["a"]
    assert plan.task("b").skip_reason == "blocked"  # type: ignore[union-attr]
    assert plan.task("c").depends_on == ("a",)  # type: ignore[union-attr]


def test_an_unknown_status_is_left_out_and_what_follows_waits() -> None:
    text = _features(
        {"id": "a", "title": "a", "status": "whatever"},
        {"id": "b", "title": "b", "status": "pending"},
        {"id": "c", "title": "c", "status": "done"},
    )
    plan = load(FEATURES, text)
    assert (_ready(plan), len(plan.left_out)) == ([], 1)


def test_a_story_that_names_a_later_one_waits_for_it() -> None:
    text = _features(
        {"id": "a", "title": "a", "passes": False, "dependsOn": ["b"]},
        {"id": "b", "title": "b", "passes": False, "dependsOn": "none"},
    )
    assert _ready(load(PRD, text)) == ["b"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (PRD, '{"userStories": []}'),
        (PRD, "{"),
        (FEATURES, "[]"),
        (FEATURES, '{"features": "none"}'),
    ],
)
def test_a_file_without_stories_is_refused(path: str, text: str) -> None:
    plan, (problem,) = outcome(path, text)
    assert plan is None
    assert (problem.path, problem.line) == (path, 1)


def test_json_with_passes_is_found_whatever_its_name() -> None:
    assert load("plans/web.json", SHOP).source == "ralph"
    assert load("plans/x.json", SHOP.replace("userStories", "tasks")).source == (
        "feature-list"
    )
    master = '{"tasks": [{"id": 1, "title": "a", "status": "done"}]}'
    assert load("plans/y.json", master).source == "task-master"
