"""The progress file is read and written by what has changed in it."""

from __future__ import annotations

import pytest

from runner.core.errors import InvalidInput
from runner.core.task import Status
from runner.plan import progress_file
from runner.plan.progress import Progress
from runner.plan.records import Record

RECORDS = {name: Record(attempts=1, summary=name) for name in ("A", "B", "C")}
BEFORE = Progress("tasks.yml", RECORDS)
AFTER = BEFORE.with_records({"B": Record(status=Status.COMPLETED, attempts=2)})


def parse(text: str) -> Progress:
    return progress_file.parse("progress.json", text, "tasks.yml")


def test_records_whose_lines_have_not_changed_are_the_same_objects() -> None:
    before = parse(progress_file.render(BEFORE, [])).records
    after = parse(progress_file.render(AFTER, [])).records
    assert {name for name in after if after[name] is not before[name]} == {"B"}
    assert after == AFTER.records


def test_only_records_that_have_changed_are_written_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []
    text = progress_file._text

    def noted(task_id: str, record: Record) -> str:
        written.append(task_id)
        return text(task_id, record)

    progress_file.render(BEFORE, [])
    monkeypatch.setattr(progress_file, "_text", noted)
    lines = progress_file.render(AFTER, []).split("\n\n")
    assert written == ["B"]
    assert lines[2] == ',"B": {"status": "completed", "attempts": 2}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('\n\n,"B"', '\n\n,"A"'),  # two records of one task
        ('"attempts": 1', '"attempts": 1, "status": "completed"'),  # two statuses
        ('{"version": 1', '{"tasks": {"A": {"status": "failed"}}, "version": 1'),
        ("\n\n}}", '\n\n}, "others": {}, "tasks": {}}'),
        ("\n\n}}", '\n\n}, "plan": "tasks.yml"'),
        ("\n\n}}", '\n\n}, "ta\\u0073ks": []}'),
        ("\n\n}}", '\n\n}, "other\\u0073": []}'),
        ('\n\n,"B"', '\n\n"B"'),  # a comma is lost
    ],
)
def test_what_is_there_twice_or_broken_is_refused(old: str, new: str) -> None:
    text = progress_file.render(BEFORE, [])
    assert old in text
    with pytest.raises(InvalidInput):
        parse(text.replace(old, new, 1))


def test_a_file_in_another_layout_is_read_as_well() -> None:
    text = progress_file.render(BEFORE, [])
    assert parse(text.replace("\n\n", " ")) == BEFORE
