"""Output in a terminal: the live table of a run, or plain lines without a terminal."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from runner.core.documents import clean
from runner.core.events import (
    AttemptEnded,
    AttemptStarted,
    BatchChosen,
    BatchMerged,
    CommitLanded,
    Note,
    ResultRefused,
    RunEvent,
    RunStarted,
    UsageReport,
    Waiting,
)
from runner.core.plurals import pluralize
from runner.core.result import FailureKind
from runner.plan.view import TaskView, counts
from runner.schedule.budget import UsageTotal

_COLOURS = {
    "completed": "green",
    "failed": "red",
    "in_progress": "yellow",
    "ready": "cyan",
    "blocked": "magenta",
    "skipped": "dim",
    "held": "magenta",
    "pending": "white",
}
_MARKS = {
    "completed": "✔",
    "failed": "✘",
    "in_progress": "▶",
    "ready": "•",
    "blocked": "⊘",
    "skipped": "–",
    "held": "‖",
    "pending": "·",
}
# Decided only when results are merged; every other failure was shown with its attempt.
_SHOWN_AT_MERGE = {
    FailureKind.CONFLICT,
    FailureKind.POLICY,
    FailureKind.SCOPE,
    FailureKind.VERIFY,
    FailureKind.STALE,
    FailureKind.CORRUPT,
    FailureKind.NO_RESULT,
}


class RunConsole(Console):
    """Standard output. Once its reader has gone, nothing more is shown and the work
    continues; rich would end the process.
    """

    def __init__(self) -> None:
        super().__init__(highlight=False)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # Python reports a closed pipe once more when it flushes the stream at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class TerminalView:
    """Shows a run in progress: a table of the running agents, a line for each event.

    Implements `RunObserver`. A context: the table is shown inside it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        # batch and task → its start event, and when it came by the monotonic clock
        self._running: dict[tuple[str, str], tuple[AttemptStarted, float]] = {}
        self._lock = threading.Lock()
        self._live = Live(
            get_renderable=self._table,
            console=console,
            refresh_per_second=8,
            transient=True,
        )
        self._shows_batches = True
        # the sum of all attempts' own durations, for the demo's ratio
        self.busy_seconds = 0.0

    def __enter__(self) -> TerminalView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            with _closed_output_ignored():
                self._live.stop()

    def observe(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self._show_start(event)
            case BatchChosen():
                self._show_batch(event)
            case AttemptStarted():
                self._show_attempt(event)
            case AttemptEnded():
                self._show_attempt_end(event)
            case ResultRefused():
                self._show_refusal(event)
            case CommitLanded():
                self._print(f"  [bold]→[/] {event.commit[:10]}  {_contents(event)}")
            case BatchMerged():
                self._show_usage(event.usage)
            case Waiting():
                self._print(f"[yellow]![/] {_plain(event.reason)}")
            case Note():
                self._print(f"[yellow]![/] {_plain(event.message)}")

    def _show_start(self, event: RunStarted) -> None:
        # A batch of the rolling schedule is one task: its own line says the same.
        self._shows_batches = event.schedule == "batch"
        tasks = pluralize(event.tasks, "task")
        self._print(f"[dim]{_plain(' · '.join([*event.settings, tasks]))}[/]")

    def _show_batch(self, event: BatchChosen) -> None:
        if self._shows_batches:
            ids = ", ".join(chosen.task for chosen in event.tasks)
            self._print(f"[bold]batch {event.round}[/]  {_plain(ids)}")

    def _show_attempt(self, event: AttemptStarted) -> None:
        with self._lock:
            self._running[event.batch, event.task] = (event, time.monotonic())
        if not self._console.is_terminal:
            self._print(f"  ▶ {_plain(event.task)}  {_title(event)}")

    def _show_attempt_end(self, event: AttemptEnded) -> None:
        with self._lock:
            self._running.pop((event.batch, event.task), None)
            self.busy_seconds += event.seconds
        mark, text = "[green]✔[/]", f"{_plain(event.task)}  {_title(event)}"
        if event.failure is not None:
            reason = event.failure.message.splitlines()[0]
            mark = "[red]✘[/]"
            text = f"{_plain(event.task)}  {_plain(reason)}{_attempt(event)}"
            if event.failure.kind is FailureKind.INTERRUPTED:
                mark = "[yellow]■[/]"
                text = f"{_plain(event.task)} stopped; costs no attempt"
        self._print(f"  {mark} {text}  [dim]{event.seconds:.1f} s[/]")

    def _show_refusal(self, event: ResultRefused) -> None:
        kept = f"its work is kept at {event.kept}"
        if event.failure.kind is FailureKind.INTERRUPTED:
            # The line of its attempt's end has the rest.
            if event.kept:
                self._print(f"  [yellow]■[/] {_plain(event.task)}: {kept}")
        elif event.kept or event.failure.kind in _SHOWN_AT_MERGE:
            reason = _plain(event.failure.message)
            suffix = f"  [dim]{kept}[/]" if event.kept else ""
            self._print(
                f"  [red]✘[/] {_plain(event.task)} not merged: {reason}{suffix}"
            )

    def _show_usage(self, usage: UsageReport) -> None:
        """Print what the attempts of a batch reported, if they reported anything."""
        if usage.tokens or usage.without_cost < usage.attempts:
            total = UsageTotal(
                usage.attempts, usage.cost_usd, usage.tokens, usage.without_cost
            )
            self._print(f"  [dim]{total.describe()}[/]")

    def _print(self, markup: str) -> None:
        with _closed_output_ignored():
            self._console.print(
                Text.from_markup(markup), soft_wrap=not self._console.is_terminal
            )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            running = list(self._running.values())
        for event, started_at in running:
            table.add_row(
                "  [yellow]▶[/]",
                _plain(event.task),
                _title(event),
                f"[dim]{time.monotonic() - started_at:.0f} s[/]",
            )
        return table


@contextmanager
def _closed_output_ignored() -> Iterator[None]:
    """Ignore that the pipe or the terminal was closed, so that the run continues."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.EIO}:
            raise


def print_views(console: Console, views: Sequence[TaskView]) -> None:
    """Print the table of `fanin status`, and how many tasks are in each state."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "task", "state", "attempts", "title", "why"):
        table.add_column(heading, overflow="fold")
    for view in views:
        colour = _COLOURS[view.state]
        table.add_row(
            f"[{colour}]{_MARKS[view.state]}[/]",
            _plain(view.task.id),
            f"[{colour}]{view.state}[/]",
            str(view.record.attempts or ""),
            _plain(view.task.title),
            _plain(view.reason),
        )
    console.print(table)
    console.print(tally(views))


def _plain(text: str) -> str:
    """A text of any origin, without markup and without what acts on a terminal."""
    return escape(clean(text))


def tally(views: Sequence[TaskView]) -> str:
    """The number of tasks in each state: `2 completed, 1 ready`."""
    return ", ".join(f"{count} {state}" for state, count in counts(views).items())


def _contents(event: CommitLanded) -> str:
    """The contents of a commit: task ids, or the number of recorded failed attempts."""
    if event.tasks:
        return _plain(", ".join(event.tasks))
    if not event.failed_tasks:
        return "nothing landed"
    attempts = pluralize(len(event.failed_tasks), "failed attempt")
    return f"nothing landed; {attempts} recorded"


def _title(event: AttemptStarted | AttemptEnded) -> str:
    return _plain(event.title) + _attempt(event)


def _attempt(event: AttemptStarted | AttemptEnded) -> str:
    """The number of the attempt, unless it is the first."""
    return f" [dim](attempt {event.attempt})[/]" if event.attempt > 1 else ""
