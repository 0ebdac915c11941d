"""The table of `fanin status`, on a narrow and a wide screen, and in a file."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from runner.plan.records import Record
from runner.plan.view import TaskView
from runner.ui.status_table import status_lines, status_screen
from tests.support.builders import task

TITLE = "Add the parser for module 1, with its tests and docs"
WHY = "attempt 3 failed: verify is red (exit status 1): pytest -q tests/unit"


def view(task_id: str, state: str = "ready", why: str = "", **more: str) -> TaskView:
    attempts = 3 if why else 0
    return TaskView(task(task_id, **more), state, Record(attempts=attempts), why)


def texts(*views: TaskView, width: int | None = 80, every: bool = False) -> list[str]:
    return [line.plain for line in status_lines(views, width=width, every=every)]


def test_a_task_has_one_line_and_a_long_reason_lines_of_its_own() -> None:
    failed = view("T17", "failed", WHY, title=TITLE)
    lines = texts(failed, view("T42", title=TITLE * 2))
    assert lines[1] == f"✘  T17   failed       #3   {TITLE}"
    assert " ".join(line.strip() for line in lines[2:-2]) == WHY
    assert lines[-2].startswith("•  T42   ready             Add the parser")
    assert lines[-2].endswith("…")
    assert all(cell_len(line) <= 80 for line in lines)
    assert lines[-1] == "1 failed, 1 ready"
    assert len(texts(failed, width=200)) == 3


def test_in_a_file_each_task_is_one_whole_line() -> None:
    [_, line, _] = texts(view("T17", "failed", WHY, title=TITLE), width=None)
    assert line.endswith(f"{TITLE}  {WHY}")


def test_completed_tasks_are_counted_unless_there_is_more_to_say() -> None:
    views = [view("A", "completed"), view("B", "completed", "changed since")]
    assert [line[:4] for line in texts(*views)[1:-1]] == ["✔  B"]
    assert len(texts(*views, every=True)) == 4
    assert texts(view("A", "completed")) == ["1 completed"]


@pytest.mark.parametrize("height", [4, 10, 24])
def test_a_screen_has_what_is_worked_on_and_what_failed_first(height: int) -> None:
    views = [view(f"T{n}", title=TITLE) for n in range(60)]
    views += [view("F", "failed", WHY), view("W", "in_progress", "attempt 1: working")]
    lines = [line.plain for line in status_screen(views, 80, height)]
    assert len(lines) <= height
    assert lines[1].startswith("▶  W")
    assert lines[-1] == "60 ready, 1 failed, 1 in_progress"
    named = sum(line[:1] in "▶✘•" for line in lines)
    assert lines[-2] == f"   … {62 - named} more"
    assert height < 10 or lines[2].startswith("✘  F")


def test_all_of_it_where_there_is_room() -> None:
    views = [view("A"), view("B")]
    assert status_screen(views, 80, 24) == status_lines(views, width=80)


def test_an_id_is_never_cut_and_no_text_acts_on_the_screen() -> None:
    long_id = "a" * 60
    lines = texts(view(long_id, title="\x1b[2Jx\ty"), view("B", "failed", "\x9b2J"))
    assert long_id in lines[1]
    assert not {*"\x1b\x9b\t\n"} & set("".join(lines))
