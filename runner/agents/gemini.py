"""Google's Gemini CLI (`@google/gemini-cli`), tested with 0.61.0.

Prints JSON Lines; the last one is `result`. With `-o json`, which `args` may ask for, it
prints one JSON object: on standard output for a success, on standard error, with
`error.code`, for a failure. The exit status is the HTTP status modulo 256 (144 for
400); the lines do not have it. No cost is reported. Below a world-writable folder such
as /tmp it ignores every settings file except the one in its home.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from runner.agents.base import AttemptFolder, Invocation, Traits, Verdict
from runner.agents.outcome import (
    Json,
    cut_object,
    dig,
    failed,
    failure_for_status,
    json_lines,
    last_json_object,
    make_usage,
    process_failure,
    read_json_object,
    sentence_limit,
    stop_failure,
    sum_reported,
    token_count,
)
from runner.agents.process import Outcome
from runner.agents.stream import StreamLine, text_of, tool_call, tool_output
from runner.core.manifest import BatchEntry
from runner.core.result import Failure, FailureKind, Usage

_WRITE_TOOLS = ("write_file", "replace")
# The CLI's own code for "no way to authenticate". Its own codes are smaller than every
# HTTP status.
_NO_AUTH = 41
_NO_KEY = {"code": _NO_AUTH, "message": "gemini found no way to log in"}
_FIRST_STATUS, _OVERLOADED = 400, 529
_SETTINGS = {
    "security": {"auth": {"selectedType": "gemini-api-key"}},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    "general": {"enableAutoUpdate": False, "maxAttempts": 2},
}


class Gemini:
    name = "gemini"
    traits = Traits(
        program="gemini",
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        variables=(
            "GOOGLE_GEMINI_BASE_URL",
            "GOOGLE_GENAI_USE_VERTEXAI",
            "GOOGLE_CLOUD_PROJECT",
        ),
        logins=(".gemini/oauth_creds.json",),
        state=(".gemini",),
        steering=(
            *(".gemini/settings.json", ".gemini/GEMINI.md", ".gemini/commands"),
            *(".gemini/extensions", ".gemini/trustedFolders.json"),
        ),
        install="npm install -g @google/gemini-cli",
        silent=True,
    )

    def build(self, entry: BatchEntry, folder: AttemptFolder) -> Invocation:
        argv = [
            "gemini",
            "--approval-mode",
            "yolo",
            "--skip-trust",
            "-o",
            "stream-json",
        ]
        if entry.agent.model:
            argv += ["-m", entry.agent.model]
        argv += entry.agent.args
        return Invocation(argv, files={".gemini/settings.json": json.dumps(_SETTINGS)})

    def read(self, outcome: Outcome, folder: AttemptFolder) -> Verdict:
        events = list(json_lines(folder.stdout))
        if any("type" in event for event in events):
            return _verdict(events, outcome)
        if outcome.exit_code == _NO_AUTH and not events:
            # Before its first line it says so in words.
            return Verdict(_model_failure(_NO_KEY, outcome), make_usage(None))
        answer = read_json_object(folder.stdout) or {}
        if "response" not in answer and (end := cut_object(folder.stdout, "stats")):
            answer = {**end, "response": None}
        return Verdict(_failure(answer, outcome), _usage(answer))

    def stream_line(self, event: Json) -> StreamLine:
        match event.get("type"):
            case "message" if event.get("role") == "assistant":
                text = text_of(event.get("content"))
                return StreamLine(text, continues=event.get("delta") is True)
            case "tool_use":
                return tool_call(event.get("tool_name"), event.get("parameters"))
            case "tool_result":
                answer = event.get("output") or dig(event, "error", "message")
                return tool_output(answer)
            case "error":
                return StreamLine(text_of(event.get("message")))
            case "result":
                text = _message_in(text_of(dig(event, "error", "message")))
                tokens = token_count(dig(event, "stats", "total_tokens"))
                return StreamLine(text, tokens=tokens, is_total=True)
        return StreamLine()


def _verdict(events: Sequence[Json], outcome: Outcome) -> Verdict:
    """The verdict on JSON Lines."""
    result: Json = {}
    summary = ""
    for event in events:
        kind = event.get("type")
        if kind == "result":
            result = event
        elif kind in ("tool_use", "tool_result"):
            # The last words are those after the last tool.
            summary = ""
        elif kind == "message" and event.get("role") == "assistant":
            summary += text_of(event.get("content"))
    stats = result.get("stats")
    usage = make_usage(
        summary,
        tokens=token_count(dig(stats, "total_tokens")),
        sent=token_count(dig(stats, "input_tokens")),
        received=token_count(dig(stats, "output_tokens")),
    )
    return Verdict(_failure_of_stream(events, result, outcome), usage)


def _failure_of_stream(
    events: Sequence[Json], result: Json, outcome: Outcome
) -> Failure | None:
    failure = stop_failure(outcome)
    if failure is not None:
        return failure
    if outcome.exit_code and result.get("status") == "error":
        message = text_of(dig(result, "error", "message"))
        error = {"code": _status(outcome.exit_code), "message": message}
        return _model_failure(error, outcome)
    failure = process_failure(outcome)
    if failure is not None:
        return failure
    if not result:
        message = "gemini ended without its closing line"
        return failed(FailureKind.AGENT_ERROR, message, outcome)
    for tool in _WRITE_TOOLS:
        if _never_succeeded(events, tool):
            message = f"none of gemini's {tool} calls was carried out"
            return failed(FailureKind.PERMISSION, message, outcome)
    return None


def _status(exit_code: int) -> int | None:
    """The HTTP status of which this is the exit status, None if it may be none."""
    if exit_code == _OVERLOADED - 2 * 256:
        return _OVERLOADED
    return exit_code + 256 if exit_code >= _FIRST_STATUS - 256 else None


def _never_succeeded(events: Sequence[Json], tool: str) -> bool:
    """Whether the tool was called and each of its calls failed."""
    calls: set[str] = set()
    failed_once = False
    for event in events:
        if event.get("type") == "tool_use" and event.get("tool_name") == tool:
            calls.add(str(event.get("tool_id")))
        elif event.get("type") == "tool_result" and str(event.get("tool_id")) in calls:
            if event.get("status") == "success":
                return False
            failed_once = True
    return failed_once


def _message_in(text: str) -> str:
    """The message of the model's API if the text quotes its JSON, else the text."""
    start = text.find("{")
    try:
        answer, _ = (
            json.JSONDecoder().raw_decode(text[start:]) if start >= 0 else ("", 0)
        )
    except (ValueError, RecursionError):
        return text
    return text_of(dig(answer, "error", "message")) or text


