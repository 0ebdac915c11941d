"""Helpers of the presets: read what an agent printed and classify its failures.

An agent's output is untrusted: any part of it may be missing, truncated, of another
type or huge, and none of it may raise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from runner.agents.process import Outcome
from runner.agents.recorder import STDOUT_LIMIT, TAIL_LIMIT
from runner.core.result import (
    MAX_COST_USD,
    MAX_LOG_TAIL,
    MAX_TOKENS,
    Failure,
    FailureKind,
    Usage,
)

# `usage_limits` is imported where a limit is looked for: the first agent of a run need not
# wait until its patterns are compiled.

# Characters of an agent's summary and of a failure's message. A result keeps far fewer
# of them, after the search for secrets: half a secret would not be found.
_MAX_REPORTED = 64 * 2**10

# 429 and 503 are HTTP's own; 529 is Anthropic's "overloaded" (API reference, Errors).
RATE_LIMIT_STATUSES = frozenset({429, 503, 529})
_REFUSED_KEY_STATUSES = frozenset({401, 402, 403})
# A request that the model rejected will be rejected again.
_FINAL_STATUSES = frozenset({400, 404, 413, 422})

Json = Mapping[str, Any]


def failed(
    kind: FailureKind, message: str, outcome: Outcome, *, retryable: bool = True
) -> Failure:
    """A failure that carries the end of the attempt's log."""
    return Failure(
        kind=kind,
        message=message[:_MAX_REPORTED],
        retryable=retryable,
        log_tail=outcome.tail[-MAX_LOG_TAIL:],
    )


def process_failure(outcome: Outcome, *, retryable: bool = True) -> Failure | None:
    """The failure that the end of the process shows by itself, or None.

    That is a stop by fanin, or an exit status other than 0. `retryable` applies to the
    latter only: an agent cannot declare a time limit final.
    """
    failure = stop_failure(outcome)
    if failure is not None:
        return failure
    if outcome.exit_code == 0:
        return None
    message = f"the agent ended with {outcome.status}"
    return failed(FailureKind.AGENT_ERROR, message, outcome, retryable=retryable)


def stop_failure(outcome: Outcome) -> Failure | None:
    """The failure of an agent that fanin stopped, None if it exited by itself."""
    seconds = f"{outcome.seconds:.0f} s"
    match outcome.end_reason:
        case "exited":
            return None
        case "timeout":
            kind = FailureKind.TIMEOUT
            message = f"the agent was stopped at its time limit, after {seconds}"
        case "idle":
            kind = FailureKind.IDLE
            message = f"the agent was stopped for printing nothing, after {seconds}"
        case "flooded":
            kind = FailureKind.AGENT_ERROR
            message = "the agent was stopped for printing more than the disk may hold"
        case "cancelled":
            kind = FailureKind.INTERRUPTED
            message = "the run was interrupted"
    return failed(kind, message, outcome)


def question_failure(question: str, outcome: Outcome) -> Failure:
    """The end of an attempt whose agent asks a person this."""
    text = question.strip()
    if not text:
        message = "the agent says that it has a question, and asks nothing"
        return failed(FailureKind.AGENT_ERROR, message, outcome)
    return Failure(kind=FailureKind.QUESTION, message=text[:_MAX_REPORTED])


def failure_for_status(status: object, message: str, outcome: Outcome) -> Failure:
    """The failure for an HTTP status that the model's API answered with.

    A status that is not an integer is an unspecified, retryable error of the agent. A
    rate limit that asks for a long pause is a usage limit.
    """
    text = message or "the model did not answer"
    if not isinstance(status, int):
        return failed(FailureKind.AGENT_ERROR, text, outcome)
    if str(status) not in text:
        text = f"{text} (HTTP {status})"
    if status in RATE_LIMIT_STATUSES:
        from runner.agents.usage_limits import long_pause

        return long_pause(text, outcome) or failed(
            FailureKind.RATE_LIMIT, text, outcome
        )
    if status in _REFUSED_KEY_STATUSES:
        text = f"the agent's key was refused: {text}"
        return failed(FailureKind.NOT_READY, text, outcome)
    retryable = status not in _FINAL_STATUSES
    return failed(FailureKind.AGENT_ERROR, text, outcome, retryable=retryable)


