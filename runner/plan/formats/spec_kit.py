"""spec-kit's `tasks.md`: `- [ ] T014 [P] [US1] text` items below `## Phase N` headings.

`spec_kit_order` derives the dependencies, `spec_kit_files` the files of each task.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence

from runner.core.task import Plan, Reference, Status, Task
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    MAX_QUOTED,
    PENDING,
    Diagnostics,
    build_task,
    changed_file,
    count_of,
    join_sections,
    line_numbers,
    note_hidden_tasks,
    only_tasks,
)
from runner.plan.formats.markdown import Page, read_page
from runner.plan.formats.marked_text import MarkedPage
from runner.plan.formats.spec_kit_files import named_files
from runner.plan.formats.spec_kit_items import (
    Item,
    PlanLines,
    UnreadLine,
    is_top_item,
    read_plan_lines,
)
from runner.plan.formats.spec_kit_lines import has_numbers_of_two, read_line
from runner.plan.formats.spec_kit_order import TaskOrder

MAX_CONTRACTS = 100  # files that a prompt names
EXAMPLE = "`- [ ] T001 [P] [US1] What to do in src/file.py`"

_OWN_BOXES = frozenset(" xX")  # that spec-kit writes
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+]|[0-9]+[.)])[ \t]")


class SpecKit:
    """The `spec-kit` format; see `runner.plan.formats.base.Source`."""

    name = "spec-kit"
    leaves_out_records = True
    waits_for_left_out = True
    options: Mapping[str, Sequence[str]] = {
        "phases": ("barriers", "stories"),
        "files": ("text", "any"),
        "skip_lines": (),
    }

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `.md` file with a `- [ ] T001` item, or a folder with one."""
        file = _plan_file(path, tree)
        if not file.lower().endswith(".md"):
            return False
        text = tree.read(file)
        if text is None:
            return False
        page = read_page(file, text, is_top_item)
        lines = [line for _, line in page.visible_lines()]
        of_two = has_numbers_of_two(lines)
        return any(read_line(line, numbers_of_two=of_two) for line in lines)

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file.

        A line that looks like a task but cannot be read is a note, and what comes after
        it is blocked by it. Raises InvalidInput for a plan without tasks, and for one
        that is too large.
        """
        file = _plan_file(path, tree)
        page = read_page(file, tree.read(file) or "", is_top_item)
        diagnostics = Diagnostics(path, file)
        plan_lines = _without_skipped(read_plan_lines(page), options, diagnostics)
        _report_unread(plan_lines, diagnostics)
        note_hidden_tasks(diagnostics, page.hidden_items(is_top_item))
        if not plan_lines.items:
            remedy = f"write tasks as {EXAMPLE}"
            diagnostics.add_problem(0, "no tasks found", remedy)
        phases_are_stories = options.get("phases") == "stories"
        order = TaskOrder(page, plan_lines, diagnostics, phases_are_stories)
        order.derive()
        limit_files = options.get("files") != "any"
        context = _context(file, tree)
        tasks = []
        for item in plan_lines.items:
            task = _task(item, order, limit_files, context, diagnostics)
            tasks.append(task)
        plan = diagnostics.build_plan(self.name, only_tasks(tasks))
        return plan._replace(own_files=(file,))

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the boxes of the marked tasks ticked or cleared."""
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        file = _plan_file(path, tree)
        text = tree.read(file) or ""
        return _SpecKitMarker(file, text, read_page(file, text, is_top_item))


class _SpecKitMarker:
    """The `Marker` of a file of spec-kit."""

    def __init__(self, file: str, text: str, page: Page) -> None:
        self.is_current = True
        self._file, self._page = file, MarkedPage(text, page)
        self._items = {item.task_id: item for item in read_plan_lines(page).items}
        # what is between the brackets now
        self._boxes = {task_id: item.box for task_id, item in self._items.items()}
        self._counts = Counter(self._boxes.values())

    def write(self, marks: Mapping[str, Mark]) -> Mapping[str, str]:
        """The file with the boxes of the marked tasks ticked or cleared."""
        tick = _tick_of(+self._counts)
        lines: dict[int, str] = {}
        for task_id, mark in marks.items():
            box = self._boxes.get(task_id)
            is_done = mark.status is Status.COMPLETED
            if box is None or bool(box.strip()) == is_done:
                continue
            item = self._items[task_id]
            line = self._page.page.lines[item.line_index]
            start, end = item.box_span
            new_box = tick if is_done else " "
            lines[item.line_index] = line[:start] + new_box + line[end:]
            self._set_box(task_id, new_box)
        before = self._page.text
        self._page.replace_lines(lines)
        return changed_file(self._file, before, self._page.text)

    def _set_box(self, task_id: str, new_box: str) -> None:
        box = self._boxes[task_id]
        # The line may be one in spec-kit's own form only now, which outranks others.
        if box not in _OWN_BOXES:
            self.is_current = False
        self._boxes[task_id] = new_box
        self._counts.subtract([box])
        self._counts.update([new_box])


