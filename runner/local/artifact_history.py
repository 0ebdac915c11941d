"""What the downloaded artifacts of runs on GitHub tell of tasks, from their events.

The machine of an agent wrote those of an attempt, so they are heard on that attempt
alone. Those of jobs `verify` and `merge` have names that only such a job can give.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from runner.core import result_folder
from runner.core.event_lines import NAME, read_events
from runner.core.events import (
    AttemptEnded,
    AttemptStarted,
    PhaseChanged,
    RunEvent,
)
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
            events += _own_events(log.parent / NAME, record)
        for folder in root.iterdir():
            is_job = _OF_JOB.fullmatch(folder.name) is not None
            if is_job and folder.is_dir() and not folder.is_symlink():
                events += _events(folder / NAME)
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


def _own_events(path: Path, record: result_folder.Attempt) -> Iterator[RunEvent]:
    own = (record.batch, record.task, record.attempt)
    for event in _events(path):
        match event:
            case AttemptStarted() | PhaseChanged() | AttemptEnded():
                if (event.batch, event.task, event.attempt) == own:
                    yield event


def _events(path: Path) -> Iterator[RunEvent]:
    """The events of a file; none if it is no file."""
    if path.is_file() and not path.is_symlink():
        yield from read_events(path, output=False)
