"""Marks that are written into what was written last."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from runner.core.task import Status
from runner.plan import formats
from runner.plan.formats import Mark, MemoryTree
from runner.plan.marking import PlanFiles, write_marks, write_once
from tests.support import many_tasks
from tests.support.counted_calls import counted_calls
from tests.support.trees import load

DONE = Mark(Status.COMPLETED)
TODO = PlanFiles("checklist", "TODO.md", {})
# A folder of files is compared by the ids of its trees: see test_trees.
MARKED = [
    each.name
    for each in formats.sources()
    if hasattr(each, "marker") and each.name != "backlog-md"
]


def _calls_of_a_mark(source: str, count: int) -> int:
    path, files = many_tasks.plan_of(source, count)
    ids = [task.id for task in load(path, files, source=source).tasks]
    plan, texts = PlanFiles(source, path, {}), dict(files)
    # One before the marks that are counted, in front of them.
    for task_id in (ids[0], ids[1], ids[count // 2]):
        with counted_calls() as calls:
            written = write_marks(plan, MemoryTree(texts), {task_id: DONE})
        assert written
        texts |= written
    return calls.count


@pytest.mark.parametrize("source", MARKED)
def test_the_next_mark_is_as_much_work_in_a_longer_plan(source: str) -> None:
    few, many = (_calls_of_a_mark(source, count) for count in (50, 1_000))
    assert many <= few + 5


def _tick(text: str, *task_ids: str) -> str:
    marks = dict.fromkeys(task_ids, DONE)
    return write_marks(TODO, MemoryTree({TODO.path: text}), marks)[TODO.path]


def test_what_a_person_has_changed_meanwhile_is_read() -> None:
    text = _tick("- [ ] one\n- [ ] two\n", "one")
    edited = text.replace("- [ ] two", "- [ ] new\n- [ ] two")
    assert _tick(edited, "two") == "- [x] one\n- [ ] new\n- [x] two\n"


def test_marks_on_an_earlier_version_are_written_into_that() -> None:
    text = "- [ ] one\n- [ ] two\n"
    _tick(text, "one")
    assert _tick(text, "two") == "- [ ] one\n- [x] two\n"


def test_another_file_that_decides_where_the_plan_is_is_read() -> None:
    plan = PlanFiles("kiro", "spec", {})
    inside = {"spec/tasks.md": "- [ ] 1. One\n- [ ] 2. Two\n"}
    files = {**inside, **write_marks(plan, MemoryTree(inside), {"1": DONE})}
    files["spec"] = "- [ ] 2. Two\n"
    assert write_marks(plan, MemoryTree(files), {"2": DONE}) == {
        "spec": "- [x] 2. Two\n"
    }


def _stories(*words: str) -> str:
    stories = [{"id": f"S{n}", "title": "x", "status": w} for n, w in enumerate(words)]
    return json.dumps({"userStories": stories})


def _by_key(word: str) -> str:
    stories = {"K1": {"title": "A", "status": ""}, "K2": {"title": "B", "status": word}}
    return json.dumps({"userStories": stories})


def _issues(*statuses: str) -> str:
    lines = [{"id": "b-1", "title": "x", "status": status} for status in statuses]
    return "\n".join(map(json.dumps, lines))


def _same_ids(*words: str) -> str:
    tasks = [{"id": 1, "title": "x", "status": word} for word in words]
    return json.dumps({"tasks": tasks})


OPTIONAL = "- [x] a (optional)\n- [ ] b\n"
NESTED = "- [x] a\n  - [ ] b\n"
WITH_PARTS = "- [x] a\n  - [x] part\n- [ ] b\n"
STRUCK = "- [x] ~~a~~\n- [ ] b\n"
OF_TWO_WIDTHS = "- [] a\n- [ ] b\n"
AI_SDLC = "- [ ] **T1**: a\n- [ ] **T2**: b\n"
PROGRESS = "\n## Task Progress\n\n| Task | Status |\n|---|---|\n| T1 | pending |\n"
TABLE = AI_SDLC + PROGRESS
AI_SDLC_TWICE = f"- [x] **T1**: a\n- [ ] **T1**: b\n{PROGRESS}"
DEEP_PART = "- [x] a\n  - text\n    - [] part\n- [ ] b\n"
TASK_FILE = "---\nid: task-1\nstatus: To Do\n---\n"
TWO_FILES = dict.fromkeys([f"backlog/tasks/task-1 - {n}.md" for n in "ab"], TASK_FILE)
NO_YAML = {
    "backlog/tasks/task-1.md": TASK_FILE,
    "backlog/config.yml": "statuses: [To Do, 'so: done']\n",
}
FIRST = "openspec/changes/a/tasks.md"
SECOND = "openspec/changes/b/tasks.md"


# Where marks decide more than the state of their own task, what is marked one after the
# other: `-` before the id of a task that is open again.
@pytest.mark.parametrize(
    ("source", "path", "files", "marks"),
    [
        ("checklist", "TODO.md", OPTIONAL, ["-a-optional", "a-optional"]),
        ("checklist", "TODO.md", NESTED, ["b", "-b"]),
        ("checklist", "TODO.md", WITH_PARTS, ["-a", "part", "a"]),
        ("checklist", "TODO.md", DEEP_PART, ["a", "a"]),
        ("openspec", FIRST, STRUCK, ["-a", "a"]),
        ("openspec", FIRST, OF_TWO_WIDTHS, ["a", "-a", "a"]),
        ("kiro", ".kiro/specs/a/tasks.md", "- [x]* 1. a\n- [ ] 2. b\n", ["-1", "1"]),
        ("spec-kit", "tasks.md", "- [ x ] T001 a\n- [ ] T002 b\n", ["-T001", "T001"]),
        ("spec-kit", "tasks.md", "- [x] T001 a\n- [ ] T002 b\n", ["-T001", "T002"]),
        ("ai-sdlc", "p.md", AI_SDLC, ["T1", "T2", "-T1"]),
        ("ai-sdlc", "p.md", TABLE, ["T1", "T2", "-T1", "T1"]),
        ("ai-sdlc", "p.md", AI_SDLC_TWICE, ["T1", "-T1"]),
        ("ralph", "prd.json", _stories("done", "complete", "done"), ["-S0", "S0"]),
        ("ralph", "prd.json", _stories("todo", "done"), ["-S1", "S0", "S1", "-S0"]),
        ("ralph", "prd.json", _by_key("todo"), ["a", "-a", "-K1"]),
        ("task-master", "tasks.json", _same_ids("done", "pending"), ["1", "-1"]),
        ("beads", "issues.jsonl", _issues("closed", "open"), ["b-1", "-b-1"]),
        ("backlog-md", "backlog", TWO_FILES, ["task-1", "task-1"]),
        ("backlog-md", "backlog", NO_YAML, ["task-1", "-task-1"]),
        ("openspec", "openspec", {FIRST: "- [ ] a\n", SECOND: "- [x] a\n"}, ["a", "-a"]),
    ],
)  # fmt: skip
def test_a_mark_that_decides_what_the_tasks_are_is_read(
    source: str, path: str, files: str | dict[str, str], marks: list[str]
) -> None:
    texts = {path: files} if isinstance(files, str) else dict(files)
    plan = PlanFiles(source, path, {})
    for name in marks:
        status = Status.FAILED if name.startswith("-") else Status.COMPLETED
        mark = {name.removeprefix("-"): Mark(status)}
        expected = write_once(plan, MemoryTree(texts), mark)
        assert write_marks(plan, MemoryTree(texts), mark) == expected
        texts.update(expected)


@pytest.mark.parametrize("write", [write_once, write_marks])
def test_a_format_of_another_package_needs_no_marker(
    write: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lines:
        def write_back(self, *_: object) -> dict[str, str]:
            return {"a": "b"}

    monkeypatch.setattr(formats, "get_source", lambda name: Lines())
    assert write(PlanFiles("lines", "a", {}), MemoryTree({}), {}) == {"a": "b"}
