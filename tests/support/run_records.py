"""Runs as a report takes them: of any number of tasks, with logs and diffs of full length."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from runner.core.events import (
    AttemptEnded,
    AttemptStarted,
    CommitLanded,
    PhaseChanged,
    PlannedTask,
    PlanRead,
    ResultMerged,
    ResultRefused,
    RunEnded,
    RunEvent,
    RunStarted,
    VerifyEnded,
    VerifyStarted,
    Waiting,
)
from runner.core.result import Failure, FailureKind, Usage
from runner.report import timeline
from runner.report.data import RunRecord, TaskRecord, state_in_run
from runner.report.texts import Excerpt, diff_start, log_end

START = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)
RUN = "20260304-090000-1f2e"
_WORDS = [
    "parse",
    "cache",
    "index",
    "the",
    "token",
    "stream",
    "reader",
    "writer",
    "of",
    "a",
    "plan",
    "and",
    "its",
    "tests",
    "add",
    "remove",
    "rename",
    "split",
    "merge",
    "retry",
    "limit",
    "error",
    "message",
    "table",
    "column",
    "schema",
    "route",
    "handler",
    "query",
]


def record(tasks: int, slots: int = 8, *, diff: int = 1_000) -> RunRecord:
    """A run of so many tasks in layers, with diffs of so many bytes. Some fail, some are
    tried twice, and once the run waits.
    """
    maker = _Maker(random.Random(1), tasks, slots)
    events = maker.events()
    view, times = timeline.read(events)
    records = []
    for number, planned in enumerate(maker.planned):
        state, reason = state_in_run(view, planned.task)
        known = view.tasks.get(planned.task)
        records.append(
            TaskRecord(
                id=planned.task,
                title=planned.title,
                depends_on=planned.depends_on,
                state="blocked" if known is None else state,
                reason=reason if known else "by a task that has failed",
                prompt=maker.prose(60),
                attempts=known.attempts if known else (),
                log=Excerpt(maker.log(200), is_whole=False) if known else Excerpt(""),
                diff=Excerpt(maker.diff(number, diff), is_whole=number % 2 > 0),
                diff_origin="landed in 1a2b3c4",
            )
        )
    made = datetime.fromtimestamp(times.end, UTC)
    return RunRecord(RUN, "main", "tasks.yml", view, times, records, made)


class _Maker:
    def __init__(self, random_: random.Random, tasks: int, slots: int) -> None:
        self._random, self._slots = random_, slots
        self._events: list[RunEvent] = []
        lengths = random_.choices(range(2, 10), k=3_000)
        self._lines = [self.prose(length) for length in lengths]
        width = max(2, round((tasks / 2) ** 0.5))
        self.planned: list[PlannedTask] = []
        for number in range(tasks):
            before = [*range(max(0, number - 2 * width), max(0, number - width // 2))]
            count = min(len(before), random_.choice((0, 1, 1, 2, 3)))
            needs = sorted(random_.sample(before, count))
            self.planned.append(
                PlannedTask(
                    task=f"T{number + 1:03}",
                    title=self.prose(random_.randint(3, 7)),
                    state="ready" if not needs else "pending",
                    depends_on=tuple(f"T{each + 1:03}" for each in needs),
                )
            )

    def prose(self, words: int) -> str:
        return " ".join(self._random.choices(_WORDS, k=words))

    def log(self, lines: int) -> str:
        return "\n".join(self._random.choices(self._lines, k=lines))

    def diff(self, number: int, length: int) -> str:
        path = f"src/module_{number}.py"
        lines = [f"diff --git a/{path} b/{path}", f"--- a/{path}", f"+++ b/{path}"]
        size = 0
        while size < length:
            lines.append(f"@@ -{len(lines)},4 +{len(lines)},5 @@")
            for sign in " -+++ ":
                lines.append(f"{sign}    {self._random.choice(self._lines)}")
                size += len(lines[-1])
        return "\n".join(lines)

    def events(self) -> Sequence[RunEvent]:
        """The run by the rolling schedule, each task on the first slot that is free."""
        self._add(
            0,
            RunStarted(
                run=RUN,
                branch="main",
                plan="tasks.yml",
                tasks=len(self.planned),
                schedule="rolling",
                agent="claude",
                max_concurrent=self._slots,
            ),
        )
        self._add(0.1, PlanRead(run=RUN, base="b" * 40, tasks=tuple(self.planned)))
        free = [0.5] * self._slots
        landed: dict[str, float] = {}
        lost: set[str] = set()
        for number, task in enumerate(self.planned):
            if lost & set(task.depends_on):
                lost.add(task.task)
                continue
            ready = max((landed[need] for need in task.depends_on), default=0.5)
            slot = min(range(self._slots), key=lambda each: max(free[each], ready))
            start = max(free[slot], ready)
            fails = number % 23 == 20
            tries = 2 if fails or number % 9 == 4 else 1
            for attempt in range(1, tries + 1):
                reason = "make test: 2 failed" if fails or attempt < tries else ""
                start = self._attempt(task, attempt, slot, start, reason)
            free[slot] = start
            if fails:
                lost.add(task.task)
            else:
                landed[task.task] = start + 4.3
        end = max(free) + 1
        self._add(end * 0.45, Waiting(seconds=30, reason="the usage limit of claude"))
        self._add(end, RunEnded(run=RUN, branch="main", outcome="completed"))
        return sorted(self._events, key=lambda event: event.time)

    def _attempt(
        self,
        task: PlannedTask,
        attempt: int,
        slot: int,
        start: float,
        reason: str,
    ) -> float:
        """Add the events of an attempt that fails if there is a reason; its end."""
        batch = f"{RUN}.{len(self._events)}"
        seconds = self._random.uniform(20, 240)
        of = {"batch": batch, "task": task.task, "attempt": attempt}
        about = {**of, "title": task.title, "agent": "claude", "slot": slot}
        self._add(start, AttemptStarted(**about, log="1/000/agent.log"))
        for share, phase in ((0, "preparing"), (0.1, "working"), (0.9, "verifying")):
            at = start + share * seconds
            self._add(at, PhaseChanged.model_validate({**of, "phase": phase}))
        end = start + seconds
        failure = None
        if reason:
            kind = FailureKind.VERIFY
            tail = self.log(12)
            failure = Failure(kind=kind, message=reason, log_tail=tail)
        cost = None if self._random.random() < 0.1 else self._random.uniform(0.05, 0.9)
        usage = Usage(cost_usd=cost, tokens=self._random.randint(5_000, 90_000))
        self._add(
            end, AttemptEnded(**about, seconds=seconds, failure=failure, usage=usage)
        )
        if failure is not None:
            final = attempt == 2
            kept = f"refs/fanin/kept/{task.task}/a{attempt}-{batch}"
            refused = ResultRefused(**of, failure=failure, kept=kept, final=final)
            self._add(end + 0.1, refused)
            return end + 1
        verify = {"batch": batch, "commit": "c" * 40, "tasks": (task.task,)}
        self._add(end + 0.1, VerifyStarted(**verify, command="make test"))
        self._add(end + 4.1, VerifyEnded(**verify, seconds=4.0))
        self._add(end + 4.2, ResultMerged(**of))
        landed = CommitLanded(
            branch="main", commit="1a2b3c4d5e" * 4, tasks=(task.task,)
        )
        self._add(end + 4.3, landed)
        return end

    def _add(self, seconds: float, event: RunEvent) -> None:
        time = (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        self._events.append(event.model_copy(update={"time": time}))


def with_texts(of: RunRecord, texts: Sequence[str]) -> RunRecord:
    """The run, with one of these texts everywhere in each of its first tasks."""
    changed = []
    for task, text in zip(of.tasks, texts, strict=False):
        data = text.encode("utf-8", "surrogatepass") + b"\n"
        changed.append(
            replace(
                task,
                title=text,
                reason=text,
                prompt=text,
                log=log_end(io.BytesIO(data)),
                diff=diff_start(b"diff --git a/a b/a\n@@ -1 +1 @@\n+" + data, str),
                diff_origin=text,
            )
        )
    return replace(
        of, branch=texts[0], notes=texts, tasks=[*changed, *of.tasks[len(changed) :]]
    )
