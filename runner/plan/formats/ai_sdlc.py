"""The ai-sdlc Markdown checklist: `- [ ] **T1**: title` items and a progress table.

patrob/ai-sdlc's stories S-0044 (task items) and S-0046 (progress table) define the
format. Real plans are freer: tasks are under any heading, dependencies name ranges,
examples are in code fences. A task is left out if guessing could lose it or start it too
early. An unclear line is only a note if the guess lets a task change more files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import attrgetter

from runner.core.task import Plan, Status, Task
from runner.plan.formats.ai_sdlc_checks import (
    no_tasks_message,
    report_all,
    report_order,
    without_duplicates,
)
from runner.plan.formats.ai_sdlc_fields import (
    ProseError,
    parse_dependencies,
    parse_files,
)
from runner.plan.formats.ai_sdlc_items import (
    EXAMPLE,
    Field,
    Item,
    build_prompt,
    find_items,
    is_top_item,
    split_body,
    with_box,
)
from runner.plan.formats.ai_sdlc_plans import choose_plan
from runner.plan.formats.ai_sdlc_table import (
    ProgressTable,
    find_tables,
    read_statuses,
    write_marks,
)
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    LEFT_OUT,
    PENDING,
    Diagnostics,
    StatusWord,
    changed_file,
)
from runner.plan.formats.markdown import Page, read_page
from runner.plan.formats.marked_text import MarkedPage

_ITEM_START = re.compile(r"[ \t]*[-*+][ \t]+\[.?\][ \t]*\*\*[Tt][0-9]+\*\*")
# spec-kit's ids have three digits and no colon; some of its plans set them in bold.
_SPEC_KIT_ITEM = re.compile(
    r"[ \t]*[-*+][ \t]+\[.?\][ \t]*\*\*T[0-9]{3,}[A-Za-z]?\*\*[ \t]"
)
_TITLE_DEPENDENCY = re.compile(
    r"\((?:depends on|dependencies|dependency|blocked by):?\s*T[0-9]", re.IGNORECASE
)


class AiSdlc:
    """The `ai-sdlc` format; see `runner.plan.formats.base.Source`."""

    name = "ai-sdlc"
    options: Mapping[str, Sequence[str]] = {"heading": ()}
    leaves_out_records = True

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `.md` file with a `- [ ] **Tn**` item or a progress table."""
        if not path.lower().endswith(".md"):
            return False
        text = tree.read(path)
        if text is None:
            return False
        page = read_page(path, text, is_top_item)
        item_lines = [
            line for _, line in page.visible_lines() if _ITEM_START.match(line)
        ]
        if not item_lines:
            return bool(find_tables(page))
        # A file with spec-kit's items only is left to that format.
        return not all(_SPEC_KIT_ITEM.match(line) for line in item_lines)

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file.

        Unreadable tasks, dependencies and table rows leave their task out. Raises
        InvalidInput if there are no tasks, or no such heading.
        """
        page = read_page(path, tree.read(path) or "", is_top_item)
        diagnostics = Diagnostics(path)
        heading = options.get("heading", "")
        chosen = choose_plan(page, find_items(page), heading, diagnostics)
        chosen = without_duplicates(chosen, diagnostics)
        statuses: dict[str, StatusWord] = {}
        if not chosen.name:
            task_ids = {item.task_id for item in chosen.items}
            statuses = read_statuses(page, task_ids, diagnostics)
        elif tables := find_tables(page):
            what = (
                "a progress table in a file with several plans: the check boxes count"
            )
            diagnostics.add_note(tables[0].header, what)
        nested = _nested_lines(chosen.items)
        tasks = [
            _task(page, item, nested, statuses, diagnostics) for item in chosen.items
        ]
        finished_ids = {
            task.id for task in tasks if task.source_status is Status.COMPLETED
        }
        report_all(page, chosen, finished_ids, diagnostics)
        if not tasks and not diagnostics.left_out and not diagnostics.problems:
            what = no_tasks_message(page)
            diagnostics.add_problem(0, what, f"write tasks as {EXAMPLE}")
        diagnostics.left_out.sort(key=lambda record: record.problem.line or 0)
        tasks = [_skipped_if_left_out(task, diagnostics) for task in tasks]
        plan = diagnostics.build_plan(self.name, tasks)
        return plan._replace(section=chosen.name)

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The text with the check boxes and progress rows of the marked tasks changed.

        A task that the text no longer has is passed over: it may have been removed
        since its attempt began. Without a progress table, one is added.
        """
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        return _AiSdlcMarker(path, tree.read(path) or "", options.get("heading", ""))


class _AiSdlcMarker:
    """The `Marker` of an ai-sdlc plan."""

    def __init__(self, path: str, text: str, heading: str) -> None:
        page = read_page(path, text, is_top_item)
        self._path, self._page = path, MarkedPage(text, page)
        diagnostics = Diagnostics(path)
        chosen = choose_plan(page, find_items(page), heading, diagnostics)
        plan = without_duplicates(chosen, diagnostics)
        self._items = {item.task_id: item for item in plan.items}
        # Of two tasks with one id, the one whose box is open counts.
        self.is_current = len(plan.items) == len(chosen.items)
        # The rows of a table do not say which of several plans they are about.
        self._progress = None if chosen.name else ProgressTable(page)

    def write(self, marks: Mapping[str, Mark]) -> Mapping[str, str]:
        """The text with the boxes and rows of the marked tasks changed."""
        found = [self._items[task_id] for task_id in marks if task_id in self._items]
        # Without a marked task there is no reason to add a table.
        if not found:
            return {}
        found.sort(key=attrgetter("line_index"))
        in_plan_order = {item.task_id: marks[item.task_id] for item in found}
        page, before = self._page.page, self._page.text
        lines = {}
        for item in found:
            line = page.lines[item.line_index]
            lines[item.line_index] = with_box(line, marks[item.task_id].status)
        self._page.replace_lines(lines)
        if self._progress is None:
            return changed_file(self._path, before, self._page.text)
        rows = self._progress.changed_rows(in_plan_order)
        if rows is not None:
            self._page.replace_lines(rows)
            return changed_file(self._path, before, self._page.text)
        self.is_current = False
        write_marks(page, [*self._items.values()], in_plan_order)
        return changed_file(self._path, before, page.text())


