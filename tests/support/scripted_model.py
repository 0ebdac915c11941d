"""A model that says what the prompt tells it to say, on loopback, for real agent
programs under test.

It speaks Anthropic Messages, OpenAI Chat Completions, OpenAI Responses and Gemini,
streamed or not. The prompt holds `SCRIPT{...}`, a JSON object (the last one counts):

    path, content   first turn: one call of whatever write tool the client offers (a relative path is taken to be in
                    the working directory that the client names); later turns: `say`
    say             the last words (default "done"); `flood` repeats them to that many bytes
    $KEY            in `say`: the key that came with the request, as an agent that leaks it would say it
    fail            answer every turn with this HTTP status and an error body
    hang            seconds to wait before every answer
    think           seconds that a streamed answer takes, event by event
    wrong           HTTP 200 with a body that is no message

Standard library only, so that it starts in a bare network namespace:  python
scripted_model.py PORT LOG
"""

from __future__ import annotations

import gzip
import json
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

INPUT_TOKENS, OUTPUT_TOKENS = 1000, 50
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
_WORKING_DIRECTORY = re.compile(
    r"(?:[Ww]orking directory:?|<cwd>|current directory:)\s*`?(/[^\s<`\"\\]+)"
)


def texts(node: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)


def script_in(text: str) -> dict[str, Any]:
    """The last script in the conversation, empty if there is none."""
    found: dict[str, Any] = {}
    for match in re.finditer(r"SCRIPT(?=\{)", text):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, match.end())
        except ValueError:
            continue
    return found


def write_call(
    tools: Sequence[str], path: str, content: str
) -> tuple[str, dict[str, Any]] | None:
    """The first tool among those offered that writes a file, and its arguments."""
    shell = f"printf %s {shlex.quote(content)} > {shlex.quote(path)}"
    ways: list[tuple[str, dict[str, Any]]] = [
        ("Write", {"file_path": path, "content": content}),
        ("write", {"filePath": path, "content": content}),
        ("write_file", {"file_path": path, "content": content}),
        ("create", {"path": path, "file_text": content}),
        ("exec_command", {"cmd": shell}),
        ("shell_command", {"command": shell}),
        ("shell", {"command": ["bash", "-lc", shell]}),
        ("bash", {"command": shell, "description": "write the file"}),
    ]
    return next((way for way in ways if way[0] in tools), None)


