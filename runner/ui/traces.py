"""The spans of a run for OpenTelemetry, made from its events.

Needs the extra `fanin[otel]`, and one of the variables that name a collector. All
`OTEL_*` variables of the OTLP exporter work as its specification says:
https://opentelemetry.io/docs/specs/otel/protocol/exporter/. The attributes of agents are
those of https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    BatchChosen,
    BatchMerged,
    PhaseChanged,
    RunEnded,
    RunEvent,
    RunObserver,
    RunStarted,
    VerifyEnded,
    VerifyEvent,
    VerifyStarted,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.trace import Span, Tracer

    from runner.core.result import Failure

FLUSH_SECONDS = 2.0  # how long the end of a run waits for the collector
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURING = {"true", "span_only", "span_and_event"}
# The names of the conventions for those who make the models.
_PROVIDERS = {"claude": "anthropic", "codex": "openai", "gemini": "gcp.gemini"}


def are_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the variables name a collector and do not turn traces off."""
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if is_off or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    return any(environ.get(name) for name in _ENDPOINTS)


def _are_installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # what find_spec says of a module in a missing package
        return False


@contextmanager
def traced(
    observer: RunObserver, environ: Mapping[str, str], warn: Callable[[str], object]
) -> Iterator[RunObserver]:
    """The observer, which also sends the run's spans if the variables ask for that.

    `warn` is as in `exporting`.
    """
    with exporting(environ, warn) as provider:
        if provider is None:
            yield observer
            return
        from opentelemetry.trace.propagation.tracecontext import (
            TraceContextTextMapPropagator,
        )

        names = ("TRACEPARENT", "TRACESTATE")
        parent = TraceContextTextMapPropagator().extract(
            {name.lower(): environ.get(name, "") for name in names}
        )
        spans = RunSpans(
            observer,
            provider.get_tracer("fanin"),
            parent,
            captures_content=captures_content(environ),
        )
        try:
            yield spans
        finally:
            spans.close()


def captures_content(environ: Mapping[str, str]) -> bool:
    """Whether the variables allow spans to hold what agents print."""
    return environ.get(_CAPTURE, "").lower() in _CAPTURING


@contextmanager
def exporting(
    environ: Mapping[str, str],
    warn: Callable[[str], object],
    ids: IdGenerator | None = None,
) -> Iterator[TracerProvider | None]:
    """What sends spans to the collector of the variables; None if they name none.

    `warn` is told at the end if spans did not reach it. A collector that does not
    answer costs FLUSH_SECONDS at most. `ids` makes the ids of the spans.
    """
    if not are_wanted(environ):
        yield None
        return
    if not _are_installed():
        warn("no traces are sent: install  'fanin[otel]'")
        yield None
        return
    import logging  # for runs with traces alone

    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The exporter logs each failure, in the middle of what a terminal shows.
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    exporter = _CountedExporter(OTLPSpanExporter())
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES replace these.
    resource = Resource.create()
    if not environ.get("OTEL_SERVICE_NAME"):
        resource = resource.merge(Resource({"service.name": "fanin"}))
    provider = TracerProvider(
        resource=resource, shutdown_on_exit=False, id_generator=ids
    )
    provider.add_span_processor(BatchSpanProcessor(cast("SpanExporter", exporter)))
    try:
        yield provider
    finally:
        # The processor's own time limit is not kept while an export hangs.
        flush = threading.Thread(target=provider.force_flush, daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)
        if flush.is_alive():
            warn("the trace is incomplete: its collector does not answer")
        elif exporter.failed:
            warn("the trace is incomplete: its collector cannot be reached")


