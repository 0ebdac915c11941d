"""ai-sdlc's `## Task Progress` table (S-0046): finding, reading and updating it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.core.task import Status
from runner.plan.formats.ai_sdlc_items import Item
from runner.plan.formats.base import Mark
from runner.plan.formats.diagnostics import (
    REVIEW_WORDS,
    SKIPPED,
    Diagnostics,
    StatusWord,
    normalize,
)
from runner.plan.formats.markdown import Page, heading_text

MAX_ERROR = 200  # characters of an error that a cell holds

_PIPE = re.compile(r"(?<!\\)\|")
_SEPARATOR = re.compile(r"[\s|:-]*-[\s|:-]*")
_TASK_ID = re.compile(r"T[0-9]{1,9}\b", re.IGNORECASE)
_COLUMNS = ("task", "status", "started", "completed")
_EMPTY_CELL = "-"


@dataclass(frozen=True)
class Table:
    """A progress table: indices of its `header`, of its `rows` and of its `last` line.

    `columns`: each column's name in lower case → its number from 0.
    """

    header: int
    columns: Mapping[str, int]
    rows: tuple[int, ...]
    last: int

    def cell(self, line: str, column: str) -> str:
        """The text of a row's cell without its quoting; "" if the row is too short."""
        cells = _cells(line)
        number = self.columns[column]
        if number >= len(cells):
            return ""
        return cells[number].strip().strip("`*")

    def task_id(self, line: str) -> str:
        """The id in a row's Task cell, or ""."""
        match = _TASK_ID.match(self.cell(line, "task"))
        return match[0].upper() if match else ""


# -- Finding --


def find_tables(page: Page) -> list[Table]:
    """The tables under `Task Progress` headings with the columns Task and Status."""
    visible = {index for index, _ in page.visible_lines()}
    tables = []
    for heading in progress_headings(page):
        table = _table_below(page, heading, visible)
        if table is not None:
            tables.append(table)
    return tables


def progress_headings(page: Page) -> list[int]:
    """The indices of the `Task Progress` headings."""
    headings = []
    for index, line in page.visible_lines():
        text = heading_text(line) or ""
        if text.lower() == "task progress":
            headings.append(index)
    return headings


def _table_below(page: Page, heading: int, visible: set[int]) -> Table | None:
    """The first table between this heading and the next, if it has the columns."""
    header = heading + 1
    while header in visible and not _is_row(page.lines[header]):
        if heading_text(page.lines[header]) is not None:
            return None
        header += 1
    if header not in visible:
        return None
    columns = _columns(page.lines[header])
    if "task" not in columns or "status" not in columns:
        return None
    last = header
    while last + 1 in visible and _is_row(page.lines[last + 1]):
        last += 1
    body = range(header + 1, last + 1)
    rows = [index for index in body if not _SEPARATOR.fullmatch(page.lines[index])]
    return Table(header, columns, tuple(rows), last)


def _is_row(line: str) -> bool:
    return line.lstrip().startswith("|")


def _columns(header: str) -> dict[str, int]:
    """Column name → number from 0.

    The first column counts where a name repeats. `Task ID` counts as `Task`.
    """
    columns: dict[str, int] = {}
    for number, cell in enumerate(_cells(header)):
        name = re.sub(r" (?:at|id)$", "", cell.strip(" `*\t").lower())
        columns.setdefault(name, number)
    return columns


def _cells(line: str) -> list[str]:
    """The cells of a row, as written between its pipes; GFM escapes a pipe as `\\|`."""
    cells = _PIPE.split(line)[1:]
    if cells and not cells[-1].strip():
        cells.pop()  # what follows the closing pipe
    return cells


# -- Reading --


def read_statuses(
    page: Page, task_ids: set[str], diagnostics: Diagnostics
) -> dict[str, StatusWord]:
    """Each task's status in the progress table, by id.

    The table outranks the check boxes: it knows more states.
    """
    tables = find_tables(page)
    if not tables:
        headings = progress_headings(page)
        if headings:
            what = (
                "no table with the columns `| Task | Status |` below this heading; "
                "the check boxes count"
            )
            diagnostics.add_note(headings[0], what)
        return {}
    first_table = tables[0]
    for extra in tables[1:]:
        first_line = first_table.header + 1
        what = f"a second progress table; the first counts, on line {first_line}"
        diagnostics.add_note(extra.header, what)
    return _read_rows(page, first_table, task_ids, diagnostics)


