"""What the runs of a repository have done, read from their events while they work and
after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from runner.core.event_lines import NAME
from runner.core.run_view import AttemptState, AttemptView, RunView
from runner.local.event_reader import EventReader
from runner.local.journal import Journal

_DONE = {AttemptState.LANDED, AttemptState.HELD}


class PastRun(NamedTuple):
    """A run and what its events tell. `is_active`: its process works on it now.

    The first events may be of batches that an earlier run, which was killed, has left.
    """

    run: str
    view: RunView
    is_active: bool


class RunHistory:
    """The runs that have a folder in `.git/fanin/runs`, for the plan at path `plan`.

    Every run is read once, when it is first asked for. A `reader` that is used again
    reads only what has been added.
    """

    def __init__(
        self, journal: Journal, plan: str, reader: EventReader | None = None
    ) -> None:
        self._journal, self._plan = journal, plan
        self._reader = reader or EventReader()
        self._runs: list[PastRun] | None = None
        self._attempts: dict[str, list[AttemptView]] | None = None

    def latest(self) -> PastRun | None:
        """The newest run of any plan, None if there is none."""
        if self._runs is not None:
            return self._runs[-1] if self._runs else None
        folders = self._folders()
        return self._read(folders[-1], is_last=True) if folders else None

    def run(self, run: str) -> PastRun | None:
        """The run of that id, None if it is not there."""
        if self._runs is not None:
            return next((past for past in self._runs if past.run == run), None)
        folders = self._folders()
        for folder in folders:
            if folder.name == run:
                return self._read(folder, is_last=folder == folders[-1])
        return None

    def attempts(self, task_id: str) -> list[AttemptView]:
        """Every attempt of the task that a run knows, oldest first.

        What a later run has done with the work that a killed one left is in the
        attempt.
        """
        return self.all_attempts().get(task_id, [])

    def all_attempts(self) -> dict[str, list[AttemptView]]:
        """Task id → its attempts, as `attempts` gives them."""
        if self._attempts is None:
            self._attempts = self._find_attempts()
        return self._attempts

    def _find_attempts(self) -> dict[str, list[AttemptView]]:
        plans: dict[str, str] = {}
        found: dict[tuple[str, str, int], AttemptView] = {}
        for past in self.runs():
            if past.view.start is not None:
                plans[past.run] = past.view.start.plan
            for task in past.view.tasks.values():
                for attempt in task.attempts:
                    key = attempt.task, attempt.batch, attempt.attempt
                    if key in found:
                        _take_in(found[key], attempt)
                    else:
                        found[key] = attempt
        attempts: dict[str, list[AttemptView]] = {}
        for attempt in found.values():
            if plans.get(run_of(attempt), self._plan) == self._plan:
                attempts.setdefault(attempt.task, []).append(attempt)
        return attempts

    def runs(self) -> list[PastRun]:
        """All runs, oldest first."""
        if self._runs is None:
            folders = self._folders()
            self._runs = []
            for folder in folders:
                is_last = folder == folders[-1]
                self._runs.append(self._read(folder, is_last=is_last))
        return self._runs

    def log(self, attempt: AttemptView) -> Path | None:
        """The file of the attempt's log, whether or not it is there yet."""
        if not attempt.log:
            return None
        return self._journal.run_folder(run_of(attempt)) / attempt.log

    def has_ended(self, attempt: AttemptView) -> bool:
        """Whether nothing is added to the attempt's log any more."""
        # Not at the top: whoever prints a log that is whole asks for none of it.
        from runner.core import result_folder

        log = self.log(attempt)
        if log is None or (log.parent / result_folder.RESULT).exists():
            return True
        return self._journal.holder() is None

    def _folders(self) -> list[Path]:
        folders = (self._journal.folder / "runs").glob(f"*/{NAME}")
        return sorted((file.parent for file in folders), key=lambda path: path.name)

    def _read(self, folder: Path, *, is_last: bool) -> PastRun:
        view = self._reader.view(folder / NAME)
        # Only the last one can be at work: there is one lock.
        is_active = is_last and view.end is None and self._is_held_by(view)
        if not is_active:
            self._reader.forget(folder / NAME)
            view.interrupt_running()
        return PastRun(folder.name, view, is_active)

    def _is_held_by(self, view: RunView) -> bool:
        """Whether the lock is held by the run, or by one that has not begun with its own
        work.
        """
        process_id = self._journal.holder()
        if process_id is None or view.start is None:
            return process_id is not None
        return view.start.pid == process_id


def run_of(attempt: AttemptView) -> str:
    """The id of the run that made the attempt."""
    return attempt.batch.rpartition(".")[0]


def chosen_attempt(
    attempts: Iterable[AttemptView], number: int | None
) -> AttemptView | None:
    """The last attempt that has begun, or the last with this number; None without one.

    One that runs comes before all others.
    """
    begun = [attempt for attempt in attempts if attempt.log]
    if number is not None:
        begun = [attempt for attempt in begun if attempt.attempt == number]
    running = [each for each in begun if each.state is AttemptState.RUNNING]
    return [*begun, *running][-1] if begun else None


def _take_in(attempt: AttemptView, later: AttemptView) -> None:
    """Add what a later run knows of the attempt."""
    if later.state is not AttemptState.CHOSEN and attempt.state not in _DONE:
        attempt.state = later.state
    attempt.failure = later.failure or attempt.failure
    attempt.kept = later.kept or attempt.kept
    attempt.commit = later.commit or attempt.commit
    attempt.final = later.final or attempt.final
    attempt.log = attempt.log or later.log
    if later.seconds is not None:
        attempt.seconds, attempt.usage = later.seconds, later.usage