class _CountedExporter:
    """Passes spans on to an exporter; `failed` counts those that it could not send."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result.name != "SUCCESS":
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class RunSpans:
    """Passes events on to another observer and makes their spans.

    The run is the parent of its batches, and a batch that of its attempts, its merge and
    the verify commands. What agents print is in no span unless `captures_content`.
    """

    def __init__(
        self,
        observer: RunObserver,
        tracer: Tracer,
        parent: Context | None = None,
        *,
        captures_content: bool = False,
    ) -> None:
        self._observer, self._tracer, self._parent = observer, tracer, parent
        self._captures_content = captures_content
        self._lock = threading.Lock()
        self._run: Span | None = None
        # ("batch", batch), ("merge", batch), ("verify", batch), or the attempt's three
        self._open: dict[tuple[str | int, ...], Span] = {}
        self._last_lines: dict[tuple[str | int, ...], str] = {}
        self._last_time = 0

    def observe(self, event: RunEvent) -> None:
        with self._lock:
            self._last_time = max(self._last_time, nanoseconds(event.time))
            self._make_spans(event)
        self._observer.observe(event)

    def close(self) -> None:
        """End the spans of what a failure of the run has left open."""
        with self._lock:
            for span in reversed(self._open.values()):
                span.end(self._last_time)
            self._open.clear()
            if self._run is not None:
                self._run.end(self._last_time)
                self._run = None

    def _make_spans(self, event: RunEvent) -> None:
        match event:
            case RunStarted():
                self._start_run(event)
            case BatchChosen():
                self._start_batch(event)
            case AttemptStarted() | AgentOutput() | AttemptEnded():
                self._note_attempt(event)
            case PhaseChanged(phase="merging"):
                self._start_once(("merge", event.batch), "merge", event)
            case VerifyStarted():
                self._start_verify(event)
            case VerifyEnded():
                self._end(_verify_key(event), event, event.failure)
            case BatchMerged():
                self._end(("merge", event.batch), event)
                self._end(("batch", event.batch), event)
            case RunEnded():
                self._end_run(event)

    def _note_attempt(self, event: AttemptStarted | AgentOutput | AttemptEnded) -> None:
        if isinstance(event, AttemptStarted):
            self._start_attempt(event)
        elif isinstance(event, AttemptEnded):
            self._end_attempt(event)
        elif self._captures_content:
            key = (event.batch, event.task, event.attempt)
            self._last_lines[key] = event.last_line

    def _start_batch(self, event: BatchChosen) -> None:
        attributes: dict[str, str | int | bool] = {
            "fanin.batch": event.batch,
            "fanin.round": event.round,
        }
        self._start(("batch", event.batch), "batch", event, attributes)

    def _start_run(self, event: RunStarted) -> None:
        attributes: dict[str, str | int | bool] = {
            "fanin.run": event.run,
            "fanin.branch": event.branch,
            "fanin.schedule": event.schedule,
            "fanin.tasks": event.tasks,
        }
        self._run = self._tracer.start_span(
            "fanin run",
            context=self._parent,
            attributes=attributes,
            start_time=nanoseconds(event.time),
        )

    def _end_run(self, event: RunEnded) -> None:
        if self._run is None:
            return
        self._run.set_attribute("fanin.outcome", event.outcome)
        self._run.set_attribute("fanin.landed", event.landed)
        if event.outcome == "error":
            self._set_error(self._run, "error", event.reason or "")
        self._last_time = nanoseconds(event.time)

    def _start_attempt(self, event: AttemptStarted) -> None:
        attributes: dict[str, str | int] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": event.agent,
            "fanin.task": event.task,
            "fanin.attempt": event.attempt,
            "fanin.slot": event.slot,
        }
        if provider := _PROVIDERS.get(event.agent):
            attributes["gen_ai.provider.name"] = provider
        key = (event.batch, event.task, event.attempt)
        self._start(key, f"invoke_agent {event.agent}", event, attributes)

    def _end_attempt(self, event: AttemptEnded) -> None:
        key = (event.batch, event.task, event.attempt)
        span = self._open.get(key)
        if span is None:
            return
        usage = event.usage
        # The conventions have no sum, and some agents report nothing else.
        for name, value in (
            ("gen_ai.usage.input_tokens", usage.input_tokens),
            ("gen_ai.usage.output_tokens", usage.output_tokens),
            ("fanin.usage.total_tokens", usage.tokens),
            ("fanin.usage.cost_usd", usage.cost_usd),
        ):
            if value is not None:
                span.set_attribute(name, value)
        if line := self._last_lines.pop(key, None):
            part = {"type": "text", "content": line}
            message = {"role": "assistant", "parts": [part]}
            span.set_attribute("gen_ai.output.messages", json.dumps([message]))
        self._end(key, event, event.failure)

    def _start_verify(self, event: VerifyStarted) -> None:
        attributes = verify_attributes(event)
        if not event.tasks and not event.bisecting:
            # what the run starts from, which nothing is merged with
            self._start(_verify_key(event), "verify", event, attributes)
            return
        self._start_once(("merge", event.batch), "merge", event)
        self._start(
            _verify_key(event), "verify", event, attributes, ("merge", event.batch)
        )

    def _start_once(
        self, key: tuple[str | int, ...], name: str, event: PhaseChanged | VerifyEvent
    ) -> None:
        if key not in self._open:
            self._start(key, name, event, {"fanin.batch": event.batch})

    def _start(
        self,
        key: tuple[str | int, ...],
        name: str,
        event: BatchChosen | AttemptStarted | PhaseChanged | VerifyEvent,
        attributes: Mapping[str, str | int | bool],
        parent: tuple[str | int, ...] | None = None,
    ) -> None:
        from opentelemetry.trace import set_span_in_context

        above = self._open.get(parent or ("batch", event.batch), self._run)
        # A job of GitHub Actions sees neither the run nor the batch.
        context = self._parent
        if above is not None:
            context = set_span_in_context(above)
        self._open[key] = self._tracer.start_span(
            name,
            context=context,
            attributes=attributes,
            start_time=nanoseconds(event.time),
        )

    def _end(
        self,
        key: tuple[str | int, ...],
        event: AttemptEnded | VerifyEnded | BatchMerged,
        failure: Failure | None = None,
    ) -> None:
        span = self._open.pop(key, None)
        if span is None:
            return
        if failure is not None:
            self._set_error(span, failure.kind.value, failure.message)
        span.end(nanoseconds(event.time))

    def _set_error(self, span: Span, kind: str, message: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        # A message may quote what the agent or a command has printed.
        description = message if self._captures_content else kind
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR, description))


def verify_attributes(event: VerifyEvent) -> dict[str, str | int | bool]:
    """The attributes of the span of a verify command."""
    return {
        "fanin.tree_of": ", ".join(event.tasks),
        "fanin.bisecting": event.bisecting,
        "fanin.step": event.step,
    }


def _verify_key(event: VerifyEvent) -> tuple[str | int, ...]:
    return ("verify", event.batch, event.step)


def nanoseconds(time: str) -> int:
    """Since 1970, of a time in ISO 8601."""
    return int(datetime.fromisoformat(time).timestamp() * 1000) * 1_000_000
