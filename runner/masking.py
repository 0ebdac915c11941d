"""Takes secrets out of what is kept or shown: each value as it is, and as base64, URL and JSON would write it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from runner.leaks import is_short, spellings

MASK = "***"


class Masker:
    """Replaces secrets in a stream, also one that is torn across two pieces; `feed` holds back a possible beginning."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        needles = sorted({form for secret in secrets for form in forms(secret)}, key=len, reverse=True)
        self._text = re.compile("|".join(map(re.escape, needles))) if needles else None
        raw = [needle.encode("utf-8", "surrogateescape") for needle in needles]
        self._bytes = re.compile(b"|".join(map(re.escape, raw))) if raw else None
        self._hold = max(map(len, raw), default=1) - 1
        self._rest = b""

    def text(self, text: str) -> str:
        """`text` without secrets."""
        return self._text.sub(MASK, text) if self._text else text

    def feed(self, data: bytes) -> bytes:
        """What of the stream may be shown now."""
        if self._bytes is None:
            return data
        seen = self._bytes.sub(MASK.encode(), self._rest + data)
        cut = max(0, len(seen) - self._hold)
        self._rest = seen[cut:]
        return seen[:cut]

    def flush(self) -> bytes:
        """What was held back, at the stream's end."""
        rest, self._rest = self._rest, b""
        return rest


def forms(secret: str) -> set[str]:
    """The ways a value is written; none if it is too short to be told from ordinary words."""
    if is_short(secret):
        return set()
    lines = [line for line in secret.splitlines() if not is_short(line)]  # a log breaks a key's lines apart
    plain = {secret, *lines, *(json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))}
    coded = {needle.decode("utf-8", "surrogateescape") for needle in spellings(secret)}
    return {form for form in plain | coded if not is_short(form)}
