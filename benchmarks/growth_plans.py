"""Plans of any number of tasks, in the formats whose files people keep.

Each task's id ends in two digits. A task that names a file names the one that
`made_file` gives, which its agent writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

Files = Mapping[str, str]

CHANGE = "openspec/changes/all/tasks.md"
SPRINT = "_bmad-output/implementation-artifacts/sprint-status.yaml"
FEATURE = "specs/001-all"
KIRO_SPEC = ".kiro/specs/all/tasks.md"
FEATURES = "feature_list.json"
BEADS = ".beads/issues.jsonl"
ISSUES = ".fanin/issues.json"
FILES = 100  # that tasks take turns to write
_EPIC, _PHASE = 10, 10  # tasks of each
# Of a format with bare numbers, whose ids shall have two digits at least.
_FIRST_NUMBER = 101
_SENTENCE = "Read the settings, check each of them, and say which line is wrong. "


def task_id(number: int) -> str:
    return f"T{number:05}"


def made_file(number: int) -> str:
    return f"made/{number % FILES:02}.py"


def checklist(tasks: int) -> Files:
    return {"TODO.md": "".join(f"- [ ] Do {task_id(n)}\n" for n in range(tasks))}


def openspec(tasks: int) -> Files:
    lines = "".join(f"- [ ] Do {task_id(n)}\n" for n in range(tasks))
    return {CHANGE: f"## 1. All\n\n{lines}"}


def ralph(tasks: int) -> Files:
    stories = [
        {"id": task_id(n), "title": f"story {n}", "priority": n, "passes": False}
        for n in range(tasks)
    ]
    return {"prd.json": json.dumps({"userStories": stories}, indent=2)}


def feature_list(tasks: int) -> Files:
    features = [
        {
            "category": "functional",
            "description": f"Feature {n:05}",
            "steps": [f"Step {step}: {_SENTENCE}" for step in range(3)],
            "passes": False,
        }
        for n in range(tasks)
    ]
    return {FEATURES: json.dumps(features, indent=2)}


def backlog_md(tasks: int) -> Files:
    return {
        f"backlog/tasks/task-{n:05} - Do-it.md": f"---\nid: task-{n:05}\n"
        f"title: Do {n}\nstatus: To Do\n---\n\nDo it.\n"
        for n in range(tasks)
    }


def bmad(tasks: int) -> Files:
    """Ten stories an epic, and a file for each story."""
    lines = ["development_status:"]
    folder = SPRINT.rpartition("/")[0]
    files = {}
    for number in range(tasks):
        epic, story = divmod(number, _EPIC)
        if story == 0:
            lines.append(f"  epic-{epic + 1}: in-progress")
        key = f"{epic + 1}-{story + 1}-story-{number:05}"
        lines.append(f"  {key}: ready-for-dev")
        files[f"{folder}/{key}.md"] = _story(number)
    return {SPRINT: "\n".join([*lines, ""]), **files}


def _story(number: int) -> str:
    criteria = "".join(f"{each}. {_SENTENCE}\n" for each in range(1, 6))
    steps = "".join(f"- [ ] Task {each} (AC: {each})\n" for each in range(1, 6))
    return (
        f"# Story {number}\n\nStatus: ready-for-dev\n\n"
        f"## Story\n\nAs a maintainer,\nI want {number},\nso that it is done.\n\n"
        f"## Acceptance Criteria\n\n{criteria}\n## Tasks / Subtasks\n\n{steps}\n"
        f"## Dev Notes\n\n{_SENTENCE * 10}\n"
    )


def task_master(tasks: int) -> Files:
    """Every second task waits for the one before it."""
    records = [
        {
            "id": number,
            "title": f"Task {number}",
            "description": _SENTENCE,
            "status": "pending",
            "priority": "medium",
            "dependencies": [number - 1] if number % 2 == 0 else [],
            "details": _SENTENCE * 3,
            "testStrategy": _SENTENCE,
            "subtasks": [
                {"id": each, "title": f"Part {each}", "status": "pending"}
                for each in (1, 2, 3)
            ],
        }
        for number in _numbers(tasks)
    ]
    plan = {"master": {"tasks": records, "metadata": {"description": "All"}}}
    return {".taskmaster/tasks/tasks.json": json.dumps(plan, indent=2)}


def beads(tasks: int) -> Files:
    """Ten issues an epic, of which every second waits for the one before it."""
    lines: list[dict[str, object]] = []
    for number in range(tasks):
        epic = f"app-epic-{number // _EPIC}"
        if number % _EPIC == 0:
            lines.append({"id": epic, "title": epic, "issue_type": "epic"})
        name = f"app-{number:05}"
        needs = [{"depends_on_id": epic, "type": "parent-child"}]
        if number % 2:
            needs.append({"depends_on_id": f"app-{number - 1:05}", "type": "blocks"})
        issue: dict[str, object] = {
            "id": name,
            "title": f"Do {number}",
            "description": _SENTENCE * 3,
            "issue_type": "task",
            "dependencies": [{"issue_id": name, **need} for need in needs],
        }
        lines.append(issue)
    common = {"status": "open", "priority": 2, "created_at": "2026-01-01T00:00:00Z"}
    text = "".join(f"{json.dumps({**line, **common})}\n" for line in lines)
    return {BEADS: text}


def spec_kit(tasks: int) -> Files:
    """Ten tasks a phase, of which all but the first run side by side."""
    lines = ["# Tasks: All\n"]
    for number in range(tasks):
        phase, position = divmod(number, _PHASE)
        if position == 0:
            lines.append(f"\n## Phase {phase + 1}: Part {phase + 1}\n")
        parallel = "[P] " if position else ""
        lines.append(
            f"- [ ] {task_id(number)} {parallel}Do {number} in {made_file(number)}"
        )
    documents = ("plan.md", "spec.md", "data-model.md", "research.md")
    return {
        f"{FEATURE}/tasks.md": "\n".join([*lines, ""]),
        **{
            f"{FEATURE}/{name}": f"# {name}\n\n{_SENTENCE * 50}\n" for name in documents
        },
    }


def kiro(tasks: int) -> Files:
    lines = [
        f"- [ ] {n}. Do {n}\n  - {_SENTENCE}\n  - _Requirements: 1.1, 1.2_\n"
        for n in _numbers(tasks)
    ]
    return {KIRO_SPEC: "\n".join(["# Implementation Plan\n", *lines])}


def ai_sdlc(tasks: int) -> Files:
    """Ten tasks a phase, of which every second waits for the one before it."""
    lines = ["# Implementation Plan\n"]
    for number in _numbers(tasks):
        phase, position = divmod(number - _FIRST_NUMBER, _PHASE)
        if position == 0:
            lines.append(f"\n## Phase {phase + 1}: Part {phase + 1}\n")
        needs = f"T{number - 1}" if number % 2 == 0 else "none"
        lines.append(
            f"- [ ] **T{number}**: Do {number}\n"
            f"  - Files: `{made_file(number)}`\n  - Dependencies: {needs}"
        )
    return {"plan.md": "\n".join([*lines, ""])}


def github_issues(tasks: int) -> Files:
    issues = [
        {
            "number": number,
            "title": f"Issue {number}",
            "body": f"{_SENTENCE * 5}\n\n### Files\n\n{made_file(number)}\n",
            "url": f"https://github.com/o/r/issues/{number}",
            "labelled_by": "maintainer",
            "labelled_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
        }
        for number in _numbers(tasks)
    ]
    file = {
        "fanin": "github-issues",
        "version": 1,
        "repository": "o/r",
        "label": "fanin",
        "issues": issues,
    }
    return {ISSUES: json.dumps(file, indent=1)}


def _numbers(tasks: int) -> range:
    return range(_FIRST_NUMBER, _FIRST_NUMBER + tasks)


def lines(tasks: int) -> Files:
    """In the format of another package; see `line_format`."""
    return {"plan.lines": "".join(f"[ ] {task_id(n)} Do {n}\n" for n in range(tasks))}
