"""Kiro: `.kiro/specs/NAME/tasks.md`, numbered and nested tasks in the order of the file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from runner.core.task import Plan, Reference, Task
from runner.plan.formats import box_plan
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.boxes import (
    Box,
    Boxes,
    leave_out_struck,
    name_boxes,
    read_boxes,
    remove,
    without_skipped,
)
from runner.plan.formats.diagnostics import Diagnostics, count_of, note_hidden_tasks
from runner.plan.formats.markdown import Page, read_page

IN_PROGRESS_MARKS = "-~/"
_DEPENDS = re.compile(
    r"_(?:depend|dépend|dipend|abhäng|voraussetz|afhank|beroende|завис|залеж|zale[żz]|依赖"
    r"|依賴|依存|의존|前提|선행)[^:：_]{0,30}[:：](?P<ids>[^_]*)_",
    re.IGNORECASE,
)
# `Checkpoint: all tests pass`; there may be nothing to change.
_CHECKPOINT = re.compile(
    r"\W*(?:final )?(?:checkpoint|检查点|檢查點|チェックポイント|체크포인트)",
    re.IGNORECASE,
)
_ID = re.compile(r"(?<![\w.])[0-9]{1,6}(?:\.[0-9]{1,4})*(?![\w])")
_REQUIREMENT = re.compile(r"[ \t]+(?:[-*+][ \t]+)?_[^_:：]{2,40}[:：][^_]*_?[ \t]*")


class Kiro:
    """The `kiro` format; see `runner.plan.formats.base.Source`."""

    name = "kiro"
    leaves_out_records = True
    waits_for_left_out = True
    options: Mapping[str, Sequence[str]] = {
        "optional": ("skip", "include"),
        "order": ("file", "none"),
        "skip_lines": (),
    }

    def detect(self, path: str, tree: Tree) -> bool:
        """True for `.kiro/specs`, a spec in it, its `tasks.md`, and what looks like it."""
        if len(_spec_files(path, tree)) > 1:
            return True
        file = _plan_file(path, tree)
        text = tree.read(file)
        if text is None or not file.endswith(".md"):
            return False
        _, boxes = _read(file, tree)
        if f"/{file}".find("/.kiro/specs/") >= 0:
            return bool(boxes.all)
        lines = [line for box in boxes.all if box.number for line in box.body]
        return any(_REQUIREMENT.fullmatch(line) for line in lines)

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan of the spec. InvalidInput with every located problem.

        Raises InvalidInput if several specs have open tasks and `path` names none.
        """
        specs = _spec_files(path, tree)
        if specs:
            return self._load_of_specs(path, specs, tree, options)
        file = _plan_file(path, tree)
        diagnostics = Diagnostics(path, file)
        page, boxes, all_boxes = _work(file, tree, options, diagnostics)
        note_hidden_tasks(diagnostics, page.hidden_items(box_plan.is_box))
        sequel = None
        if options.get("order") != "none":
            sequel = box_plan.side_by_side(boxes.tops)
        plan = box_plan.build(
            self.name,
            boxes,
            diagnostics,
            sequel=sequel,
            named=_named(boxes, all_boxes),
            readable=IN_PROGRESS_MARKS,
            context=_context(file),
        )
        tasks = tuple(map(_allowing_empty, plan.tasks))
        return plan._replace(own_files=(file,), tasks=tasks)

    def _load_of_specs(
        self, path: str, files: Sequence[str], tree: Tree, options: Options
    ) -> Plan:
        file, note = box_plan.choose_open(
            path, {file: _read(file, tree)[1] for file in files}, "spec", "specs"
        )
        plan = self.load(file, tree, options)
        if not note:
            return plan
        return plan._replace(notes=(f"{file}: {note}", *plan.notes))

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the boxes of the marked tasks, and of parents that they finish."""
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        file = _plan_file(path, tree)
        page, boxes, _ = _work(file, tree, options, Diagnostics(path, file))
        text = tree.read(file) or ""
        return box_plan.BoxMarker(
            file, text, page, boxes, lambda box: box.struck or box.optional
        )


def _spec_files(path: str, tree: Tree) -> list[str]:
    """The `tasks.md` of each spec if `path` is `.kiro` or `.kiro/specs`, else none."""
    folder = path.rstrip("/")
    if posixpath.basename(folder) == ".kiro":
        folder = f"{folder}/specs"
    if not f"/{folder}".endswith("/.kiro/specs"):
        return []
    names = tree.list(folder)
    return [name for name in names if re.fullmatch(r".*/specs/[^/]+/tasks\.md", name)]


def _allowing_empty(task: Task) -> Task:
    """A checkpoint may find nothing to do."""
    if _CHECKPOINT.match(task.title):
        return task.model_copy(update={"allow_empty": True})
    return task


def _plan_file(path: str, tree: Tree) -> str:
    inside = f"{path}/tasks.md"
    if tree.read(path) is None and tree.read(inside) is not None:
        return inside
    return path


def _read(file: str, tree: Tree) -> tuple[Page, Boxes]:
    page = read_page(file, tree.read(file) or "", box_plan.is_box)
    return page, read_boxes(page, bare_integers=True)


def _work(
    file: str, tree: Tree, options: Options, diagnostics: Diagnostics
) -> tuple[Page, Boxes, list[Box]]:
    """The page, its boxes with their ids, and these with the optional ones."""
    page, boxes = _read(file, tree)
    skip_lines = options.get("skip_lines", "")
    without_skipped(boxes, skip_lines, IN_PROGRESS_MARKS, diagnostics)
    name_boxes(boxes, diagnostics)
    all_boxes = list(boxes.all)
    leave_out_struck(boxes, diagnostics)
    if options.get("optional") != "include":
        _leave_out_optional(boxes, diagnostics)
    return page, boxes, all_boxes


def _leave_out_optional(boxes: Boxes, diagnostics: Diagnostics) -> None:
    """Remove open optional tasks, with a note; what is ticked stays."""
    unwanted = [box for box in boxes.all if box.optional and not box.done]
    remove(boxes, unwanted)
    if unwanted:
        tasks = count_of(len(unwanted), "optional task")
        what = f"{tasks} left out; to run them:  --option optional=include"
        diagnostics.add_note(unwanted[0].line_index, what)


def _named(boxes: Boxes, all_boxes: Sequence[Box]) -> dict[str, list[str]]:
    """Task id → the ids of the tasks that its `_Depends: 1.2_` and its parents' name."""
    present = {id(box) for box in boxes.all}
    by_number: dict[str, list[Box]] = {}
    for box in all_boxes:
        by_number.setdefault(box.number, []).append(box)
    named: dict[str, list[str]] = {}
    for box in box_plan.leaves(boxes):
        ids: list[str] = []
        for owner in (box, *box.parents()):
            for number in _numbers(owner):
                targets = by_number.get(number)
                if targets is None:
                    ids.append(number)
                    continue
                for target in targets:
                    if id(target) in present and target not in (box, *box.parents()):
                        ids += [leaf.task_id for leaf in target.leaves()]
        if ids:
            named[box.task_id] = list(dict.fromkeys(ids))
    return named


def _numbers(box: Box) -> list[str]:
    numbers: list[str] = []
    for line in box.body:
        for match in _DEPENDS.finditer(line):
            numbers += _ID.findall(match["ids"])
    return numbers


def _context(file: str) -> tuple[Reference, ...]:
    folder = posixpath.dirname(file)
    names = ("requirements.md", "bugfix.md", "design.md")
    return tuple(Reference(posixpath.join(folder, name)) for name in names)
