"""Google's Gemini CLI (`@google/gemini-cli`), tested with 0.61.0.

Prints one JSON object: on standard output for a success, on standard error, with
`error.code`, for a failure. The exit status is the HTTP status modulo 256 (144 for
400). No cost is reported. Below a world-writable folder such as /tmp it ignores every
settings file except the one in its home.
"""

from __future__ import annotations

import json

from runner.agents.base import AttemptFolder, Invocation, Traits, Verdict
from runner.agents.outcome import (
    Json,
    cut_object,
    dig,
    failed,
    failure_for_status,
    last_json_object,
    make_usage,
    process_failure,
    read_json_object,
    stop_failure,
    sum_reported,
    token_count,
)
from runner.agents.process import Outcome
from runner.agents.usage_limits import sentence_limit
from runner.core.manifest import BatchEntry
from runner.core.result import Failure, FailureKind, Usage

_WRITE_TOOLS = ("write_file", "replace")
# The CLI's own code for "no way to authenticate". Its own codes are smaller than every
# HTTP status.
_NO_AUTH = 41
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
        install="npm install -g @google/gemini-cli",
    )

    def build(self, entry: BatchEntry, folder: AttemptFolder) -> Invocation:
        argv = ["gemini", "--approval-mode", "yolo", "--skip-trust", "-o", "json"]
        if entry.agent.model:
            argv += ["-m", entry.agent.model]
        argv += entry.agent.args
        return Invocation(argv, files={".gemini/settings.json": json.dumps(_SETTINGS)})

    def read(self, outcome: Outcome, folder: AttemptFolder) -> Verdict:
        answer = read_json_object(folder.stdout) or {}
        if "response" not in answer and (end := cut_object(folder.stdout, "stats")):
            answer = {**end, "response": None}
        return Verdict(_failure(answer, outcome), _usage(answer))


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
    # The message may itself be the JSON that the model's API answered with.
    inner_message = dig(last_json_object(message), "error", "message")
    text = str(inner_message or message)
    limited = sentence_limit("gemini", text, outcome)
    return limited or failure_for_status(status, text, outcome)


def _was_refused(answer: Json, tool: str) -> bool:
    """Whether a call of the tool was rejected, or all of its calls failed."""
    calls = dig(answer, "stats", "tools", "byName", tool)
    if token_count(dig(calls, "decisions", "reject")):
        return True
    return bool(dig(calls, "fail")) and not dig(calls, "success")
