"""The log of a run's events is whole lines, and a full disk ends only the log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from runner.core.event_lines import read_events
from runner.core.event_log import EventLog
from runner.core.events import Note, RunEvent


class Remembering:
    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def observe(self, event: RunEvent) -> None:
        self.events.append(event)


def test_every_event_is_logged_and_passed_on(tmp_path: Path) -> None:
    seen = Remembering()
    events = [Note(message=str(number)) for number in range(3)]
    log = EventLog(tmp_path / "runs/r", seen)
    for event in events:
        log.observe(event)
        # Before it is closed: a kill loses nothing.
        assert [*read_events(log.path)][-1] == event
    log.close()
    assert seen.events == events


def test_without_an_event_there_is_no_folder(tmp_path: Path) -> None:
    EventLog(tmp_path / "runs/r", Remembering()).close()
    assert [*tmp_path.iterdir()] == []


def test_lines_of_threads_do_not_mix(tmp_path: Path) -> None:
    events = [Note(message=f"{number} " * 500) for number in range(400)]
    with (
        closing(EventLog(tmp_path, Remembering())) as log,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(log.observe, events))
    logged = {event.model_dump_json() for event in read_events(log.path)}
    assert logged == {event.model_dump_json() for event in events}


def test_a_full_disk_ends_the_log_with_one_note_and_not_the_run(tmp_path: Path) -> None:
    # Every write to this device fails with ENOSPC.
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    seen = Remembering()
    events = [Note(message=str(number)) for number in range(3)]
    with closing(EventLog(tmp_path, seen)) as log:
        for event in events:
            log.observe(event)
    first, note, *rest = seen.events
    assert [first, *rest] == events
    assert isinstance(note, Note)
    assert "not logged any more" in note.message
    assert "No space left on device" in note.message


def test_a_folder_that_cannot_be_made_ends_the_log_only(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way")
    seen = Remembering()
    EventLog(tmp_path / "runs/r", seen).observe(Note(message="first"))
    assert len(seen.events) == 2
