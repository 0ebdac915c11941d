"""What the downloaded artifacts of runs on GitHub tell of tasks, from their events.

Those of jobs `verify` and `merge` have names that only such a job can give.
"""

from __future__ import annotations

import re
from pathlib import Path

from runner.core import result_folder
from runner.core.artifact_events import events_of_attempt, events_of_job
from runner.core.event_lines import NAME
from runner.core.events import RunEvent
from runner.core.run_view import AttemptView, fold, instant

_OF_JOB = re.compile(r"fanin-.+-(?:events|verdict)-[a-z-]+-r\d+")


class ArtifactHistory:
    """The attempts in the artifacts below `root`, each in a folder named like it.

    `started` are the attempts that have begun, in the order of their starts, and `events`
    those of all artifacts, the oldest first.
    """

    def __init__(self, root: Path) -> None:
        events: list[RunEvent] = []
        self._logs: dict[tuple[str, int, str], Path] = {}
        logs = result_folder.logs(root)
        self.started = [record for record, _ in logs]
        for record, log in logs:
            self._logs[record.task, record.attempt, record.batch] = log
            events += events_of_attempt(log.parent / NAME, record)
        for folder in root.iterdir():
            is_job = _OF_JOB.fullmatch(folder.name) is not None
            if is_job and folder.is_dir() and not folder.is_symlink():
                events += events_of_job(folder / NAME)
        self.events = sorted(events, key=lambda event: instant(event.time))
        view = fold(self.events)
        view.interrupt_running()
        self._tasks = view.tasks

    def attempts(self, task_id: str) -> list[AttemptView]:
        """The attempts of the task that the artifacts know, oldest first."""
        task = self._tasks.get(task_id)
        return task.attempts if task else []

    def log(self, attempt: AttemptView) -> Path | None:
        """The file of the attempt's log; None if its artifact is not there."""
        return self._logs.get((attempt.task, attempt.attempt, attempt.batch))
