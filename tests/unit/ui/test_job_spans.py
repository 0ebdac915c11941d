"""The spans of jobs that share nothing but the id of their run."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runner.core.events import AttemptEnded, AttemptStarted, RunEvent
from runner.core.result import Usage
from runner.ui.job_spans import (
    RUN,
    JobSpans,
    RunIds,
    SpanNumbers,
    batch_span,
    job_spans,
)

IDS = RunIds("o/r", "4711")


class Machine:
    """Where one job runs: nothing of another job is there."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        numbers = SpanNumbers(IDS.trace)
        provider = TracerProvider(id_generator=numbers)  # type: ignore[arg-type]
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.spans = JobSpans(IDS, provider.get_tracer("fanin"), numbers)

    def sent(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def test_jobs_of_one_run_send_one_trace_without_telling_each_other() -> None:
    first, leg, last = Machine(), Machine(), Machine()
    with first.spans.span("fanin run", known_as=RUN):
        pass
    with first.spans.span("batch", within=RUN, known_as=batch_span("4711.1")):
        pass
    attempt = {"batch": "4711.1", "task": "A", "attempt": 1, "title": "do it"}
    events: list[RunEvent] = [
        AttemptStarted(agent="claude", **attempt),
        AttemptEnded(seconds=1.0, usage=Usage(), **attempt),
    ]
    leg.spans.attempt("4711.1", events)
    # A job that runs again sends no other span.
    again = Machine()
    again.spans.attempt("4711.1", events)
    (name,) = again.sent()
    assert span_id(again.sent()[name]) == span_id(leg.sent()[name])
    with last.spans.span("merge", within=batch_span("4711.1")):
        pass
    run, batch = first.sent()["fanin run"], first.sent()["batch"]
    assert parent_id(run) is None
    assert parent_id(batch) == span_id(run)
    for span in (leg.sent()["invoke_agent claude"], last.sent()["merge"]):
        assert parent_id(span) == span_id(batch)
    machines = (first, leg, last)
    traces = {
        span.context.trace_id
        for machine in machines
        for span in machine.sent().values()
        if span.context is not None
    }
    assert traces == {IDS.trace}


def test_another_run_and_another_repository_are_other_traces() -> None:
    others = {RunIds("o/r", "4712").trace, RunIds("o/other", "4711").trace}
    assert IDS.trace not in others
    assert len(others) == 2


def test_a_span_of_what_failed_says_how_and_not_why() -> None:
    machine = Machine()
    with (
        pytest.raises(ValueError, match="a secret"),
        machine.spans.span("merge", within=batch_span("4711.1")),
    ):
        raise ValueError("a secret")
    span = machine.sent()["merge"]
    assert dict(span.attributes or {}) == {"error.type": "ValueError"}
    assert span.status.description == "ValueError"


def test_without_a_collector_nothing_is_sent_and_all_works() -> None:
    with job_spans("o/r", "4711", {}, pytest.fail) as spans:
        assert not spans.are_sent
        spans.attempt("4711.1", [])
        with spans.span("merge", within=batch_span("4711.1")) as attributes:
            attributes["fanin.batch"] = "4711.1"
