"""Paths of several plans: patterns and names."""

from __future__ import annotations

import pytest

from runner.core import plan_paths


@pytest.mark.parametrize(
    ("part", "path", "expected"),
    [
        ("specs/*/tasks.md", "specs/a/tasks.md", True),
        ("specs/*/tasks.md", "specs/a/b/tasks.md", False),
        ("specs/**/tasks.md", "specs/tasks.md", True),
        ("specs/**/tasks.md", "specs/a/b/tasks.md", True),
        ("a?.md", "ab.md", True),
        ("a?.md", "a/.md", False),
        ("a.md", "abmd", False),
        ("specs/**", "specs/a/b", True),
    ],
)
def test_a_pattern_names_paths(part: str, path: str, expected: bool) -> None:
    assert plan_paths.matches(part, path) is expected


def test_a_list_covers_its_plans_and_what_is_in_their_folders() -> None:
    text = "specs/*/tasks.md, backlog"
    assert plan_paths.covers(text, "specs/a/tasks.md")
    assert plan_paths.covers(text, "backlog/tasks/task-1.md")
    assert not plan_paths.covers(text, "specs/a/plan.md")
    assert plan_paths.fixed_folder("specs/*/tasks.md") == "specs"
    assert plan_paths.fixed_folder("*.md") == "."


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["TODO.md", "docs/TODO.md"], ["TODO", "docs"]),
        (["a/x/tasks.md", "b/x/tasks.md"], ["a-x", "b-x"]),
        ([".taskmaster", ".beads/issues.jsonl"], ["taskmaster", "beads"]),
        ([".taskmaster/tasks/tasks.json", "prd.json"], ["taskmaster", "prd"]),
        (["a/tasks.md", "a/plan.md"], ["a-tasks.md", "a-plan.md"]),
        (["openspec/changes/add-x/tasks.md", "web/plan.md"], ["add-x", "web"]),
    ],
)
def test_plans_are_named_by_their_file_or_folder(
    paths: list[str], names: list[str]
) -> None:
    assert list(plan_paths.names(paths).values()) == names
