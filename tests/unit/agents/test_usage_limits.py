"""A usage limit is recognised by structure or by the program's own sentence, with the
time of its reset.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.agents.process import EndReason
from runner.agents.usage_limits import reset_time
from runner.core.result import FailureKind
from tests.support.preset_outputs import read_output

NOW = datetime(2026, 7, 19, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("hit your limit · resets 10:30pm (Europe/Berlin)", "2026-07-19T20:30"),
        ("hit your limit · resets 8pm (Europe/Berlin)", "2026-07-20T18:00"),
        ("hit your limit · resets Jul 26, 5:59am (Europe/Paris)", "2026-07-26T03:59"),
        ("extra usage · resets Jul 23 at 4pm (America/Sao_Paulo)", "2026-07-23T19:00"),
        ("or try again at 5:42 PM.", "2026-07-20T17:42"),
        ("or try again at Jul 25th, 2026 8:19 PM.", "2026-07-25T20:19"),
        ("limit to reset on July 20, 2026 at 2:00 AM or", "2026-07-20T02:00"),
        ("or try again in 5 days 22 hours 11 minutes.", "2026-07-25T16:11"),
        ("Please try again in 51 hours. Please", "2026-07-21T21:00"),
        ("Your quota will reset after 4h28m0s.", "2026-07-19T22:28"),
        ("Claude AI usage limit reached|1784491200", "2026-07-19T20:00"),
        ("Your limit will reset at 11pm (Europe/Warsaw).", "2026-07-19T21:00"),
        ("Please retry in 34.5s.", "2026-07-19T18:00:34.500"),
        ("429, Retry-After: 3600", "2026-07-19T19:00"),
        ('{"retry-after": "90"}', "2026-07-19T18:01:30"),
        ("retry after 7200", "2026-07-19T20:00"),
        ("Retry-After: Sun, 19 Jul 2026 20:30:00 GMT", "2026-07-19T20:30"),
        # past, too far ahead, unknown zone, no such time
        ("Claude AI usage limit reached|1762952400", None),
        ("Retry-After: Sun, 19 Jul 2026 17:30:00 GMT", None),
        ("Retry-After: Sun, 99 Jul 2026 20:30:00 GMT", None),
        ("Retry-After: 0", None),
        ("Retry-After: 9999999", None),
        ("try again at Jul 5th, 2026 8:19 PM", None),
        ("try again at Aug 5th, 2026 8:19 PM", None),
        ("try again in 9 days", None),
        ("resets 10:30pm (Mars/Olympus)", None),
        ("resets 10:30pm (../../etc/passwd)", None),
        ("resets 13:30pm (UTC)", None),
        ("resets 10:75pm (UTC)", None),
        ("try again later", None),
    ],
)
def test_the_time_of_a_reset_is_read(text: str, time: str | None) -> None:
    expected = None if time is None else datetime.fromisoformat(time + "Z")
    assert reset_time(text, NOW) == expected


def test_a_date_after_new_year_is_next_years() -> None:
    now = datetime(2026, 12, 30, 12, 0, tzinfo=UTC)
    time = reset_time("resets Jan 2 at 8am (UTC)", now)
    assert time == datetime(2027, 1, 2, 8, 0, tzinfo=UTC)


@given(
    now=st.datetimes(
        min_value=datetime(2024, 1, 1),
        max_value=datetime(2034, 1, 1),
        timezones=st.just(UTC),
    ),
    zone=st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "Pacific/Auckland", "UTC"]),
    hour=st.integers(1, 12),
    minute=st.integers(0, 59),
    half=st.sampled_from(["am", "pm"]),
)
def test_a_time_without_a_date_is_the_next_such_time(
    now: datetime, zone: str, hour: int, minute: int, half: str
) -> None:
    time = reset_time(f"resets {hour}:{minute:02}{half} ({zone})", now)
    assert time is not None
    # A day on which the clocks change has 25 hours.
    assert timedelta(0) < time - now <= timedelta(hours=25)
    there = time.astimezone(ZoneInfo(zone))
    # A time that the change of clocks leaves out is an hour later.
    assert there.minute == minute
    assert (there.hour - hour) % 12 in {0, 1}


@given(st.text() | st.from_regex(r"(resets|try again (at|in)) [\w :,()/]{0,40}"))
def test_no_text_breaks_the_reading_and_no_time_is_past_or_far(text: str) -> None:
    time = reset_time(text, NOW)
    assert time is None or NOW < time <= NOW + timedelta(days=8)


def _line(value: object) -> str:
    return json.dumps(value) + "\n"


# As public reports quote them; `usage_limits` names the issue of each.
CLAUDE_WORDS = "You've hit your session limit · resets 10:30pm (Europe/Berlin)"
CODEX_WORDS = "You've hit your usage limit. Upgrade to Pro or try again at 5:42 PM."
GEMINI_WORDS = (
    "You have exhausted your capacity on this model. "
    "Your quota will reset after 4h28m20s."
)
OLD_CLAUDE_WORDS = "Claude AI usage limit reached|1762952400"
COPILOT_WORDS = (
    "Sorry, you've hit a rate limit that restricts the number of Copilot model "
    "requests you can make within a specific time period. "
    "Please try again in 51 hours."
)
OPENCODE_WORDS = "The usage limit has been reached"


@pytest.mark.parametrize(
    ("preset", "stdout", "status", "has_time"),
    [
        ("claude", {"type": "result", "is_error": True, "result": CLAUDE_WORDS}, 1, 1),
        (
            "claude",
            {"type": "result", "is_error": True, "result": OLD_CLAUDE_WORDS},
            1,
            0,
        ),
        ("codex", {"type": "turn.failed", "error": {"message": CODEX_WORDS}}, 1, 1),
        ("gemini", {"error": {"code": 429, "message": GEMINI_WORDS}}, 173, 1),
        (
            "copilot",
            {"type": "session.error", "data": {"message": COPILOT_WORDS}},
            1,
            1,
        ),
        (
            "opencode",
            {
                "type": "error",
                "error": {"data": {"message": OPENCODE_WORDS}},
            },
            0,
            0,
        ),
    ],
)
def test_the_programs_own_sentence_is_a_usage_limit(
    tmp_path: Path, preset: str, stdout: object, status: int, has_time: int
) -> None:
    failure = read_output(preset, tmp_path, _line(stdout), status=status).failure
    assert failure is not None
    assert failure.kind is FailureKind.USAGE_LIMIT
    assert not failure.counted
    assert (failure.resets_at is not None) == bool(has_time)


def _rejected(resets_at: float, **more: object) -> str:
    info = {"status": "rejected", "resetsAt": int(resets_at), **more}
    return _line({"type": "rate_limit_event", "rate_limit_info": info})


@pytest.mark.parametrize(
    ("status", "end_reason"),
    [(1, "exited"), (0, "exited"), (-15, "timeout"), (-15, "idle")],
)
def test_claudes_event_needs_no_words(
    tmp_path: Path, status: int, end_reason: EndReason
) -> None:
    resets = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    stdout = _rejected(resets.timestamp())
    failure = read_output(
        "claude", tmp_path, stdout, status=status, end_reason=end_reason
    ).failure
    assert failure is not None
    assert failure.kind is FailureKind.USAGE_LIMIT
    assert failure.message == "claude's usage limit is reached"
    assert failure.resets_at == f"{resets:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize(
    ("end_reason", "more", "kind"),
    [
        ("cancelled", {}, FailureKind.INTERRUPTED),
        ("timeout", {"isUsingOverage": True}, FailureKind.TIMEOUT),
        ("exited", {"isUsingOverage": True}, FailureKind.AGENT_ERROR),
    ],
)
def test_an_interruption_and_one_who_pays_for_more_are_no_limit(
    tmp_path: Path, end_reason: EndReason, more: dict[str, object], kind: FailureKind
) -> None:
    stdout = _rejected(datetime.now(UTC).timestamp() + 60, **more)
    failure = read_output(
        "claude", tmp_path, stdout, status=1, end_reason=end_reason
    ).failure
    assert failure is not None
    assert failure.kind is kind


def test_an_answer_after_claudes_event_counts(tmp_path: Path) -> None:
    answer = _line({"type": "result", "is_error": False, "result": CLAUDE_WORDS})
    stdout = _rejected(datetime.now(UTC).timestamp() + 60) + answer
    assert read_output("claude", tmp_path, stdout).failure is None


def test_codexs_json_gives_the_time(tmp_path: Path) -> None:
    resets = int(datetime.now(UTC).timestamp()) + 600
    details = {"type": "usage_limit_reached", "message": "-", "resets_at": resets}
    error = {"message": json.dumps({"type": "error", "error": details})}
    stdout = _line({"type": "turn.failed", "error": error})
    failure = read_output("codex", tmp_path, stdout, status=1).failure
    assert failure is not None
    assert failure.kind is FailureKind.USAGE_LIMIT
    assert failure.resets_at is not None


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        (
            "claude",
            {
                "type": "assistant",
                "message": {"content": [{"type": "text", "text": CLAUDE_WORDS}]},
            },
        ),
        (
            "codex",
            {
                "type": "item.completed",
                "item": {"type": "agent_message", "text": CODEX_WORDS},
            },
        ),
        ("gemini", {"response": GEMINI_WORDS}),
        ("copilot", {"type": "assistant.message", "data": {"content": COPILOT_WORDS}}),
        ("opencode", {"type": "text", "part": {"text": OPENCODE_WORDS}}),
    ],
)
def test_what_the_model_writes_is_no_limit(
    tmp_path: Path, preset: str, said: object
) -> None:
    failure = read_output(preset, tmp_path, _line(said), status=1).failure
    assert failure is not None
    assert failure.kind is FailureKind.AGENT_ERROR


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (None, FailureKind.RATE_LIMIT),
        ("30", FailureKind.RATE_LIMIT),
        ("3600", FailureKind.USAGE_LIMIT),
    ],
)
def test_a_status_with_a_long_pause_is_a_usage_limit(
    tmp_path: Path, after: str | None, kind: FailureKind
) -> None:
    data: dict[str, object] = {"message": "Too Many Requests", "statusCode": 429}
    if after is not None:
        data["responseHeaders"] = {"retry-after": after}
    stdout = _line({"type": "error", "error": {"data": data}})
    failure = read_output("opencode", tmp_path, stdout).failure
    assert failure is not None
    assert failure.kind is kind
    assert (failure.resets_at is not None) == (kind is FailureKind.USAGE_LIMIT)


AIDER_ERROR = """Added out.txt to the chat.

