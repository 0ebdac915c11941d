"""GitHub's Copilot CLI (`@github/copilot`), tested with 1.0.102.

Prints JSON Lines; the last one is `result`. Every failed call of the model is an event
with `statusCode`, including those that are retried, so a rate limit is recognised even
when the time limit stopped the agent. No cost is reported, and with a provider key no
tokens. A refused tool call has `error.code` "denied".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.agents.base import AttemptFolder, Invocation, Traits, Verdict
from runner.agents.outcome import (
    RATE_LIMIT_STATUSES,
    Json,
    dig,
    failed,
    failure_for_status,
    json_lines,
    make_usage,
    process_failure,
    sentence_limit,
    stop_failure,
    sum_reported,
    token_count,
)
from runner.agents.process import Outcome
from runner.agents.stream import StreamLine, text_of, tool_call, tool_output
from runner.core.manifest import BatchEntry
from runner.core.result import Failure, FailureKind, Usage

_WRITE_TOOLS = {"create", "edit", "str_replace", "apply_patch", "insert", "write"}
_OPTIONS = (
    "--allow-all-tools",
    "--no-ask-user",
    "--disable-builtin-mcps",
    "--output-format",
    "json",
)


class Copilot:
    name = "copilot"
    traits = Traits(
        program="copilot",
        keys=("COPILOT_GITHUB_TOKEN", "GH_TOKEN", "COPILOT_PROVIDER_API_KEY"),
        variables=(
            "COPILOT_OFFLINE",
            "COPILOT_MODEL",
            "COPILOT_PROVIDER_BASE_URL",
            "COPILOT_PROVIDER_TYPE",
            "COPILOT_PROVIDER_MAX_PROMPT_TOKENS",
            "COPILOT_PROVIDER_MAX_OUTPUT_TOKENS",
        ),
        logins=(".copilot/config.json",),
        state=(".copilot", ".cache/copilot"),
        steering=(".copilot/mcp-config.json", ".copilot/agents", ".copilot/skills"),
        install="npm install -g @github/copilot",
        silent=True,
    )

    def build(self, entry: BatchEntry, folder: AttemptFolder) -> Invocation:
        # The prompt comes on standard input, not with -p: an argument is limited to
        # 128 KiB and visible to every user of the machine.
        argv = ["copilot", *_OPTIONS]
        if entry.agent.model:
            argv += ["--model", entry.agent.model]
        return Invocation([*argv, *entry.agent.args])

    def read(self, outcome: Outcome, folder: AttemptFolder) -> Verdict:
        events = list(json_lines(folder.stdout))
        return Verdict(_failure(events, outcome), _usage(events))

    def stream_line(self, event: Json) -> StreamLine:
        data = event.get("data")
        match event.get("type"):
            case "assistant.message":
                return StreamLine(text_of(dig(data, "content")))
            case "tool.execution_start":
                return tool_call(dig(data, "toolName"), dig(data, "arguments"))
            case "tool.execution_complete":
                answer = dig(data, "error", "message") or dig(data, "result", "content")
                return tool_output(answer)
            case "assistant.usage":
                sent = token_count(dig(data, "inputTokens"))
                received = token_count(dig(data, "outputTokens"))
                return StreamLine(tokens=sum_reported(sent, received))
            case "session.error":
                return StreamLine(text_of(dig(data, "message")))
        return StreamLine()


def _data_of(events: Sequence[Json], kind: str) -> Iterator[object]:
    """The data of all events of one type, in order."""
    for event in events:
        if event.get("type") == kind:
            yield event.get("data")


def _usage(events: Sequence[Json]) -> Usage:
    sent: int | None = None
    received: int | None = None
    for data in _data_of(events, "assistant.usage"):
        sent = sum_reported(sent, token_count(dig(data, "inputTokens")))
        received = sum_reported(received, token_count(dig(data, "outputTokens")))
    summary = None
    for data in _data_of(events, "assistant.message"):
        summary = dig(data, "content") or summary
    return make_usage(summary, sent=sent, received=received)


def _failure(events: Sequence[Json], outcome: Outcome) -> Failure | None:
    failure = stop_failure(outcome)
    if failure is not None:
        return _rate_limit(events, failure, outcome) or failure
    errors = list(_data_of(events, "session.error"))
    if errors and errors[-1]:
        status = dig(errors[-1], "statusCode")
        message = str(dig(errors[-1], "message") or "")
        limited = sentence_limit("copilot", message, outcome)
        return limited or failure_for_status(status, message, outcome)
    failure = process_failure(outcome)
    if failure is not None:
        return failure
    if not any(event.get("type") == "result" for event in events):
        message = "copilot ended without its closing line"
        return failed(FailureKind.AGENT_ERROR, message, outcome)
    if _denied_tools(events) & _WRITE_TOOLS:
        message = "copilot was not allowed to write a file"
        return failed(FailureKind.PERMISSION, message, outcome)
    return None


def _rate_limit(
    events: Sequence[Json], stopped: Failure, outcome: Outcome
) -> Failure | None:
    """The rate limit behind a stop by fanin, None if there was none."""
    if stopped.kind is FailureKind.INTERRUPTED:
        return None
    status = _last_status(events)
    if not isinstance(status, int) or status not in RATE_LIMIT_STATUSES:
        return None
    return failure_for_status(status, stopped.message, outcome)


def _last_status(events: Sequence[Json]) -> object:
    """The HTTP status of the last finished model call, None if that one succeeded."""
    status = None
    for event in events:
        kind, data = event.get("type"), event.get("data")
        if kind == "model.call_failure":
            status = dig(data, "statusCode")
        elif kind == "model.call_finished" and dig(data, "outcome") == "success":
            status = None
    return status


def _denied_tools(events: Sequence[Json]) -> set[str]:
    """The names of the tools that had a call denied."""
    tool_of_call: dict[str, str] = {}
    for event in events:
        data = event.get("data")
        tool = dig(data, "toolName")
        if tool:
            tool_of_call[str(dig(data, "toolCallId"))] = str(tool)
    denied = set()
    for data in _data_of(events, "tool.execution_complete"):
        if dig(data, "error", "code") == "denied":
            denied.add(tool_of_call.get(str(dig(data, "toolCallId")), ""))
    return denied
