"""Reads what agents print, and names what came of it. Shared by the presets.

An agent's output is untrusted: any of it may be missing, cut, of another type or
enormous, and none of it may raise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.agents.process import ANSWER_LIMIT, TAIL, Outcome
from runner.core.result import Failure, FailureKind, Usage

LOG_TAIL = 4_000
MAX_SUMMARY = 2_000

Json = Mapping[str, Any]


def failed(
    kind: FailureKind, message: str, outcome: Outcome, *, retryable: bool = True
) -> Failure:
    """A failure with the end of the log."""
    return Failure(
        kind=kind,
        message=message[:MAX_SUMMARY],
        retryable=retryable,
        log_tail=outcome.tail[-LOG_TAIL:],
    )


def ended_badly(outcome: Outcome, *, retryable: bool = True) -> Failure | None:
    """The failure that an outcome shows by itself: time limit, silence, interruption or
    a non-zero exit.
    """
    if failure := was_ended(outcome):
        return failure
    if outcome.exit_code:
        how = (
            f"exit status {outcome.exit_code}"
            if outcome.exit_code > 0
            else f"signal {-outcome.exit_code}"
        )
        return failed(
            FailureKind.AGENT_ERROR,
            f"the agent ended with {how}",
            outcome,
            retryable=retryable,
        )
    return None


def was_ended(outcome: Outcome) -> Failure | None:
    """The failure of an agent that did not end by itself."""
    kinds = {
        "timeout": (
            FailureKind.TIMEOUT,
            f"the agent was ended after its time limit, {outcome.seconds:.0f} s",
        ),
        "idle": (
            FailureKind.IDLE,
            f"the agent was ended after printing nothing for too long, {outcome.seconds:.0f} s in all",
        ),
        "flooded": (
            FailureKind.AGENT_ERROR,
            f"the agent was ended after printing {ANSWER_LIMIT:,} bytes",
        ),
        "cancelled": (FailureKind.INTERRUPTED, "the run was interrupted"),
    }
    if outcome.ended not in kinds:
        return None
    kind, message = kinds[outcome.ended]
    return failed(kind, message, outcome)


def by_status(status: object, message: str, outcome: Outcome) -> Failure:
    """The failure of a model's HTTP status.

    429 and 503 are HTTP's own; 529 is Anthropic's "overloaded" (its API reference,
    Errors). A request that was found wrong (400, 404, 413, 422) is found wrong again.
    """
    told = message or "the model did not answer"
    if not isinstance(status, int):
        return failed(FailureKind.AGENT_ERROR, told, outcome)
    told = f"{told} (HTTP {status})" if str(status) not in told else told
    if status in {429, 503, 529}:
        return failed(FailureKind.RATE_LIMIT, told, outcome)
    if status in {401, 402, 403}:
        return failed(
            FailureKind.NOT_READY, f"the agent's key was refused: {told}", outcome
        )
    return failed(
        FailureKind.AGENT_ERROR,
        told,
        outcome,
        retryable=status not in {400, 404, 413, 422},
    )


def events(path: Path) -> Iterator[Json]:
    """The JSON objects of a JSONL answer; other lines are skipped."""
    for line in _text(path).splitlines():
        if line.startswith("{") and (found := _object(line)) is not None:
            yield found


def document(text: str) -> Json | None:
    """The last JSON object that begins at the start of a line of `text`."""
    decoder, place = json.JSONDecoder(), len(text)
    while (place := text.rfind("{", 0, place)) >= 0:
        if place == 0 or text[place - 1] == "\n":
            try:
                found, _ = decoder.raw_decode(text, place)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                return found
    return None


def answer_of(path: Path) -> Json | None:
    """The one JSON object that is the whole answer."""
    text = _text(path)
    return _object(text.strip()) or document(text[-TAIL:])


def get(node: object, *steps: str) -> Any:
    """The value down there, None where the way ends."""
    for step in steps:
        node = node.get(step) if isinstance(node, Mapping) else None
    return node


def whole(value: object) -> int | None:
    """A count of tokens, None if it is none."""
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0
        else None
    )


def money(value: object) -> float | None:
    """Dollars, None if it is no amount."""
    fine = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value < 10**9
    )
    return float(value) if fine else None  # type: ignore[arg-type]


def total(*counts: int | None) -> int | None:
    """The sum of what is known, None if nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def usage(
    summary: object, *, tokens: int | None = None, cost: float | None = None
) -> Usage:
    said = summary.strip()[:MAX_SUMMARY] if isinstance(summary, str) else ""
    return Usage(summary=said or None, tokens=tokens, cost_usd=cost)


def _object(text: str) -> Json | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(ANSWER_LIMIT + 2**20).decode("utf-8", "replace")
    except OSError:
        return ""
