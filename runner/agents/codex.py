"""OpenAI's Codex CLI (`@openai/codex`), tested with 0.169.0.

Prints JSON Lines: tokens in `turn.completed`, an error in `turn.failed`, never a cost.
The error is a sentence of the CLI or the model's JSON. The HTTP status is found only in
the sentence, after the word "status". A write that the sandbox refused leaves no trace
in the events.
"""

from __future__ import annotations

from runner.agents.base import AttemptFolder, Invocation, Traits, Verdict
from runner.agents.outcome import (
    Json,
    dig,
    failed,
    failure_for_status,
    json_lines,
    last_json_object,
    limit_until,
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
from runner.core.patterns import lazy_pattern
from runner.core.result import Failure, FailureKind

_STATUS = lazy_pattern(r"status:? (\d{3})\b")
_STATUS_OF_TYPE = {
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
        # `codex exec` reads only CODEX_API_KEY.
        aliases={"CODEX_API_KEY": "OPENAI_API_KEY"},
        logins=(".codex/auth.json",),
        state=(".codex",),
        steering=(
            *(".codex/config.toml", ".codex/AGENTS.md", ".codex/hooks.json"),
            *(".codex/prompts", ".codex/rules", ".codex/skills"),
        ),
        homes={"CODEX_HOME": ".codex"},
        # In a CODEX_HOME below TMPDIR it does not make the program that its sandbox
        # starts, and each of its commands fails.
        own_temporary=True,
        install="npm install -g @openai/codex",
        sandboxes_itself=True,
        silent=True,
    )

    def build(self, entry: BatchEntry, folder: AttemptFolder) -> Invocation:
        argv = ["codex", "exec", "--json", "--ephemeral"]
        # Its own sandbox needs mounts, which fanin's walls refuse: within them each of its
        # commands would fail.
        sandbox = "danger-full-access" if folder.is_walled else "workspace-write"
        argv += ["--sandbox", sandbox, "-C", str(folder.checkout)]
        if entry.agent.model:
            argv += ["-m", entry.agent.model]
        # The dash makes codex read the prompt from standard input.
        return Invocation([*argv, *entry.agent.args, "-"])

    def read(self, outcome: Outcome, folder: AttemptFolder) -> Verdict:
        summary = ""
        sent: int | None = None
        received: int | None = None
        error: str | None = None
        completed = False
        for event in json_lines(folder.stdout):
            kind = event.get("type")
            if kind == "turn.completed":
                completed = True
                usage = event.get("usage")
                sent = sum_reported(sent, token_count(dig(usage, "input_tokens")))
                received = sum_reported(
                    received, token_count(dig(usage, "output_tokens"))
                )
            elif kind == "turn.failed":
                error = str(dig(event, "error", "message") or "the turn failed")
            elif kind == "item.completed" and _is_message(event):
                summary = str(dig(event, "item", "text"))
        failure = _failure(outcome, error, completed=completed)
        return Verdict(failure, make_usage(summary, sent=sent, received=received))

    def stream_line(self, event: Json) -> StreamLine:
        match event.get("type"):
            case "item.started":
                return _started(event.get("item"))
            case "item.completed":
                return _completed(event.get("item"))
            case "turn.completed":
                sent = token_count(dig(event, "usage", "input_tokens"))
                received = token_count(dig(event, "usage", "output_tokens"))
                return StreamLine(tokens=sum_reported(sent, received))
            case "turn.failed":
                return StreamLine(_message(text_of(dig(event, "error", "message"))))
        return StreamLine()


def _started(item: object) -> StreamLine:
    match dig(item, "type"):
        case "command_execution":
            return tool_call("$", item)
        case "mcp_tool_call":
            return tool_call(dig(item, "tool"), dig(item, "arguments"))
    return StreamLine()


def _completed(item: object) -> StreamLine:
    match dig(item, "type"):
        case "agent_message" | "reasoning":
            return StreamLine(text_of(dig(item, "text")))
        case "error":
            return StreamLine(text_of(dig(item, "message")))
        case "command_execution":
            return tool_output(dig(item, "aggregated_output"))
        case "web_search":
            return tool_call("web search", item)
        case "file_change":
            changes = dig(item, "changes")
            paths = [
                text_of(dig(change, "path"))
                for change in (changes if isinstance(changes, list) else [])
            ]
            return tool_call("edit", {"path": " ".join(paths)})
    return StreamLine()


def _failure(outcome: Outcome, error: str | None, *, completed: bool) -> Failure | None:
    failure = stop_failure(outcome)
    if failure is not None:
        return failure
    if error is not None:
        return _limit(error, outcome) or failure_for_status(
            _status(error), _message(error), outcome
        )
    failure = process_failure(outcome)
    if failure is None and not completed:
        message = "codex ended without completing a turn"
        failure = failed(FailureKind.AGENT_ERROR, message, outcome)
    return failure


def _limit(error: str, outcome: Outcome) -> Failure | None:
    """The usage limit that an error states, in its JSON or its sentence."""
    details = dig(last_json_object(error), "error")
    if dig(details, "type") == "usage_limit_reached":
        return limit_until(dig(details, "resets_at"), _message(error), outcome)
    return sentence_limit("codex", _message(error), outcome)


def _is_message(event: Json) -> bool:
    return bool(dig(event, "item", "type") == "agent_message")


def _status(error: str) -> int | None:
    """The HTTP status of an error, by the type in its JSON or the word "status"."""
    error_type = dig(last_json_object(error), "error", "type")
    if isinstance(error_type, str):
        return _STATUS_OF_TYPE.get(error_type)
    match = _STATUS().search(error)
    return int(match[1]) if match else None


def _message(error: str) -> str:
    return str(dig(last_json_object(error), "error", "message") or error)
