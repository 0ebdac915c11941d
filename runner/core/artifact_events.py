"""Reads the events in artifacts of runs on GitHub.

The machine of an agent wrote those of an attempt, so they are heard on that attempt alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runner.core.event_lines import read_events
from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    PhaseChanged,
    RunEvent,
)
from runner.core.result_folder import Attempt

OwnEvent = AttemptStarted | PhaseChanged | AgentOutput | AttemptEnded


def events_of_attempt(
    path: Path, record: Attempt, *, output: bool = False
) -> Iterator[OwnEvent]:
    """The events of the file that are about the attempt itself, in order.

    With `output` also what its agent has written.
    """
    own = (record.batch, record.task, record.attempt)
    for event in events_of_job(path, output=output):
        match event:
            case AttemptStarted() | PhaseChanged() | AgentOutput() | AttemptEnded():
                if (event.batch, event.task, event.attempt) == own:
                    yield event


def events_of_job(path: Path, *, output: bool = False) -> Iterator[RunEvent]:
    """The events of the file; none if it is no regular file."""
    if path.is_file() and not path.is_symlink():
        yield from read_events(path, output=output)