litellm.{kind}: {kind}: OpenAIException - Too Many Requests, Retry-After: \n{after}
{sentence}
Retrying in 32.0 seconds...
"""
LIMITED = "The API provider has rate limited you. Try again later or check your quotas."
OVERLOADED = "The API provider's servers are down or overloaded."


@pytest.mark.parametrize(
    ("error", "sentence", "after", "kind"),
    [
        ("RateLimitError", LIMITED, "30", FailureKind.RATE_LIMIT),
        ("RateLimitError", LIMITED, "3600", FailureKind.USAGE_LIMIT),
        ("InternalServerError", OVERLOADED, "30", FailureKind.RATE_LIMIT),
        ("RateLimitError", "Something else.", "30", FailureKind.AGENT_ERROR),
        ("BadRequestError", LIMITED, "30", FailureKind.AGENT_ERROR),
    ],
)
def test_aiders_last_error_is_a_limit_if_aider_says_so(
    tmp_path: Path, error: str, sentence: str, after: str, kind: FailureKind
) -> None:
    stdout = AIDER_ERROR.format(kind=error, sentence=sentence, after=after)
    failure = read_output("aider", tmp_path, stdout).failure
    assert failure is not None
    assert failure.kind is kind
    # After an answer, what a model wrote is no error.
    answered = f"{stdout}Tokens: 1.0k sent, 50 received.\n"
    assert read_output("aider", tmp_path, answered).failure is None
