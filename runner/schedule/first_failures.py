"""Stops a run whose agents fail at once and alike: the agent is wrong, not the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runner.core.result import Failure, FailureKind, Result
from runner.plan.records import seconds_between

AT_ONCE = 10.0  # seconds; an agent that fails sooner has not worked on its task


class FirstFailures(NamedTuple):
    """The tasks with which a run began, as long as all of their attempts failed at once
    with the same message.

    `is_over` as soon as one did anything else, and after a batch of several: the tasks
    of the next one are no first ones. `batch` is the size of the last batch.
    """

    tasks: frozenset[str] = frozenset()
    message: str = ""
    is_over: bool = False
    batch: int = 0

    def after(
        self,
        tasks: Sequence[str],
        failed: Mapping[str, Failure],
        results: Sequence[Result],
    ) -> FirstFailures:
        """With a batch of these tasks, whose failures and results these are."""
        if self.is_over or self.batch > 1:
            return FirstFailures(is_over=True)
        seconds = {
            result.task: seconds_between(result.started, result.finished)
            for result in results
        }
        messages = {self.message} - {""}
        for task in tasks:
            failure = failed.get(task)
            is_quick = seconds.get(task, AT_ONCE) < AT_ONCE
            if (
                failure is None
                or failure.kind is not FailureKind.AGENT_ERROR
                or not is_quick
            ):
                return FirstFailures(is_over=True)
            messages.add(failure.message)
        if len(messages) != 1:
            return FirstFailures(is_over=True)
        return FirstFailures(self.tasks | set(tasks), messages.pop(), batch=len(tasks))

    def stop_reason(self, slots: int) -> str | None:
        """Why no more tasks should start after the last batch, or None.

        A single task may fail for a reason of its own. Where tasks are merged one by one,
        as many as run at once must have failed.
        """
        needed = self.batch if self.batch > 1 else max(2, slots)
        if self.is_over or len(self.tasks) < needed:
            return None
        return (
            f"the first {len(self.tasks)} tasks failed at once and alike: {self.message}; "
            "fix the agent, then  fanin run"
        )
