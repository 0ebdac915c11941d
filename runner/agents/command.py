"""Any command as an agent (`agent: {command: [...]}`): the agent contract of DESIGN,
Commands.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from runner.agents.base import Call, Costs, Place, Traits, Verdict
from runner.agents.outcome import ended_badly, failed
from runner.agents.process import Outcome
from runner.core.documents import Document
from runner.core.manifest import BatchEntry
from runner.core.result import FailureKind, Usage

MAX_REPORT_BYTES = 64 * 2**10


class Report(Document):
    """What an agent may write to `$FANIN_REPORT`, all of it optional; unknown fields
    are kept.
    """

    summary: str | None = None
    status: Literal["ok", "error", "rate_limited"] | None = None
    retryable: bool = True
    cost_usd: float | None = None
    tokens: int | None = None


class Command:
    """Runs the argv as given; reads exit status and report."""

    name = "command"
    traits = Traits(costs=Costs.UNTOLD)

    def build(self, entry: BatchEntry, place: Place) -> Call:
        return Call(argv=list(entry.agent.command or ()))

    def read(self, outcome: Outcome, place: Place) -> Verdict:
        said, complaint = read_report(place.report)
        usage = Usage(summary=said.summary, cost_usd=said.cost_usd, tokens=said.tokens)
        if said.status == "rate_limited" and outcome.ended == "exited":
            told = said.summary or "the agent reported a rate limit"
            return Verdict(failed(FailureKind.RATE_LIMIT, told, outcome), usage)
        if failure := ended_badly(outcome, retryable=said.retryable):
            return Verdict(failure, usage)
        if complaint:
            return Verdict(failed(FailureKind.AGENT_ERROR, complaint, outcome), usage)
        if said.status == "error":
            told = said.summary or "the agent reported an error"
            return Verdict(
                failed(
                    FailureKind.AGENT_ERROR, told, outcome, retryable=said.retryable
                ),
                usage,
            )
        return Verdict(None, usage)


def read_report(path: Path) -> tuple[Report, str | None]:
    """The agent's report, empty if there is none, and what is wrong with it if it
    cannot be read.
    """
    try:
        # Neither followed nor waited for: the agent may have left a link or a pipe
        # there.
        with os.fdopen(
            os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb"
        ) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return Report(), "the agent's report is no plain file"
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
        Usage(cost_usd=report.cost_usd, tokens=report.tokens)
    except (ValidationError, RecursionError):
        return Report(), "the agent's report is not the JSON that $FANIN_REPORT expects"
    return report, None
