"""The local executor with agents that sleep by a virtual clock: what runs at which time,
with real git, real threads and real merges, as fast as the machine allows.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, NamedTuple

from runner.attempt.context import AttemptContext
from runner.config.settings import load, read_settings_file
from runner.core import result_folder
from runner.core.clock import timestamp
from runner.core.events import BatchChosen, RunEvent
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Failure, FailureKind, Result
from runner.core.task import Plan, Task
from runner.local.rolling import REQUEST_INTERVAL, AttemptDone
from runner.local.run import LocalRun
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.snapshot import Snapshot
from runner.repo.pack_writer import make_pack
from runner.repo.repository import Repository
from runner.schedule.simulation import ExpectedAttempt, Simulation

# (task id, number of the attempt) → its seconds and its failure, if it fails
Outcomes = Mapping[tuple[str, int], tuple[float, Failure | None]]
_POLL = 0.001  # seconds of real time between two looks at what has happened
_LONGEST_SLEEP = 300.0  # seconds of real time; a busy machine may need minutes


class Interval(NamedTuple):
    """When an attempt ran, in seconds of virtual time since the start of the run."""

    task: str
    attempt: int
    started: float
    finished: float
    batch: int


@dataclass(order=True)
class _Sleeper:
    wakes: float
    batch: int
    index: int
    woken: threading.Event = field(compare=False, default_factory=threading.Event)


class AgentsClock:
    """A clock that moves only while every agent sleeps, and wakes one agent at a time.

    With the batch schedule, the agents move it; with the rolling one, the loop does
    when nothing is left to do, so that it has handled the end of one attempt before
    the next one ends.
    """

    def __init__(self, schedule: Literal["batch", "rolling"]) -> None:
        self._rolling = schedule == "rolling"
        self._time = 0.0
        self._began = datetime.now(UTC)
        self._lock = threading.Lock()
        self._asleep: list[_Sleeper] = []
        # attempts that were chosen and are not over, as far as the run knows
        self._open = 0

    def observe(self, event: RunEvent) -> None:
        """Count the attempts that were chosen: each of them will sleep."""
        if isinstance(event, BatchChosen):
            with self._lock:
                self._open += len(event.tasks)

    def now(self) -> datetime:
        return self._began + timedelta(seconds=self._time)

    def wait(self, event: threading.Event, seconds: float) -> None:
        raise AssertionError(f"no run here waits ({event}, {seconds} s)")

    def take(self, events: SimpleQueue[Any], seconds: float | None) -> Any:
        """The next event. If none is on its way, the next agent ends its sleep, or the
        seconds pass.
        """
        deadline = None
        if seconds not in {None, REQUEST_INTERVAL}:  # nobody asks for anything here
            assert seconds is not None
            deadline = self._time + seconds
        while True:
            try:
                event = events.get(timeout=_POLL)
            except Empty:
                with self._lock:
                    if deadline is not None and self._all_sleep_until(deadline):
                        self._time = deadline
                        return None
                    self._wake_next()
                continue
            if isinstance(event, AttemptDone):
                with self._lock:
                    self._open -= 1
            return event

    def sleep(self, batch: int, index: int, seconds: float) -> tuple[float, float]:
        """Sleep for so many seconds of virtual time; when that began and ended."""
        with self._lock:
            started = self._time
            sleeper = _Sleeper(started + seconds, batch, index)
            self._asleep.append(sleeper)
            if not self._rolling:
                self._wake_all()
        assert sleeper.woken.wait(timeout=_LONGEST_SLEEP), "an agent was never woken"
        return started, sleeper.wakes

    def verify(self, number: int, seconds: float) -> None:
        """A run of the verify command takes so long, beside the agents that work."""
        with self._lock:
            self._open += 1
        self.sleep(10**6 + number, 0, seconds)
        with self._lock:
            self._open -= 1

    def _wake_all(self) -> None:
        """Wake one after the other once the whole batch sleeps."""
        while self._asleep and self._wake_next():
            self._open -= 1

    def _all_sleep_until(self, time: float) -> bool:
        is_awake = not self._asleep or len(self._asleep) < self._open
        return not is_awake and min(self._asleep).wakes > time

    def _wake_next(self) -> bool:
        if not self._asleep or len(self._asleep) < self._open:
            return False
        sleeper = min(self._asleep)
        self._asleep.remove(sleeper)
        self._time = sleeper.wakes
        sleeper.woken.set()
        return True


class VirtualAgents:
    """Stands in for `pipeline.run_task`: the attempt sleeps, then leaves the result that
    `outcomes` says, with a changed file if it succeeds.
    """

    def __init__(self, root: Path, clock: AgentsClock, outcomes: Outcomes) -> None:
        self.intervals: list[Interval] = []
        self._clock, self._outcomes = clock, outcomes
        # Its own, so that the run's is used by nobody else.
        self._repo = Repository(root, os.environ)
        self._lock = threading.Lock()

    def run_task(
        self,
        manifest: Manifest,
        entry: BatchEntry,
        *,
        results: Path,
        attempt_context: AttemptContext,
        **_edges: object,
    ) -> Result:
        seconds, failure = self._outcomes[entry.task.id, entry.attempt]
        folder, began = results / entry.folder, timestamp()
        result_folder.begin(
            folder,
            result_folder.Attempt(
                batch=manifest.batch,
                task=entry.task.id,
                attempt=entry.attempt,
                started=began,
            ),
        )
        attempt_context.on_start(0)
        started, finished = self._clock.sleep(manifest.round, entry.index, seconds)
        if attempt_context.on_agent_exit is not None:
            attempt_context.on_agent_exit()
        with self._lock:
            self.intervals.append(
                Interval(
                    entry.task.id, entry.attempt, started, finished, manifest.round
                )
            )
            tree = None if failure else self._change(manifest, entry, folder)
        result = Result(
            batch=manifest.batch,
            manifest=manifest.digest,
            task=entry.task.id,
            attempt=entry.attempt,
            base=manifest.base,
            started=began,
            finished=timestamp(),
            agent=entry.agent.name,
            succeeded=failure is None,
            failure=failure,
            tree=tree,
            pack=result_folder.PACK if tree else None,
        )
        attempt_context.wait_until_durable()
        result_folder.finish(folder, result)
        return result

    def _change(self, manifest: Manifest, entry: BatchEntry, folder: Path) -> str:
        """Write the task's file at the root; the tree. Its pack is left in the folder."""
        files = entry.task.files or (f"/own-{entry.task.id}",)
        path = files[0].removeprefix("/")
        text = f"{entry.task.id} {entry.attempt}\n"
        with self._repo.quarantine() as quarantine:
            mode, blob = quarantine.write_blob(text.encode())
            tree = quarantine.write_tree(manifest.base, {path: (mode, blob)})
            objects = quarantine.read([blob, tree])
        pack = make_pack(objects, "sha1")
        (folder / result_folder.PACK).write_bytes(pack)
        return tree


