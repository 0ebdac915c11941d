"""OpenSpec: `openspec/changes/NAME/tasks.md`, worked through in the order of the file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from runner.core.task import Plan, Reference, Status
from runner.plan.formats import box_plan
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.boxes import (
    Boxes,
    leave_out_struck,
    name_boxes,
    read_boxes,
    without_skipped,
)
from runner.plan.formats.diagnostics import Diagnostics, note_hidden_tasks
from runner.plan.formats.markdown import Page, read_page

_CHANGE = re.compile(r"(?:.*/)?changes/(?P<archive>archive/)?[^/]+/tasks\.md")


class OpenSpec:
    """The `openspec` format; see `runner.plan.formats.base.Source`."""

    name = "openspec"
    leaves_out_records = True
    waits_for_left_out = True
    options: Mapping[str, Sequence[str]] = {
        "order": ("file", "none"),
        "skip_lines": (),
    }

    def detect(self, path: str, tree: Tree) -> bool:
        """True for `openspec`, its changes, a change, and the `tasks.md` of one."""
        if path.endswith(".md"):
            return _is_change_file(path) and tree.read(path) is not None
        return bool(_files(path, tree))

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan of the change.

        Raises InvalidInput if several changes have open tasks and `path` names none.
        """
        file, note = _choose(path, tree)
        diagnostics = Diagnostics(file)
        if note:
            diagnostics.add_plan_note(note)
        page, boxes = _work(file, tree, options, diagnostics)
        note_hidden_tasks(diagnostics, page.hidden_items(box_plan.is_box))
        for index in boxes.details:
            diagnostics.add_note(index, "a box below a list item: part of its task")
        sequel = None
        if options.get("order") != "none":
            ids = [box.task_id for box in box_plan.leaves(boxes)]
            sequel = box_plan.one_by_one(ids)
        plan = box_plan.build(
            self.name,
            boxes,
            diagnostics,
            sequel=sequel,
            named={},
            readable="",
            context=_context(file, tree),
        )
        return _archived(plan) if "/archive/" in file else plan

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the boxes of the marked tasks ticked or cleared."""
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        file, _ = _choose(path, tree)
        page, boxes = _work(file, tree, options, Diagnostics(file))
        text = tree.read(file) or ""
        # The marks of several files decide which of them is the plan.
        is_chosen = len(_files(path, tree)) > 1
        return box_plan.BoxMarker(
            file, text, page, boxes, lambda box: is_chosen or box.struck
        )


def _read(file: str, tree: Tree) -> tuple[Page, Boxes]:
    page = read_page(file, tree.read(file) or "", box_plan.is_box)
    return page, read_boxes(page, bare_integers=False)


def _work(
    file: str, tree: Tree, options: Options, diagnostics: Diagnostics
) -> tuple[Page, Boxes]:
    """The page and its boxes with their ids."""
    page, boxes = _read(file, tree)
    without_skipped(boxes, options.get("skip_lines", ""), "", diagnostics)
    name_boxes(boxes, diagnostics)
    leave_out_struck(boxes, diagnostics)
    return page, boxes


def _is_change_file(path: str) -> bool:
    is_change = _CHANGE.fullmatch(path) is not None
    return is_change and ("openspec/" in path or path.startswith("changes/"))


def _files(path: str, tree: Tree) -> list[str]:
    """The `tasks.md` of each change that is not archived, or of the change `path`."""
    folder = path.rstrip("/")
    own = f"{folder}/tasks.md"
    if _is_change_file(own) and tree.read(own) is not None:
        return [own]
    is_root = posixpath.basename(folder) in ("openspec", "changes")
    if not is_root:
        return []
    files = []
    for name in tree.list(folder):
        match = _CHANGE.fullmatch(name)
        if match and not match["archive"]:
            files.append(name)
    return files


def _choose(path: str, tree: Tree) -> tuple[str, str]:
    """The file of the change to read, and why it is that one."""
    files = _files(path, tree)
    if path.endswith(".md") or not files:
        return path, ""
    boxes_by_file = {file: _read(file, tree)[1] for file in files}
    return box_plan.choose_open(path, boxes_by_file, "change", "changes")


def _context(file: str, tree: Tree) -> tuple[Reference, ...]:
    folder = posixpath.dirname(file)
    names = [f"{folder}/proposal.md", f"{folder}/design.md"]
    specs = tree.list(f"{folder}/specs")
    names += [name for name in specs if name.endswith(".md")][:100]
    return tuple(map(Reference, names))


def _archived(plan: Plan) -> Plan:
    done = {"source_status": Status.COMPLETED, "skipped": False}
    tasks = tuple(task.model_copy(update=done) for task in plan.tasks)
    notes = (*plan.notes, f"{plan.path}: an archived change is done")
    return plan._replace(tasks=tasks, notes=notes)
