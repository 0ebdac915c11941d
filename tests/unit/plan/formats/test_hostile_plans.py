"""Hostile input: every format refuses it with its file, in bounded time and memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.core.task import PlanSettings
from runner.plan import formats, trees
from runner.plan.trees import WorkTree
from tests.support.builders import problems


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
        f"{path}:1: the file has 100,000,000 bytes; the limit for a plan is {trees.MAX_FILE:,}; "
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
