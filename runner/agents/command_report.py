"""What any command as an agent says of its work: its exit status and its report.

Not in `command`: a run starts its agent before it needs this.
"""

import os
import stat
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from runner.agents.base import AttemptFolder, Verdict
from runner.agents.outcome import failed, process_failure, question_failure
from runner.agents.process import Outcome
from runner.agents.usage_limits import limit_failure, plausible
from runner.core.documents import Document, Instant
from runner.core.result import Failure, FailureKind, Usage

MAX_REPORT_BYTES = 64 * 2**10


class Report(Document):
    """The JSON report that an agent may write to `$FANIN_REPORT`.

    Every field is optional; unknown fields are kept. `resets_at` is when a usage limit
    ends, `question` what the agent asks a person.
    """

    summary: str | None = None
    status: (
        Literal["ok", "error", "rate_limited", "usage_limited", "question"] | None
    ) = None
    question: str | None = None
    resets_at: Instant | None = None
    retryable: bool = True
    cost_usd: float | None = None
    tokens: int | None = None


def read_verdict(outcome: Outcome, folder: AttemptFolder) -> Verdict:
    """What the end of the process and the agent's report say of the attempt."""
    report, problem = _read_report(folder.report)
    usage = Usage(
        summary=report.summary, cost_usd=report.cost_usd, tokens=report.tokens
    )
    return Verdict(_failure(outcome, report, problem), usage)


def _failure(outcome: Outcome, report: Report, problem: str | None) -> Failure | None:
    # A reported rate limit explains a bad exit status, but not a stop by fanin.
    if report.status == "rate_limited" and outcome.end_reason == "exited":
        message = report.summary or "the agent reported a rate limit"
        return failed(FailureKind.RATE_LIMIT, message, outcome)
    if report.status == "usage_limited" and outcome.end_reason == "exited":
        message = report.summary or "the agent reported a usage limit"
        return limit_failure(message, _reset(report, outcome), outcome)
    # As a rate limit. What it asks may be the reason why it ends as failed.
    if report.status == "question" and outcome.end_reason == "exited":
        return question_failure(report.question or report.summary or "", outcome)
    failure = process_failure(outcome, retryable=report.retryable)
    if failure is not None:
        return failure
    if problem is not None:
        return failed(FailureKind.AGENT_ERROR, problem, outcome)
    if report.status == "error":
        message = report.summary or "the agent reported an error"
        return failed(
            FailureKind.AGENT_ERROR, message, outcome, retryable=report.retryable
        )
    return None


def _reset(report: Report, outcome: Outcome) -> datetime | None:
    if report.resets_at is None:
        return None
    seconds = datetime.fromisoformat(report.resets_at).timestamp()
    return plausible(seconds, outcome.finished)


def _read_report(path: Path) -> tuple[Report, str | None]:
    """The agent's report, and what is wrong with it or None.

    The report is empty if there is none or if it cannot be read.
    """
    # The agent may have left a symbolic link or a pipe there: do not follow the one,
    # do not wait for the other.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return Report(), "the agent's report is not a regular file"
            data = stream.read(MAX_REPORT_BYTES + 1)
    except FileNotFoundError:
        return Report(), None
    except OSError as error:
        return Report(), f"the agent's report cannot be read: {error.strerror}"
    if not data.strip():
        return Report(), None
    if len(data) > MAX_REPORT_BYTES:
        return Report(), f"the agent's report is larger than {MAX_REPORT_BYTES:,} bytes"
    try:
        report = Report.model_validate_json(data)
        # Usage has the bounds of both numbers.
        Usage(cost_usd=report.cost_usd, tokens=report.tokens)
    except (ValidationError, RecursionError):
        return Report(), "the agent's report is not the JSON that $FANIN_REPORT expects"
    return report, None
