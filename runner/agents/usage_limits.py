"""Recognises usage limits of agents, in their fixed sentences, and when they reset.

Only a command line's own error may be passed here, never what a model wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from runner.agents.process import Outcome
from runner.core.result import (
    MAX_LIMIT_DAYS,
    MAX_LOG_TAIL,
    MAX_MESSAGE,
    Failure,
    FailureKind,
)

# How each program begins the sentence that says that a limit is reached. The issues are
# public reports that quote it.
_SENTENCES: Mapping[str, re.Pattern[str]] = {
    # anthropics/claude-code#79136, #42801, #12789, #51757; #11429, #6119 of version 1
    "claude": re.compile(
        r"You've hit your (?:\w+ )?limit\b|\w+ limit reached · resets\b"
        r"|You're out of extra usage\b|Claude (?:AI )?usage limit reached\b"
    ),
    # openai/codex#26668, #3899; the JSON has this message in earendil-works/pi#4172
    "codex": re.compile(
        r"You've hit your usage limit\b|The usage limit has been reached\b"
    ),
    # google-gemini/gemini-cli#25103, #15576
    "gemini": re.compile(
        r"You have exhausted your (?:capacity|daily quota) on this model\b"
    ),
    # github/copilot-cli#2696, #2828
    "copilot": re.compile(
        r"Sorry, you've hit a rate limit that restricts the number of Copilot"
        r"|You've reached your weekly rate limit\b"
    ),
    # anomalyco/opencode#47239
    "opencode": re.compile(r"The usage limit has been reached\b"),
}
_CLOCK = re.compile(
    r"\b(?:resets?(?: on| at)?|try again at) "
    r"(?:(?P<month>[a-z]{3})[a-z]* (?P<day>\d{1,2})(?:st|nd|rd|th)?"
    r"(?:, (?P<year>\d{4}))?(?:,| at)? )?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))? ?(?P<half>[ap])m\b"
    r"(?: \((?P<zone>[^)]*)\))?",
    re.IGNORECASE | re.ASCII,
)
_MONTHS = [
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
]
_DURATION = re.compile(
    r"\b(?:try again in|reset after|retry after|retry in|retry-after:?) "
    r"(?P<parts>(?:\d{1,6}(?:\.\d{1,9})?"
    r" ?(?:days?|hours?|minutes?|seconds?|[dhms])\b,? ?"
    r"|\d{1,6}[dhms])+)",
    re.IGNORECASE | re.ASCII,
)
_PART = re.compile(r"(\d+(?:\.\d+)?) ?([dhms])", re.IGNORECASE | re.ASCII)
# The header of HTTP (RFC 9110, section 10.2.3), also as a program quotes it.
_RETRY_AFTER = re.compile(
    r"\bretry[- ]after[\"']?[:=]? ?[\"']?"
    r"(?:(?P<seconds>\d{1,7})\b"
    r"|(?P<date>[a-z]{3}, \d\d [a-z]{3} \d{4} \d\d:\d\d:\d\d GMT))",
    re.IGNORECASE | re.ASCII,
)
# of Claude Code 1: "Claude AI usage limit reached|1762952400"
_EPOCH = re.compile(r"limit reached\|(\d{10})\b", re.ASCII)
# A pause that a provider asks for is a usage limit from so many seconds on: a run does
# not repeat itself so long.
_LONG_PAUSE = 300
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def sentence_limit(preset: str, error: str, outcome: Outcome) -> Failure | None:
    """The usage limit that a preset's error states in its own words, or None."""
    if not _SENTENCES[preset].match(error.strip()):
        return None
    return limit_failure(error.strip(), reset_time(error, outcome.finished), outcome)


def long_pause(text: str, outcome: Outcome) -> Failure | None:
    """The usage limit of a program whose error asks for a pause of many minutes.

    None for a shorter pause and without one: that is a rate limit.
    """
    resets = reset_time(text, outcome.finished)
    if resets is None or resets - outcome.finished < timedelta(seconds=_LONG_PAUSE):
        return None
    return limit_failure(text, resets, outcome)


def limit_failure(message: str, resets: datetime | None, outcome: Outcome) -> Failure:
    """The failure of an attempt that met a usage limit."""
    return Failure(
        kind=FailureKind.USAGE_LIMIT,
        message=message[:MAX_MESSAGE],
        log_tail=outcome.tail[-MAX_LOG_TAIL:],
        resets_at=None if resets is None else _instant(resets),
    )


def reset_time(text: str, now: datetime) -> datetime | None:
    """The time that `text` says a limit resets at; None if it says none that counts.

    `now` has a zone, which is that of a time without one. A time without a date is the
    next such time. One that is past, more than MAX_LIMIT_DAYS ahead or in an unknown
    zone does not count.
    """
    if match := _DURATION.search(text):
        seconds = sum(
            float(number) * _SECONDS[unit.lower()]
            for number, unit in _PART.findall(match["parts"])
        )
        return plausible(now.timestamp() + seconds, now)
    if match := _RETRY_AFTER.search(text):
        return _time_of_header(match, now)
    if match := _EPOCH.search(text):
        return plausible(int(match[1]), now)
    if match := _CLOCK.search(text):
        return _clock_time(match, now)
    return None


def plausible(seconds: object, now: datetime) -> datetime | None:
    """The time of so many seconds since the epoch, None if it does not count."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    ahead = seconds - now.timestamp()
    # NaN compares false and does not count either.
    if not 0 < ahead <= MAX_LIMIT_DAYS * 86_400:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _time_of_header(match: re.Match[str], now: datetime) -> datetime | None:
    if match["seconds"]:
        return plausible(now.timestamp() + int(match["seconds"]), now)
    from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

    try:
        return plausible(parsedate_to_datetime(match["date"]).timestamp(), now)
    except (ValueError, OverflowError):
        return None


def _clock_time(match: re.Match[str], now: datetime) -> datetime | None:
    zone = _zone(match["zone"], now)
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if zone is None or not 1 <= hour <= 12:
        return None
    hour = hour % 12 + (12 if match["half"].lower() == "p" else 0)
    local_now = now.astimezone(zone)
    try:
        reset = local_now.replace(
            hour=hour, minute=minute, second=0, microsecond=0, fold=0
        )
        if match["month"]:
            month = _MONTHS.index(match["month"].lower()) + 1
            year = int(match["year"] or local_now.year)
            reset = reset.replace(year=year, month=month, day=int(match["day"]))
            # In December a date in January is next year's.
            is_past = reset.timestamp() <= now.timestamp()
            if not match["year"] and is_past and local_now.month > month:
                reset = reset.replace(year=year + 1)
        elif reset.timestamp() <= now.timestamp():
            reset += timedelta(days=1)
        return plausible(reset.timestamp(), now)
    except (ValueError, OverflowError):
        return None


def _zone(name: str | None, now: datetime) -> tzinfo | None:
    if name is None:
        return now.tzinfo
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None


def _instant(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
