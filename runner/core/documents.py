"""Base classes of documents, and the scalar types of their fields.

Documents that people write (plan, settings) refuse unknown keys: if a misspelt
`depends_on` were ignored, a task would run too early. Documents that fanin writes
(manifest, progress) keep the unknown fields of a newer version. Those that the machine of
an agent writes (result, verdict) lose them: an agent may have had control of it.

The validator of each is built at its first use (`defer_build`): a command uses few.
Constants, and the defaults of fields, are made with `model_construct`, which needs none.

A module of documents is without `from __future__ import annotations`: pydantic would
compile the text of each annotation, and again for every class that inherits it.
"""

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

from runner.core.patterns import lazy_pattern

_DURATION = lazy_pattern(
    r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?"
)
_NUMBER = lazy_pattern(r"\d+(?:\.\d+)?")
_SIZE = lazy_pattern(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|kB|MB|GB)?", re.IGNORECASE)
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
    """Seconds from `30m`, `1h30m`, `45s` or a number of seconds.

    ValueError for anything else, and unless it is more than zero.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = str(value).strip()
    # A number may also come as text, from a flag or a variable.
    if is_number or _NUMBER().fullmatch(text):
        seconds = float(text)
    else:
        match = _DURATION().fullmatch(text)
        if not match or not any(match.groups()):
            raise ValueError("expected a duration like 45s, 30m or 1h30m")
        hours = float(match[1] or 0)
        minutes = float(match[2] or 0)
        seconds = hours * 3600 + minutes * 60 + float(match[3] or 0)
    if not 0 < seconds < 10**9:
        raise ValueError("expected a duration of more than zero")
    return seconds


def duration_text(seconds: float) -> str:
    """The duration as `parse_duration` reads it: `1h30m`, `45s`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = ""
    if hours:
        text += f"{hours}h"
    if minutes:
        text += f"{minutes}m"
    if rest or not text:
        text += f"{rest:g}s"
    return text


def parse_size(value: object) -> int:
    """Bytes from `4 MiB`, `500kB` or a number of bytes. ValueError for anything else."""
    match = _SIZE().fullmatch(str(value).strip())
    if isinstance(value, bool) or not match:
        raise ValueError("expected a size like 4MiB or 500kB")
    unit = (match[2] or "").lower()
    return int(float(match[1]) * _UNITS[unit])


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
_UNPRINTABLE = lazy_pattern(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@overload
def clean(value: str) -> str: ...


@overload
def clean(value: object) -> object: ...


def clean(value: object) -> object:
    """Text of any origin, made safe to print, commit and store.

    Control characters act on a terminal, and NUL ends a commit message. Lone surrogates,
    which stand for bytes of a file name that are not UTF-8, cannot be encoded. A value
    that is not text is returned as it is.
    """
    if not isinstance(value, str):
        return value
    if value.isascii() and value.isprintable():
        return value  # most titles, which need no pattern
    text = value.encode("utf-8", "backslashreplace").decode()
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNPRINTABLE().sub("\ufffd", text)


Duration = Annotated[
    float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)
]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
# An id appears in file names, refs, tables and shell text: it is printable, reads in one
# direction, and has no spaces at its ends.
_NOT_IN_IDS = r"\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
TaskId = Annotated[
    str,
    StringConstraints(
        pattern=rf"^[^\s{_NOT_IN_IDS}](?:[^{_NOT_IN_IDS}]*[^\s{_NOT_IN_IDS}])?$",
        max_length=200,
    ),
]


def _refuse_local_time(value: str) -> str:
    if datetime.fromisoformat(value).tzinfo is None:
        raise ValueError("expected a time with its zone")
    return value


Instant = Annotated[
    str, StringConstraints(max_length=40), AfterValidator(_refuse_local_time)
]


def _on_one_line(value: object) -> object:
    return " ".join(clean(value).split()) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(clean)]
# A shell command. A blank one is none: it would succeed whatever it is to judge.
Command = Annotated[
    str | None, AfterValidator(lambda text: text if text and text.strip() else None)
]
# One line of text that is not empty.
Title = Annotated[
    str,
    StringConstraints(min_length=1, max_length=10_000),
    BeforeValidator(_on_one_line),
]


class UserDocument(BaseModel):
    """A document that people write: immutable, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Document(BaseModel):
    """A document that fanin writes: immutable, unknown fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


class ReportedDocument(Document):
    """A document that the machine of an agent writes: unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore")


def digest_of(value: Any) -> str:
    """The sha256 of a JSON value in canonical form, as hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
