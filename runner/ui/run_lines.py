"""The lines that the events of a run add to the output: one event, no or a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    BatchChosen,
    CheckoutChanged,
    CommitLanded,
    Note,
    ResultRefused,
    RunEvent,
    RunStarted,
    VerifyEnded,
    VerifyEvent,
    VerifyStarted,
    Waiting,
)
from runner.core.outside_changes import sentence
from runner.core.plurals import pluralize, some_of
from runner.core.result import Failure, FailureKind, Usage
from runner.core.rough_time import cost
from runner.core.run_view import AttemptState, RunView
from runner.ui.shown_text import Line, Span, lines_of, one_line

_MAX_IDS = 12  # of the tasks that one line names
_MAX_LOG_LINES = 3  # of a failed attempt, as it fails; the end of the run has more
# The least time before its agent that is told: in seconds, and as a part of the attempt.
_MIN_PREPARING_SECONDS, _MIN_PREPARING_PART = 1.0, 0.1
# Decided only when results are merged; every other failure was shown with its attempt.
_SHOWN_AT_MERGE = {
    FailureKind.CONFLICT,
    FailureKind.POLICY,
    FailureKind.SCOPE,
    FailureKind.VERIFY,
    FailureKind.BASE_RED,
    FailureKind.STALE,
    FailureKind.CORRUPT,
    FailureKind.NO_RESULT,
}


class Verbosity(IntEnum):
    """How much of a run is shown: `-q`, neither, `-v`."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


class EventLines(NamedTuple):
    """The lines of one event. `verbosity` is the least that shows them.

    `live`: a live view shows the same, so only a plain log needs them.
    """

    lines: tuple[Line, ...] = ()
    verbosity: Verbosity = Verbosity.NORMAL
    live: bool = False


_NOTHING = EventLines()
_WARNING, _NEWS = Span("!", "yellow"), Span("•", "cyan")


def event_lines(event: RunEvent, view: RunView) -> EventLines:
    """The lines for an event, which `view` has taken in already."""
    match event:
        case AttemptStarted():
            return EventLines((_attempt_started(event),), live=True)
        case AgentOutput():
            task = Span(f"    {one_line(event.task)} │ ", "dim")
            line = Line.of(task, one_line(event.last_line))
            return EventLines((line,), Verbosity.VERBOSE)
        case AttemptEnded():
            return _attempt_ended(event, view)
        case ResultRefused():
            return _refused(event, view)
    return _lines_of_run(event, view)


def _lines_of_run(event: RunEvent, view: RunView) -> EventLines:
    match event:
        case RunStarted():
            return _started(event)
        case BatchChosen():
            return _batch(event, view)
        case VerifyStarted():
            return _verify_started(event)
        case VerifyEnded():
            return _verify_ended(event)
        case CommitLanded():
            return _landed(event, view)
        case CheckoutChanged():
            return _note(outside_text(event))
        case Waiting():
            return _note(event.reason)
        case Note():
            return _note(event.message, _WARNING if event.warning else _NEWS)
    return _NOTHING


def _started(event: RunStarted) -> EventLines:
    parts = [*event.settings, pluralize(event.tasks, "task")]
    return EventLines((Line.of(Span(one_line(" · ".join(parts)), "dim")),))


def _batch(event: BatchChosen, view: RunView) -> EventLines:
    # A batch of the rolling schedule is one task: its own line says the same.
    if view.start is not None and view.start.schedule == "rolling":
        return _NOTHING
    ids = [chosen.task for chosen in event.tasks]
    line = Line.of(Span(f"batch {event.round}", "bold"), f"  {_ids(ids)}")
    return EventLines((line,))


def _attempt_started(event: AttemptStarted) -> Line:
    return Line.of(
        "  ",
        Span("▶", "yellow"),
        f" {one_line(event.task)}  {one_line(event.title)}",
        *_attempt(event.attempt),
    )


def _attempt_ended(event: AttemptEnded, view: RunView) -> EventLines:
    task, failure = one_line(event.task), event.failure
    time = f"{event.seconds:.1f} s{_preparing(event, view)}"
    seconds = Span(f"  {time}{_spent(event.usage)}", "dim")
    if failure is None:
        # Its work may still be refused, so this is no success yet.
        return EventLines(
            (
                Line.of(
                    "  • ",
                    f"{task}  agent finished",
                    *_attempt(event.attempt),
                    seconds,
                ),
            )
        )
    if failure.kind is FailureKind.INTERRUPTED:
        mark = Span("■", "yellow")
        return EventLines(
            (Line.of("  ", mark, f" {task} stopped; costs no attempt", seconds),),
            Verbosity.QUIET,
        )
    first, *more = _reason(failure)
    mark = Span("✘", "red")
    if failure.kind is FailureKind.QUESTION:
        mark, task = Span("?", "yellow"), f"{task} asks:"
    line = Line.of(
        "  ",
        mark,
        f" {task}  {first}",
        *_attempt(event.attempt),
        seconds,
    )
    return EventLines(
        (line, *more_lines(more), *log_lines(failure, _MAX_LOG_LINES)),
        Verbosity.QUIET,
    )


def _preparing(event: AttemptEnded, view: RunView) -> str:
    """How much of an attempt's time its agent has not had, if that is worth a word."""
    task = view.tasks.get(event.task)
    seconds = task.last.preparing if task is not None and task.last is not None else 0.0
    if seconds < max(_MIN_PREPARING_SECONDS, _MIN_PREPARING_PART * event.seconds):
        return ""
    return f" (preparing {seconds:.1f} s)"


def _verify_started(event: VerifyStarted) -> EventLines:
    text = f"  … verify{_step(event)}  {one_line(event.command)}"
    return EventLines((Line.of(text),), live=True)


