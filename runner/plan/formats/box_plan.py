"""A plan of check boxes: what OpenSpec and Kiro have in common."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence

from runner.core.errors import InvalidInput, Problem
from runner.core.task import Plan, Reference, Status, Task
from runner.plan.formats.base import Mark
from runner.plan.formats.box_order import (
    Sequel,
    in_agreement,
    one_by_one,
    wait_in_order,
)
from runner.plan.formats.boxes import MAX_HEADING, Box, Boxes, is_box, is_readable
from runner.plan.formats.diagnostics import (
    COMPLETED,
    LEFT_OUT,
    MAX_QUOTED,
    PENDING,
    SKIPPED,
    Diagnostics,
    build_task,
    changed_file,
    join_sections,
)
from runner.plan.formats.markdown import Page
from runner.plan.formats.marked_text import MarkedPage

# Characters of what lies between a group and its first task, in the prompt of each.
MAX_DETAILS = 10_000


def leaves(boxes: Boxes) -> list[Box]:
    """The boxes that are work, in the order of the file."""
    return [box for box in boxes.all if not box.children]


def choose_open(
    path: str, boxes_by_file: Mapping[str, Boxes], noun: str, nouns: str
) -> tuple[str, str]:
    """The only file with open tasks, else the last one; and why it is that one.

    Raises InvalidInput if several have some. `noun`, `nouns`: what the files are.
    """
    counts = {}
    for file, boxes in boxes_by_file.items():
        counts[file] = sum(not box.done for box in leaves(boxes))
    open_files = [file for file, count in counts.items() if count]
    if len(open_files) > 1:
        names = [f"{file} ({counts[file]} open)" for file in open_files[:10]]
        what = f"{len(open_files)} {nouns} have open tasks: {', '.join(names)}"
        pattern = posixpath.join(
            posixpath.dirname(posixpath.dirname(open_files[0])), "*"
        )
        remedy = (
            f"name one of them with  --plan {open_files[0]}  or all with  "
            f"--plan '{pattern}/tasks.md'"
        )
        raise InvalidInput([Problem(path, None, what, remedy)])
    if open_files:
        note = f"the only {noun} with open tasks" if len(counts) > 1 else ""
        return open_files[0], note
    return list(counts)[-1], f"no {noun} has open tasks; this is the last one"


def side_by_side(tops: Sequence[Box]) -> Sequel:
    """The order of the file, in which neighbours that are marked `(P)` are one group."""
    sequel = Sequel()
    previous_parallel = False
    for box in tops:
        unit = side_by_side(box.children) if box.children else box.task_id
        if box.parallel and previous_parallel:
            sequel.groups[-1].append(unit)
        else:
            sequel.groups.append([unit])
        previous_parallel = box.parallel
    return sequel


def build(
    source: str,
    boxes: Boxes,
    diagnostics: Diagnostics,
    *,
    sequel: Sequel | None,
    named: Mapping[str, Sequence[str]],
    readable: str,
    context: tuple[Reference, ...],
) -> Plan:
    """The plan of these boxes. `sequel`: their order, None if they have none.

    `named`: task id → ids that the task itself says it depends on. `readable`: marks of
    tasks that somebody began.
    """
    work = leaves(boxes)
    done = {box.task_id for box in work if box.done}
    sequel, early = in_agreement(
        sequel or Sequel([[box.task_id for box in work]]), named
    )
    waits = wait_in_order(sequel, done)
    names_later = set(early)
    for box in work:
        if box.task_id in names_later:
            what = f"{box.task_id} names a later task and waits for it"
            diagnostics.add_note(box.line_index, what)
    tasks: list[Task] = []
    for box in work:
        depends_on = [*waits.depends_on[box.task_id], *named.get(box.task_id, ())]
        status = COMPLETED if box.done else PENDING
        if not is_readable(box, readable):
            status = SKIPPED
            what = f"cannot read the mark of `{box.label[:MAX_QUOTED]}`, so what follows waits"
            remedy = (
                f"write [ ] or [x], or skip it with  --skip-line {box.line_index + 1}"
            )
            diagnostics.leave_out(box.line_index, what, remedy, task_id=box.task_id)
        above = [parent.label[:MAX_HEADING] for parent in box.parents()][::-1]
        details = [line for parent in box.parents() for line in parent.body]
        task = build_task(
            diagnostics,
            box.line_index,
            task_id=box.task_id,
            title=box.text,
            prompt=join_sections(
                [
                    ("", " › ".join([*box.headings, *above])),
                    ("", "\n".join(details)[:MAX_DETAILS]),
                    ("", "\n".join(box.body)),
                ]
            ),
            depends_on=depends_on,
            status=status,
            skip_reason=LEFT_OUT,
            context=context,
            open_before=waits.open_before[box.task_id],
        )
        if task is not None:
            tasks.append(task)
    for box in boxes.all:
        if box.children and box.done and not all(leaf.done for leaf in box.leaves()):
            what = f"`{box.label[:MAX_QUOTED]}` is ticked, but tasks below it are open"
            diagnostics.add_note(box.line_index, what)
    return diagnostics.build_plan(source, tasks)


class BoxMarker:
    """The `Marker` of a file of boxes.

    `decides_tasks`: whether what the tasks of the file are depends on the mark of this
    box.
    """

    def __init__(
        self,
        path: str,
        text: str,
        page: Page,
        boxes: Boxes,
        decides_tasks: Callable[[Box], bool],
    ) -> None:
        self.is_current = True
        self._path, self._page = path, MarkedPage(text, page)
        self._leaves = {box.task_id: box for box in leaves(boxes)}
        self._decides_tasks = decides_tasks

    def write(self, marks: Mapping[str, Mark]) -> Mapping[str, str]:
        """The file with the boxes of the marked tasks, and of the groups that they complete."""
        done: dict[int, bool] = {}
        touched: dict[int, Box] = {}
        reopened: set[int] = set()
        for task_id, mark in marks.items():
            box = self._leaves.get(task_id)
            if box is None:
                continue
            done[id(box)] = mark.status is Status.COMPLETED
            group = (box, *box.parents())
            touched.update((id(one), one) for one in group)
            if not done[id(box)]:
                reopened.update(map(id, group))
        lines: dict[int, str] = {}
        changed: list[tuple[Box, bool]] = []
        for box in touched.values():
            is_done = all(done.get(id(leaf), leaf.done) for leaf in box.leaves())
            # A group that a person has ticked early stays ticked.
            if (is_done or id(box) in reopened) and box.done != is_done:
                lines[box.line_index] = self._line(box.line_index, box.span, is_done)
                changed.append((box, is_done))
            if is_done and not box.children:
                lines.update(self._ticked_parts(box))
        before = self._page.text
        self._page.replace_lines(lines)
        for box, is_done in changed:
            self._set_mark(box, is_done)
        return changed_file(self._path, before, self._page.text)

    def _ticked_parts(self, box: Box) -> Iterator[tuple[int, str]]:
        for line_index, span in box.parts:
            if not self._page.page.lines[line_index][slice(*span)].strip():
                # Its mark may be longer now.
                self.is_current = False
                yield line_index, self._line(line_index, span, True)

    def _line(self, line_index: int, span: tuple[int, int], is_done: bool) -> str:
        line = self._page.page.lines[line_index]
        start, end = span
        return line[:start] + _mark_of(is_done) + line[end:]

    def _set_mark(self, box: Box, is_done: bool) -> None:
        mark = _mark_of(is_done)
        if len(box.mark) != len(mark) or self._decides_tasks(box):
            self.is_current = False
        box.mark = mark


def _mark_of(is_done: bool) -> str:
    return "x" if is_done else " "


__all__ = [
    "BoxMarker",
    "build",
    "choose_open",
    "is_box",
    "leaves",
    "one_by_one",
    "side_by_side",
]
