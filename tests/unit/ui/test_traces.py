"""The spans of a run, made from its events."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runner.core.events import (
    AgentOutput,
    AttemptEnded,
    AttemptStarted,
    BatchChosen,
    BatchMerged,
    PhaseChanged,
    RunEnded,
    RunEvent,
    RunStarted,
    UsageReport,
    VerifyEnded,
    VerifyStarted,
)
from runner.core.result import Failure, FailureKind, Usage
from runner.ui.traces import RunSpans, are_wanted, traced
from tests.support.project import Quiet

_RED = Failure(kind=FailureKind.VERIFY, message="red: the words of a test")


def _events() -> Iterator[RunEvent]:
    """One batch of one task, whose first verify is red."""
    yield RunStarted(
        time="2026-01-01T00:00:00Z",
        run="r1",
        branch="main",
        plan="tasks.yml",
        tasks=1,
        schedule="batch",
    )
    yield BatchChosen(
        time="2026-01-01T00:00:01Z", batch="r1-1", round=1, base="0" * 40, tasks=()
    )
    attempt = {"batch": "r1-1", "task": "A", "attempt": 1}
    yield AttemptStarted(
        time="2026-01-01T00:00:02Z", title="Say the word", agent="claude", **attempt
    )
    yield AgentOutput(
        time="2026-01-01T00:00:03Z", last_line="what it prints", **attempt
    )
    yield AttemptEnded(
        time="2026-01-01T00:00:12Z",
        title="Say the word",
        seconds=10,
        usage=Usage(tokens=1200, input_tokens=1000, output_tokens=200, cost_usd=0.25),
        **attempt,
    )
    yield PhaseChanged(time="2026-01-01T00:00:13Z", phase="merging", **attempt)
    verify = {"batch": "r1-1", "commit": "0" * 40, "tasks": ("A",)}
    yield VerifyStarted(time="2026-01-01T00:00:14Z", command="make test", **verify)
    yield VerifyEnded(time="2026-01-01T00:00:19Z", seconds=5, failure=_RED, **verify)
    yield BatchMerged(time="2026-01-01T00:00:20Z", batch="r1-1", usage=UsageReport())
    yield RunEnded(
        time="2026-01-01T00:00:21Z", run="r1", branch="main", outcome="completed"
    )


def _spans(
    events: Iterator[RunEvent], *, captures_content: bool = False
) -> dict[str, ReadableSpan]:
    """The spans of the events by name."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = RunSpans(
        Quiet(), provider.get_tracer("test"), captures_content=captures_content
    )
    for event in events:
        spans.observe(event)
    spans.close()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_run_a_batch_an_attempt_a_merge_and_a_verify_are_spans_in_each_other() -> (
    None
):
    spans = _spans(_events())
    parents = {
        name: next(
            (
                above.name
                for above in spans.values()
                if span.parent and above.context.span_id == span.parent.span_id
            ),
            None,
        )
        for name, span in spans.items()
    }
    assert parents == {
        "fanin run": None,
        "batch": "fanin run",
        "invoke_agent claude": "batch",
        "merge": "batch",
        "verify": "merge",
    }
    assert len({span.context.trace_id for span in spans.values()}) == 1


def test_a_span_has_the_times_of_its_events() -> None:
    attempt = _spans(_events())["invoke_agent claude"]
    assert attempt.start_time is not None
    assert attempt.end_time is not None
    assert attempt.end_time - attempt.start_time == 10 * 10**9


def test_an_attempt_has_the_attributes_of_the_conventions_for_agents() -> None:
    attributes = _spans(_events())["invoke_agent claude"].attributes or {}
    assert attributes["gen_ai.operation.name"] == "invoke_agent"
    assert attributes["gen_ai.agent.name"] == "claude"
    assert attributes["gen_ai.provider.name"] == "anthropic"
    assert attributes["fanin.usage.total_tokens"] == 1200
    assert attributes["gen_ai.usage.input_tokens"] == 1000
    assert attributes["gen_ai.usage.output_tokens"] == 200
    assert attributes["fanin.usage.cost_usd"] == 0.25


@pytest.mark.parametrize("captures", [False, True])
def test_text_of_agents_and_commands_is_in_spans_only_where_it_is_asked_for(
    captures: bool,
) -> None:
    spans = _spans(_events(), captures_content=captures)
    written = "\n".join(span.to_json() for span in spans.values())
    for text in ("what it prints", "the words of a test"):
        assert (text in written) is captures
    assert "Say the word" not in written
    assert (spans["verify"].attributes or {})["error.type"] == "verify"


def test_what_a_failure_of_the_run_leaves_open_is_ended() -> None:
    first = list(_events())[:3]
    spans = _spans(iter(first))
    assert set(spans) == {"fanin run", "batch", "invoke_agent claude"}
    assert all(span.end_time is not None for span in spans.values())


def test_events_reach_the_other_observer() -> None:
    seen = Quiet()
    spans = RunSpans(seen, TracerProvider(shutdown_on_exit=False).get_tracer("test"))
    events = list(_events())
    for event in events:
        spans.observe(event)
    assert seen.events == events


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, True),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
                "OTEL_SDK_DISABLED": "true",
            },
            False,
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
                "OTEL_TRACES_EXPORTER": "none",
            },
            False,
        ),
    ],
)
def test_the_variables_of_opentelemetry_turn_traces_on_and_off(
    environ: dict[str, str], wanted: bool
) -> None:
    assert are_wanted(environ) is wanted


def test_a_run_without_the_extra_goes_on_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    warnings: list[str] = []
    with traced(Quiet(), environ, warnings.append) as observer:
        assert isinstance(observer, Quiet)
    assert warnings == ["no traces are sent: install  'fanin[otel]'"]


def test_a_run_does_not_wait_for_a_collector_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        monkeypatch.setenv(*environ.popitem())
        monkeypatch.setattr("runner.ui.traces.FLUSH_SECONDS", 0.2)
        warnings: list[str] = []
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        with traced(Quiet(), environ, warnings.append) as observer:
            for event in _events():
                observer.observe(event)
    assert warnings == ["the trace is incomplete: its collector does not answer"]
