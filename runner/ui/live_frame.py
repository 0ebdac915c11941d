"""What stands below the lines of a run while it goes on: the run as a whole, and a line
for each agent at work.
"""

from __future__ import annotations

from collections.abc import Sequence

from runner.core.events import UsageReport
from runner.core.plurals import pluralize, some_of
from runner.core.rough_time import cost, rough_time
from runner.core.run_view import (
    AttemptState,
    AttemptView,
    Progress,
    RunView,
    VerifyView,
)
from runner.ui.shown_text import Line, Span, fitted, one_line, padded

_MAX_ID = 20  # columns
_MAX_IDS = 3  # that a line names
_BAR = 24  # columns
# Rows that are not of agents: header, two of progress, verify or wait, the cursor.
_OTHER_ROWS = 5
_MAX_VERIFIES = 4  # rows
_WIDE = 120  # columns, from which on titles have room beside the last line
_TITLE = 32  # columns
_AGENT = 30  # columns
_STEP = 5  # seconds of an estimate


def frame(view: RunView, width: int, height: int, now: float) -> list[Line]:
    """The lines for a screen of so many columns and rows at the time `now`.

    Never more than the screen has; the painter cuts them to its width. Before a run has
    begun, as while an earlier one is finished, only what goes on.
    """
    lines = [] if view.start is None else [_header(view), *_progress(view, now)]
    verifying = list(view.verifying.values())
    more_verifies = len(verifying[1:_MAX_VERIFIES])
    rows = max(1, min(height - _OTHER_ROWS - more_verifies, height // 2))
    running = list(view.running.values())
    shown = running if len(running) <= rows else running[: rows - 1]
    lines += _agents(shown, width, now)
    if len(shown) < len(running):
        more = len(running) - len(shown)
        lines.append(Line.of(Span(f"  … and {more} more at work", "dim")))
    lines += [_verify(verify, now) for verify in verifying[:_MAX_VERIFIES]]
    if not verifying and (merging := _merging(view)):
        ids = one_line(some_of(merging[:_MAX_IDS], len(merging)))
        lines.append(Line.of("  ", Span("◆", "cyan"), f" merging  {ids}"))
    if view.wait is not None and not running:
        text = one_line(view.wait.reason)
        lines.append(Line.of("  ", Span("‖", "yellow"), f" {text}"))
    return lines[: max(1, height - 1)]


def _header(view: RunView) -> Line:
    start = view.start
    assert start is not None
    parts = [f"{start.plan} → {start.branch}", _agent(start.agent)]
    if start.max_concurrent > 1:
        parts.append(f"{start.max_concurrent} at a time")
    if start.limits.max_cost_usd is not None:
        parts.append(f"at most ${start.limits.max_cost_usd:g}")
    if start.limits.max_attempts:
        parts.append(f"{pluralize(start.limits.max_attempts, 'attempt')} each")
    text = " · ".join(part for part in parts if part)
    return Line.of(Span(f"── {one_line(text)}", "dim"))


def _agent(label: str) -> str:
    """The agent in a few words: of a command's paths, the names of the files."""
    words = [word.rstrip("/").rpartition("/")[2] for word in one_line(label).split()]
    return fitted(" ".join(words), _AGENT)


def _progress(view: RunView, now: float) -> list[Line]:
    """The bar with what it shows in words, and below it time and cost."""
    progress = view.progress
    states = [f"{progress.landed}/{progress.total} landed"]
    if progress.finished:
        states.append(f"{progress.finished} finished")
    if progress.failed:
        states.append(f"{progress.failed} failed")
    spent = [clock(view.elapsed(now))]
    seconds = view.seconds_left(now)
    if seconds is not None:
        # In steps, so that it does not change with every drawing.
        spent.append(f"about {rough_time(_STEP * max(1, round(seconds / _STEP)))} left")
    if money := spent_so_far(view.usage):
        spent.append(money)
    return [
        Line.of("  ", *_bar(progress), "  ", Span(" · ".join(states), "bold")),
        Line.of("  ", " · ".join(spent)),
    ]


def _bar(progress: Progress) -> list[Span]:
    """Landed, finished, failed, and the rest, each in proportion."""
    total = max(1, progress.total)
    landed = progress.landed
    finished = landed + progress.finished
    failed = finished + progress.failed
    ends = [_BAR * min(count, total) // total for count in (landed, finished, failed)]
    return [
        Span("█" * ends[0], "green"),
        Span("▓" * (ends[1] - ends[0]), "yellow"),
        Span("█" * (ends[2] - ends[1]), "red"),
        Span("░" * (_BAR - ends[2]), "dim"),
    ]


def _agents(running: Sequence[AttemptView], width: int, now: float) -> list[Line]:
    names = [one_line(attempt.task) + _number(attempt) for attempt in running]
    spent = [_spent(attempt) for attempt in running]
    longest = max((len(name) for name in names), default=0)
    widest = max((len(text) for text in spent), default=0)
    lines = []
    for attempt, name, used in zip(running, names, spent, strict=True):
        columns = [padded(name, min(_MAX_ID, longest)), f"{attempt.phase:9}"]
        columns.append(f"{clock(attempt.elapsed(now)):>6}")
        if widest:
            columns.append(f"{used:>{widest}}")
        title, last = one_line(attempt.title), one_line(attempt.last_line)
        if width >= _WIDE:
            columns.append(padded(title, _TITLE))
        elif not last:
            last = title
        text = "  ".join(columns)
        lines.append(
            Line.of("  ", Span("▶", "yellow"), f" {text}  ", Span(last, "dim"))
        )
    return lines


def _merging(view: RunView) -> list[str]:
    """The tasks whose results are being merged now."""
    return [
        task.task
        for task in view.in_state(AttemptState.FINISHED)
        if task.last is not None and task.last.phase == "merging"
    ]


def _verify(verify: VerifyView, now: float) -> Line:
    event = verify.event
    text = f"verify  {clock(now - verify.started)}"
    if event.bisecting:
        text += f"  step {event.step}, to find what makes it red:"
    elif event.repeated:
        text += "  once more"
    ids = some_of(event.tasks[:_MAX_IDS], len(event.tasks)) or "the branch alone"
    command = Span(f"  {one_line(event.command)}", "dim")
    return Line.of("  ", Span("◆", "cyan"), f" {text}  {one_line(ids)}", command)


def _number(attempt: AttemptView) -> str:
    return f" #{attempt.attempt}" if attempt.attempt > 1 else ""


def _spent(attempt: AttemptView) -> str:
    """Cost, else tokens: `$0.02`, `12.3k`; "" where the agent reports neither yet."""
    text = cost(attempt.usage.cost_usd)
    if text or not attempt.usage.tokens:
        return text
    tokens = attempt.usage.tokens
    return f"{tokens / 1000:.1f}k tok" if tokens >= 1000 else f"{tokens} tok"


def spent_so_far(usage: UsageReport) -> str:
    """The cost of a run, `at least` where some attempts reported none; or its tokens."""
    if usage.without_cost < usage.attempts:
        at_least = "at least " if usage.without_cost else ""
        return f"{at_least}{cost(usage.cost_usd)}"
    return f"{pluralize(usage.tokens, 'token')}" if usage.tokens else ""


def clock(seconds: float) -> str:
    """A time that runs: `0:07`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"
