"""OpenAI's Codex CLI (`@openai/codex`), seen with 0.169.0.

JSON Lines on standard output: tokens in `turn.completed`, an error in `turn.failed`, no
cost anywhere. The error is a sentence of the CLI's own, or the model's JSON; the HTTP
status stands in the sentence after the word "status" and nowhere else. A write refused
by the sandbox leaves no trace in the events.
"""

from __future__ import annotations

import re

from runner.agents.base import Call, Place, Traits, Verdict
from runner.agents.outcome import (
    by_status,
    document,
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

_STATUS = re.compile(r"status:? (\d{3})\b")
_BY_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}


class Codex:
    name = "codex"
    traits = Traits(
        program="codex",
        keys=("CODEX_API_KEY", "OPENAI_API_KEY"),
        variables=("CODEX_HOME",),
        # `codex exec` reads only the former
        aliases={"CODEX_API_KEY": "OPENAI_API_KEY"},
        logins=(".codex/auth.json",),
        homes={"CODEX_HOME": ".codex"},
        install="npm install -g @openai/codex",
    )

    def build(self, entry: BatchEntry, place: Place) -> Call:
        agent = entry.agent
        argv = [
            "codex",
            "exec",
            "--json",
            "--ephemeral",
            "--sandbox",
            "workspace-write",
            "-C",
            str(place.checkout),
        ]
        argv += ["-m", agent.model] if agent.model else []
        return Call([*argv, *agent.args, "-"])

    def read(self, outcome: Outcome, place: Place) -> Verdict:
        said, tokens, error = "", None, None
        completed = False
        for event in events(place.answer):
            kind = event.get("type")
            if kind == "turn.completed":
                completed = True
                counts = [
                    whole(get(event, "usage", f"{name}_tokens"))
                    for name in ("input", "output")
                ]
                tokens = total(tokens, *counts)
            elif kind == "turn.failed":
                error = str(get(event, "error", "message") or "the turn failed")
            elif (
                kind == "item.completed"
                and get(event, "item", "type") == "agent_message"
            ):
                said = str(get(event, "item", "text"))
        used = usage(said, tokens=tokens)
        if failure := was_ended(outcome):
            return Verdict(failure, used)
        if error is not None:
            return Verdict(by_status(_status(error), _words(error), outcome), used)
        if failure := ended_badly(outcome):
            return Verdict(failure, used)
        if not completed:
            return Verdict(
                failed(
                    FailureKind.AGENT_ERROR,
                    "codex ended without completing a turn",
                    outcome,
                ),
                used,
            )
        return Verdict(None, used)


def _status(error: str) -> int | None:
    found = get(document(error), "error", "type")
    if isinstance(found, str):
        return _BY_TYPE.get(found)
    match = _STATUS.search(error)
    return int(match[1]) if match else None


def _words(error: str) -> str:
    return str(get(document(error), "error", "message") or error)
