"""What the tests of the pure rooms are built from: small tasks, manifests and results,
and how problems are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from runner.core.errors import InvalidInput
from runner.core.limits import Limits
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Result
from runner.core.task import AgentSettings, Plan, Task

BASE, TREE, BLOB = "b" * 40, "a" * 40, "1" * 40

# No deadline: a slow machine is not a wrong answer. No database: a test leaves nothing
# behind.
quick = settings(deadline=None, max_examples=30, database=None)


def task(task_id: str = "T1", **fields: Any) -> Task:
    return Task(**{"id": task_id, "title": f"Title of {task_id}", **fields})


def plan(*tasks: Task, path: str = "tasks.yml") -> Plan:
    return Plan(path=path, source="native", tasks=tasks)


def entry(
    one: Task | None = None, *, index: int = 0, attempt: int = 1, **fields: Any
) -> BatchEntry:
    one = one or task()
    agent = AgentSettings(command=("agent",))
    return BatchEntry(
        **{
            "index": index,
            "task": one,
            "task_digest": one.digest,
            "attempt": attempt,
            "agent": agent,
            "timeout": 60.0,
            **fields,
        }
    )


def manifest(*entries: BatchEntry, **fields: Any) -> Manifest:
    return Manifest(
        **{
            "run": "r1",
            "round": 2,
            "base": BASE,
            "plan": "tasks.yml",
            "progress": ".fanin/progress.json",
            "branch": "main",
            "commit_strategy": "batch",
            "protected": (),
            "never": (),
            "limits": Limits(),
            "entries": entries,
            **fields,
        }
    )


def result(
    of: Manifest | None = None, one: BatchEntry | None = None, **fields: Any
) -> Result:
    one = one or entry()
    of = of or manifest(one)
    return Result(
        **{
            "batch": of.batch,
            "manifest": of.digest,
            "task": one.task.id,
            "attempt": one.attempt,
            "base": of.base,
            "started": "2026-01-02T03:04:05.000Z",
            "finished": "2026-01-02T03:04:35.500Z",
            "agent": "agent",
            "succeeded": "failure" not in fields,
            **fields,
        }
    )


def problems(call: Callable[[], object]) -> list[str]:
    """The lines of the InvalidInput that `call` must raise."""
    with pytest.raises(InvalidInput) as caught:
        call()
    return [str(problem) for problem in caught.value.problems]
