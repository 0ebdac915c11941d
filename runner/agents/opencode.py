"""opencode (`opencode-ai`), seen with 1.18.33.

JSON Lines: tokens and cost in every `step_finish`, to be added up; the cost is computed
from a price table and is 0 for a model that has none there, which is unknown and not
free. An error is an event with `data.statusCode`. It tries again without end on 429 and
prints nothing meanwhile: give it an `idle_timeout`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from runner.agents.base import Call, Costs, Place, Traits, Verdict
from runner.agents.outcome import (
    Json,
    by_status,
    ended_badly,
    events,
    failed,
    get,
    money,
    total,
    usage,
    was_ended,
    whole,
)
from runner.agents.process import Outcome
from runner.core.manifest import BatchEntry
from runner.core.result import FailureKind

_WRITES = {"write", "edit", "patch", "apply_patch", "multiedit"}


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
        # a configuration may hold a provider's key
        secrets=("OPENCODE_CONFIG_CONTENT",),
        logins=(".local/share/opencode/auth.json",),
        install="npm install -g opencode-ai",
        costs=Costs.REPORTED,
    )

    def build(self, entry: BatchEntry, place: Place) -> Call:
        agent = entry.agent
        argv = ["opencode", "run", "--format", "json", "--pure"]
        argv += ["-m", agent.model] if agent.model else []
        permission = {
            "edit": "allow",
            "bash": "allow",
            "webfetch": "deny",
            "external_directory": "deny",
        }
        config = {"autoupdate": False, "share": "disabled", "permission": permission}
        env = {
            "OPENCODE_CONFIG_CONTENT": json.dumps(config),
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        }
        return Call([*argv, *agent.args], env=env)

    def read(self, outcome: Outcome, place: Place) -> Verdict:
        seen = list(events(place.answer))
        steps = [
            event.get("part") for event in seen if event.get("type") == "step_finish"
        ]
        words = [
            get(event, "part", "text") for event in seen if event.get("type") == "text"
        ]
        tokens = total(*(whole(get(step, "tokens", "total")) for step in steps))
        cost = sum(money(get(step, "cost")) or 0.0 for step in steps)
        used = usage(words[-1] if words else None, tokens=tokens, cost=cost or None)
        if failure := was_ended(outcome):
            return Verdict(failure, used)
        if error := next(
            (
                event.get("error")
                for event in reversed(seen)
                if event.get("type") == "error"
            ),
            None,
        ):
            status, told = (
                get(error, "data", "statusCode"),
                str(get(error, "data", "message") or get(error, "name")),
            )
            return Verdict(by_status(status, told, outcome), used)
        if failure := ended_badly(outcome):
            return Verdict(failure, used)
        if not steps:
            return Verdict(
                failed(
                    FailureKind.AGENT_ERROR,
                    "opencode ended without finishing a step",
                    outcome,
                ),
                used,
            )
        for path, why in _refused(seen).items():
            told = f"opencode could not write {path}: {why[:300]}"
            return Verdict(failed(FailureKind.PERMISSION, told, outcome), used)
        return Verdict(None, used)


def _refused(seen: Sequence[Json]) -> dict[str, str]:
    """Files whose last write failed, with the reason. A failed edit that a later one
    mends is no refusal.
    """
    refused: dict[str, str] = {}
    for event in seen:
        part = event.get("part")
        if event.get("type") == "tool_use" and get(part, "tool") in _WRITES:
            path = str(get(part, "state", "input", "filePath") or get(part, "tool"))
            refused.pop(path, None)
            if get(part, "state", "status") == "error":
                refused[path] = str(get(part, "state", "error"))
    return refused
