"""GitHub's Copilot CLI (`@github/copilot`), seen with 1.0.102.

JSON Lines; the last one is `result`. Each call of the model that fails is an event with
`statusCode`, also those that it tries again, so a rate limit is seen even when the time
limit ended it. No cost, and no tokens with a key of one's own. A refused tool call has
`error.code` "denied".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.agents.base import Call, Place, Traits, Verdict
from runner.agents.outcome import (
    by_status,
    ended_badly,
    events,
    failed,
    get,
    total,
    usage,
    was_ended,
    whole,
)
from runner.agents.process import Outcome
from runner.core.manifest import BatchEntry
from runner.core.result import FailureKind

_WRITES = {"create", "edit", "str_replace", "apply_patch", "insert", "write"}


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
        install="npm install -g @github/copilot",
    )

    def build(self, entry: BatchEntry, place: Place) -> Call:
        agent = entry.agent
        # No -p: the prompt comes by standard input, since an argument is bounded to 128
        # KiB and visible to all.
        argv = [
            "copilot",
            "--allow-all-tools",
            "--no-ask-user",
            "--disable-builtin-mcps",
            "--output-format",
            "json",
        ]
        argv += ["--model", agent.model] if agent.model else []
        return Call([*argv, *agent.args])

    def read(self, outcome: Outcome, place: Place) -> Verdict:
        seen = [
            (str(event.get("type")), event.get("data"))
            for event in events(place.answer)
        ]
        spent = [data for kind, data in seen if kind == "assistant.usage"]
        words = [
            get(data, "content")
            for kind, data in seen
            if kind == "assistant.message" and get(data, "content")
        ]
        tokens = total(
            *(
                whole(get(data, f"{name}Tokens"))
                for data in spent
                for name in ("input", "output")
            )
        )
        used = usage(words[-1] if words else None, tokens=tokens)
        if failure := was_ended(outcome):
            status = _last_status(seen)
            limited = failure.kind is not FailureKind.INTERRUPTED and status in {
                429,
                503,
                529,
            }
            return Verdict(
                by_status(status, failure.message, outcome) if limited else failure,
                used,
            )
        if error := next(
            (data for kind, data in reversed(seen) if kind == "session.error"), None
        ):
            return Verdict(
                by_status(
                    get(error, "statusCode"), str(get(error, "message") or ""), outcome
                ),
                used,
            )
        if failure := ended_badly(outcome):
            return Verdict(failure, used)
        if not any(kind == "result" for kind, _ in seen):
            return Verdict(
                failed(
                    FailureKind.AGENT_ERROR,
                    "copilot ended without its closing line",
                    outcome,
                ),
                used,
            )
        if _denied(seen) & _WRITES:
            return Verdict(
                failed(
                    FailureKind.PERMISSION,
                    "copilot was not allowed to write a file",
                    outcome,
                ),
                used,
            )
        return Verdict(None, used)


def _last_status(seen: Sequence[tuple[str, Any]]) -> object:
    """The HTTP status of the last call of the model that ended, None if that one was
    well.
    """
    status = None
    for kind, data in seen:
        if kind == "model.call_failure":
            status = get(data, "statusCode")
        elif kind == "model.call_finished" and get(data, "outcome") == "success":
            status = None
    return status


def _denied(seen: Sequence[tuple[str, Any]]) -> set[str]:
    """The names of the tools of which a call was denied."""
    names = {
        str(get(data, "toolCallId")): str(get(data, "toolName"))
        for _, data in seen
        if get(data, "toolName")
    }
    denied = (data for kind, data in seen if kind == "tool.execution_complete")
    return {
        names.get(str(get(d, "toolCallId")), "")
        for d in denied
        if get(d, "error", "code") == "denied"
    }
