"""The title and the description of the pull request that delivers a run's work.

Pure. Every text of a plan, an agent or a person is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runner.core.message_text import one_line
from runner.core.plurals import pluralize
from runner.core.rough_time import cost
from runner.plan.view import TaskView
from runner.ui import round_summary
from runner.ui.attempt_text import duration
from runner.ui.markdown import cell, code, line_breaks, paragraphs, shortened, table
from runner.ui.states import LOOKS

# What is between them is fanin's, and written anew each round.
BEGIN, END = "<!-- fanin: begin -->", "<!-- fanin: end -->"
_OWN_PART = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
BODY_LIMIT = 60_000  # bytes; GitHub counts 65,536 characters
_ROWS = (400, 100, 30, 10)  # of each table; the first that fits is shown
_MAX_PATHS = 5
_MAX_TEXT = 200  # characters
_CHECKS = (
    "<sub>If the checks of this pull request wait, start them with *Approve workflows to "
    "run*.</sub>"
)


@dataclass(frozen=True)
class Delivered:
    """What a pull request has: the tasks of the plan at path `plan` as they are on its
    branch, and the plan's `verify` command, None if it has none.

    `checks_may_wait`: whether GitHub lets the checks of a job's push wait.
    """

    plan: str
    base: str
    views: Sequence[TaskView]
    verify: str | None = None
    repository_url: str = ""
    checks_may_wait: bool = False


def title(delivered: Delivered) -> str:
    """E.g. `Fanin: 12 tasks of tasks.yml`, or the title of the only task."""
    views = delivered.views
    if len(views) == 1:
        return one_line(f"{views[0].task.id}: {views[0].task.title}")
    return one_line(f"Fanin: {pluralize(len(views), 'task')} of {delivered.plan}")


def described(body: str, delivered: Delivered) -> str:
    """The description with fanin's part anew; "" as `body` for a new one.

    What a person has written around that part stays, and so does all of it if the part is
    gone.
    """
    own_part = _own_part(delivered)
    if not body:
        return own_part
    return _OWN_PART.sub(lambda _: own_part, body, count=1)


def _own_part(delivered: Delivered) -> str:
    text = ""
    for rows in _ROWS:
        text = f"{BEGIN}\n{_page(delivered, rows)}{END}"
        if len(text.encode()) <= BODY_LIMIT:
            break
    return text


def _page(delivered: Delivered, rows: int) -> str:
    views = delivered.views
    return paragraphs(
        [
            round_summary.tally(views),
            _done(delivered, rows),
            round_summary.not_done(views, rows),
            _footer(delivered),
        ]
    )


def _done(delivered: Delivered, rows: int) -> str:
    views = [view for view in delivered.views if view.state == "completed"]
    if not views:
        return ""
    columns = (
        "",
        "task",
        "what changed",
        "verified by",
        "attempts",
        "time",
        "cost",
        "log",
    )
    text = table(columns, [_done_row(view, delivered) for view in views[:rows]])
    if len(views) > rows:
        text += f"\n\n{round_summary.and_more(len(views) - rows, 'task')}"
    return f"### Done\n\n{text}"


def _done_row(view: TaskView, delivered: Delivered) -> tuple[str, ...]:
    record = view.record
    attempts = str(record.attempts) if record.attempts > 1 else ""
    return (
        LOOKS[view.state].icon,
        round_summary.task_cell(view),
        _change(view),
        _verified(view, delivered),
        attempts,
        duration(record.seconds),
        cost(record.cost_usd),
        round_summary.job_link(record.job or "", "job", delivered.repository_url),
    )


def _change(view: TaskView) -> str:
    """The paths that the task changed, and what its agent says of it."""
    record = view.record
    if record.skipped:
        return "skipped as satisfied"
    paths = [cell(shortened(path, _MAX_TEXT)) for path in record.changed[:_MAX_PATHS]]
    if len(record.changed) > _MAX_PATHS:
        paths.append(f"{len(record.changed) - _MAX_PATHS} more")
    by_whom = "accepted by a person" if record.accepted else ""
    summary = cell(shortened(record.summary or "", _MAX_TEXT))
    small = [f"<sub>{text}</sub>" for text in (by_whom, summary) if text]
    return line_breaks([", ".join(paths), *small])


def _verified(view: TaskView, delivered: Delivered) -> str:
    """The commands that were green with the task's change."""
    if view.record.skipped:
        return ""
    if view.record.accepted == "unverified":
        return "nothing"
    commands = [command for command in (view.task.verify, delivered.verify) if command]
    shown = [cell(shortened(command, _MAX_TEXT)) for command in commands]
    return line_breaks(shown) or "nothing"


def _footer(delivered: Delivered) -> str:
    costs = [view.record.cost_usd for view in delivered.views]
    known = [each for each in costs if each is not None]
    text = (
        f"Merging this completes the tasks above in `{code(delivered.base)}`: the "
        "progress file is part of it. Squash, rebase and merge will all do."
    )
    if known:
        text += f" The landed attempts cost ${sum(known):.2f}."
    checks = _CHECKS if delivered.checks_may_wait else ""
    return line_breaks([f"<sub>{text}</sub>", checks])