class Turn:
    """What to answer to one request: a tool call, or words."""

    def __init__(
        self, body: Mapping[str, Any], *, tools: Sequence[str], answered: bool
    ) -> None:
        script = script_in(
            "\n".join(
                texts([body.get(key) for key in ("messages", "input", "contents")])
            )
        )
        self.call: tuple[str, dict[str, Any]] | None = None
        self.say = str(script.get("say", "done"))
        if size := script.get("flood"):
            self.say = (self.say + "\n") * (int(size) // (len(self.say) + 1))
        self.path, self.content = script.get("path"), script.get("content", "")
        if self.path and tools and not answered:
            place = _WORKING_DIRECTORY.search("\n".join(texts(body)))
            here = (
                self.path
                if self.path.startswith("/") or not place
                else f"{place[1]}/{self.path}"
            )
            self.call = write_call(tools, here, self.content)
        elif self.path and not tools:  # aider: no tools, an edit format in the words
            self.say = f"{self.path}\n```\n<<<<<<< SEARCH\n=======\n{self.content}\n>>>>>>> REPLACE\n```\n"


Events = list[dict[str, Any]]


def anthropic(body: Mapping[str, Any]) -> tuple[dict[str, Any], Events]:
    contents = [
        m["content"] for m in body["messages"] if isinstance(m.get("content"), list)
    ]
    answered = any(
        part.get("type") == "tool_result" for content in contents for part in content
    )
    turn = Turn(
        body,
        tools=[tool.get("name", "") for tool in body.get("tools") or []],
        answered=answered,
    )
    if turn.call:
        block: dict[str, Any] = {
            "type": "tool_use",
            "id": "toolu_01",
            "name": turn.call[0],
            "input": turn.call[1],
        }
        start = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(turn.call[1])}
    else:
        block = {"type": "text", "text": turn.say}
        start, delta = (
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": turn.say},
        )
    stop = "tool_use" if turn.call else "end_turn"
    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }
    return message, [
        {
            "type": "message_start",
            "message": {
                **message,
                "content": [],
                "stop_reason": None,
                "usage": {**usage, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": usage,
        },
        {"type": "message_stop"},
    ]


def chat(body: Mapping[str, Any]) -> tuple[dict[str, Any], Events]:
    tools = [
        tool["function"]["name"]
        for tool in body.get("tools") or []
        if "function" in tool
    ]
    turn = Turn(
        body,
        tools=tools,
        answered=any(message.get("role") == "tool" for message in body["messages"]),
    )
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if turn.call else turn.say,
    }
    if turn.call:
        function = {"name": turn.call[0], "arguments": json.dumps(turn.call[1])}
        message["tool_calls"] = [
            {"index": 0, "id": "call_1", "type": "function", "function": function}
        ]
    end = "tool_calls" if turn.call else "stop"
    usage = {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    common: dict[str, Any] = {"id": "c1", "created": 1, "model": body["model"]}
    whole = {
        **common,
        "object": "chat.completion",
        "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": end}],
    }
    chunk = {**common, "object": "chat.completion.chunk"}
    return whole, [
        {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {
            **chunk,
            "choices": [{"index": 0, "delta": dict[str, Any](), "finish_reason": end}],
        },
        {**chunk, "choices": [], "usage": usage},
    ]


def responses(body: Mapping[str, Any]) -> tuple[dict[str, Any], Events]:
    given = body.get("input") if isinstance(body.get("input"), list) else []
    answered = any(
        str(item.get("type", "")).endswith("_call_output") for item in given or []
    )
    turn = Turn(
        body,
        tools=[tool.get("name", "") for tool in body.get("tools") or []],
        answered=answered,
    )
    if turn.call:
        arguments = json.dumps(turn.call[1])
        item: dict[str, Any] = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": turn.call[0],
            "arguments": arguments,
            "status": "completed",
        }
        middle: Events = [
            {
                "type": "response.function_call_arguments.delta",
                "item_id": "fc_1",
                "output_index": 0,
                "delta": arguments,
            }
        ]
    else:
        words = {"type": "output_text", "text": turn.say, "annotations": []}
        item = {
            "type": "message",
            "id": "m_1",
            "role": "assistant",
            "status": "completed",
            "content": [words],
        }
        place = {"item_id": "m_1", "output_index": 0, "content_index": 0}
        middle = [{"type": "response.output_text.delta", **place, "delta": turn.say}]
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": body.get("model"),
        "output": [item],
        "usage": {
            "input_tokens": INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        },
    }
    opened = {
        **item,
        "status": "in_progress",
        "arguments" if turn.call else "content": "" if turn.call else [],
    }
    events: Events = [
        {
            "type": "response.created",
            "response": {**whole, "status": "in_progress", "output": []},
        },
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        *middle,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return whole, [
        {**event, "sequence_number": number} for number, event in enumerate(events)
    ]


def gemini(body: Mapping[str, Any]) -> tuple[dict[str, Any], Events]:
    parts = [
        part
        for content in body.get("contents", [])
        for part in content.get("parts", [])
    ]
    tools = [
        d["name"]
        for tool in body.get("tools") or []
        for d in tool.get("functionDeclarations", [])
    ]
    turn = Turn(
        body, tools=tools, answered=any("functionResponse" in part for part in parts)
    )
    if (body.get("generationConfig") or {}).get(
        "responseMimeType"
    ) == "application/json":
        # The router's question which model to take.
        turn.call, turn.say = (
            None,
            json.dumps({"complexity_reasoning": "x", "complexity_score": 1}),
        )
    part: dict[str, Any] = {"text": turn.say}
    if turn.call:
        part = {
            "functionCall": {"name": turn.call[0], "args": turn.call[1]},
            "thoughtSignature": "c2lnbg==",
        }
    whole = {
        "candidates": [
            {
                "index": 0,
                "content": {"role": "model", "parts": [part]},
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": INPUT_TOKENS,
            "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
        },
        "modelVersion": "scripted",
    }
    return whole, [whole]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log = Path("/dev/null")
    lock = threading.Lock()

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self._send(b"")

    def do_GET(self) -> None:
        models: dict[str, Any] = {
            "object": "list",
            "data": [{"id": "scripted", "object": "model"}],
            "models": [],
        }
        self._send(json.dumps(models).encode())

    def do_POST(self) -> None:
        try:
            body = json.loads(self._body() or b"{}")
        except ValueError:
            body = {}
        path = self.path.partition("?")[0]
        script = script_in(
            "\n".join(
                texts([body.get(key) for key in ("messages", "input", "contents")])
            )
        )
        with self.lock, self.log.open("a") as log:
            seen = {
                "at": time.time(),
                "path": path,
                "script": bool(script),
                "model": body.get("model"),
            }
            log.write(json.dumps(seen) + "\n")
        time.sleep(float(script.get("hang", 0)))
        if status := script.get("fail"):
            error = {
                "type": _ERRORS[status],
                "code": _ERRORS[status],
                "message": "scripted failure",
            }
            self._send(
                json.dumps({"type": "error", "error": error}).encode(), status=status
            )
        elif script.get("wrong"):
            self._send(b'{"hello": "world"}')
        elif path.endswith("/count_tokens"):
            self._send(json.dumps({"input_tokens": INPUT_TOKENS}).encode())
        else:
            self._answer(path, body, float(script.get("think", 0)))

    def _answer(self, path: str, body: Mapping[str, Any], seconds: float) -> None:
        stream, done, named = bool(body.get("stream")), b"", True
        headers = [
            self.headers.get(name, "")
            for name in ("x-api-key", "x-goog-api-key", "authorization")
        ]
        key = next(filter(None, headers), "").removeprefix("Bearer ")
        body = json.loads(json.dumps(body).replace("$KEY", key))
        if path.endswith("/messages"):
            whole, events = anthropic(body)
        elif path.endswith("/chat/completions"):
            whole, events = chat(body)
            done, named = b"data: [DONE]\n\n", False
        elif path.endswith("/responses"):
            whole, events = responses(body)
        elif "enerateContent" in path:
            whole, events = gemini(body)
            stream, named = "stream" in path, False
        else:
            self._send(b'{"error": {"message": "no such path"}}', status=404)
            return
        if not stream:
            self._send(json.dumps(whole).encode())
            return
        lines = [
            (f"event: {event['type']}\n".encode() if named else b"")
            + b"data: "
            + json.dumps(event).encode()
            + b"\n\n"
            for event in events
        ]
        self._send(*lines, done, kind="text/event-stream", pause=seconds / len(lines))

    def _body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding", "") == "chunked":
            while size := int(self.rfile.readline().strip() or b"0", 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return (
            gzip.decompress(data)
            if self.headers.get("content-encoding") == "gzip"
            else data
        )

    def _send(
        self,
        *pieces: bytes,
        status: int = 200,
        kind: str = "application/json",
        pause: float = 0.0,
    ) -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(sum(map(len, pieces))))
            self.end_headers()
            for piece in pieces:
                self.wfile.write(piece)
                time.sleep(pause)
        except OSError:  # the client was ended meanwhile
            self.close_connection = True


def main() -> None:
    Handler.log = Path(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
