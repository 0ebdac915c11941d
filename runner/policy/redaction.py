"""Searches an agent's work for the values of secrets, and masks them in texts.

`Secrets` searches whole files and texts, `masking.Masker` masks a stream as it is
written. Both look for the same forms of a value (`forms`): as it is, percent-encoded, as base64 in
every alignment and both alphabets, and escaped as in JSON. Of a value with several lines
(a PEM key, a service account's JSON) each long random part is looked for as well, so that
one line of it, indented or not, is enough. A value that was compressed, encrypted or
written in any other way is not found: this catches accidents.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, quote_plus

from runner.core.patterns import lazy_pattern

SHORTEST = 8  # bytes; shorter values also occur in ordinary text
MASK = "***"
_MASK = MASK.encode()
_LINE_ENDS = lazy_pattern(rb"[\r\n]+")
_PERCENT_CODE = lazy_pattern("%..")
# Digits of base64 or hexadecimal. Shorter ones are names, words and parts of addresses.
_RANDOM_PART = lazy_pattern(r"[A-Za-z0-9+/=_-]{32,}")
_HEXADECIMAL = lazy_pattern(r"[0-9A-Fa-f]+")
_STANDARD, _URL_SAFE = b"+/", b"-_"  # the two alphabets of base64, where they differ


@dataclass(frozen=True)
class Secrets:
    """Values that must not leave the machine, with the names of their variables.

    `names` maps each value to the name. Messages show the name only, never the value.
    """

    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, environ: Mapping[str, str], names: Iterable[str]) -> Secrets:
        """The values of these variables that are set and not too short."""
        by_value = {}
        for name in names:
            value = environ.get(name, "").strip()
            if not is_short(value):
                by_value[value] = name
        return cls(by_value)

    def __or__(self, other: Secrets) -> Secrets:
        return Secrets({**self.names, **other.names})

    def __bool__(self) -> bool:
        return bool(self.names)

    def find(self, chunks: Iterable[bytes]) -> str | None:
        """The name of the first secret in a stream, None if it has none.

        Line ends are ignored, because encoders fold long lines. In memory are one chunk
        and the length of the longest form.
        """
        if not self._names_by_form:
            return None
        overlap = max(map(len, self._names_by_form)) - 1
        carried = b""
        for chunk in chunks:
            window = carried + _LINE_ENDS().sub(b"", chunk)
            for form, name in self._names_by_form.items():
                if form in window:
                    return name
            # A form may be torn across two chunks.
            carried = window[-overlap:]
        return None

    def find_in_text(self, *texts: str) -> str | None:
        """The name of the first secret in the texts; None if they hold no secret."""
        for text in texts:
            name = self.find([_encoded(text)])
            if name is not None:
                return name
        return None

    def masked(self, data: bytes) -> bytes:
        """The data with `MASK` instead of every secret, folded ones included."""
        if self.find([data]) is None:
            return data
        return self._folded_forms.sub(_MASK, data)

    def masked_text(self, text: str) -> str:
        """As `masked`, for text."""
        return self.masked(_encoded(text)).decode("utf-8", "surrogateescape")

    @cached_property
    def _names_by_form(self) -> dict[bytes, str]:
        """Each form of each value, without its line ends → the variable's name."""
        names = {}
        for value, name in self.names.items():
            for form in forms(value):
                names[_LINE_ENDS().sub(b"", form)] = name
        return names

    @cached_property
    def _folded_forms(self) -> re.Pattern[bytes]:
        """Matches every form, also with line ends anywhere inside."""
        patterns = []
        for form in _longest_first(self._names_by_form):
            characters = [re.escape(bytes([byte])) for byte in form]
            patterns.append(rb"[\r\n]*".join(characters))
        return re.compile(b"|".join(patterns))


NONE = Secrets()


def is_short(value: str) -> bool:
    """Whether a value is too short to be searched for or masked."""
    return len(_encoded(value.strip())) < SHORTEST


def forms(value: str) -> set[bytes]:
    """The ways in which a value, or a random part of a value with several lines, may be
    written. Short ones are left out.
    """
    written = _forms_of_text(value)
    for part in _random_parts(value):
        written |= _forms_of_text(part)
    return written


def _forms_of_text(value: str) -> set[bytes]:
    plain = _encoded(value)
    texts = {quote(plain, safe=""), quote(plain), quote_plus(plain)}
    texts |= {_PERCENT_CODE().sub(_lowercase, text) for text in texts}
    for ascii_only in (True, False):
        with_quotes = json.dumps(value, ensure_ascii=ascii_only)
        texts.add(with_quotes[1:-1])
    written = {plain, *map(_encoded, texts)}
    for offset in range(3):
        for alphabet in (_STANDARD, _URL_SAFE):
            written.add(_base64_core(plain, offset, alphabet))
    return {form for form in written if len(form) >= SHORTEST}


def _random_parts(value: str) -> set[str]:
    """The long parts of a value with several lines that no ordinary text has."""
    # An end of line may be escaped, in a variable or in JSON.
    lines = value.replace("\\r", "\n").replace("\\n", "\n").split("\n")
    if len(lines) == 1:
        return set()
    parts: set[str] = set()
    for line in lines:
        parts.update(filter(_is_random, _RANDOM_PART().findall(line)))
    return parts


def _is_random(part: str) -> bool:
    """Whether digits and letters of both cases are mixed, or all are hexadecimal."""
    has_digit = any(map(str.isdigit, part))
    has_both_cases = part.upper() != part != part.lower()
    return has_digit and (has_both_cases or _HEXADECIMAL().fullmatch(part) is not None)


def lines_of(value: str) -> set[bytes]:
    """The lines of a value that are not too short to be masked."""
    return {_encoded(line) for line in value.splitlines() if not is_short(line)}


def _base64_core(plain: bytes, offset: int, alphabet: bytes) -> bytes:
    """The base64 characters that depend on `plain` alone, whatever surrounds it.

    `offset` is how many bytes precede it in its group of three.
    """
    encoded = base64.b64encode(b"\0" * offset + plain, alphabet)
    # A character holds six bits; those that mix with neighbouring bytes are left out.
    first = (offset * 8 + 5) // 6
    end = (offset + len(plain)) * 8 // 6
    return encoded[first:end]


def _lowercase(match: re.Match[str]) -> str:
    return match[0].lower()


def _longest_first(written: Collection[bytes]) -> list[bytes]:
    # Of two values, one of which begins with the other, the longer must be tried first.
    return sorted(written, key=len, reverse=True)


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return text.encode("utf-8", "backslashreplace")
