"""Helpers for tests of plan formats: vendored plans, loading and marking a text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from runner.core.errors import InvalidInput, Problem
from runner.core.task import Plan, PlanSettings, Status
from runner.plan import formats
from runner.plan.formats import Mark, MemoryTree
from runner.plan.graph import TaskGraph

VENDORED = Path(__file__).parents[2] / "tests" / "resources" / "plans"


@cache
def vendored(name: str) -> MemoryTree:
    """A vendored file, or all files of a vendored folder, with line ends as they are."""
    root = VENDORED / name
    files = (
        sorted(file for file in root.rglob("*") if file.is_file())
        if root.is_dir()
        else [root]
    )
    return MemoryTree(
        {str(file.relative_to(VENDORED)): file.read_bytes().decode() for file in files}
    )


def load(path: str, text: str | Mapping[str, str], **choice: object) -> Plan:
    """The plan at `path` of one text, or of several files."""
    files = {path: text} if isinstance(text, str) else text
    return formats.load(
        PlanSettings.model_validate({"path": path, **choice}), MemoryTree(files)
    )


def outcome(
    path: str, text: str | Mapping[str, str], **choice: object
) -> tuple[Plan | None, tuple[Problem, ...]]:
    """The plan, or None and its problems; any other exception is a bug."""
    try:
        return load(path, text, **choice), ()
    except InvalidInput as error:
        return None, error.problems


def checked(plan: Plan) -> TaskGraph:
    return TaskGraph(plan.tasks, plan.path)


def mark(plan: Plan, tree: MemoryTree, marks: Mapping[str, Status]) -> dict[str, str]:
    """The files that change when these statuses are written back."""
    marks_by_id = {task_id: Mark(status) for task_id, status in marks.items()}
    return dict(
        formats.get_source(plan.source).write_back(
            plan.path, tree, marks_by_id, plan.options
        )
    )
