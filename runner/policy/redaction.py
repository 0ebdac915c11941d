"""Finds the values of secrets in what an agent left: content, names, words. Pure, over
streams of bytes.

Searched are the value itself, its base64 in all three alignments and both alphabets,
and its URL-encoding, each also where line ends fold it. Not found is what was
compressed, encrypted or spelt otherwise: this catches accidents.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, quote_plus

SHORTEST = 8  # bytes; shorter values occur in ordinary text
MASK = b"***"
_FOLDS = re.compile(rb"[\r\n]+")


@dataclass(frozen=True)
class Secrets:
    """Values that must not leave → the variable's name; the values are never shown."""

    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, environ: Mapping[str, str], names: Iterable[str]) -> Secrets:
        """The values of these variables, where they are set and not too short."""
        values = {environ.get(name, "").strip(): name for name in names}
        return cls(
            {value: name for value, name in values.items() if not is_short(value)}
        )

    def __or__(self, other: Secrets) -> Secrets:
        return Secrets({**self.names, **other.names})

    @cached_property
    def needles(self) -> dict[bytes, str]:
        """Every spelling of every value, without line ends → the variable's name."""
        return {
            needle: name
            for value, name in self.names.items()
            for needle in spellings(value)
        }

    def found_in(self, chunks: Iterable[bytes]) -> str | None:
        """The name of the first secret in a stream, or None. Holds one chunk and a
        needle's length in memory.
        """
        needles = self.needles
        if not needles:
            return None
        keep, carry = max(map(len, needles)) - 1, b""
        for chunk in chunks:
            seen = carry + _FOLDS.sub(b"", chunk)
            for needle, name in needles.items():
                if needle in seen:
                    return name
            carry = seen[-keep:]
        return None

    def found_in_text(self, *texts: str) -> str | None:
        return next(
            (name for text in texts if (name := self.found_in([_bytes(text)]))), None
        )

    def masked(self, data: bytes) -> bytes:
        """The data with `***` for every secret in it."""
        if self.found_in([data]) is None:
            return data
        longest_first = sorted(self.needles, key=lambda needle: -len(needle))
        folded = [
            rb"[\r\n]*".join(re.escape(bytes([byte])) for byte in needle)
            for needle in longest_first
        ]
        return re.sub(b"|".join(folded), MASK, data)

    def masked_text(self, text: str) -> str:
        return self.masked(_bytes(text)).decode("utf-8", "surrogateescape")


NONE = Secrets()


def is_short(value: str) -> bool:
    """Whether a value is too short to be told from ordinary text, so that it is neither
    searched for nor masked.
    """
    return len(_bytes(value.strip())) < SHORTEST


def spellings(value: str) -> set[bytes]:
    """The value as it may be written, each without line ends."""
    plain = _bytes(value)
    coded = {quote(plain, safe=""), quote(plain), quote_plus(plain)}
    coded |= {re.sub("%..", lambda match: match[0].lower(), one) for one in coded}
    found = {plain, *(one.encode() for one in coded)}
    for shift in range(3):
        found |= {_aligned(plain, shift, alphabet) for alphabet in (None, b"-_")}
    return {_FOLDS.sub(b"", one) for one in found}


def _aligned(plain: bytes, shift: int, alphabet: bytes | None) -> bytes:
    """The base64 characters that depend on the value alone when `shift` bytes stand
    before it, whatever follows.
    """
    whole = base64.b64encode(b"\0" * shift + plain, alphabet)
    first = (shift * 8 + 5) // 6
    last = (shift + len(plain)) * 8 // 6
    return whole[first:last]


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return text.encode("utf-8", "backslashreplace")


TEXT_MASK = "***"


class Masker:
    """Replaces secrets in a stream, also one that is torn across two pieces; `feed`
    holds back a possible beginning.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        needles = sorted(
            {form for secret in secrets for form in forms(secret)},
            key=len,
            reverse=True,
        )
        self._text = re.compile("|".join(map(re.escape, needles))) if needles else None
        raw = [needle.encode("utf-8", "surrogateescape") for needle in needles]
        self._bytes = re.compile(b"|".join(map(re.escape, raw))) if raw else None
        self._hold = max(map(len, raw), default=1) - 1
        self._rest = b""

    def text(self, text: str) -> str:
        """`text` without secrets."""
        return self._text.sub(TEXT_MASK, text) if self._text else text

    def feed(self, data: bytes) -> bytes:
        """What of the stream may be shown now."""
        if self._bytes is None:
            return data
        seen = self._bytes.sub(TEXT_MASK.encode(), self._rest + data)
        cut = max(0, len(seen) - self._hold)
        self._rest = seen[cut:]
        return seen[:cut]

    def flush(self) -> bytes:
        """What was held back, at the stream's end."""
        rest, self._rest = self._rest, b""
        return rest


def forms(secret: str) -> set[str]:
    """The ways a value is written; none if it is too short to be told from ordinary
    words.
    """
    if is_short(secret):
        return set()
    # a log breaks a key's lines apart
    lines = [line for line in secret.splitlines() if not is_short(line)]
    plain = {
        secret,
        *lines,
        *(
            json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
            for ascii_only in (True, False)
        ),
    }
    coded = {needle.decode("utf-8", "surrogateescape") for needle in spellings(secret)}
    return {form for form in plain | coded if not is_short(form)}
