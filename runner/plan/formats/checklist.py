"""Plain Markdown checklists: `TODO.md`, `PLAN.md` and the like, done from top to bottom.

No tool defines this format, so the rules are what a reader would say. Headings are
groups. What is nested below a box is a part of its task and ticked with it, unless it
is numbered as a task (1.1 below 1), lies below a phase, or is open below a ticked box.
Boxes of criteria are no tasks.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runner.core.errors import InvalidInput, Problem
from runner.core.task import Plan, Reference
from runner.plan.formats import box_plan
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.boxes import (
    Box,
    Boxes,
    leave_out_struck,
    name_boxes,
    read_free_boxes,
    remove,
    without_skipped,
)
from runner.plan.formats.diagnostics import (
    MAX_QUOTED,
    Diagnostics,
    count_of,
    note_hidden_tasks,
)
from runner.plan.formats.markdown import Page, read_page

# Files with these names are checklists even if they have no box yet.
_NAMES = frozenset(
    {"todo", "todos", "plan", "implementation_plan", "implementation-plan", "checklist"}
)
# What must be true, not what is to be done.
_CRITERIA = re.compile(
    r"\bacceptance (?:check|condition)|\bcriteri|definition of (?:done|ready)|\bdod\b|success metrics"
    r"|\blegend\b|критери|验收|驗收|完成标准|受け入れ|완료 기준|인수 조건|akzeptanz",
    re.IGNORECASE,
)
# The same, unless the heading is that of a phase, as in `Phase 4: Validation`.
_WEAK_CRITERIA = re.compile(
    r"^\W*(?:[0-9.]+\W*)?(?:\w+ ){0,2}(?:acceptance(?: tests?)?|prerequisites?"
    r"|verification|validation"
    r"|quality gates?|success|(?:open )?questions|risks?|examples?|notes?|templates?)\W*$",
    re.IGNORECASE,
)
_PHASE = re.compile(
    r"\W*(?:phase|stage|milestone|sprint|epic|iteration|week|part|фаза|этап|fase|étape"
    r"|阶段|フェーズ|단계)\b",
    re.IGNORECASE,
)
_OPTIONAL = re.compile(
    r"[(\[（][*_ ]*(?:optional|nice[ -]to[ -]have|stretch)[*_ ]*[)\]）]|^\W*optional\b\W*:",
    re.IGNORECASE,
)
_NOT_NOW = re.compile(
    r"\b(?:optional|nice[ -]to[ -]haves?|stretch|later|someday|maybe|icebox|future"
    r"|out[ -]of[ -]scope|not in scope|won'?t (?:do|fix)|rejected|parking lot|wish ?list"
    r"|ideas?|deferred|post[ -]mvp)\b",
    re.IGNORECASE,
)
_QUOTED_BOX = re.compile(r"[ \t]*(?:>[ \t]*)+(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[[ xX]?\]")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\w")
_EXAMPLE = "`- [ ] What to do`"


class Checklist:
    """The `checklist` format; see `runner.plan.formats.base.Source`."""

    name = "checklist"
    leaves_out_records = True
    waits_for_left_out = True
    options: Mapping[str, Sequence[str]] = {
        "subtasks": ("checklist", "tasks"),
        "optional": ("skip", "include"),
        "order": ("file", "none"),
        "skip_lines": (),
    }

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a Markdown file with a task, or with a name such as `TODO.md`."""
        stem, suffix = posixpath.splitext(posixpath.basename(path).lower())
        if suffix not in (".md", ".markdown"):
            return False
        text = tree.read(path)
        if text is None:
            return False
        if stem in _NAMES:
            return True
        _, boxes = _read(path, tree, {})
        _without_criteria(boxes)
        return bool(boxes.all)

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file. Raises InvalidInput with every located problem."""
        diagnostics = Diagnostics(path)
        work = _work(path, tree, options, diagnostics)
        _note_other_boxes(work, diagnostics)
        if not work.boxes.all:
            raise InvalidInput([_no_tasks(path, work)])
        sequel = None
        if options.get("order") != "none":
            ids = [box.task_id for box in box_plan.leaves(work.boxes)]
            sequel = box_plan.one_by_one(ids)
        return box_plan.build(
            self.name,
            work.boxes,
            diagnostics,
            sequel=sequel,
            named={},
            readable="",
            context=(Reference(path),),
        )

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the boxes of the marked tasks ticked or cleared."""
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        work = _work(path, tree, options, Diagnostics(path))
        text = tree.read(path) or ""
        return box_plan.BoxMarker(path, text, work.page, work.boxes, _decides_tasks)


class _Work(NamedTuple):
    """The page and the boxes that are tasks.

    `criteria`: boxes that are none. `postponed`: tasks that are optional or for later.
    """

    page: Page
    boxes: Boxes
    criteria: list[Box]
    postponed: list[Box]


