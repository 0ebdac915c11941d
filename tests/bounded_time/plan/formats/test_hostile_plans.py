"""Inputs that an attacker would choose for plan.formats.hostile plans take bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from runner.core.errors import InvalidInput
from runner.plan.formats import MemoryTree, detect
from tests.support.trees import outcome

PLANS = {
    "native": "tasks.yml",
    "ai-sdlc": "plan.md",
    "spec-kit": "tasks.md",
    "openspec": "openspec/changes/a/tasks.md",
    "kiro": "kiro.md",
    "checklist": "TODO.md",
    "ralph": "prd.json",
    "feature-list": "feature_list.json",
    "bmad": "sprint-status.yaml",
    "task-master": "tasks.json",
    "beads": "issues.jsonl",
    "github-issues": "issues.json",
    "backlog-md": "backlog/tasks/task-1 - x.md",
}


LARGE = 2 * 2**20
MAX_SECONDS = 10  # of processor time; the longest takes about two seconds

# Sizes at which time or memory that grows with the square would show.
GARBAGE: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "blank lines": lambda: "\n" * 100_000,
    "one byte": lambda: "x",
    "only NUL": lambda: "\0" * 100_000,
    "only a byte order mark": lambda: "\ufeff",
    "one line": lambda: "x" * LARGE,
    "brackets": lambda: "[" * LARGE,
    "braces": lambda: '{"a":' * (LARGE // 5),
    "nested YAML": lambda: "version: 1\ntasks:\n" + "- " * 50_000 + "x\n",
    "indented YAML": lambda: "\n".join(" " * depth + "a:" for depth in range(2_000)),
    "aliases": lambda: (
        "---\na: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n"
            for n in range(20)
        )
        + "---\n"
    ),
    "front matter without an end": lambda: "---\nid: task-1\n" * 25_000,
    "open fences": lambda: "```json\n" * 20_000,
    "open comments": lambda: "<!-- a\n" * 100_000,
    "blanks": lambda: "# " + " " * 90_000 + "x",
    "hashes": lambda: "# " + "# " * 40_000 + "x",
    "open parentheses": lambda: (
        "- [ ] **T1**: a\n  - Dependencies: " + "(" * 90_000 + "\n"
    ),
    "nested remarks": lambda: (
        "- [ ] **T1**: a\n  - Dependencies: " + "(" * 3_000 + ")" * 3_000 + "\n"
    ),
    "arrows": lambda: "- [ ] T001 a\n## Dependencies\n" + "T001 → " * 10_000,
    "after after": lambda: "- [ ] T001 " + "(after T1" * 10_000,
    "a wide phase": lambda: (
        "".join(f"- [ ] T{n:05d} [P] a\n" for n in range(5_000))
        + "## Phase 2\n"
        + "".join(f"- [ ] T{n:05d} [P] a\n" for n in range(5_000, 10_000))
    ),
    "more tasks than a plan may have": lambda: (
        "version: 1\ntasks:\n" + "- {id: T, title: a}\n" * 100_001
    ),
    "boxes with one text": lambda: "- [ ] a\n" * 12_500,
    "open labels": lambda: ("**" * 40_000 + "\n- [ ] a\n") + "**a " * 20_000 + "\n",
    "nested boxes": lambda: "".join(f"{' ' * n}- [ ] a\n" for n in range(2_000)),
    "quoted boxes": lambda: ">" * 90_000 + "- [ ] a\n" + "> " * 40_000 + "\n",
    "headings of criteria": lambda: "# " + "1." * 40_000 + "\n- [ ] a\n",
    "words of headings": lambda: "## " + "a " * 45_000 + "\n- [ ] a\n" * 100,
    "many stories": lambda: (
        '[{"title": "a", "passes": false, "dependsOn": "b"}'
        + ', {"title": "a", "passes": false}' * 6_000
        + "]"
    ),
    "one long story": lambda: '[{"title": "' + "a. " * 200_000 + '", "passes": false}]',
    "many statuses": lambda: (
        "development_status:\n"
        + "".join(f"  1-{n}-a: ready-for-dev\n" for n in range(5_000))
    ),
    "ranges of dependencies": lambda: "".join(
        f"- [ ] **T{n}**: a\n  - Dependencies: T1-T{n - 1}\n" for n in range(2, 300)
    ),
    "many plans in a story": lambda: (
        "## Implementation Plan\n### Phase 1\n- [ ] **T1**: a\n" * 5_000
    ),
    "long tables": lambda: (
        "- [ ] **T1**: a\n## Task Progress\n| Task | Status |\n|---|---|\n"
        + "| T1 | pending |\n" * 20_000
    ),
    "many tasks": lambda: "".join(f"- [ ] **T{n}**: a\n" for n in range(1, 5_000)),
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_refused_with_its_file_in_bounded_time(name: str, kind: str) -> None:
    path = PLANS[name]
    started = time.process_time()
    plan, found_problems = outcome(
        path.split("/")[0], {path: GARBAGE[kind]()}, source=name
    )
    assert time.process_time() - started < MAX_SECONDS
    if plan is None:
        assert found_problems
        assert all(
            problem.path.startswith(path.split("/")[0]) for problem in found_problems
        )
    else:
        assert plan.tasks


@pytest.mark.parametrize("kind", GARBAGE)
def test_detection_of_garbage_takes_bounded_time(kind: str) -> None:
    text = GARBAGE[kind]()
    for path in ("tasks.yml", "plan.md", "x.json", "x.jsonl"):
        started = time.process_time()
        # What is detected is read in the test above.
        with suppress(InvalidInput):
            detect(path, MemoryTree({path: text}))
        assert time.process_time() - started < MAX_SECONDS
