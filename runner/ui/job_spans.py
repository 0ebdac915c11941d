"""The spans of the jobs of a run on GitHub Actions: all rounds of a run are one trace.

No job waits for another one to learn an id: the trace, the run and its batches have ids
that follow from the repository and the id of the first run. Job `next` of the first
round sends the span of the run, and the job that chooses a batch that of the batch: what
they consist of begins later and outlives them. Job `merge` sends those of the attempts and
of the verify commands.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from runner.core.events import AttemptStarted, RunEvent, VerifyEnded, VerifyStarted
from runner.ui.traces import (
    RunSpans,
    captures_content,
    exporting,
    nanoseconds,
    verify_attributes,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.trace import Tracer

RUN = "run"
Attributes = dict[str, str | int | bool]


def batch_span(batch: str) -> str:
    """The name by which the jobs of a batch know its span."""
    return f"batch {batch}"


@dataclass(frozen=True)
class RunIds:
    """The ids that every job of a run knows: `run` is the id of its first run."""

    repository: str
    run: str

    @property
    def trace(self) -> int:
        return self._number("trace", 16)

    def span(self, name: str) -> int:
        """The id of the span that the jobs know by this name."""
        return self._number(f"span {name}", 8)

    def _number(self, name: str, size: int) -> int:
        text = f"{self.repository}\n{self.run}\n{name}"
        digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:size], "big")


class SpanNumbers:
    """Random ids of spans, but for the next one if that is set; one id of a trace."""

    def __init__(self, trace: int) -> None:
        self._trace = trace
        self.next_span: int | None = None

    def generate_span_id(self) -> int:
        number, self.next_span = self.next_span, None
        # 0 is no valid id.
        return number or secrets.randbelow(2**64 - 1) + 1

    def generate_trace_id(self) -> int:
        return self._trace

    def is_trace_id_random(self) -> bool:
        return False


class _Nobody:
    """Observes nothing."""

    def observe(self, event: RunEvent) -> None:
        pass


class JobSpans:
    """The spans of one job. Without a tracer there are none."""

    def __init__(
        self,
        ids: RunIds,
        tracer: Tracer | None = None,
        numbers: SpanNumbers | None = None,
        *,
        captures_content: bool = False,
    ) -> None:
        self._ids, self._tracer, self._numbers = ids, tracer, numbers
        self.captures_content = captures_content

    @property
    def are_sent(self) -> bool:
        return self._tracer is not None

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        within: str | None = None,
        known_as: str | None = None,
    ) -> Iterator[Attributes]:
        """A span of what is done in the block; what it yields takes more attributes.

        `within` and `known_as` are names by which other jobs know the span above and
        this one. With the attribute `error.type` it is one of a failure.
        """
        found: Attributes = dict(attributes or {})
        started = time.time_ns()
        try:
            yield found
        except Exception as error:
            found.setdefault("error.type", type(error).__name__)
            raise
        finally:
            self._send(name, found, (started, time.time_ns()), within, known_as)

    def attempt(self, batch: str, events: Iterable[RunEvent]) -> None:
        """Send the span of one attempt of the batch, of which these are the events."""
        if self._tracer is None:
            return
        spans = RunSpans(
            _Nobody(),
            self._tracer,
            self._within(batch_span(batch)),
            captures_content=self.captures_content,
        )
        for event in events:
            if isinstance(event, AttemptStarted):
                # The same one if the job that sends it is run again.
                name = f"attempt {batch} {event.task} {event.attempt}"
                self._name_next(name)
            spans.observe(event)
        spans.close()

    def verify(self, started: VerifyStarted, ended: VerifyEnded) -> None:
        """Send the span of a verify command on a merged tree."""
        attributes = verify_attributes(started)
        if ended.failure is not None:
            attributes["error.type"] = ended.failure.kind.value
        self._send(
            "verify",
            attributes,
            (nanoseconds(started.time), nanoseconds(ended.time)),
            batch_span(started.batch),
        )

    def _name_next(self, name: str) -> None:
        """Give the next span the id by which jobs know this name."""
        if self._numbers is not None:
            self._numbers.next_span = self._ids.span(name)

    def _send(
        self,
        name: str,
        attributes: Attributes,
        times: tuple[int, int],
        within: str | None,
        known_as: str | None = None,
    ) -> None:
        """Send a span from the first to the second of the times, in nanoseconds."""
        if self._tracer is None:
            return
        from opentelemetry.trace import Status, StatusCode

        if known_as is not None:
            self._name_next(known_as)
        span = self._tracer.start_span(
            name,
            context=self._within(within) if within else None,
            attributes=attributes,
            start_time=times[0],
        )
        if "error.type" in attributes:
            status = Status(StatusCode.ERROR, str(attributes["error.type"]))
            span.set_status(status)
        span.end(times[1])

    def _within(self, name: str) -> Context:
        """The context of a span that another job sends."""
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            TraceFlags,
            set_span_in_context,
        )

        above = SpanContext(
            self._ids.trace,
            self._ids.span(name),
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        return set_span_in_context(NonRecordingSpan(above))


@contextmanager
def job_spans(
    repository: str,
    run: str,
    environ: Mapping[str, str],
    warn: Callable[[str], object],
) -> Iterator[JobSpans]:
    """The spans of this job, sent to the collector that the variables name, if any.

    `repository` and `run`: as in `RunIds`; `warn` as in `traces.exporting`.
    """
    ids = RunIds(repository, run)
    numbers = SpanNumbers(ids.trace)
    with exporting(environ, warn, cast("IdGenerator", numbers)) as provider:
        if provider is None:
            yield JobSpans(ids)
            return
        yield JobSpans(
            ids,
            provider.get_tracer("fanin"),
            numbers,
            captures_content=captures_content(environ),
        )
