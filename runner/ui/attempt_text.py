"""What an attempt says of itself in Markdown: its failure, its log, its time and cost."""

from __future__ import annotations

from runner.core.result import Failure, FailureKind
from runner.core.rough_time import rough_time
from runner.ui.markdown import block, folded, paragraph, shortened

MAX_LOG_LINES = 20
_MAX_MESSAGE, _MAX_LOG_LINE = 2_000, 500  # characters
_KINDS = {
    FailureKind.AGENT_ERROR: "agent failed",
    FailureKind.TIMEOUT: "time limit",
    FailureKind.IDLE: "no output",
    FailureKind.RATE_LIMIT: "rate limit",
    FailureKind.USAGE_LIMIT: "usage limit",
    FailureKind.PERMISSION: "permission refused",
    FailureKind.NO_CHANGE: "no change",
    FailureKind.VERIFY: "verify is red",
    FailureKind.SCOPE: "outside its files",
    FailureKind.POLICY: "change not allowed",
    FailureKind.CONFLICT: "merge conflict",
    FailureKind.NO_RESULT: "no result",
    FailureKind.CORRUPT: "unreadable result",
    FailureKind.STALE: "outdated",
    FailureKind.QUESTION: "question",
    FailureKind.ENVIRONMENT: "machine trouble",
    FailureKind.NOT_READY: "not ready",
    FailureKind.INTERRUPTED: "stopped",
    FailureKind.BASE_RED: "branch is red",
}


def duration(seconds: float | None) -> str:
    """E.g. `45 s`, `12 min` or `1 h 5 min`; "" if unknown or less than half a second."""
    if seconds is None or round(seconds) < 1:
        return ""
    return rough_time(seconds)


def failure_kind(failure: Failure) -> str:
    return _KINDS[failure.kind]


def failure_text(failure: Failure) -> str:
    message = paragraph(failure.message, _MAX_MESSAGE)
    return f"**{failure_kind(failure).capitalize()}:** {message}"


def end_of_log(failure: Failure, line_count: int, *, opened: bool = True) -> str:
    """The last lines of the failure's log; "" if it has none."""
    if line_count == 0:
        return ""
    # A log may be one line of many megabytes.
    end = failure.log_tail[-_MAX_LOG_LINE * line_count :].rstrip()
    lines = end.splitlines()[-line_count:]
    log = "\n".join(shortened(line, _MAX_LOG_LINE) for line in lines)
    if not log.strip():
        return ""
    text = block(log)
    return text if opened else folded("End of the log", text)
