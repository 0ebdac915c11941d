"""A model of what GitHub does with an event before any job starts.

act runs one workflow file for one event. Which runs an event makes, which of them wait
in a concurrency group, which are replaced there and which wait for an approval is
decided by GitHub's service. This model decides it from the same workflow files.
tests/e2e/README.md has each rule with its source.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.support.github import evaluation, workflows
from tests.support.github.workflows import Document, WorkflowError

MAX_PENDING = 100
# The activity types of an event whose `types` are not given.
DEFAULT_TYPES = {"pull_request": ("opened", "synchronize", "reopened")}
PUSH_TYPES = ("opened", "synchronize", "reopened")
# The contexts that a workflow's `concurrency` sees.
CONTEXTS = ("github", "inputs", "vars")


class State(StrEnum):
    """Where a run is."""

    APPROVAL = "waits for an approval"
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(eq=False)
class ScheduledRun:
    """A run of a workflow. `group` is its concurrency group, None without one."""

    number: int
    document: Document
    event: str
    github: Mapping[str, Any]
    inputs: Mapping[str, Any]
    group: str | None = None
    keeps_queue: bool = False
    state: State = State.PENDING


@dataclass
class Scheduler:
    """The runs of one repository, oldest first."""

    runs: list[ScheduledRun] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def happen(
        self,
        document: Document,
        event: str,
        github: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | None = None,
        *,
        by_github_token: bool = False,
    ) -> ScheduledRun | None:
        """An event for one workflow; returns its run, None if the event makes none.

        `github` are fields of that context; the event's payload is its `event`.
        """
        github = dict(github or {})
        triggers = workflows.triggers(document)
        if event not in triggers:
            return None
        action = (github.get("event") or {}).get("action")
        types = triggers[event].get("types", DEFAULT_TYPES.get(event))
        if types is not None and action not in types:
            return None
        needs_approval = False
        if by_github_token and event != "workflow_dispatch":
            needs_approval = event == "pull_request" and action in PUSH_TYPES
            if not needs_approval:
                return None
        given: Mapping[str, Any] = {}
        if event == "workflow_dispatch":
            declared = workflows.dispatch_interface(document)
            given = workflows.dispatched(declared, inputs or {})
        run = ScheduledRun(next(self._numbers), document, event, github, given)
        self.runs.append(run)
        if needs_approval:
            run.state = State.APPROVAL
        else:
            self._queue(run)
        return run

    def approve(self, run: ScheduledRun) -> None:
        """A person presses "Approve workflows to run"."""
        assert run.state is State.APPROVAL
        run.state = State.PENDING
        self._queue(run)

    def finish(self, run: ScheduledRun) -> None:
        """The run has ended; the next one of its group starts."""
        assert run.state is State.RUNNING
        run.state = State.COMPLETED
        pending = self._of_group(run, State.PENDING)
        if pending:
            pending[0].state = State.RUNNING

    @property
    def running(self) -> list[ScheduledRun]:
        """The runs whose jobs may start."""
        return [run for run in self.runs if run.state is State.RUNNING]

    def _queue(self, run: ScheduledRun) -> None:
        """Claim the concurrency group, before any `if` of a job is looked at."""
        concurrency = run.document.get("concurrency")
        if concurrency is None:
            run.state = State.RUNNING
            return
        run.group, run.keeps_queue, cancels = _concurrency(concurrency, run)
        running = self._of_group(run, State.RUNNING)
        pending = self._of_group(run, State.PENDING)
        if cancels:
            for other in running:
                other.state = State.CANCELLED
            running = []
        if not running:
            run.state = State.RUNNING
        elif not run.keeps_queue:
            for other in pending:
                other.state = State.CANCELLED
        elif len(pending) >= MAX_PENDING:
            run.state = State.CANCELLED

    def _of_group(self, run: ScheduledRun, state: State) -> list[ScheduledRun]:
        return [
            other
            for other in self.runs
            if other is not run and other.group == run.group and other.state is state
        ]


def _concurrency(written: object, run: ScheduledRun) -> tuple[str, bool, bool]:
    """Group, whether all pending runs are kept, whether a running one is cancelled."""
    fields = written if isinstance(written, dict) else {"group": written}
    context = {"github": run.github, "inputs": run.inputs, "vars": {}}
    assert set(context) == set(CONTEXTS)
    try:
        group = evaluation.text_of(fields["group"], context)
    except LookupError as error:
        raise WorkflowError(f"Unrecognized named-value: {error}") from None
    queue = fields.get("queue", "single")
    cancels = fields.get("cancel-in-progress", False)
    if queue not in ("single", "max"):
        raise WorkflowError(f"Unexpected value '{queue}' (queue of a concurrency)")
    if queue == "max" and cancels:
        raise WorkflowError("queue: max and cancel-in-progress exclude each other")
    return group.casefold(), queue == "max", bool(cancels)
