"""The registry: detection, names, and formats from other packages."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest

from runner.core.errors import UsageProblem
from runner.core.task import Plan, PlanSettings, Task
from runner.plan import formats
from runner.plan.formats import Mark, MemoryTree, Options, Tree
from tests.support.builders import problems
from tests.support.trees import load


class Lines:
    """A format from another package: every line is a task."""

    name = "lines"
    options: Mapping[str, Sequence[str]] = {}

    def detect(self, path: str, tree: Tree) -> bool:
        return path.endswith(".txt")

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        lines = (tree.read(path) or "").splitlines()
        return Plan(
            path=path,
            source=self.name,
            tasks=tuple(Task(id=line, title=line) for line in lines),
        )

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        return {}


class Half:
    name = "half"

    def detect(self, path: str, tree: Tree) -> bool:
        return False


def _install(monkeypatch: pytest.MonkeyPatch, **entries_by_name: Any) -> None:
    module = ModuleType("somebody")
    entries = []
    for name, value in entries_by_name.items():
        setattr(module, name, value)
        if value is not None:
            entries.append(
                importlib.metadata.EntryPoint(name, f"somebody:{name}", "fanin.sources")
            )
        else:
            entries.append(
                importlib.metadata.EntryPoint(name, "nowhere.at.all:x", "fanin.sources")
            )
    monkeypatch.setitem(sys.modules, "somebody", module)
    monkeypatch.setattr(formats, "may_have_entry_points", lambda _: True)
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda group: entries if group == "fanin.sources" else [],
    )


def test_a_format_from_another_package_can_be_named_or_detected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _install(monkeypatch, lines=Lines)
    assert "lines" in formats.source_names()
    assert [task.id for task in load("a.txt", "A\nB\n").tasks] == ["A", "B"]
    plan = load("a.xyz", "A\n", source="lines")
    assert plan.source == "lines"
    assert formats.get_source("lines").write_back("a.xyz", MemoryTree({}), {}, {}) == {}


def test_a_plan_without_tasks_is_refused_for_every_format(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _install(monkeypatch, lines=Lines)
    assert problems(lambda: load("a.txt", "")) == [
        "a.txt:1: no tasks found; add a task, or name another plan with  --plan PATH"
    ]


def test_a_builtin_format_is_chosen_without_loading_installed_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _install(monkeypatch, broken=None, native=Lines)
    assert (
        load("tasks.yml", "version: 1\ntasks: [{id: T1, title: x}]\n").source
        == "native"
    )
    assert load("a.md", "- [ ] T001 x\n").source == "spec-kit"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "broken",
            None,
            "the plan format 'broken' (nowhere.at.all:x) cannot be loaded: ModuleNotFoundError",
        ),
        (
            "half",
            Half,
            "the plan format 'half' (somebody:half) is not a valid plan format: it lacks options, load, write_back",
        ),
        (
            "other",
            Lines,
            "the plan format 'other' (somebody:other) calls itself 'lines'",
        ),
        (
            "raises",
            lambda: 1 // 0,
            "the plan format 'raises' (somebody:raises) cannot be loaded: ZeroDivisionError",
        ),
    ],
)
def test_a_broken_format_from_another_package_is_a_usage_problem(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any, message: str
) -> None:
    _install(monkeypatch, **{name: value})
    for choice in ({}, {"source": name}):
        with pytest.raises(UsageProblem) as caught:
            load("a.txt", "A", **choice)
        assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("path", "text", "source"),
    [
        ("plan.yaml", "version: 1\ntasks: [{id: T1, title: x}]\n", "native"),
        ("plan.md", "- [ ] **T1**: x\n", "ai-sdlc"),
        ("plan.md", "- [ ] T001 x\n", "spec-kit"),
        ("plan.md", "- [ ] **T001** [P] x\n", "spec-kit"),
        ("plan.md", "- [ ] **T001**: x\n", "ai-sdlc"),
        ("any.json", '{"tasks": [{"id": 1, "title": "x"}]}', "task-master"),
        ("any.json", '{"main": {"tasks": [{"id": 1, "title": "x"}]}}', "task-master"),
        ("any.jsonl", '{"id":"a-1","title":"x","status":"open"}\n', "beads"),
    ],
)
def test_a_file_is_detected_by_its_name_and_content(
    path: str, text: str, source: str
) -> None:
    assert load(path, text).source == source
    assert load(path, text, source=source) == load(path, text)


@pytest.mark.parametrize(("folder", "file", "source"), [
    (".taskmaster", "tasks/tasks.json", "task-master"), (".beads", "issues.jsonl", "beads"),
    ("specs/1", "tasks.md", "spec-kit"), ("backlog", "tasks/task-1.md", "backlog-md"),
])  # fmt: skip
def test_a_folder_is_detected_by_its_files(folder: str, file: str, source: str) -> None:
    texts = {
        "task-master": '{"tasks": [{"id": 1, "title": "x"}]}',
        "beads": '{"id":"a-1","title":"x","status":"open"}\n',
        "spec-kit": "- [ ] T001 x\n",
        "backlog-md": "---\nid: task-1\ntitle: x\n---\n",
    }
    plan = load(folder, {f"{folder}/{file}": texts[source], f"{folder}/other.txt": ""})
    assert (plan.source, plan.path, plan.tasks[0].path) == (
        source,
        folder,
        f"{folder}/{file}",
    )


def test_only_finished_tasks_may_depend_on_missing_tasks() -> None:
    text = '{"tasks": [{"id": 1, "title": "x", "status": "done", "dependencies": [9]}, {"id": 2, "title": "y",\n'
    plan = load("tasks.json", text + ' "dependencies": [8, 1]}]}')
    assert [(task.depends_on, task.skipped) for task in plan.tasks] == [
        ((), False),
        (("1",), True),
    ]
    assert plan.notes[1:] == (
        "tasks.json: finished tasks have 1 dependency not in the plan: 9",
    )
    lenient = load(
        "tasks.json", text + ' "dependencies": [8, 1]}]}', ignore_dangling=True
    )
    assert [task.depends_on for task in lenient.tasks] == [(), ("1",)]
    assert lenient.notes[-2] == "tasks.json:1: 2 does not wait for 8: not in the plan"


def test_the_plan_keeps_the_options_it_was_read_with() -> None:
    text = '{"a": {"tasks": [{"id": 1, "title": "x"}]}, "b": {"tasks": [{"id": 1, "title": "y"}]}}'
    plan = formats.load(
        PlanSettings(path="t.json", options={"tag": "b"}), MemoryTree({"t.json": text})
    )
    assert (plan.tasks[0].title, plan.options) == ("y", {"tag": "b"})


NAMES = (
    *("TODO.md", "todo.MD", "notes.markdown", "tasks.yml", "plan.YAML", "prd.json"),
    *("features.JSON", "issues.jsonl", "x.txt", "noend", "a.b/c", ".beads", ".md"),
)
TEXTS = (
    "- [ ] T001 x\n",
    "- [ ] **T1** x\n",
    "- [ ] x\n",
    "- [ ] 1. x\n  - _Requirements: 1.1_\n",
    "development_status:\n  1-1-x: ready-for-dev\n",
    "version: 1\ntasks: []\n",
    '{"userStories": [{"id": "1", "title": "x", "passes": false}]}',
    '[{"description": "x", "passes": false}]',
    '{"master": {"tasks": [{"id": 1, "title": "x", "status": "pending"}]}}',
    '{"id": "x-1", "title": "x", "status": "open"}\n',
    "---\nid: task-1\ntitle: x\n---\n",
    "",
)


@pytest.mark.parametrize("name", NAMES)
def test_only_formats_that_cannot_detect_a_plan_are_not_tried(name: str) -> None:
    inside = ("tasks/task-1.md", "tasks.md", "issues.jsonl", "prd.json", "tasks.json")
    for text in TEXTS:
        trees = [MemoryTree({name: text})]
        trees += [MemoryTree({f"{name}/{file}": text}) for file in inside]
        for tree in trees:
            detected = [each for each in formats.sources() if each.detect(name, tree)]
            found = formats.detect(name, tree)
            assert found is (detected[0] if detected else None), (name, text)


def test_a_checklist_is_detected_without_the_formats_of_other_files() -> None:
    code = (
        "import sys; from runner.plan import formats; "
        "tree = formats.MemoryTree({'TODO.md': '- [ ] x\\n'}); "
        "print(formats.detect('TODO.md', tree).name, *sys.modules)"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    name, *modules = done.stdout.split()
    assert name == "checklist"
    others = {"bmad", "native", "json_stories", "task_master", "beads", "backlog_md"}
    assert {f"runner.plan.formats.{each}" for each in others}.isdisjoint(modules)
