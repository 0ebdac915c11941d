"""What is kept of a plan for its next marks writes what reading it anew would write."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import InvalidInput, Problem
from runner.core.task import Plan, Status
from runner.plan import formats
from runner.plan.formats import Mark, MemoryTree
from runner.plan.loading import WriteMarks
from runner.plan.marking import PlanFiles, is_as_read, write_marks, write_once
from tests.support.builders import quick
from tests.support.real_plans import REAL, read
from tests.support.trees import outcome, vendored

some = settings(quick, max_examples=30)
few = settings(quick, max_examples=5)  # the files are large

_BOX = st.builds(
    "{}{} [{}]{} {}{}".format,
    st.sampled_from(["", "", "", "  ", "    "]),
    st.sampled_from(["-", "-", "*", "1."]),
    st.sampled_from([" ", " ", "x", "X", "", "✓", "-", "?"]),
    st.sampled_from(["", "", "", "*"]),
    st.sampled_from(["", "", "1. ", "1.1 ", "2. ", "2.1 ", "Phase 1: "]),
    st.sampled_from(["Do it", "Do more", "~~Do not~~", "Polish (optional)", "Test"]),
)
_STRUCK = st.sampled_from(["- [ ] ~~Do not~~", "- [x] ~~Do not~~"])
_HEADING = st.sampled_from(
    ["# Plan", "## Phase 1", "## Later", "## Acceptance criteria", "### Notes"]
)
_PROSE = st.sampled_from(["", "", "text", "- a list item", "```", "**Label:**", "---"])
_SPEC_KIT = st.builds(
    "{}- [{}] {}T{} {}Do it in a.py".format,
    st.sampled_from(["", "", "", "  "]),
    st.sampled_from([" ", " ", "x", "X", "✓", ""]),
    st.sampled_from(["", "", "", "**"]),
    st.sampled_from(["001", "002", "003", "004", "005", "006", "007"]),
    st.sampled_from(["", "[P] ", "[US1] "]),
)
_AI_SDLC = st.builds(
    "{}- [{}] **T{}**: Do it".format,
    st.sampled_from(["", "", "", "  "]),
    st.sampled_from([" ", " ", "x", "X"]),
    st.integers(1, 7),
)
_ROW = st.builds(
    "| T{} | {} | - | -{} |".format,
    st.integers(1, 8),
    st.sampled_from(["pending", "completed", "failed  ", "in_progress"]),
    st.sampled_from(["", "         ", " | an error"]),
)
_TABLE_HEAD = st.sampled_from(
    [
        "\n| Task | Status | Started | Completed |\n|---|---|---|---|",
        "\n| Task | Status | Started | Completed | Error |\n|---|---|---|---|---|",
        "",
    ]
)


def _page(*lines: st.SearchStrategy[str], longest: int = 14) -> st.SearchStrategy[str]:
    listed = st.lists(st.one_of(*lines), min_size=2, max_size=longest)
    ending = st.sampled_from(["\n", "\n", "\r\n"])
    return st.builds(lambda all_lines, end: end.join([*all_lines, ""]), listed, ending)


_WITH_TABLE = st.builds(
    lambda page, head, rows: f"{page}\n## Task Progress\n{head}\n" + "\n".join(rows),
    _page(_AI_SDLC, _AI_SDLC, _PROSE),
    _TABLE_HEAD,
    st.lists(_ROW, max_size=6),
)
_WORD = st.sampled_from(["todo", "pending", "done", "complete", "in progress", "", "?"])
_STORY = st.fixed_dictionaries(
    {"title": st.sampled_from(["Do it", "Do more", "Test"])},
    optional={
        "id": st.sampled_from(["A", "B", "C", "D"]),
        "passes": st.sampled_from([True, False, False, None, "true", "False"]),
        "status": _WORD,
    },
)
_STORIES = st.lists(_STORY, min_size=1, max_size=7)
_STORY_FILE = st.builds(
    lambda stories, rules: json.dumps({**rules, "userStories": stories}, indent=1),
    _STORIES,
    st.sampled_from([{}, {}, {"statuses": ["open", "finished"]}]),
)
_SUBTASK = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["1", "2", "3", "1.1"]),
        "title": st.just("part"),
        "status": _WORD,
    }
)
_TASK = st.fixed_dictionaries(
    {"id": st.integers(1, 6), "title": st.just("Do it")},
    optional={"status": _WORD, "subtasks": st.lists(_SUBTASK, max_size=3)},
)
_TASK_FILE = st.builds(
    lambda tasks: json.dumps({"tasks": tasks}), st.lists(_TASK, min_size=1, max_size=6)
)
_ISSUE = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["b-1", "b-2", "b-3", "b-4"]),
        "title": st.just("Do it"),
        "status": st.sampled_from(["open", "closed", "in_progress", "tombstone", ""]),
    }
)
_ISSUES = st.builds(
    lambda issues: "".join(f"{json.dumps(issue)}\n" for issue in issues),
    st.lists(_ISSUE, min_size=1, max_size=6),
)
_ENTRY = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "{status: "]),
    st.sampled_from(["", "'", '"']),
    st.sampled_from(["ready-for-dev", "backlog", "review", "done", "in-progress"]),
    st.sampled_from([""]),
)


def _sprint(entries: list[str]) -> str:
    lines = ["development_status:"]
    for number, entry in enumerate(entries, 1):
        quote = next((each for each in "'\"" if each in entry), "")
        closed = entry + quote + ("}" if "{" in entry else "")
        lines.append(f"  1-{number}-story: {closed}  # a remark")
    return "\n".join([*lines, ""])


_SPRINT = st.builds(_sprint, st.lists(_ENTRY, min_size=1, max_size=6))

_TASK_FILES = st.dictionaries(
    # Several of them may have one id, and only some of these files are read.
    st.sampled_from(
        ["tasks/task-1", "tasks/task-2", "tasks/task-3", "completed/task-1", "tasks/x"]
    ),
    st.builds(
        "---\n{}\n{}dependencies: {}\n---\nDo it\n".format,
        st.sampled_from(["id: task-1", "id: task-2", "id: TASK-01", "id: a-1", ""]),
        st.sampled_from(
            ["status: To Do\n", "status: 'Done' # a remark\n", "status: ?\n", ""]
        ),
        st.sampled_from(["[]", "[task-1]", "task-2", "[1]", "{}"]),
    ),
    min_size=1,
)
_STATUSES = st.sampled_from(
    ["", "statuses: [Open, Going on, Ready]\n", "statuses: [To Do, '#done']\n"]
)
_FOLDER = st.builds(
    lambda files, statuses: {
        **{f"backlog/{name}.md": text for name, text in files.items()},
        "backlog/config.yml": statuses,
    },
    _TASK_FILES,
    _STATUSES,
)

_Files = str | Mapping[str, str]  # the text of a plan, or those of its files
# Format → the path of a plan, its options, and its texts.
_CASES: dict[str, tuple[str, list[Mapping[str, str]], st.SearchStrategy[_Files]]] = {
    "checklist": (
        "TODO.md",
        [{}, {"subtasks": "tasks"}, {"optional": "include"}],
        _page(_BOX, _BOX, _BOX, _STRUCK, _HEADING, _PROSE),
    ),
    "openspec": (
        "openspec/changes/a/tasks.md",
        [{}],
        _page(_BOX, _BOX, _BOX, _STRUCK, _HEADING, _PROSE),
    ),
    "kiro": (
        ".kiro/specs/a/tasks.md",
        [{}, {"optional": "include"}],
        _page(_BOX, _BOX, _BOX, _STRUCK, _HEADING, _PROSE),
    ),
    "spec-kit": (
        "specs/a/tasks.md",
        [{}],
        _page(_SPEC_KIT, _SPEC_KIT, _SPEC_KIT, _HEADING, _PROSE),
    ),
    "ai-sdlc": (
        "plan.md",
        [{}],
        st.one_of(_page(_AI_SDLC, _AI_SDLC, _HEADING, _PROSE), _WITH_TABLE),
    ),
    "ralph": ("prd.json", [{}], _STORY_FILE),
    "feature-list": (
        "feature_list.json",
        [{}],
        st.one_of(_STORY_FILE, st.builds(json.dumps, _STORIES)),
    ),
    "task-master": ("tasks.json", [{}, {"subtasks": "tasks"}], _TASK_FILE),
    "beads": (".beads/issues.jsonl", [{}], _ISSUES),
    "bmad": ("sprint-status.yaml", [{}, {"finished": "done"}], _SPRINT),
    "backlog-md": ("backlog", [{}], _FOLDER),
}
_MARK = st.builds(
    Mark,
    st.sampled_from(
        [Status.COMPLETED, Status.COMPLETED, Status.FAILED, Status.PENDING]
    ),
    st.sampled_from([None, "2026-01-02T03:04:05Z"]),
    st.sampled_from([None, "2026-01-02T03:04:06Z"]),
    st.sampled_from([None, None, None, "it | broke -->"]),
)


def test_every_format_with_marks_is_tried() -> None:
    with_marker = {each.name for each in formats.sources() if hasattr(each, "marker")}
    assert with_marker == set(_CASES)


def _written(
    write: WriteMarks, plan: PlanFiles, tree: MemoryTree, marks: Mapping[str, Mark]
) -> tuple[Mapping[str, str], tuple[Problem, ...]]:
    try:
        return write(plan, tree, marks), ()
    except InvalidInput as error:
        return {}, error.problems


def _files(path: str, text: _Files) -> dict[str, str]:
    return {path: text} if isinstance(text, str) else dict(text)


def _is_written_alike(
    data: st.DataObject, plan: PlanFiles, files: dict[str, str], ids: list[str]
) -> None:
    """Write marks again and again, and let a person edit the files in between."""
    for _ in range(data.draw(st.integers(3, 6))):
        names = st.sampled_from([*ids, "unknown"])
        marks = data.draw(st.dictionaries(names, _MARK, min_size=1, max_size=3))
        tree = MemoryTree(files)
        expected, problems = _written(write_once, plan, tree, marks)
        assert _written(write_marks, plan, tree, marks) == (expected, problems)
        files.update(expected)
        if not data.draw(st.integers(0, 4)):
            path = data.draw(st.sampled_from(sorted(files)))
            line, *rest = files[path].split("\n")
            files[path] = "\n".join([line, *reversed(rest[:2]), *rest[2:]])


@pytest.mark.parametrize("source", _CASES)
@some
@given(data=st.data())
def test_marks_of_a_plan_that_is_kept_are_those_of_one_that_is_read(
    data: st.DataObject, source: str
) -> None:
    path, all_options, texts = _CASES[source]
    options, text = data.draw(st.sampled_from(all_options)), data.draw(texts)
    loaded, _ = outcome(path, text, source=source, options=options)
    ids = [] if loaded is None else [task.id for task in loaded.tasks]
    plan = PlanFiles(source, path, options)
    _is_written_alike(data, plan, _files(path, text), ids)


@pytest.mark.parametrize(
    ("name", "source", "setting"), REAL, ids=[name for name, _, _ in REAL]
)
@few
@given(data=st.data())
def test_marks_of_a_real_plan_that_is_kept_are_those_of_one_that_is_read(
    data: st.DataObject, name: str, source: str, setting: str
) -> None:
    loaded = read(name, setting)
    files = dict(vendored(name).files)
    plan = PlanFiles(source, loaded.path, loaded.options)
    _is_written_alike(data, plan, files, [task.id for task in loaded.tasks])


def _completed_in_order(data: st.DataObject, plan: Plan) -> dict[str, Mark]:
    """The marks of some open tasks that wait for finished ones only."""
    done = {task.id for task in plan.tasks if task.source_status is Status.COMPLETED}
    ready = [
        task.id
        for task in plan.tasks
        if task.id not in done and not task.skipped and done.issuperset(task.waits_for)
    ]
    if not ready:
        return {}
    chosen = data.draw(st.sets(st.sampled_from(ready), min_size=1, max_size=3))
    return {task_id: Mark(Status.COMPLETED, None, None, None) for task_id in chosen}


_KEEPS_PLAN = [name for name in _CASES if not formats.changes_with_marks(name)]


@pytest.mark.parametrize("source", _KEEPS_PLAN)
@some
@given(data=st.data())
def test_marks_of_finished_tasks_change_no_other_task(
    data: st.DataObject, source: str
) -> None:
    path, all_options, texts = _CASES[source]
    options, text = data.draw(st.sampled_from(all_options)), data.draw(texts)
    before, _ = outcome(path, text, source=source, options=options)
    if before is None:
        return
    marks = _completed_in_order(data, before)
    plan = PlanFiles(source, path, options)
    files = _files(path, text)
    files.update(write_marks(plan, MemoryTree(files), marks))
    if not is_as_read(plan):
        return
    after, problems = outcome(path, files, source=source, options=options)
    if source == "beads" and str(text).count(next(iter(marks), "")) > 1:
        return  # the id of a record that was deleted, which beads gives to no other
    assert after is not None, problems
    assert _others(before, marks) == _others(after, marks)


def _others(plan: Plan, marked: Mapping[str, Mark]) -> dict[str, object]:
    """What a run knows of the tasks that are not marked: with the open ones that each
    waits for, as a finished one in between may be left out.
    """
    done = {task.id for task in plan.tasks if task.source_status is Status.COMPLETED}
    done.update(marked)
    return {
        task.id: (
            task.digest,
            set(task.waits_for) - done,
            task.source_status,
            task.skipped,
        )
        for task in plan.tasks
        if task.id not in marked
    }
