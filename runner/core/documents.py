"""Data that crosses rooms or jobs: tasks, plans, settings of an agent, the batch
manifest, results.

Documents other people write (plan, settings) forbid unknown keys, because a misspelt
`depends_on` that is silently ignored would run a task too early. Documents fanin writes
(manifest, result, progress) keep the unknown fields of a newer version.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Annotated, Any, overload

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    WithJsonSchema,
)

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?"
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|kB|MB|GB)?", re.IGNORECASE)
_UNITS = {
    "": 1,
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}


def parse_duration(value: object) -> float:
    """Seconds from `30m`, `1h30m`, `45s` or a plain number of seconds. ValueError for
    anything else.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif _NUMBER.fullmatch(str(value).strip()):  # as a flag or a variable gives it
        seconds = float(str(value))
    else:
        match = _DURATION.fullmatch(str(value).strip())
        if not match or not any(match.groups()):
            raise ValueError("expected a duration like 45s, 30m or 1h30m")
        hours, minutes, secs = (float(part or 0) for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + secs
    if not 0 < seconds < 10**9:
        raise ValueError("expected a duration of more than zero")
    return seconds


def parse_size(value: object) -> int:
    """Bytes from `4 MiB`, `500kB` or a plain number. ValueError for anything else."""
    match = _SIZE.fullmatch(str(value).strip())
    if isinstance(value, bool) or not match:
        raise ValueError("expected a size like 4MiB or 500kB")
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])


_DURATION_SCHEMA = {
    "type": ["number", "string"],
    "exclusiveMinimum": 0,
    "examples": ["45s", "30m", "1h30m"],
    "pattern": r"^(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?$",
    "minLength": 2,
}
_SIZE_SCHEMA = {
    "type": ["integer", "string"],
    "minimum": 0,
    "examples": ["4MiB", "500kB"],
    "pattern": r"^\d+(\.\d+)?\s*([kKMG]i?)?[bB]?$",
}
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@overload
def clean(value: str) -> str: ...


@overload
def clean(value: object) -> object: ...


def clean(value: object) -> object:
    """Text from an agent, git or a file name, made safe to print, commit and store.

    Control characters would speak to the terminal, NUL ends a commit message, lone
    surrogates (bytes of a file name that are no UTF-8) cannot be encoded. Everything
    that is not text is left to the validation.
    """
    if not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub(
        "\ufffd",
        value.encode("utf-8", "backslashreplace")
        .decode()
        .replace("\r\n", "\n")
        .replace("\r", "\n"),
    )


Duration = Annotated[
    float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)
]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
# An id travels in file names, refs, tables and shell text: anything printable without
# spaces at its ends.
TaskId = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$",
        max_length=200,
    ),
]


def _instant(value: str) -> str:
    if datetime.fromisoformat(value).tzinfo is None:
        raise ValueError("expected a time with its zone")
    return value


Instant = Annotated[str, StringConstraints(max_length=40), AfterValidator(_instant)]
Text = Annotated[str, BeforeValidator(clean)]


class UserDocument(BaseModel):
    """What a person writes: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(BaseModel):
    """What fanin writes and other tools read: immutable, unknown fields kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


def digest_of(value: Any) -> str:
    """sha256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
