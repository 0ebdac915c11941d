"""Claude Code (`@anthropic-ai/claude-code`), tested with 2.1.197.

Prints JSON Lines; the last one is `result`. A refused write exits 0 with `permission_denials` filled. An
error of the model sets `is_error` and `api_error_status`, while `subtype` is "success".
"""

from __future__ import annotations

from collections.abc import Sequence

from runner.agents.base import AttemptFolder, Costs, Invocation, Traits, Verdict
from runner.agents.outcome import (
    Json,
    dig,
    dollars,
    failed,
    failure_for_status,
    json_lines,
    limit_until,
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

_WRITE_TOOLS = {"Write", "Edit", "MultiEdit", "NotebookEdit"}
_DEFAULTS = {
    # fanin waits and retries with fewer agents at once. Claude Code's own ten retries
    # would only block a slot.
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
}
_SENT = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)
_RECEIVED = ("output_tokens",)
_OPTIONS = (
    "-p",
    "--output-format",
    "stream-json",
    # Without it, claude refuses stream-json.
    "--verbose",
    # Also while the model thinks, so that it does not look idle.
    "--include-partial-messages",
    "--permission-mode",
    "acceptEdits",
    # No settings, hooks or MCP servers of the user or the repository: every attempt
    # starts from the same state.
    "--no-session-persistence",
    "--setting-sources",
    "",
    "--strict-mcp-config",
)


class Claude:
    name = "claude"
    traits = Traits(
        program="claude",
        keys=("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"),
        variables=("ANTHROPIC_BASE_URL", "CLAUDE_CONFIG_DIR"),
        logins=(".claude/.credentials.json", ".claude.json"),
        state=(".claude", ".claude.json", ".cache/claude-cli-nodejs"),
        steering=(
            *(".claude/settings.json", ".claude/settings.local.json"),
            *(".claude/CLAUDE.md", ".claude/agents", ".claude/commands"),
            *(".claude/hooks", ".claude/plugins", ".claude/skills"),
        ),
        homes={"CLAUDE_CONFIG_DIR": ".claude"},
        install="npm install -g @anthropic-ai/claude-code",
        costs=Costs.CAPPED,
        supports_max_turns=True,
    )

    def build(self, entry: BatchEntry, folder: AttemptFolder) -> Invocation:
        agent = entry.agent
        argv = ["claude", *_OPTIONS]
        if agent.model:
            argv += ["--model", agent.model]
        if agent.max_turns:
            argv += ["--max-turns", str(agent.max_turns)]
        if entry.reserved_usd:
            argv += ["--max-budget-usd", f"{entry.reserved_usd:.4f}"]
        argv += agent.args
        return Invocation(argv, env=_DEFAULTS)

    def read(self, outcome: Outcome, folder: AttemptFolder) -> Verdict:
        answer: Json = {}
        limit: object = None
        for event in json_lines(folder.stdout):
            if event.get("type") == "result":
                answer = event
            elif event.get("type") == "rate_limit_event":
                limit = event.get("rate_limit_info")
        # What is no JSON Lines, as of an older claude, is one object.
        answer = answer or read_json_object(folder.stdout) or {}
        return Verdict(_failure(answer, limit, outcome), _usage(answer))

    def stream_line(self, event: Json) -> StreamLine:
        match event.get("type"):
            case "assistant" | "user":
                return _blocks(dig(event, "message", "content"))
            case "stream_event" if dig(event, "event", "type") == "message_delta":
                # The end of one of the model's messages.
                return StreamLine(tokens=_tokens(dig(event, "event", "usage")))
            case "result":
                # Its text has been said already, unless it is an error.
                text = _error_message(event) if event.get("is_error") else ""
                return StreamLine(
                    text,
                    tokens=_tokens(event.get("usage")),
                    cost_usd=dollars(event.get("total_cost_usd")),
                    is_total=True,
                )
        return StreamLine()


def _usage(answer: Json) -> Usage:
    return make_usage(
        answer.get("result"),
        sent=_sum_of(answer.get("usage"), _SENT),
        received=_sum_of(answer.get("usage"), _RECEIVED),
        cost_usd=dollars(answer.get("total_cost_usd")),
    )


def _tokens(usage: object) -> int | None:
    return _sum_of(usage, (*_SENT, *_RECEIVED))


def _sum_of(usage: object, counters: Sequence[str]) -> int | None:
    return sum_reported(*[token_count(dig(usage, name)) for name in counters])


def _blocks(content: object) -> StreamLine:
    """What the blocks of a message say."""
    if not isinstance(content, list):
        return StreamLine()
    texts: list[str] = []
    tool_calls = 0
    for block in content:
        match dig(block, "type"):
            case "text":
                texts.append(text_of(dig(block, "text")))
            case "tool_use":
                call = tool_call(dig(block, "name"), dig(block, "input"))
                texts.append(call.text)
                tool_calls += 1
            case "tool_result":
                texts.append(_tool_result(dig(block, "content")))
    text = "\n".join(text for text in texts if text)
    return StreamLine(text, tool_calls=tool_calls)


def _tool_result(content: object) -> str:
    """The text of a tool's answer, which is a text or a list of blocks."""
    if not isinstance(content, list):
        return tool_output(content).text
    texts = [text_of(dig(block, "text")) for block in content]
    return tool_output("\n".join(texts)).text


def _failure(answer: Json, limit: object, outcome: Outcome) -> Failure | None:
    stopped = stop_failure(outcome)
    if stopped is not None and stopped.kind is FailureKind.INTERRUPTED:
        return stopped
    ended_well = answer.get("type") == "result" and not answer.get("is_error")
    # One that waits for its reset may meet a time limit first.
    if _is_rejected(limit) and not ended_well:
        message = _error_message(answer) or "claude's usage limit is reached"
        return limit_until(dig(limit, "resetsAt"), message, outcome)
    if stopped is not None:
        return stopped
    # Before the exit status, which is 1 for every error of the model.
    if answer.get("is_error"):
        status = answer.get("api_error_status")
        message = _error_message(answer)
        if limited := sentence_limit("claude", message, outcome):
            return limited
        return failure_for_status(status, message, outcome)
    failure = process_failure(outcome)
    if failure is not None:
        return failure
    if answer.get("type") != "result":
        message = "claude ended without its closing JSON"
        return failed(FailureKind.AGENT_ERROR, message, outcome)
    denied = _denied_writes(answer)
    if denied:
        message = f"claude was not allowed to write {', '.join(denied[:5])}"
        return failed(FailureKind.PERMISSION, message, outcome)
    return None


def _is_rejected(limit: object) -> bool:
    """Whether the limit stops claude; the user may pay for more, and it goes on.

    The shape of the event is quoted in paperclipai/paperclip#5776.
    """
    is_over = dig(limit, "status") == "rejected"
    return is_over and dig(limit, "isUsingOverage") is not True


def _error_message(answer: Json) -> str:
    errors = answer.get("errors")
    if isinstance(errors, list):
        return "; ".join(map(str, errors))
    return str(answer.get("result") or answer.get("subtype") or "")


def _denied_writes(answer: Json) -> list[str]:
    """The path, or else the tool, of each write that was denied."""
    denials = answer.get("permission_denials")
    if not isinstance(denials, list):
        return []
    denied = []
    for denial in denials:
        tool = dig(denial, "tool_name")
        if isinstance(tool, str) and tool in _WRITE_TOOLS:
            denied.append(str(dig(denial, "tool_input", "file_path") or tool))
    return denied
