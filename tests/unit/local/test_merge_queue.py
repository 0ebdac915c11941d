"""Which results of a rolling run are merged now, and which wait for others."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.core.manifest import Manifest
from runner.core.result import Result
from runner.core.task import Status, Task
from runner.local.merge_queue import MergeQueue
from runner.plan.graph import TaskGraph
from runner.plan.snapshot import Snapshot

SLOTS = 4
VERIFY_SECONDS = 60.0
START = datetime(2026, 1, 1, tzinfo=UTC)
WORK = cast(Result, SimpleNamespace(succeeded=True))
NO_WORK = cast(Result, SimpleNamespace(succeeded=False))


class Run:
    """A run whose tasks depend on those of `needs`, and its queue."""

    def __init__(self, **needs: str) -> None:
        self.time = 0.0
        self.verify_seconds: float | None = VERIFY_SECONDS
        self.draining = threading.Event()
        self.completed: set[str] = set()
        tasks = [
            Task(id=name, title=name, depends_on=tuple(needs.get(name, ())))
            for name in "ABCDEF"
        ]
        self._graph = TaskGraph(tasks, "tasks.yml")
        self.queue = MergeQueue(cast(Any, self))

    @property
    def settings(self) -> Any:
        return SimpleNamespace(max_concurrent=SLOTS)

    @property
    def lander(self) -> Any:
        return self

    @property
    def clock(self) -> Any:
        return self

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def record(self, task: Task) -> Any:
        status = Status.COMPLETED if task.id in self.completed else Status.PENDING
        return SimpleNamespace(status=status)

    def add(self, *tasks: str, result: Result = WORK, verify: str | None = "x") -> None:
        for task in tasks:
            self.queue.add(_manifest(task, verify), result)

    def due(self, verifying: Collection[str] = (), *, more_come: bool = True) -> str:
        snapshot = cast(Snapshot, SimpleNamespace(graph=self._graph, progress=self))
        found = self.queue.due(snapshot, verifying, more_come=more_come)
        return "".join(each.batch for each in found)


def _manifest(task: str, verify: str | None) -> Manifest:
    manifest = SimpleNamespace(
        batch=task,
        only_task=SimpleNamespace(id=task),
        verify=verify,
        verify_timeout=9,
        env={},
        setup=None,
        include=(),
    )
    return cast(Manifest, manifest)


def test_work_that_no_task_waits_for_is_verified_with_what_comes_soon() -> None:
    run = Run()
    run.add("A")
    assert run.due() == ""
    run.time = 20
    run.add("B")
    assert run.queue.seconds_left == 40
    run.time = 60
    assert run.due() == "AB"
    assert run.queue.seconds_left is None


def test_nothing_waits_where_no_more_comes() -> None:
    run = Run()
    run.add("A", "B")
    assert run.due(more_come=False) == "AB"


def test_nothing_waits_once_the_run_is_to_stop() -> None:
    run = Run()
    run.add("A")
    run.draining.set()
    assert run.due() == "A"


def test_nothing_waits_where_nobody_knows_how_long_verify_takes() -> None:
    run = Run()
    run.verify_seconds = None
    run.add("A")
    assert run.due() == "A"


def test_as_many_results_as_land_together_do_not_wait() -> None:
    run = Run()
    run.add("A", "B", "C")
    assert run.due() == ""
    run.add("D")
    assert run.due() == "ABCD"


def test_a_clock_that_is_set_back_makes_nothing_wait_longer() -> None:
    run = Run()
    run.add("A")
    run.time = -3600
    assert run.due() == "A"


@pytest.mark.parametrize(
    ("needs", "completed", "verifying", "due"),
    [
        ({"F": "A"}, "", "", "AB"),
        ({"F": "AB"}, "", "", "AB"),
        ({"F": "AC"}, "", "", ""),
        ({"F": "AC"}, "C", "", "AB"),
        ({"F": "AC"}, "", "C", "AB"),
        ({"F": "A"}, "F", "", ""),
    ],
)
def test_work_that_would_free_a_task_does_not_wait(
    needs: Mapping[str, str], completed: str, verifying: Sequence[str], due: str
) -> None:
    run = Run(**needs)
    run.completed = set(completed)
    run.add("A", "B")
    assert run.due(verifying) == due


def test_a_failure_is_recorded_at_once_while_work_waits() -> None:
    run = Run()
    run.add("A")
    run.add("B", result=NO_WORK)
    assert run.due() == "B"
    run.queue.remove([_manifest("B", "x")])
    assert run.queue.batches == {"A"}


def test_only_what_one_run_of_verify_can_be_about_is_verified_together() -> None:
    run = Run()
    run.add("A", "B")
    run.add("C", verify="other")
    assert run.due(more_come=False) == "AB"
