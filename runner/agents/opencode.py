"""opencode (`opencode-ai`), tested with 1.18.33.

Prints JSON Lines: each `step_finish` has its own tokens and cost. The cost is computed
from a price table and is 0 for a model that is not in it, which means unknown, not
free. An error is an event with `data.statusCode`. On HTTP 429 it retries forever and
prints nothing, so set an `idle_timeout`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from runner.agents.base import AttemptFolder, Costs, Invocation, Traits, Verdict
from runner.agents.outcome import (
    Json,
    dig,
    dollars,
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

_WRITE_TOOLS = {"write", "edit", "patch", "apply_patch", "multiedit"}
_CONFIG = {
    "autoupdate": False,
    "share": "disabled",
    "permission": {
        "edit": "allow",
        "bash": "allow",
        "webfetch": "deny",
        "external_directory": "deny",
    },
}


class Opencode:
    name = "opencode"
    traits = Traits(
        program="opencode",
        keys=(
            "ANTHROPIC_API_KEY",
            "OPENAI_API_KEY",
            "GEMINI_API_KEY",
            "OPENROUTER_API_KEY",
            "OPENCODE_API_KEY",
        ),
        # A configuration may hold a provider's key.
        secrets=("OPENCODE_CONFIG_CONTENT",),
        logins=(".local/share/opencode/auth.json",),
        state=(
            *(".local/share/opencode", ".local/state/opencode", ".cache/opencode"),
            ".config/opencode",
        ),
        steering=(
            *(".config/opencode/opencode.json", ".config/opencode/opencode.jsonc"),
            *(".config/opencode/AGENTS.md", ".config/opencode/plugins"),
            *(".config/opencode/plugin", ".config/opencode/commands"),
        ),
        install="npm install -g opencode-ai",
        costs=Costs.REPORTED,
        silent=True,
    )

    def build(self, entry: BatchEntry, folder: AttemptFolder) -> Invocation:
        argv = ["opencode", "run", "--format", "json", "--pure"]
        if entry.agent.model:
            argv += ["-m", entry.agent.model]
        env = {
            "OPENCODE_CONFIG_CONTENT": json.dumps(_CONFIG),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        }
        return Invocation([*argv, *entry.agent.args], env=env)

    def read(self, outcome: Outcome, folder: AttemptFolder) -> Verdict:
        events = list(json_lines(folder.stdout))
        return Verdict(_failure(events, outcome), _usage(events))

    def stream_line(self, event: Json) -> StreamLine:
        part = event.get("part")
        match event.get("type"):
            case "text" | "reasoning":
                return StreamLine(text_of(dig(part, "text")))
            case "tool_use":
                state = dig(part, "state")
                call = tool_call(dig(part, "tool"), dig(state, "input"))
                answer = tool_output(dig(state, "error") or dig(state, "output"))
                text = "\n".join(filter(None, (call.text, answer.text)))
                return StreamLine(text, tool_calls=1)
            case "step_finish":
                return StreamLine(
                    tokens=token_count(dig(part, "tokens", "total")),
                    # 0 is unknown
                    cost_usd=dollars(dig(part, "cost")) or None,
                )
            case "error":
                return StreamLine(text_of(dig(event, "error", "data", "message")))
        return StreamLine()


def _usage(events: Sequence[Json]) -> Usage:
    summary = None
    tokens: int | None = None
    cost_usd = 0.0
    for event in events:
        part = event.get("part")
        if event.get("type") == "text":
            summary = dig(part, "text")
        elif event.get("type") == "step_finish":
            tokens = sum_reported(tokens, token_count(dig(part, "tokens", "total")))
            cost_usd += dollars(dig(part, "cost")) or 0.0
    return make_usage(summary, tokens=tokens, cost_usd=cost_usd or None)


def _failure(events: Sequence[Json], outcome: Outcome) -> Failure | None:
    failure = stop_failure(outcome)
    if failure is not None:
        return failure
    errors = [event.get("error") for event in events if event.get("type") == "error"]
    if errors and errors[-1]:
        data = dig(errors[-1], "data")
        message = str(dig(data, "message") or dig(errors[-1], "name"))
        after = dig(data, "responseHeaders", "retry-after")
        if isinstance(after, str | int):
            message += f" (Retry-After: {after})"
        limited = sentence_limit("opencode", message, outcome)
        return limited or failure_for_status(dig(data, "statusCode"), message, outcome)
    failure = process_failure(outcome)
    if failure is not None:
        return failure
    if not any(event.get("type") == "step_finish" for event in events):
        message = "opencode ended without finishing a step"
        return failed(FailureKind.AGENT_ERROR, message, outcome)
    for path, reason in _failed_writes(events).items():
        message = f"opencode could not write {path}: {reason[:300]}"
        return failed(FailureKind.PERMISSION, message, outcome)
    return None


def _failed_writes(events: Sequence[Json]) -> dict[str, str]:
    """Path → reason, for every file whose last write failed.

    A failed edit that a later one corrects is not a refusal.
    """
    reasons: dict[str, str] = {}
    for event in events:
        part = event.get("part")
        tool = dig(part, "tool")
        if event.get("type") != "tool_use" or not isinstance(tool, str):
            continue
        if tool not in _WRITE_TOOLS:
            continue
        path = str(dig(part, "state", "input", "filePath") or tool)
        reasons.pop(path, None)
        if dig(part, "state", "status") == "error":
            reasons[path] = str(dig(part, "state", "error"))
    return reasons
