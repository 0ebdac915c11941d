"""Events as lines of JSON: how one is written, and how a file of them is read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import get_args

from pydantic_core import from_json

from runner.core.events import Event, RunEvent

# The file in the folder of a run.
NAME = "events.jsonl"
# Where a line says that it is an agent's output: behind the time.
_HEAD_BYTES = 80
_OUTPUT = b'"event":"agent_output"'


def line_of(event: Event) -> bytes:
    """The event as one line of JSON, in UTF-8, with its line end."""
    return event.model_dump_json().encode() + b"\n"


def event_of(line: bytes) -> RunEvent | None:
    """The event of a line, with the fields of a newer version.

    None if the line is no event that this version knows, torn ones included.
    """
    try:
        data = from_json(line)
        name = data.get("event") if isinstance(data, dict) else None
        model = _models().get(name) if isinstance(name, str) else None
        return model.model_validate(data) if model else None
    except ValueError:  # a ValidationError too
        return None


def read_events(path: Path, *, output: bool = True) -> Iterator[RunEvent]:
    """The events of a file in order; none if there is no file.

    Without `output`, what agents have written is left out, which is most of the lines.
    The file may be written meanwhile: its last line counts once it is whole. OSError if
    it cannot be read.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        # Split at line feeds alone: JSON may have other line separators in a text.
        yield from events_of(stream, output=output)


def events_of(lines: Iterable[bytes], *, output: bool = True) -> Iterator[RunEvent]:
    """The events of these lines, as `read_events` gives them."""
    for line in lines:
        if not output and _OUTPUT in line[:_HEAD_BYTES]:
            continue
        event = event_of(line)
        if event is not None:
            yield event


@cache
def _models() -> Mapping[str, type[RunEvent]]:
    """The model of each event, by its name.

    One for all would be built for the events that a file lacks as well.
    """
    return {model.model_fields["event"].default: model for model in get_args(RunEvent)}
