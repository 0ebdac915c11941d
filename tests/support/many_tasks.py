"""Plans of any number of tasks, in each format that is read from files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

Files = Mapping[str, str]


def _native(count: int) -> str:
    lines = [
        f"- {{id: T{n}, title: Task {n}, depends_on: [{_before(n, 'T')}]}}\n"
        for n in range(1, count + 1)
    ]
    return "version: 1\ntasks:\n" + "".join(lines)


def _before(number: int, prefix: str) -> str:
    """The id of the task that this one waits for; "" for the first."""
    return f"{prefix}{number // 2}" if number > 1 else ""


def _ai_sdlc(count: int) -> str:
    return "# Tasks\n\n" + "".join(
        f"- [ ] **T{n}**: Task {n}\n  - Dependencies: {_before(n, 'T') or 'none'}\n"
        for n in range(1, count + 1)
    )


def _spec_kit(count: int) -> str:
    """Every third task runs beside the one before it."""
    return "# Tasks\n\n## Phase 1: Setup\n\n" + "".join(
        f"- [ ] T{n:06} {'' if n % 3 else '[P] '}Task {n} in src/f{n}.py\n"
        for n in range(1, count + 1)
    )


def _openspec(count: int) -> str:
    return "".join(
        ("" if n % 10 else f"## {n // 10 + 1}. Group\n\n")
        + f"- [ ] {n // 10 + 1}.{n % 10 + 1} Task {n}\n"
        for n in range(count)
    )


def _kiro(count: int) -> str:
    return "# Plan\n\n" + "".join(
        f"- [ ] {n}. Task {n}\n  - _Requirements: 1.1_\n" for n in range(1, count + 1)
    )


def _checklist(count: int) -> str:
    return "# TODO\n\n" + "".join(f"- [ ] Task number {n}\n" for n in range(count))


def _ralph(count: int) -> str:
    stories = [
        {"id": f"US-{n}", "title": f"Story {n}", "priority": n, "passes": False}
        for n in range(count)
    ]
    return json.dumps({"project": "x", "userStories": stories}, indent=1)


def _feature_list(count: int) -> str:
    features = [
        {"category": "a", "description": f"Feature {n}", "passes": False}
        for n in range(count)
    ]
    return json.dumps(features, indent=1)


def _bmad(count: int) -> str:
    return "development_status:\n" + "".join(
        ("" if n % 100 else f"  epic-{n // 100 + 1}: backlog\n")
        + f"  {n // 100 + 1}-{n % 100 + 1}-story: ready-for-dev\n"
        for n in range(count)
    )


def _task_master(count: int) -> str:
    tasks = [
        {
            "id": n,
            "title": f"Task {n}",
            "status": "pending",
            "dependencies": [n // 2] if n > 1 else [],
        }
        for n in range(1, count + 1)
    ]
    return json.dumps({"tasks": tasks})


def _beads(count: int) -> str:
    return "".join(
        json.dumps({"id": f"bd-{n}", "title": f"Task {n}", "status": "open"}) + "\n"
        for n in range(1, count + 1)
    )


def _backlog_md(count: int) -> Files:
    return {
        f"backlog/tasks/task-{n} - Task-{n}.md": f"---\nid: task-{n}\ntitle: Task {n}\n"
        f"status: To Do\ndependencies: [{_before(n, 'task-')}]\n---\n\nDo {n}\n"
        for n in range(1, count + 1)
    }


_MAKERS: dict[str, tuple[str, Callable[[int], str | Files]]] = {
    "native": ("tasks.yml", _native),
    "ai-sdlc": ("plan.md", _ai_sdlc),
    "spec-kit": ("specs/a/tasks.md", _spec_kit),
    "openspec": ("openspec/changes/a/tasks.md", _openspec),
    "kiro": (".kiro/specs/a/tasks.md", _kiro),
    "checklist": ("TODO.md", _checklist),
    "ralph": ("prd.json", _ralph),
    "feature-list": ("feature_list.json", _feature_list),
    "bmad": ("sprint-status.yaml", _bmad),
    "task-master": ("tasks.json", _task_master),
    "beads": (".beads/issues.jsonl", _beads),
    "backlog-md": ("backlog", _backlog_md),
}
FORMATS = tuple(_MAKERS)


def plan_of(format_name: str, count: int) -> tuple[str, Files]:
    """The path of a plan with so many open tasks, and its files."""
    path, make = _MAKERS[format_name]
    made = make(count)
    return path, {path: made} if isinstance(made, str) else made