def _usage(answer: Json) -> Usage:
    tokens: int | None = None
    models = dig(answer, "stats", "models")
    if isinstance(models, dict):
        counts = [token_count(dig(m, "tokens", "total")) for m in models.values()]
        tokens = sum_reported(*counts)
    return make_usage(answer.get("response"), tokens=tokens)


def _failure(answer: Json, outcome: Outcome) -> Failure | None:
    failure = stop_failure(outcome)
    if failure is not None:
        return failure
    if outcome.exit_code:
        error = answer.get("error") or dig(last_json_object(outcome.tail), "error")
        if error:
            return _model_failure(error, outcome)
    failure = process_failure(outcome)
    if failure is not None:
        return failure
    if "response" not in answer:
        message = "gemini ended without its closing JSON"
        return failed(FailureKind.AGENT_ERROR, message, outcome)
    for tool in _WRITE_TOOLS:
        if _was_refused(answer, tool):
            message = f"none of gemini's {tool} calls was carried out"
            return failed(FailureKind.PERMISSION, message, outcome)
    return None


def _model_failure(error: object, outcome: Outcome) -> Failure:
    code = dig(error, "code")
    status = 401 if code == _NO_AUTH else code
    message = str(dig(error, "message") or "")
    # The message may quote the JSON that the model's API answered with.
    text = _message_in(message)
    limited = sentence_limit("gemini", text, outcome)
    return limited or failure_for_status(status, text, outcome)


def _was_refused(answer: Json, tool: str) -> bool:
    """Whether a call of the tool was rejected, or all of its calls failed."""
    calls = dig(answer, "stats", "tools", "byName", tool)
    if token_count(dig(calls, "decisions", "reject")):
        return True
    return bool(dig(calls, "fail")) and not dig(calls, "success")
