"""Claude Code (`@anthropic-ai/claude-code`), seen with 2.1.197.

One JSON object on standard output. A refused write exits 0 with `permission_denials`
filled; an error of the model has `is_error` and `api_error_status`, while `subtype`
says "success".
"""

from __future__ import annotations

from runner.agents.base import Call, Costs, Place, Traits, Verdict
from runner.agents.outcome import (
    answer_of,
    by_status,
    ended_badly,
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

_WRITES = {"Write", "Edit", "MultiEdit", "NotebookEdit"}
# fanin's own loop waits and tries again, with fewer agents at once; ten tries in here
# would only hold the place.
_DEFAULTS = {
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
}


class Claude:
    name = "claude"
    traits = Traits(
        program="claude",
        keys=("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"),
        variables=("ANTHROPIC_BASE_URL", "CLAUDE_CONFIG_DIR"),
        logins=(".claude/.credentials.json", ".claude.json"),
        homes={"CLAUDE_CONFIG_DIR": ".claude"},
        install="npm install -g @anthropic-ai/claude-code",
        costs=Costs.CAPPED,
        keeps_turns=True,
    )

    def build(self, entry: BatchEntry, place: Place) -> Call:
        agent = entry.agent
        argv = [
            "claude",
            "-p",
            "--output-format",
            "json",
            "--permission-mode",
            "acceptEdits",
        ]
        # Neither the user's nor the repository's settings, hooks and MCP servers: every
        # attempt is the same.
        argv += [
            "--no-session-persistence",
            "--setting-sources",
            "",
            "--strict-mcp-config",
        ]
        argv += ["--model", agent.model] if agent.model else []
        argv += ["--max-turns", str(agent.max_turns)] if agent.max_turns else []
        argv += (
            ["--max-budget-usd", f"{entry.reserved_usd:.4f}"]
            if entry.reserved_usd
            else []
        )
        return Call([*argv, *agent.args], env=_DEFAULTS)

    def read(self, outcome: Outcome, place: Place) -> Verdict:
        found = answer_of(place.answer) or {}
        said = found.get("result")
        counts = [
            whole(get(found, "usage", f"{name}_tokens")) for name in ("input", "output")
        ]
        caches = [
            whole(get(found, "usage", f"cache_{name}_input_tokens"))
            for name in ("creation", "read")
        ]
        used = usage(
            said,
            tokens=total(*counts, *caches),
            cost=money(found.get("total_cost_usd")),
        )
        if failure := was_ended(outcome):
            return Verdict(failure, used)
        if found.get("is_error"):
            listed = found.get("errors")
            told = (
                "; ".join(map(str, listed))
                if isinstance(listed, list)
                else str(said or found.get("subtype"))
            )
            return Verdict(
                by_status(found.get("api_error_status"), told, outcome), used
            )
        if failure := ended_badly(outcome):
            return Verdict(failure, used)
        if found.get("type") != "result":
            told = "claude ended without its closing JSON"
            return Verdict(failed(FailureKind.AGENT_ERROR, told, outcome), used)
        denials = found.get("permission_denials")
        refused = (
            [d for d in denials if get(d, "tool_name") in _WRITES]
            if isinstance(denials, list)
            else []
        )
        if refused:
            where = ", ".join(
                str(get(d, "tool_input", "file_path") or get(d, "tool_name"))
                for d in refused[:5]
            )
            return Verdict(
                failed(
                    FailureKind.PERMISSION,
                    f"claude was not allowed to write {where}",
                    outcome,
                ),
                used,
            )
        return Verdict(None, used)
