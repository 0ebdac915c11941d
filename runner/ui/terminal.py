"""What a person sees in a terminal: the live table of a run, plain lines where there is
no terminal.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from runner.config.settings import Settings, describe
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Result
from runner.fan_in.batch_merge import FanIn
from runner.plan.snapshot import Snapshot
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


class TerminalView:
    """Tells a run as it goes: a live table of the agents at work, and a line for all
    that is over.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._running: dict[str, tuple[BatchEntry, float]] = {}
        self._lock = threading.Lock()
        self._live = Live(
            get_renderable=self._table,
            console=console,
            refresh_per_second=8,
            transient=True,
        )
        self._in_batches = True
        # the sum of all attempts' own durations, for the demo's ratio
        self.busy_seconds = 0.0

    def __enter__(self) -> TerminalView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            with _unheard():
                self._live.stop()

    def begun(self, snapshot: Snapshot, settings: Settings) -> None:
        self._in_batches = settings.schedule == "batch"
        self._say(
            f"[dim]{escape(' · '.join(describe(settings)))} · {len(snapshot.plan.tasks)} tasks[/]"
        )

    def batch(self, manifest: Manifest) -> None:
        if not self._in_batches:  # one task each: its own line says the same
            return
        ids = ", ".join(entry.task.id for entry in manifest.entries)
        self._say(f"[bold]batch {manifest.round}[/]  {escape(ids)}")

    def started(self, entry: BatchEntry) -> None:
        with self._lock:
            self._running[entry.task.id] = (entry, time.monotonic())
        if not self._console.is_terminal:
            self._say(
                f"  ▶ {escape(entry.task.id)}  {escape(entry.task.title)}{_again(entry)}"
            )

    def finished(self, entry: BatchEntry, result: Result) -> None:
        with self._lock:
            seconds = time.monotonic() - self._running.pop(entry.task.id)[1]
            self.busy_seconds += seconds
        mark, told = "[green]✔[/]", entry.task.title
        if result.failure is not None:
            mark, told = "[red]✘[/]", result.failure.message.splitlines()[0]
        self._say(
            f"  {mark} {escape(entry.task.id)}  {escape(told)}{_again(entry)}  [dim]{seconds:.1f} s[/]"
        )

    def fanned_in(self, manifest: Manifest, fan_in: FanIn) -> None:
        for task_id, failure in fan_in.failed.items():
            where = (
                f"  [dim]its work is kept at {fan_in.kept[task_id]}[/]"
                if task_id in fan_in.kept
                else ""
            )
            if where or failure.kind in {
                "conflict",
                "policy",
                "scope",
                "verify",
                "stale",
                "corrupt",
                "no_result",
            }:
                self._say(
                    f"  [red]✘[/] {escape(task_id)} is not in: {escape(failure.message)}{where}"
                )
        for commit in fan_in.commits:
            self._say(
                f"  [bold]→[/] {commit[:10]}  {escape(', '.join(fan_in.landed) or 'attempts recorded')}"
            )

        used = UsageTotal().plus(fan_in.results)
        if used.tokens or used.without_cost < used.attempts:
            self._say(f"  [dim]{used.describe()}[/]")

    def note(self, text: str) -> None:
        self._say(f"[yellow]![/] {escape(text)}")

    def _say(self, text: str) -> None:
        with _unheard():
            self._console.print(
                Text.from_markup(text), soft_wrap=not self._console.is_terminal
            )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        with self._lock:
            running = list(self._running.values())
        for entry, since in running:
            table.add_row(
                "  [yellow]▶[/]",
                escape(entry.task.id),
                escape(entry.task.title) + _again(entry),
                f"[dim]{time.monotonic() - since:.0f} s[/]",
            )
        return table


@contextmanager
def _unheard() -> Iterator[None]:
    """The work goes on when nobody reads any more: the pipe is closed, or the
    terminal's window is.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EPIPE, errno.EIO}:
            raise


def print_views(console: Console, found: Sequence[TaskView]) -> None:
    """The table of `fanin status`, and the tally."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "task", "state", "attempts", "title", "why"):
        table.add_column(heading, overflow="fold")
    for view in found:
        colour = _COLOURS[view.state]
        table.add_row(
            f"[{colour}]{_MARKS[view.state]}[/]",
            escape(view.task.id),
            f"[{colour}]{view.state}[/]",
            str(view.record.attempts or ""),
            escape(view.task.title),
            escape(view.reason),
        )
    console.print(table)
    console.print(tally(found))


def tally(found: Sequence[TaskView]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts(found).items())


def _again(entry: BatchEntry) -> str:
    return f" [dim](attempt {entry.attempt})[/]" if entry.attempt > 1 else ""
