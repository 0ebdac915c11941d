"""Reports one attempt as events: its start, its phases, its output and its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from runner.agents.stream import UsageSoFar
from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    Phase,
    PhaseChanged,
    RunEvent,
)
from runner.core.manifest import BatchEntry
from runner.core.patterns import lazy_pattern
from runner.core.result import Result

OUTPUT_INTERVAL = 0.25  # seconds between two events with the output of one attempt
_TAIL_BYTES = 4096  # of the output; longer lines lose their beginning
_LINE_LENGTH = 200  # characters
_ESCAPE_SEQUENCE = lazy_pattern(rb"\x1b\[[0-9;?]*[ -/]*[@-~]")


class AttemptReports:
    """Reports one attempt."""

    def __init__(
        self,
        observe: Callable[[RunEvent], object],
        batch: str,
        entry: BatchEntry,
        log: str,
    ) -> None:
        """`log` is the path of the agent's log, from the folder of the events."""
        self._observe, self._batch, self._entry = observe, batch, entry
        self._slot, self._log = 0, log
        self._started_at = time.monotonic()
        self._usage = UsageSoFar()
        self.output = LastLine(self._report_output)

    def started(self, slot: int) -> None:
        self._slot = slot
        self._observe(
            AttemptStarted(
                batch=self._batch,
                task=self._entry.task.id,
                attempt=self._entry.attempt,
                title=self._entry.task.title,
                agent=self._entry.agent.name,
                slot=self._slot,
                log=self._log,
            )
        )

    def phase(self, phase: Phase) -> None:
        self._observe(
            PhaseChanged(
                batch=self._batch,
                task=self._entry.task.id,
                attempt=self._entry.attempt,
                phase=phase,
            )
        )

    def ended(self, result: Result) -> None:
        self.output.finish()
        self._observe(
            AttemptEnded(
                batch=self._batch,
                task=self._entry.task.id,
                attempt=self._entry.attempt,
                title=self._entry.task.title,
                seconds=time.monotonic() - self._started_at,
                failure=result.failure,
                usage=result.usage,
                agent=self._entry.agent.name,
                slot=self._slot,
                log=self._log,
            )
        )

    def used(self, usage: UsageSoFar) -> None:
        """Report the usage with the next line, at the latest when the agent has ended."""
        self._usage = usage
        self.output.report_again()

    def _report_output(self, line: str) -> None:
        self._observe(
            AgentOutput(
                batch=self._batch,
                task=self._entry.task.id,
                attempt=self._entry.attempt,
                last_line=line,
                tokens=self._usage.tokens,
                cost_usd=self._usage.cost_usd,
                tool_calls=self._usage.tool_calls,
            )
        )


class LastLine:
    """Reports the last line of a stream of bytes, at most once in OUTPUT_INTERVAL.

    What comes sooner is reported with what follows it, or by `finish`.
    """

    def __init__(
        self,
        report: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._clock = report, clock
        self._tail = b""
        self._reported_line = ""
        self._reported_at: float | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes, which hold no secret."""
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        now = self._clock()
        if self._reported_at is None or now - self._reported_at >= OUTPUT_INTERVAL:
            self._reported_at = now
            self.finish()

    def report_again(self) -> None:
        """Report the last line once more, because something else has changed."""
        self._reported_line = ""

    def finish(self) -> None:
        """Report the last line, unless it was reported already."""
        line = _last_line(self._tail)
        if line and line != self._reported_line:
            self._reported_line = line
            self._report(line)


def _last_line(data: bytes) -> str:
    """The last non-blank line without escape sequences; "" if all lines are blank."""
    # The tail may begin or end in the middle of a character.
    text = _ESCAPE_SEQUENCE().sub(b"", data).decode("utf-8", "ignore")
    for line in reversed(text.splitlines()):
        if line.strip():
            return line.strip()[:_LINE_LENGTH]
    return ""