def sentence_limit(preset: str, error: str, outcome: Outcome) -> Failure | None:
    """The usage limit that a preset's error states in its own words, or None."""
    from runner.agents import usage_limits

    return usage_limits.sentence_limit(preset, error, outcome)


def limit_until(resets: object, message: str, outcome: Outcome) -> Failure:
    """A usage limit that resets so many seconds after the epoch, if that can be."""
    from runner.agents.usage_limits import limit_failure, plausible

    reset = plausible(resets, outcome.finished)
    return limit_failure(message, reset, outcome)


def json_lines(path: Path) -> Iterator[Json]:
    """The JSON objects of a JSON Lines file; all other lines are skipped."""
    with suppress(OSError), _at_kept_end(path) as stream:
        for line in stream:
            if not line.startswith(b"{"):
                continue
            value = _parse_object(line.decode("utf-8", "replace"))
            if value is not None:
                yield value


def last_json_object(text: str) -> Json | None:
    """The last JSON object that begins at the start of a line of `text`."""
    decoder = json.JSONDecoder()
    start = text.rfind("{")
    while start >= 0:
        if start == 0 or text[start - 1] == "\n":
            try:
                value, _ = decoder.raw_decode(text, start)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict):
                return value
        start = text.rfind("{", 0, start)
    return None


def read_json_object(path: Path) -> Json | None:
    """The JSON object that a file consists of, or the last one near its end."""
    text = _read_text(path)
    value = _parse_object(text.strip())
    if value is not None:
        return value
    return last_json_object(text[-TAIL_LIMIT:])


def cut_object(path: Path, key: str) -> Json:
    """What is left of a JSON object whose beginning was not kept: its last `key`.

    Empty if the file was kept whole.
    """
    try:
        is_whole = path.stat().st_size <= STDOUT_LIMIT
    except OSError:
        return {}
    text = _read_text(path)
    start = text.rfind(f'"{key}":')
    if is_whole or start < 0:
        return {}
    try:
        value, _ = json.JSONDecoder().raw_decode(text[start + len(key) + 3 :].lstrip())
    except (ValueError, RecursionError):
        return {}
    return {key: value}


def dig(value: object, *keys: str) -> Any:
    """The value below nested mappings, None if a key on the way is missing."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def token_count(value: object) -> int | None:
    """The value as a number of tokens, None if it is not a valid one."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_TOKENS else None


def dollars(value: object) -> float | None:
    """The value as an amount in US dollars, None if it is not a valid one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN compares false and is refused as well.
    return float(value) if 0 <= value <= MAX_COST_USD else None


def sum_reported(*counts: int | None) -> int | None:
    """The sum of the counts that are not None, at most MAX_TOKENS; None if all are."""
    reported = [count for count in counts if count is not None]
    return min(sum(reported), MAX_TOKENS) if reported else None


def make_usage(
    summary: object,
    *,
    tokens: int | None = None,
    sent: int | None = None,
    received: int | None = None,
    cost_usd: float | None = None,
) -> Usage:
    """A usage record; a summary that is not text, or is blank, becomes None.

    Tokens are `tokens`, else the sum of those that the agent has `sent` to its model
    and `received` from it.
    """
    text = summary.strip()[:_MAX_REPORTED] if isinstance(summary, str) else ""
    return Usage(
        summary=text or None,
        tokens=sum_reported(sent, received) if tokens is None else tokens,
        input_tokens=sent,
        output_tokens=received,
        cost_usd=cost_usd,
    )


def _parse_object(text: str) -> Json | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_text(path: Path) -> str:
    try:
        with _at_kept_end(path) as stream:
            return stream.read(STDOUT_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""


@contextmanager
def _at_kept_end(path: Path) -> Iterator[BinaryIO]:
    """The file, to be read from where its kept bytes begin."""
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - STDOUT_LIMIT))
        yield stream