def _work(path: str, tree: Tree, options: Options, diagnostics: Diagnostics) -> _Work:
    page, boxes = _read(path, tree, options)
    criteria = _without_criteria(boxes)
    without_skipped(boxes, options.get("skip_lines", ""), "", diagnostics)
    name_boxes(boxes, diagnostics)
    leave_out_struck(boxes, diagnostics)
    postponed: list[Box] = []
    if options.get("optional") != "include":
        postponed = _leave_out_postponed(boxes, diagnostics)
    return _Work(page, boxes, criteria, postponed)


def _read(path: str, tree: Tree, options: Options) -> tuple[Page, Boxes]:
    page = read_page(path, tree.read(path) or "", box_plan.is_box)
    if options.get("subtasks") == "tasks":
        return page, read_free_boxes(page, None)
    return page, read_free_boxes(page, _is_subtask)


def _is_subtask(parent: Box, child: Box) -> bool:
    """Whether a nested box is a task by itself: numbered as one, or in a phase.

    Also if it is open below one that is ticked: that one will not run any more.
    """
    if parent.done and not child.done:
        return True
    if parent.number and child.number.startswith(f"{parent.number}."):
        return True
    return _PHASE.match(parent.text) is not None


def _decides_tasks(box: Box) -> bool:
    """Whether other tasks, or itself, are tasks only with its mark as it is."""
    is_nested = box.parent is not None or box.children or box.parts
    return bool(is_nested) or box.struck or _is_postponed(box)


def _is_criterion(box: Box) -> bool:
    for heading in box.headings:
        if _CRITERIA.search(heading):
            return True
        if _WEAK_CRITERIA.match(heading) and not _PHASE.match(heading):
            return True
    return False


def _without_criteria(boxes: Boxes) -> list[Box]:
    """Remove the boxes of criteria. Returns them."""
    criteria = [box for box in boxes.all if _is_criterion(box)]
    remove(boxes, criteria)
    return criteria


def _leave_out_postponed(boxes: Boxes, diagnostics: Diagnostics) -> list[Box]:
    """Remove open tasks that are optional or for later. Returns them."""
    postponed = [box for box in boxes.all if not box.done and _is_postponed(box)]
    remove(boxes, postponed)
    for heading, group in _by_heading(postponed).items():
        tasks = count_of(len(group), "task")
        where = f" below `{heading[:MAX_QUOTED]}`" if heading else ""
        what = (
            f"{tasks}{where} left out as optional or for later; to run them:  "
            "--option optional=include"
        )
        diagnostics.add_note(group[0].line_index, what)
    return postponed


def _is_postponed(box: Box) -> bool:
    if box.optional or _OPTIONAL.search(box.text):
        return True
    return any(
        _NOT_NOW.search(heading) and not _PHASE.match(heading)
        for heading in box.headings
    )


def _by_heading(boxes: Sequence[Box]) -> dict[str, list[Box]]:
    """Innermost heading → its boxes, in the order of the file."""
    groups: dict[str, list[Box]] = {}
    for box in boxes:
        heading = box.headings[-1] if box.headings else ""
        groups.setdefault(heading, []).append(box)
    return groups


def _note_other_boxes(work: _Work, diagnostics: Diagnostics) -> None:
    """Notes on boxes that a reader would not call a task."""
    note_hidden_tasks(diagnostics, work.page.hidden_items(box_plan.is_box))
    for heading, group in _by_heading(work.criteria).items():
        boxes = count_of(len(group), "check box", "check boxes")
        what = f"{boxes} below `{heading[:MAX_QUOTED]}`: criteria, not tasks"
        diagnostics.add_note(group[0].line_index, what)
    if work.boxes.code:
        boxes = count_of(len(work.boxes.code), "check box", "check boxes")
        what = f"{boxes} indented as code from here on: not tasks"
        diagnostics.add_note(work.boxes.code[0], what)
    quoted = [
        index for index, line in work.page.visible_lines() if _QUOTED_BOX.match(line)
    ]
    if quoted:
        boxes = count_of(len(quoted), "check box", "check boxes")
        diagnostics.add_note(quoted[0], f"{boxes} in quotes from here on: not tasks")
    if work.boxes.details:
        boxes = count_of(len(work.boxes.details), "check box", "check boxes")
        what = (
            f"{boxes} below other tasks from here on: parts of them; to run each by "
            "itself:  --option subtasks=tasks"
        )
        diagnostics.add_note(work.boxes.details[0], what)


def _no_tasks(path: str, work: _Work) -> Problem:
    """Why a file without tasks has none."""
    remedy = f"write each task as {_EXAMPLE}"
    items = [line for _, line in work.page.visible_lines() if _ITEM.match(line)]
    what = "no tasks found"
    if work.postponed:
        what += ": all are optional or for later"
        remedy = "to run them:  --option optional=include"
    elif work.criteria:
        boxes = count_of(len(work.criteria), "check box", "check boxes")
        what += f": only {boxes} of criteria"
    elif items:
        what += f": {count_of(len(items), 'list item')}, but no check box"
    return Problem(path, 1, what, remedy)
