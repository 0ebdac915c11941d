"""spec-kit's `tasks.md`: `- [ ] T014 [P] [US1] text` items below `## Phase N` headings.

`spec_kit_order` derives the dependencies, `spec_kit_files` the files of each task.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence

from runner.core.task import Plan, Reference, Status, Task
from runner.plan.formats.base import Mark, Options, Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    PENDING,
    Diagnostics,
    build_task,
    changed_file,
    join_sections,
    note_hidden_tasks,
    only_tasks,
    report_malformed_task,
)
from runner.plan.formats.markdown import Page, read_page
from runner.plan.formats.spec_kit_files import named_files
from runner.plan.formats.spec_kit_items import ITEM, Item, find_items, is_top_item
from runner.plan.formats.spec_kit_order import TaskOrder

MAX_CONTRACTS = 100  # files that a prompt names
EXAMPLE = "`- [ ] T001 [P] [US1] What to do in src/file.py`"

# A box with another mark, or an id without a blank before its text: such a task must
# not be lost without a message.
_MALFORMED = re.compile(
    r"[ \t]*(?:[-*+][ \t]*)?\[[^\]]{0,3}\][ \t]*(?:\*\*)?T?[0-9]{2,}[^/]*"
)
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+]|[0-9]+[.)])[ \t]")


class SpecKit:
    """The `spec-kit` format; see `runner.plan.formats.base.Source`."""

    name = "spec-kit"
    options: Mapping[str, Sequence[str]] = {
        "phases": ("barriers", "stories"),
        "files": ("text", "any"),
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
        return any(ITEM.fullmatch(line) for _, line in page.visible_lines())

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file.

        Raises InvalidInput for unreadable task lines and for dependencies on missing
        tasks.
        """
        file = _plan_file(path, tree)
        page = read_page(file, tree.read(file) or "", is_top_item)
        items = find_items(page)
        diagnostics = Diagnostics(path, file)
        _report_malformed(page, diagnostics)
        note_hidden_tasks(diagnostics, page.hidden_items(is_top_item))
        if not items and not diagnostics.problems:
            remedy = f"write tasks as {EXAMPLE}"
            diagnostics.add_problem(0, "no tasks found", remedy)
        phases_are_stories = options.get("phases") == "stories"
        order = TaskOrder(page, items, diagnostics, phases_are_stories)
        dependencies = order.dependencies()
        limit_files = options.get("files") != "any"
        context = _context(file, tree)
        tasks = []
        for item in items:
            depends_on = dependencies.get(item.task_id, ())
            task = _task(item, depends_on, limit_files, context, diagnostics)
            tasks.append(task)
        return diagnostics.build_plan(self.name, only_tasks(tasks))

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the boxes of the marked tasks ticked or cleared."""
        file = _plan_file(path, tree)
        text = tree.read(file) or ""
        page = read_page(file, text, is_top_item)
        items = find_items(page)
        tick = _tick_of(items)
        for item in items:
            mark = marks.get(item.task_id)
            if mark is None or item.done == (mark.status is Status.COMPLETED):
                continue
            line = page.lines[item.line_index]
            box = " " if item.done else tick
            page.lines[item.line_index] = _with_box(line, box)
        return changed_file(file, text, page.text())


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


def _tick_of(items: Iterable[Item]) -> str:
    """The letter that ticks a box: `x` if the file uses only that, else `X`.

    spec-kit's own instructions to agents write `[X]`.
    """
    boxes = {item.box for item in items}
    if "x" in boxes and "X" not in boxes:
        return "x"
    return "X"


def _with_box(line: str, box: str) -> str:
    item = ITEM.fullmatch(line)
    assert item
    return line[: item.start("box")] + box + line[item.end("box") :]


def _task(
    item: Item,
    depends_on: Iterable[str],
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
    return build_task(
        diagnostics,
        item.line_index,
        task_id=item.task_id,
        title=title,
        prompt=join_sections([("", headings), ("", "\n".join(details))]),
        files=files,
        depends_on=depends_on,
        status=COMPLETED if item.done else PENDING,
        context=context,
    )


def _split_body(item: Item) -> tuple[str, Sequence[str]]:
    """The title with its continuation lines, and the lines from the first bullet on."""
    words = [item.text]
    for number, line in enumerate(item.body):
        if _LIST_ITEM.match(line):
            return " ".join(words), item.body[number:]
        words.append(line.strip())
    return " ".join(words), ()


def _report_malformed(page: Page, diagnostics: Diagnostics) -> None:
    for index, line in page.visible_lines():
        if _MALFORMED.fullmatch(line) and not ITEM.fullmatch(line):
            report_malformed_task(diagnostics, index, line, EXAMPLE)
