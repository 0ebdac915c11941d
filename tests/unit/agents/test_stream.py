"""An agent's JSON Lines become words for people and usage, while it works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner import agents
from runner.agents.stream import (
    Stream,
    StreamingAgent,
    StreamLine,
    UsageSoFar,
    tool_call,
)

STREAMING = [
    name
    for name, agent in agents.presets().items()
    if isinstance(agent, StreamingAgent)
]


def _read(preset: str, *pieces: bytes) -> tuple[str, list[UsageSoFar]]:
    """The text for people, and each usage that was reported."""
    agent = agents.presets()[preset]
    assert isinstance(agent, StreamingAgent)
    usages: list[UsageSoFar] = []
    stream = Stream(agent, usages.append)
    text = b"".join(map(stream.feed, pieces)) + stream.flush()
    return text.decode(), usages


@pytest.mark.parametrize(
    ("name", "text", "usage"),
    [
        (
            "claude-stream-ok",
            (
                "Write /srv/task/co/made.txt\n"
                "  File created successfully at: /srv/task/co/made.txt (file state is current"
                " in your context — no need to Read it back)\n"
                "done\n"
            ),
            UsageSoFar(tokens=2100, cost_usd=0.0075, tool_calls=1),
        ),
        (
            "codex-ok",
            (
                "Model metadata for `scripted` not found. Defaulting to fallback metadata; "
                "this can degrade performance and cause issues.\n"
                "$ /bin/bash -lc \"printf %s 'hello ' > /srv/task/co/out.txt\"\n"
                "done\n"
            ),
            UsageSoFar(tokens=2100, tool_calls=1),
        ),
        (
            "gemini-stream-ok",
            "write_file made.txt\ndone\n",
            UsageSoFar(tokens=2100, tool_calls=1),
        ),
        (
            "opencode-ok",
            "write /srv/task/co/out.txt\n  Wrote file successfully.\ndone\n",
            UsageSoFar(tokens=2100, cost_usd=0.0022, tool_calls=1),
        ),
        (
            "copilot-ok",
            (
                "create /srv/task/co/out.txt\n"
                "  Created file /srv/task/co/out.txt with 6 characters\n"
                "done\n"
            ),
            UsageSoFar(tool_calls=1),
        ),
    ],
)
def test_the_recorded_output_of_a_program_is_read(
    resources: Path, name: str, text: str, usage: UsageSoFar
) -> None:
    recorded = (resources / f"agents/{name}.txt").read_bytes()
    preset = name.partition("-")[0]
    said, usages = _read(preset, recorded)
    assert said == text
    assert usages[-1] == usage
    bytewise = _read(preset, *(bytes([byte]) for byte in recorded))
    assert bytewise == (said, usages)


def test_usage_is_known_while_claude_works(resources: Path) -> None:
    _, usages = _read(
        "claude", (resources / "agents/claude-stream-ok.txt").read_bytes()
    )
    tokens = [usage.tokens for usage in usages]
    assert tokens == [None, 1050, 2100, 2100]
    assert usages[-1].cost_usd is not None


@pytest.mark.parametrize("preset", STREAMING)
@pytest.mark.parametrize(
    "line",
    ["no JSON", "{torn", "[1]", '"text"', "\x1b[31mred\x1b[0m", "", "{}]", "[" * 9999],
)
def test_a_line_that_is_no_object_stays_as_it_is(preset: str, line: str) -> None:
    assert _read(preset, f"{line}\n".encode()) == (f"{line}\n", [])


KINDS = [
    *("assistant", "user", "stream_event", "result", "item.started", "item.completed"),
    *("turn.completed", "turn.failed", "text", "reasoning", "tool_use", "step_finish"),
    *("error", "assistant.message", "tool.execution_start", "tool.execution_complete"),
    *("assistant.usage", "session.error", "message", "tool_result", "unknown"),
]
FIELDS = [
    *("message", "event", "item", "part", "data", "error", "stats", "parameters"),
    *("content", "output", "usage", "errors", "is_error", "total_cost_usd", "role"),
]


@pytest.mark.parametrize("preset", STREAMING)
@pytest.mark.parametrize(
    "value",
    [
        *(None, 7, -1, 1e999, True, [], [[]], {}, "words"),
        {"type": 3, "content": [None, 3, {"type": "tool_use", "input": 3}]},
        {"type": "message_delta", "usage": {"input_tokens": "many"}},
        {"type": "file_change", "changes": [3, {"path": 3}], "state": 3},
    ],
)
def test_an_event_of_another_shape_raises_nothing_and_is_not_shown_as_json(
    preset: str, value: object
) -> None:
    for kind in KINDS:
        event = {**dict.fromkeys(FIELDS, value), "type": kind}
        said, _ = _read(preset, json.dumps(event).encode() + b"\n")
        assert "{" not in said


def test_text_that_comes_in_parts_is_one_line_until_something_else_is_said() -> None:
    lines = [
        {"type": "message", "role": "assistant", "delta": True, "content": "reads "},
        {"type": "message", "role": "assistant", "delta": True, "content": "a.py"},
        {"type": "tool_use", "tool_name": "shell", "parameters": {"command": "a\nb"}},
        {"type": "message", "role": "assistant", "delta": True, "content": "end"},
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    assert _read("gemini", text.encode())[0] == "reads a.py\nshell a b\nend\n"


def test_an_agent_of_another_package_that_raises_ends_nothing() -> None:
    class Broken:
        def stream_line(self, event: object) -> StreamLine:
            raise KeyError(event)

    stream = Stream(Broken(), print)
    assert stream.feed(b'{"a": 1}\nwords\n') == b"words\n"


def test_a_line_without_end_is_not_kept_in_memory() -> None:
    agent = agents.presets()["claude"]
    assert isinstance(agent, StreamingAgent)
    stream = Stream(agent, print)
    said = sum(len(stream.feed(b"x" * 2**20)) for _ in range(20))
    assert said > 8 * 2**20


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"description": "run tests", "command": "pytest  -q\n"}, "Bash pytest -q"),
        ({"unknown": 1}, "Bash"),
        (None, "Bash"),
    ],
)
def test_a_call_of_a_tool_is_one_line(arguments: object, text: str) -> None:
    assert tool_call("Bash", arguments) == StreamLine(text, tool_calls=1)