def _verify_ended(event: VerifyEnded) -> EventLines:
    seconds = Span(f"  {event.seconds:.1f} s", "dim")
    failure = event.failure
    if failure is None:
        return EventLines((Line.of(f"  • verify{_step(event)} is green", seconds),))
    if failure.kind is FailureKind.INTERRUPTED:
        line = Line.of(
            "  ",
            Span("■", "yellow"),
            f" verify{_step(event)} stopped: {one_line(failure.message)}",
            seconds,
        )
        return EventLines((line,))
    first, *more = _reason(failure)
    # Most reasons begin like the line itself.
    reason = first.removeprefix("verify is red")
    if reason == first:
        reason = f": {first}"
    # The rest is mostly the command, which is on the line of its start. Whoever loses
    # work by it is told all of it.
    if more:
        reason += " …"
    line = Line.of(
        "  ", Span("✘", "red"), f" verify{_step(event)} is red{reason}", seconds
    )
    return EventLines((line, *log_lines(failure, _MAX_LOG_LINES)))


def _step(event: VerifyEvent) -> str:
    """Which step of a bisection it is; "" for the tree of all the work."""
    if event.bisecting:
        return f" step {event.step} ({_ids(event.tasks) or 'the branch alone'})"
    if not event.tasks:
        return " of the base, once more" if event.repeated else " of the base"
    return " once more" if event.repeated else ""


def _refused(event: ResultRefused, view: RunView) -> EventLines:
    task, failure = one_line(event.task), event.failure
    kept = f"its work is kept at {one_line(event.kept or '')}"
    if failure.kind in _SHOWN_AT_MERGE and not _failed_by_itself(event, view):
        first, *more = _reason(failure)
        suffix = Span(f"  {kept}", "dim") if event.kept and not more else ""
        line = Line.of("  ", Span("✘", "red"), f" {task} not merged: {first}", suffix)
        # A reason of several lines is read to its end first.
        last = [Line.of(Span(f"    {kept}", "dim"))] if event.kept and more else []
        return EventLines((line, *more_lines(more), *last), Verbosity.QUIET)
    # The line of its attempt's end has the rest.
    if not event.kept:
        return _NOTHING
    mark = Span("✘", "red")
    if failure.kind is FailureKind.INTERRUPTED:
        mark = Span("■", "yellow")
    elif failure.kind is FailureKind.QUESTION:
        mark = Span("?", "yellow")
    return EventLines((Line.of("  ", mark, f" {task}: {kept}"),), Verbosity.QUIET)


def _failed_by_itself(event: ResultRefused, view: RunView) -> bool:
    """Whether the end of the attempt has given the reason already."""
    for attempt in view.tasks[event.task].attempts:
        if (attempt.batch, attempt.attempt) == (event.batch, event.attempt):
            own = attempt.own_failure
            return own is not None and own.kind is event.failure.kind
    return False


def _landed(event: CommitLanded, view: RunView) -> EventLines:
    commit = event.commit[:10]
    if not event.tasks:
        text = "nothing landed"
        if event.failed_tasks:
            text += f"; {_recorded(event.failed_tasks, view)} recorded"
        return EventLines((Line.of(f"  → {commit}  {text}"),))
    waits = view.start is not None and event.branch != view.start.branch
    lines = []
    for task_id in event.tasks:
        task = view.tasks.get(task_id)
        words = [task_id, task.title if task else ""]
        text = "  ".join(filter(None, map(one_line, words)))
        mark, where = Span("✔", "green"), commit
        if waits:
            mark, where = Span("‖", "yellow"), f"waits on {one_line(event.branch)}"
        lines.append(Line.of("  ", mark, f" {text}", Span(f"  {where}", "dim")))
    return EventLines(tuple(lines))


def outside_text(event: CheckoutChanged) -> str:
    """What somebody else changed, and which attempts ran meanwhile."""
    text = sentence(event.changes, event.count, event.attempts)
    return one_line(f"changed beside this run: {text}")


def _recorded(task_ids: Sequence[str], view: RunView) -> str:
    """What a commit records of the last attempts of these tasks."""
    asked = {task.task for task in view.in_state(AttemptState.ASKED)}
    what = "questions" if asked.issuperset(task_ids) else "failed attempts"
    return f"{what} of {pluralize(len(task_ids), 'task')}"


def _note(text: str, mark: Span = _WARNING) -> EventLines:
    first, *more = lines_of(text) or [""]
    line = Line.of(mark, f" {first}")
    return EventLines((line, *more_lines(more)), Verbosity.QUIET)


def more_lines(texts: Sequence[str]) -> list[Line]:
    """The second and later lines of a text, below the first."""
    return [Line.of(f"    {text}") for text in texts]


def log_lines(failure: Failure, most: int) -> list[Line]:
    """The last lines of a failure's log, at most so many."""
    texts = [text for text in lines_of(failure.log_tail) if text][-most:]
    return [Line.of(Span(f"    │ {text}", "dim")) for text in texts]


def _reason(failure: Failure) -> list[str]:
    return lines_of(failure.message) or [failure.kind.value]


def _ids(ids: Sequence[str]) -> str:
    return one_line(some_of(ids[:_MAX_IDS], len(ids)))


def _attempt(number: int) -> list[Span]:
    """The number of the attempt, unless it is the first."""
    return [Span(f" (attempt {number})", "dim")] if number > 1 else []


def _spent(usage: Usage) -> str:
    text = cost(usage.cost_usd)
    if not text and usage.tokens:
        text = f"{usage.tokens:,} tokens"
    return f"  {text}" if text else ""
