"""What a task of a long plan costs does not grow with the plan: records that have not
changed are not looked at again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
import yaml

from runner.plan import progress_file
from runner.plan.progress import Progress
from runner.plan.records import Record
from tests.support.project import Project

SMALL, LARGE = 12, 36


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a record is looked at, compared, read and written."""
    counts: Counter[str] = Counter()
    for owner, name in [
        (Progress, "record"),
        (Record, "__eq__"),
        (progress_file, "_record_in"),
        (progress_file, "_text"),
        (progress_file, "_entry"),
    ]:
        monkeypatch.setattr(owner, name, _counted(getattr(owner, name), name, counts))
    return counts


def _counted(
    call: Callable[..., Any], name: str, counts: Counter[str]
) -> Callable[..., Any]:
    @wraps(call)
    def counted(*args: Any) -> Any:
        counts[name] += 1
        return call(*args)

    return counted


def _task(task_id: str) -> dict[str, object]:
    return {"id": task_id, "title": task_id, "allow_empty": True}


@pytest.mark.parametrize(
    ("schedule", "plans"), [("rolling", 1), ("batch", 1), ("batch", 2)]
)
def test_what_is_done_with_records_grows_with_the_tasks_alone(
    project: Project, counts: Counter[str], schedule: str, plans: int
) -> None:
    settings = {
        "agent": {"command": ["true"]},
        "schedule": schedule,
        "max_concurrent": 4,
        "limits": {"max_rounds": 100},
    }
    seen = {}
    for size in (SMALL, LARGE):
        tasks = [_task(f"S{size}-{number}") for number in range(size)]
        first, others = tasks[: size // plans], tasks[size // plans :]
        names = ["tasks.yml"]
        if others:
            names.append("others.yml")
            text = yaml.safe_dump({"version": 1, "tasks": others})
            project.write("others.yml", text)
        project.plan(first, plan=names, progress=f"{size}.json", **settings)
        counts.clear()
        project.run()
        seen[size] = dict(counts)
    assert seen[LARGE].keys() == seen[SMALL].keys()
    for name, small in seen[SMALL].items():
        # per task: a look at all records for each landing would make this threefold
        assert seen[LARGE][name] / LARGE < 1.5 * small / SMALL, name
