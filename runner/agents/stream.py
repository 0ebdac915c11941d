"""What an agent's JSON Lines say while it works: words for people, and its usage so far.

An agent's output is untrusted, as in `outcome`: whatever a line holds, nothing raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from runner.core.result import MAX_COST_USD, MAX_TOKENS

Json = Mapping[str, Any]
# Bytes of a line that is read as JSON. A longer one is no event.
_MAX_LINE = 8 * 2**20
# The arguments of tools that tell most about a call, the best first.
_TELLING = (
    *("command", "file_path", "filePath", "path", "absolute_path", "pattern"),
    *("query", "url", "description", "prompt"),
)


class StreamLine(NamedTuple):
    """What one line of an agent's output says.

    `text` is for people, "" if there is nothing to say. `continues`: the text goes on
    with the one before, without a line end. `tokens` and `cost_usd` (US dollars) have
    been used since the last line that had them; with `is_total`, since the start.
    """

    text: str = ""
    continues: bool = False
    tool_calls: int = 0
    tokens: int | None = None
    cost_usd: float | None = None
    is_total: bool = False


class UsageSoFar(NamedTuple):
    """What an agent has used since it was started; None where it does not tell."""

    tokens: int | None = None
    cost_usd: float | None = None
    tool_calls: int | None = None

    def after(self, line: StreamLine) -> UsageSoFar:
        """The usage with that of one more line."""
        tool_calls = self.tool_calls
        if line.tool_calls:
            tool_calls = (tool_calls or 0) + line.tool_calls
        tokens, cost_usd = line.tokens, line.cost_usd
        if not line.is_total and self.tokens is not None:
            tokens = min(self.tokens + (tokens or 0), MAX_TOKENS)
        if not line.is_total and self.cost_usd is not None:
            cost_usd = min(self.cost_usd + (cost_usd or 0.0), MAX_COST_USD)
        if line.is_total:
            tokens = self.tokens if tokens is None else tokens
            cost_usd = self.cost_usd if cost_usd is None else cost_usd
        return UsageSoFar(tokens, cost_usd, tool_calls)


@runtime_checkable
class StreamingAgent(Protocol):
    """An agent that prints JSON Lines on standard output while it works.

    `stream_line` is pure: what one of these objects says.
    """

    def stream_line(self, event: Json) -> StreamLine: ...


class Stream:
    """Turns standard output, piece by piece, into text for people.

    Lines that are no JSON objects stay as they are. `on_usage` is called with the usage
    so far, before the text of the same line is returned.
    """

    def __init__(
        self, agent: StreamingAgent, on_usage: Callable[[UsageSoFar], object]
    ) -> None:
        self._agent, self._on_usage = agent, on_usage
        self._usage = UsageSoFar()
        self._partial = b""  # a line without its end
        self._is_open = False  # whether the text so far needs a line end

    def feed(self, data: bytes) -> bytes:
        """Add a piece of the output; return the text of its complete lines."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        pieces = [self._text_of(line) for line in lines]
        if len(self._partial) > _MAX_LINE:
            pieces.append(self._partial)
            self._partial = b""
        return b"".join(pieces)

    def flush(self) -> bytes:
        """Return what is left at the end of the output."""
        partial, self._partial = self._partial, b""
        text = self._text_of(partial) if partial else b""
        if self._is_open:
            self._is_open = False
            text += b"\n"
        return text

    def skip(self) -> None:
        """Forget the line that has begun: its end will not come."""
        self._partial = b""

    def _text_of(self, line: bytes) -> bytes:
        event = _object_of(line)
        if event is None:
            return self._on_a_new_line(line + b"\n")
        try:
            shown = self._agent.stream_line(event)
        except Exception:  # noqa: BLE001  another package's code may raise anything
            return b""
        usage = self._usage.after(shown)
        if usage != self._usage:
            self._usage = usage
            self._on_usage(usage)
        if not shown.text:
            return b""
        text = shown.text.encode("utf-8", "backslashreplace")
        if not shown.continues:
            return self._on_a_new_line(text.rstrip(b"\n") + b"\n")
        self._is_open = not text.endswith(b"\n")
        return text

    def _on_a_new_line(self, text: bytes) -> bytes:
        begin = b"\n" if self._is_open else b""
        self._is_open = False
        return begin + text


def _object_of(line: bytes) -> Json | None:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text_of(value: object) -> str:
    """The value if it is a text, else ""."""
    return value if isinstance(value, str) else ""


def tool_call(name: object, arguments: object) -> StreamLine:
    """A call of a tool: its name and the argument that tells most."""
    words = [text_of(name) or "tool"]
    if isinstance(arguments, Mapping):
        for key in _TELLING:
            value = arguments.get(key)
            if isinstance(value, str) and value.strip():
                words += value.split()
                break
    return StreamLine(" ".join(words), tool_calls=1)


def tool_output(value: object) -> StreamLine:
    """What a tool has answered, indented."""
    lines = text_of(value).strip("\n").splitlines()
    return StreamLine("\n".join(f"  {line}" for line in lines))
