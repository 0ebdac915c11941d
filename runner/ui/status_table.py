"""The table of `fanin status`: a line for each task, and below it why it waits or failed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from runner.plan.view import TaskView, counts
from runner.ui.shown_text import Line, Span, cell_len, fitted, one_line, padded

_COLOURS = {
    "completed": "green",
    "failed": "red",
    "in_progress": "yellow",
    "finished": "yellow",
    "interrupted": "red",
    "ready": "cyan",
    "blocked": "magenta",
    "skipped": "dim",
    "held": "magenta",
    "gated": "yellow",
    "asking": "yellow",
    "pending": "white",
}
_MARKS = {
    "completed": "✔",
    "failed": "✘",
    "in_progress": "▶",
    "finished": "◆",
    "interrupted": "!",
    "ready": "•",
    "blocked": "⊘",
    "skipped": "–",
    "held": "‖",
    "gated": "⊟",
    "asking": "?",
    "pending": "·",
}
# In the order in which a person wants to see them where there is no room for all.
_FIRST = (
    *("in_progress", "finished", "interrupted"),
    *("failed", "held", "asking", "gated", "blocked"),
)
_MAX_ID = 30  # columns
_STATE = max(map(len, _MARKS))
_SHORTEST = 20  # columns that a title gets before its reason has a line of its own


def status_lines(
    views: Sequence[TaskView], *, width: int | None, every: bool = True
) -> list[Line]:
    """The table, and how many tasks are in each state.

    Unless `every`, tasks of which there is no more to say than that they are completed
    are only counted. `width`: the columns of the screen; None for a file, in which each
    task has one whole line.
    """
    shown = [
        view for view in views if every or view.state != "completed" or view.reason
    ]
    lines = _rows(shown, width) if shown else []
    return [*lines, Line.of(tally(views))]


def status_screen(views: Sequence[TaskView], width: int, height: int) -> list[Line]:
    """The same for a screen of so many columns and rows: if there are more tasks, those
    that are worked on and those that failed come first.
    """
    lines = status_lines(views, width=width, every=False)
    if len(lines) <= height:
        return lines
    order = {state: position for position, state in enumerate(_FIRST)}
    shown = [view for view in views if view.state != "completed" or view.reason]
    shown.sort(key=lambda view: order.get(view.state, len(order)))
    lines = _rows(shown, width)
    room = max(1, height - 2)
    ends = _ends_of_rows(shown, width)
    fitting = sum(end <= room for end in ends)
    fitting_lines = lines[: ends[fitting - 1] if fitting else room]
    more = len(shown) - fitting
    return [
        *fitting_lines,
        Line.of(Span(f"   … {more} more", "dim")),
        Line.of(tally(views)),
    ]


def tally(views: Sequence[TaskView]) -> str:
    """The number of tasks in each state: `2 completed, 1 ready`."""
    return ", ".join(f"{count} {state}" for state, count in counts(views).items())


def _rows(views: Sequence[TaskView], width: int | None) -> list[Line]:
    longest = _width_of_ids(views)
    lines = [Line.of(Span(f"   {padded('task', longest)}  state", "dim"))]
    for view in views:
        lines += _row(view, longest, width)
    return lines


def _ends_of_rows(views: Sequence[TaskView], width: int) -> list[int]:
    """For each task, how many lines the table has up to it."""
    longest, end, ends = _width_of_ids(views), 1, []
    for view in views:
        end += len(_row(view, longest, width))
        ends.append(end)
    return ends


def _width_of_ids(views: Sequence[TaskView]) -> int:
    ids = (cell_len(one_line(view.task.id)) for view in views)
    return max(4, min(_MAX_ID, max(ids, default=0)))


def _row(view: TaskView, longest: int, width: int | None) -> list[Line]:
    task_id, title = one_line(view.task.id), one_line(view.task.title)
    why, colour = one_line(view.reason), _COLOURS[view.state]
    number = f"#{view.record.attempts}" if view.record.attempts else ""
    # An id is what a person types: it is never cut.
    is_long = cell_len(task_id) > longest
    start = [
        Span(_MARKS[view.state], colour),
        Span(f"  {task_id if is_long else padded(task_id, longest)}  "),
        Span(padded(view.state, _STATE), colour),
        Span(f"  {number:3}  "),
    ]
    if width is None:
        return [Line.of(*start, title, Span(f"  {why}" if why else "", "dim"))]
    room = max(1, width - sum(cell_len(span.text) for span in start))
    beside = room - cell_len(why) - 2
    if why and beside >= min(_SHORTEST, cell_len(title)):
        return [Line.of(*start, fitted(title, beside), Span(f"  {why}", "dim"))]
    lines = [Line.of(*start, fitted(title, room))]
    below = 3 + longest + 2
    for part in textwrap.wrap(why, max(_SHORTEST, width - below)):
        lines.append(Line.of(" " * below, Span(part, "dim")))
    return lines