def _nested_lines(items: Sequence[Item]) -> set[int]:
    """The lines of tasks that are written inside others, and so no part of these."""
    nested: set[int] = set()
    for item in items:
        if item.parent_id:
            nested.update(range(item.line_index, item.body.stop))
    return nested


def _task(
    page: Page,
    item: Item,
    nested: set[int],
    statuses: Mapping[str, StatusWord],
    diagnostics: Diagnostics,
) -> Task:
    fields, other_lines = split_body(page, item)
    if not item.parent_id:
        fields = [field for field in fields if field.line_index not in nested]
        other_lines = [index for index in other_lines if index not in nested]
    files, allow_empty = _files(item, fields, diagnostics)
    status = _status(item, statuses, diagnostics)
    finished = status.status is Status.COMPLETED
    _report_unclear_order(item, diagnostics, finished=finished)
    return Task(
        id=item.task_id,
        title=item.title,
        prompt=build_prompt(item.heading, [page.lines[index] for index in other_lines]),
        files=files,
        depends_on=_dependencies(item, fields, diagnostics, finished=finished),
        allow_empty=allow_empty,
        line=item.line_index + 1,
        source_status=status.status,
        skipped=status.skipped,
        skip_reason=_skip_reason(item, status, diagnostics),
    )


def _skip_reason(item: Item, status: StatusWord, diagnostics: Diagnostics) -> str:
    if not status.skipped:
        return ""
    return LEFT_OUT if diagnostics.is_left_out(item.task_id) else "in review"


def _skipped_if_left_out(task: Task, diagnostics: Diagnostics) -> Task:
    if task.source_status is Status.COMPLETED or task.skipped:
        return task
    if not diagnostics.is_left_out(task.id):
        return task
    return task.model_copy(update={"skipped": True, "skip_reason": LEFT_OUT})


def _report_unclear_order(
    item: Item, diagnostics: Diagnostics, *, finished: bool
) -> None:
    """Report a task inside a task, and a dependency that only the title names."""
    if item.parent_id:
        parent = item.parent_id
        what = f"{item.task_id} is written inside {parent}, so their order is unclear"
        remedy = f"unindent it, and write `Dependencies: {parent}` if it comes after"
        report_order(
            diagnostics, item.task_id, item.line_index, what, remedy, finished=finished
        )
    if _TITLE_DEPENDENCY.search(item.title):
        what = f"{item.task_id} names a dependency in its title, which is not read"
        remedy = "write it below the task as `  - Dependencies: T1`"
        report_order(
            diagnostics, item.task_id, item.line_index, what, remedy, finished=finished
        )


def _status(
    item: Item, statuses: Mapping[str, StatusWord], diagnostics: Diagnostics
) -> StatusWord:
    """The task's status in the progress table, else what its check box says."""
    box_status = COMPLETED if item.done else PENDING
    status = statuses.get(item.task_id, box_status)
    if diagnostics.is_left_out(item.task_id):
        return status
    if item.done != (status.status is Status.COMPLETED):
        word = "review" if status.skipped else status.status
        what = (
            f"{item.task_id}: the progress table says {word}, "
            "the check box does not; the table counts"
        )
        diagnostics.add_note(item.line_index, what)
    return status


def _files(
    item: Item, fields: Sequence[Field], diagnostics: Diagnostics
) -> tuple[tuple[str, ...] | None, bool]:
    """The task's globs (None: any file), and whether it may change nothing.

    Real plans also write `All test files`. As a glob that would forbid every change, so
    it counts as no limit, with a note. The fan-in still detects conflicts.
    """
    globs: list[str] = []
    files_fields = [field for field in fields if field.is_files and field.value]
    for field in files_fields:
        try:
            globs += parse_files(field.value)
        except ProseError as error:
            what = f"{item.task_id} may change any file: {error.what}; {error.remedy}"
            diagnostics.add_note(field.line_index, what)
            return None, False
    if not files_fields:
        return None, False
    return tuple(dict.fromkeys(globs)), not globs


def _dependencies(
    item: Item, fields: Sequence[Field], diagnostics: Diagnostics, *, finished: bool
) -> tuple[str, ...]:
    """The ids that the task waits for; an open task is left out if they are unclear."""
    task_ids: list[str] = []
    for field in fields:
        if not field.is_dependencies:
            continue
        try:
            task_ids += parse_dependencies(field.value)
        except ProseError as error:
            what = f"{item.task_id}: {error.what}"
            line_index, remedy = field.line_index, error.remedy
            report_order(
                diagnostics, item.task_id, line_index, what, remedy, finished=finished
            )
    return tuple(dict.fromkeys(task_ids))