def _read_rows(
    page: Page, table: Table, task_ids: set[str], diagnostics: Diagnostics
) -> dict[str, StatusWord]:
    statuses: dict[str, StatusWord] = {}
    for index in table.rows:
        line = page.lines[index]
        task_id = table.task_id(line)
        if task_id not in task_ids:
            what = (
                f"a progress row for {task_id or 'no task'}, which is not in the plan"
            )
            diagnostics.add_note(index, what)
            continue
        word = table.cell(line, "status")
        status = _parse_status(word, task_id, index, diagnostics)
        if statuses.setdefault(task_id, status) != status:
            what = f"a second progress row for {task_id}, with another status"
            diagnostics.leave_out(index, what, "keep one", task_id=task_id)
            statuses[task_id] = SKIPPED
    return statuses


def _parse_status(
    word: str, task_id: str, line_index: int, diagnostics: Diagnostics
) -> StatusWord:
    """The meaning of the word; an unknown one leaves the task out, so it is skipped."""
    if normalize(word) in REVIEW_WORDS:
        return REVIEW_WORDS[normalize(word)]
    try:
        return StatusWord(Status(word.lower()))
    except ValueError:
        what = f"{task_id}: `{word}` is not a valid status"
        remedy = "write pending, in_progress, completed or failed"
        diagnostics.leave_out(line_index, what, remedy, task_id=task_id)
        return SKIPPED


# -- Writing --


def write_marks(page: Page, items: Sequence[Item], marks: Mapping[str, Mark]) -> None:
    """Write the marks into the first progress table, or add a table of all tasks.

    S-0046's initialization also adds a table that lists every task.
    """
    tables = find_tables(page)
    if tables:
        _update_table(page, tables[0], marks)
    else:
        _add_table(page, items, marks)


def _update_table(page: Page, table: Table, marks: Mapping[str, Mark]) -> None:
    """Change the rows of the marked tasks and append the missing ones in plan order."""
    columns = dict(table.columns)
    header_widths = _widths(page.lines[table.header])
    if "error" not in columns and _has_error(marks):
        columns["error"] = _add_error_column(page, table)
    updated: set[str] = set()
    for index in table.rows:
        line = page.lines[index]
        task_id = table.task_id(line)
        if task_id not in marks:
            continue
        mark = marks[task_id]
        page.lines[index] = _changed_row(line, columns, header_widths, task_id, mark)
        updated.add(task_id)
    new_rows = []
    for task_id, mark in marks.items():
        if task_id not in updated:
            new_rows.append(_format_row(columns, _row_values(task_id, mark)))
    _insert_lines(page, table.last, new_rows)


def _changed_row(
    line: str,
    columns: Mapping[str, int],
    header_widths: Sequence[int],
    task_id: str,
    mark: Mark,
) -> str:
    cells = _cells_to_write(columns, _row_values(task_id, mark))
    # Only a table whose cells are as wide as its header is kept aligned.
    aligned = _widths(line) == header_widths
    return _with_cells(line, cells, aligned=aligned)


