"""Google's Gemini CLI (`@google/gemini-cli`), seen with 0.61.0.

One JSON object: on standard output when all is well, on standard error with
`error.code` when not. The exit status is the HTTP status modulo 256 (144 for 400). No
cost. It reads no settings file below a folder that all may write, such as /tmp, except
the one in its home.
"""

from __future__ import annotations

import json

from runner.agents.base import Call, Place, Traits, Verdict
from runner.agents.outcome import (
    answer_of,
    by_status,
    document,
    ended_badly,
    failed,
    get,
    total,
    usage,
    was_ended,
)
from runner.agents.outcome import whole as count
from runner.agents.process import Outcome
from runner.core.manifest import BatchEntry
from runner.core.result import FailureKind

_WRITES = ("write_file", "replace")
# its own code for "no way to authenticate"; such codes are below every HTTP status
_NO_AUTH = 41


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

    def build(self, entry: BatchEntry, place: Place) -> Call:
        agent = entry.agent
        argv = ["gemini", "--approval-mode", "yolo", "--skip-trust", "-o", "json"]
        argv += ["-m", agent.model] if agent.model else []
        settings = {
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "privacy": {"usageStatisticsEnabled": False},
            "telemetry": {"enabled": False},
            "general": {"enableAutoUpdate": False, "maxAttempts": 2},
        }
        return Call(
            [*argv, *agent.args], files={".gemini/settings.json": json.dumps(settings)}
        )

    def read(self, outcome: Outcome, place: Place) -> Verdict:
        found = answer_of(place.answer) or {}
        models = get(found, "stats", "models")
        tokens = (
            [count(get(model, "tokens", "total")) for model in models.values()]
            if isinstance(models, dict)
            else []
        )
        used = usage(found.get("response"), tokens=total(*tokens))
        if failure := was_ended(outcome):
            return Verdict(failure, used)
        error = (
            get(found, "error") or get(document(outcome.tail), "error")
            if outcome.exit_code
            else None
        )
        if error:
            code = get(error, "code")
            words = str(get(error, "message") or "")
            words = str(get(document(words), "error", "message") or words)
            return Verdict(
                by_status(401 if code == _NO_AUTH else code, words, outcome), used
            )
        if failure := ended_badly(outcome):
            return Verdict(failure, used)
        if "response" not in found:
            return Verdict(
                failed(
                    FailureKind.AGENT_ERROR,
                    "gemini ended without its closing JSON",
                    outcome,
                ),
                used,
            )
        tools = get(found, "stats", "tools", "byName")
        for name in _WRITES:
            refused = count(get(tools, name, "decisions", "reject")) or 0
            if refused or (
                get(tools, name, "fail") and not get(tools, name, "success")
            ):
                told = f"none of gemini's {name} calls was carried out"
                return Verdict(failed(FailureKind.PERMISSION, told, outcome), used)
        return Verdict(None, used)