def in_order(
    intervals: list[Interval], position: Callable[[str], int]
) -> list[Interval]:
    """By batch, and in a batch in plan order: the order in which they were chosen."""
    return sorted(intervals, key=lambda each: (each.batch, position(each.task)))


@dataclass(frozen=True)
class Case:
    """A plan, what its attempts will do, and the settings of a run."""

    tasks: tuple[Task, ...]
    outcomes: Outcomes
    schedule: Literal["batch", "rolling"]
    slots: int
    max_attempts: int
    settings: Mapping[str, Any] = field(default_factory=dict)  # further ones

    def expected(self, task: Task, attempt: int) -> ExpectedAttempt:
        return ExpectedAttempt(*self.outcomes[task.id, attempt])


_FILES = (None, None, None, ("/a",), ("/b",), ("/c", "/a"))


def random_case(seed: int) -> Case:
    """A plan of 2 to 12 tasks: dependencies, priorities, estimates that are wrong, files
    that overlap, attempts that fail, for good too, and ends at the same second.
    """
    drawn = random.Random(seed)
    max_attempts = drawn.randint(1, 3)
    tasks: list[Task] = []
    outcomes: dict[tuple[str, int], tuple[float, Failure | None]] = {}
    for index in range(drawn.randint(2, 12)):
        earlier = [task.id for task in tasks]
        needs = drawn.sample(earlier, min(len(earlier), drawn.choice((0, 0, 1, 2))))
        task = Task(
            id=f"T{index}",
            title="x",
            depends_on=tuple(needs),
            files=drawn.choice(_FILES),
            priority=drawn.choice((0, 0, 0, 1)),
            estimate=drawn.choice((None, 60.0, 300.0)),
        )
        tasks.append(task)
        for attempt in range(1, max_attempts + 1):
            failure = None
            if drawn.random() < 0.2:
                failure = Failure(
                    kind=FailureKind.AGENT_ERROR,
                    message=f"{task.id} {attempt}",
                    retryable=drawn.random() < 0.8,
                )
            outcomes[task.id, attempt] = (float(drawn.randint(1, 9)), failure)
    return Case(
        tuple(tasks),
        outcomes,
        "rolling" if seed % 2 else "batch",
        drawn.randint(1, 4),
        max_attempts,
    )


def simulated(case: Case) -> list[Interval]:
    """What the simulation of the case says."""
    plan = Plan(path="tasks.yml", source="native", tasks=case.tasks)
    graph = TaskGraph(plan.tasks, plan.path)
    snapshot = Snapshot("", plan, graph, Progress(plan.path))
    simulation = Simulation(snapshot, case.max_attempts, case.expected)
    run = simulation.run(case.schedule, case.slots)
    return [Interval(*attempt) for attempt in run.attempts]


def real(case: Case, root: Path) -> list[Interval]:
    """What a run of the case does in a repository at `root`, which is made."""
    _make_repository(case, root)
    clock = AgentsClock(case.schedule)
    agents = VirtualAgents(root, clock, case.outcomes)
    repo = Repository(root, os.environ)
    settings = load({}, {}, read_settings_file(root))
    outcome = LocalRun(
        repo, settings, os.environ, clock, clock=clock, run_task=agents.run_task
    )()
    assert outcome.stop_reason is None, outcome.stop_reason
    return in_order(agents.intervals, outcome.snapshot.graph.position)


def _make_repository(case: Case, root: Path) -> None:
    tasks = [each.model_dump(mode="json", exclude_defaults=True) for each in case.tasks]
    settings = {
        "agent": {"command": ["true"]},
        "schedule": case.schedule,
        "parallel": True,
        "sandbox": "off",
        "max_concurrent": case.slots,
        "max_attempts": case.max_attempts,
        **case.settings,
    }
    root.mkdir(parents=True)
    plan = {"version": 1, "tasks": tasks}
    (root / "tasks.yml").write_text(json.dumps(plan))
    (root / "fanin.yml").write_text(json.dumps(settings))
    for argv in (
        ("init", "-q", "-b", "main", "--template="),
        ("add", "-A"),
        ("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "start"),
    ):
        subprocess.run(("git", *argv), cwd=root, check=True)