class ProgressTable:
    """The rows of the page's first progress table, found once; none without a table."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._columns: Mapping[str, int] = {}
        self._header_widths: list[int] = []
        self._rows: dict[str, list[int]] = {}
        for table in find_tables(page)[:1]:
            self._columns = table.columns
            self._header_widths = _widths(page.lines[table.header])
            for index in table.rows:
                task_id = table.task_id(page.lines[index])
                self._rows.setdefault(task_id, []).append(index)

    def changed_rows(self, marks: Mapping[str, Mark]) -> dict[int, str] | None:
        """The rows that change, by index, as `write_marks` writes them. None if a row, a
        column or the table is missing.
        """
        if not self._rows.keys() >= marks.keys():
            return None
        if "error" not in self._columns and _has_error(marks):
            return None
        rows = {}
        for task_id, mark in marks.items():
            for index in self._rows[task_id]:
                rows[index] = _changed_row(
                    self._page.lines[index],
                    self._columns,
                    self._header_widths,
                    task_id,
                    mark,
                )
        return rows


def _add_error_column(page: Page, table: Table) -> int:
    """Append an Error column to the header and its separator; return its number."""
    header = page.lines[table.header]
    number = len(_cells(header))
    page.lines[table.header] = _with_cells(header, {number: "Error"})
    separator = table.header + 1
    if separator <= table.last and separator not in table.rows:
        page.lines[separator] = _longer_separator(page.lines[separator])
    return number


def _longer_separator(line: str) -> str:
    body = line.rstrip()
    pipe = "" if body.endswith("|") else "|"
    return f"{body}{pipe}-------|{line[len(body) :]}"


def _has_error(marks: Mapping[str, Mark]) -> bool:
    return any(_cell_text(mark.error) != _EMPTY_CELL for mark in marks.values())


def _row_values(task_id: str, mark: Mark) -> dict[str, str]:
    """Column name → what a row for this mark says."""
    return {
        "task": _cell_text(task_id),
        "status": _cell_text(str(mark.status)),
        "started": _cell_text(mark.started),
        "completed": _cell_text(mark.completed),
        "error": _cell_text(mark.error),
    }


def _cells_to_write(
    columns: Mapping[str, int], values: Mapping[str, str]
) -> dict[int, str]:
    """Column number → new text. The Task cell stays as its author wrote it."""
    cells = {}
    for column, value in values.items():
        if column in columns and column != "task":
            cells[columns[column]] = value
    return cells


def _cell_text(value: str | None) -> str:
    """The value as one line of bounded length, or `-` for none.

    It ends neither its cell nor an HTML comment that is open above the table.
    """
    # An error is an agent's output and may contain anything.
    printable = "".join(char if char.isprintable() else " " for char in value or "")
    line = " ".join(printable.split()).replace("-->", "-- >")
    if len(line) > MAX_ERROR:
        line = line[: MAX_ERROR - 1] + "…"
    return line.replace("|", "\\|").strip() or _EMPTY_CELL


def _widths(line: str) -> list[int]:
    return [len(cell) for cell in _cells(line)]


def _with_cells(line: str, values: Mapping[int, str], *, aligned: bool = False) -> str:
    """The row with these cells; `aligned` keeps the width of each cell.

    A cell that has the value already keeps its bytes.
    """
    start, *cells = _PIPE.split(line)
    after_last_pipe = []
    if cells and not cells[-1].strip():
        after_last_pipe = [cells.pop()]
    for number, value in sorted(values.items()):
        # A row that is too short becomes longer only for a value.
        if number >= len(cells) and value != _EMPTY_CELL:
            missing = number + 1 - len(cells)
            cells += [f" {_EMPTY_CELL} "] * missing
        if number < len(cells) and (cells[number].strip() or _EMPTY_CELL) != value:
            width = len(cells[number]) if aligned else 0
            cells[number] = f" {value} ".ljust(width)
    return "|".join([start, *cells, *after_last_pipe])


def _format_row(columns: Mapping[str, int], values: Mapping[str, str]) -> str:
    """A row with these values in these columns and `-` in all others."""
    cells = [_EMPTY_CELL] * (max(columns.values()) + 1)
    for column, number in columns.items():
        cells[number] = values.get(column, _EMPTY_CELL)
    return f"| {' | '.join(cells)} |"


def _add_table(page: Page, items: Iterable[Item], marks: Mapping[str, Mark]) -> None:
    """Add a table of all tasks, below a `Task Progress` heading or at the end."""
    table = _new_table(items, marks)
    headings = progress_headings(page)
    if headings:
        heading = headings[0]
        following = page.lines[heading + 1 : heading + 2]
        blank = [""] if following and following[0].strip() else []
        _insert_lines(page, heading, ["", *table, *blank])
        return
    blank = [""] if page.lines[-1].strip() else []
    section = [*blank, "## Task Progress", "", *table]
    _insert_lines(page, len(page.lines) - 1, section)


def _new_table(items: Iterable[Item], marks: Mapping[str, Mark]) -> list[str]:
    names = list(_COLUMNS)
    if _has_error(marks):
        names.append("error")
    columns = {name: number for number, name in enumerate(names)}
    header = " | ".join(name.capitalize() for name in names)
    separator = "|".join("-" * (len(name) + 2) for name in names)
    lines = [f"| {header} |", f"|{separator}|"]
    # The new marks outrank the check boxes.
    for task_id, mark in {**_box_marks(items), **marks}.items():
        lines.append(_format_row(columns, _row_values(task_id, mark)))
    return lines


def _box_marks(items: Iterable[Item]) -> dict[str, Mark]:
    """Every task's status according to its check box, in plan order."""
    marks = {}
    for item in items:
        status = Status.COMPLETED if item.done else Status.PENDING
        marks[item.task_id] = Mark(status)
    return marks


def _insert_lines(page: Page, after: int, lines: Sequence[str]) -> None:
    """Insert lines with the file's own ending after the line with this index.

    A newline that is missing at the end of the file stays missing.
    """
    if not lines:
        return
    last_ending = page.endings[after]
    ending = last_ending or page.endings[0] or "\n"
    page.endings[after] = ending
    page.lines[after + 1 : after + 1] = lines
    new_endings = [ending] * (len(lines) - 1) + [last_ending]
    page.endings[after + 1 : after + 1] = new_endings
