"""Plan text ⇄ tasks: one module per format behind one Protocol, and the registry that picks among them."""

from __future__ import annotations

from runner.errors import InvalidInput, Problem
from runner.models import Plan
from runner.sources.ai_sdlc import AiSdlc
from runner.sources.base import Mark, Source
from runner.sources.native import Native

__all__ = ["Mark", "Source", "load", "source_named", "sources"]

_SOURCES: tuple[Source, ...] = (Native(), AiSdlc())


def sources() -> tuple[Source, ...]:
    """Every known format, in the order in which they are tried."""
    return _SOURCES


def source_named(name: str) -> Source:
    """The format of that name; KeyError if there is none (a plan carries the name of the one that read it)."""
    return next((source for source in sources() if source.name == name), None) or _missing(name)


def _missing(name: str) -> Source:
    raise KeyError(name)


def load(path: str, text: str) -> Plan:
    """The plan in `text`, by the first format that knows it. InvalidInput with located problems otherwise."""
    for source in sources():
        if source.detect(path, text):
            return source.load(path, text)
    known = ", ".join(source.name for source in sources())
    raise InvalidInput([Problem(path, None, "no known plan format", f"known formats: {known}")])
