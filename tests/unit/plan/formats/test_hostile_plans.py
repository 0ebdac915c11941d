"""Hostile input: every format refuses it with its file, in bounded time and memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.core.task import PlanSettings
from runner.plan import formats, trees
from runner.plan.trees import WorkTree
from tests.support.builders import problems
from tests.support.trees import outcome

PLANS = {
    "native": "tasks.yml",
    "ai-sdlc": "plan.md",
    "spec-kit": "tasks.md",
    "task-master": "tasks.json",
    "beads": "issues.jsonl",
    "github-issues": "issues.json",
    "backlog-md": "backlog/tasks/task-1 - x.md",
}
LARGE = 2 * 2**20

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
    "indented YAML": lambda: "\n".join(" " * depth + "a:" for depth in range(4_000)),
    "aliases": lambda: (
        "---\na: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n"
            for n in range(20)
        )
        + "---\n"
    ),
    "front matter without an end": lambda: "---\nid: task-1\n" * 100_000,
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
    "many tasks": lambda: "".join(f"- [ ] **T{n}**: a\n" for n in range(1, 20_100)),
}


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    """Two GiB of address space more than now: what needs more ends in a MemoryError,
    which fails the test.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = (
        int(Path("/proc/self/statm").read_text().split()[0])
        if Path("/proc/self/statm").exists()
        else 0
    )
    if pages:
        resource.setrlimit(
            resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * 2**30, hard)
        )
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_refused_with_its_file_in_bounded_time(name: str, kind: str) -> None:
    path = PLANS[name]
    started = time.monotonic()
    plan, found_problems = outcome(
        path.split("/")[0], {path: GARBAGE[kind]()}, source=name
    )
    assert time.monotonic() - started < 20
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
        started = time.monotonic()
        outcome(path, text)
        assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "path",
    ["tasks.yml", "plan.md", "tasks.json", "issues.jsonl", "backlog/tasks/task-1.md"],
)
def test_a_file_of_a_hundred_megabytes_is_refused_for_its_size(
    path: str, tmp_path: Path
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.truncate(100_000_000)
    choice = PlanSettings(
        path=path.split("/")[0], source="backlog-md" if "/" in path else None
    )
    started = time.monotonic()
    (message,) = problems(lambda: formats.load(choice, WorkTree(tmp_path)))
    assert time.monotonic() - started < 2
    assert message.startswith(
        f"{path}:1: 100,000,000 bytes; a plan's file may have {trees.MAX_FILE:,}; "
    )


@pytest.mark.parametrize(
    "path",
    ["tasks.yml", "plan.md", "tasks.json", "issues.jsonl", "backlog/tasks/task-1.md"],
)
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_refused_with_its_line(
    path: str, encoding: str, tmp_path: Path
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes("---\nid: é\n".encode(encoding))
    choice = PlanSettings(
        path=path.split("/")[0], source="backlog-md" if "/" in path else None
    )
    (message,) = problems(lambda: formats.load(choice, WorkTree(tmp_path)))
    assert (
        message
        == f"{path}:{1 if encoding == 'utf-16' else 2}: is not UTF-8 text; save it as UTF-8"
    )


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.yml").write_text("version: 1\ntasks: [{id: T1, title: x}]\n")
    (tmp_path / "backlog" / "tasks").mkdir(parents=True)
    for link in ("tasks.yml", "backlog/tasks/task-1.md"):
        (tmp_path / link).symlink_to(tmp_path / "secret.yml")
    tree = WorkTree(tmp_path)
    assert tree.read("tasks.yml") is None
    assert tree.list("backlog") == []