def _context(file: str, tree: Tree) -> tuple[Reference, ...]:
    """The documents beside the plan that spec-kit's `/implement` reads, as it does.

    The contracts come before the research because they say what the code must do.
    """
    folder = posixpath.dirname(file)
    contracts = tree.list(posixpath.join(folder, "contracts"))
    names = [posixpath.join(folder, name) for name in ("plan.md", "spec.md")]
    names += contracts[:MAX_CONTRACTS]
    for name in ("data-model.md", "research.md", "quickstart.md"):
        names.append(posixpath.join(folder, name))
    return tuple(Reference(name) for name in names)


def _plan_file(path: str, tree: Tree) -> str:
    """The Markdown file of the plan: `path`, or the `tasks.md` in that folder."""
    inside = f"{path}/tasks.md"
    if tree.read(path) is None and tree.read(inside) is not None:
        return inside
    return path


def _tick_of(boxes: Container[str]) -> str:
    """The letter that ticks a box: `x` if the file uses only that, else `X`.

    spec-kit's own instructions to agents write `[X]`.
    """
    if "x" in boxes and "X" not in boxes:
        return "x"
    return "X"


def _task(
    item: Item,
    order: TaskOrder,
    limit_files: bool,
    context: tuple[Reference, ...],
    diagnostics: Diagnostics,
) -> Task | None:
    title, details = _split_body(item)
    stories = [f"story {story}" for story in item.stories]
    headings = " › ".join([*item.headings, *stories])
    files = None
    if limit_files:
        # A task that names no path has no limit.
        files = named_files(title) or None
    holding_line = order.holding_lines.get(item.task_id)
    return build_task(
        diagnostics,
        item.line_index,
        task_id=item.task_id,
        title=title,
        prompt=join_sections([("", headings), ("", "\n".join(details))]),
        files=files,
        depends_on=order.dependencies.get(item.task_id, ()),
        status=COMPLETED if item.done else PENDING,
        context=context,
        open_before=order.open_before.get(item.task_id, ()),
        blocker="" if holding_line is None else f"line {holding_line + 1}",
    )


def _split_body(item: Item) -> tuple[str, Sequence[str]]:
    """The title with its continuation lines, and the lines from the first bullet on."""
    words = [item.text]
    for number, line in enumerate(item.body):
        if _LIST_ITEM.match(line) or not line.strip():
            return " ".join(words), item.body[number:]
        words.append(line.strip())
    return " ".join(words), ()


def _without_skipped(
    plan_lines: PlanLines, options: Options, diagnostics: Diagnostics
) -> PlanLines:
    """The lines without the unread ones that a person said to skip."""
    numbers = line_numbers(options.get("skip_lines", ""))
    unread: list[UnreadLine] = []
    for line in plan_lines.unread:
        if line.line_index + 1 not in numbers:
            unread.append(line)
            continue
        numbers.discard(line.line_index + 1)
        what = f"skipped by --skip-line: `{line.text[:MAX_QUOTED]}`"
        diagnostics.add_note(line.line_index, what)
    for number in sorted(numbers):
        what = "--skip-line names this line, but there is no unread task on it"
        diagnostics.add_note(number - 1, what)
    return PlanLines(plan_lines.items, unread, plan_lines.criteria)


def _report_unread(plan_lines: PlanLines, diagnostics: Diagnostics) -> None:
    """Report every line that looks like a task but was not read.

    One that may be an open task counts as left out; the others are noted.
    """
    for line in plan_lines.unread:
        quoted = line.text[:MAX_QUOTED]
        if line.gates:
            what = f"cannot read this task line, so what follows waits: `{quoted}`"
            remedy = (
                f"write it as {EXAMPLE}, or skip it with  "
                f"--skip-line {line.line_index + 1}"
            )
            diagnostics.leave_out(line.line_index, what, remedy)
        elif line.first_line_index is not None:
            first = line.first_line_index + 1
            what = f"not read, because line {first} is that task: `{quoted}`"
            diagnostics.add_note(line.line_index, what)
        else:
            what = f"cannot read this task line, but it is ticked: `{quoted}`"
            diagnostics.add_note(line.line_index, what)
    if plan_lines.criteria:
        first = plan_lines.criteria[0]
        boxes = count_of(len(plan_lines.criteria), "check box", "check boxes")
        what = f"{boxes} without an id outside of the task lists: not tasks"
        diagnostics.add_note(first, what)
