"""Reports what looks like part of an ai-sdlc plan but is not read as such."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from runner.plan.formats.ai_sdlc_fields import MENTION
from runner.plan.formats.ai_sdlc_items import EXAMPLE, FIELD, ITEM, Item, is_top_item
from runner.plan.formats.ai_sdlc_plans import ChosenPlan
from runner.plan.formats.diagnostics import (
    Diagnostics,
    count_of,
    leave_out_malformed_task,
    note_hidden_tasks,
)
from runner.plan.formats.markdown import RULE, Page, heading_text

# Nearly a task with a box. If a task with that id was read, it may be a remark on it,
# for example in a closing summary.
_MALFORMED = re.compile(
    r"(?:[-*+]|[0-9]+[.)])?[ \t]*\[.?\][ \t]*"
    r"\*\*[ \t]*(?P<id>[Tt][0-9]+(?:[.\w]*\w)?)[ \t]*:?\*\*.*"
)
# Nearly a task without bold or without a box.
_UNBOXED = re.compile(
    r"(?:[-*+]|[0-9]+[.)])[ \t]*"
    r"(?:\[.?\][ \t]*(?P<id>[Tt][0-9]+):|\*\*(?P<bold>[Tt][0-9]+):?\*\*:?).*"
)


def report_order(
    diagnostics: Diagnostics,
    task_id: str,
    line_index: int,
    what: str,
    remedy: str,
    *,
    finished: bool,
) -> None:
    """Leave a task out because of what is wrong about its order.

    A finished task waits for nothing, so that there it is only a note.
    """
    if finished:
        diagnostics.add_note(line_index, f"{what}: not followed, the task is finished")
    else:
        diagnostics.leave_out(line_index, what, remedy, task_id=task_id)


def report_all(
    page: Page, plan: ChosenPlan, finished_ids: set[str], diagnostics: Diagnostics
) -> None:
    """Report malformed tasks, stray dependencies and fences.

    Of several plans in the file, only about the one that counts.
    """
    _report_malformed(page, plan, diagnostics)
    _report_stray_dependencies(page, plan.items, finished_ids, diagnostics)
    _report_fences(page, diagnostics)


def without_duplicates(plan: ChosenPlan, diagnostics: Diagnostics) -> ChosenPlan:
    """The plan with one item of each id: the first whose box is open.

    So nothing starts too early. The others are left out.
    """
    chosen: dict[str, Item] = {}
    for item in plan.items:
        first = chosen.setdefault(item.task_id, item)
        if first.done and not item.done:
            chosen[item.task_id] = item
    items = []
    for item in plan.items:
        other = chosen[item.task_id]
        if item is other:
            items.append(item)
            continue
        heading = f", under `{other.heading}`" if other.heading else ""
        what = f"{item.task_id} is also on line {other.line_index + 1}{heading}"
        remedy = "keep one of the two plans in this file, or give this task another id"
        diagnostics.leave_out(item.line_index, what, remedy)
    return replace(plan, items=items)


def _report_malformed(page: Page, plan: ChosenPlan, diagnostics: Diagnostics) -> None:
    """Report lines without indentation that were probably meant as tasks.

    In real plans, indented ones are sub-items and prose.
    """
    line_numbers = {item.task_id: item.line_index + 1 for item in plan.items}
    for index, line in page.visible_lines():
        if index not in plan.lines:
            continue
        malformed = _MALFORMED.fullmatch(line)
        match = malformed or _UNBOXED.fullmatch(line)
        if not match or ITEM.fullmatch(line):
            continue
        task_id = next(text for text in match.groups() if text).upper()
        if task_id not in line_numbers:
            leave_out_malformed_task(diagnostics, index, line, EXAMPLE)
        elif malformed:
            what = (
                "looks like a task but is not written as one; "
                f"{task_id} is the task on line {line_numbers[task_id]}"
            )
            diagnostics.add_note(index, what)


def _report_stray_dependencies(
    page: Page,
    items: Sequence[Item],
    finished_ids: set[str],
    diagnostics: Diagnostics,
) -> None:
    """Report dependencies below a task but not indented under it.

    ai-sdlc ignores them, so the task would start too early. A heading or a rule ends
    the reach of a task: story footers write `**Dependencies:** S-0047` below one.
    """
    items_by_line = {item.line_index: item for item in items}
    body_lines: set[int] = set()
    for item in items:
        body_lines.update(item.body)
    item_above: Item | None = None
    for index, line in page.visible_lines():
        if index in body_lines or index in items_by_line:
            item_above = items_by_line.get(index, item_above)
            continue
        if heading_text(line) is not None or RULE.fullmatch(line):
            item_above = None
        if item_above and _names_dependencies(line):
            what = (
                "this line is not indented under a task, "
                f"so {item_above.task_id} would not wait for it"
            )
            remedy = "indent it two spaces more than its task"
            finished = item_above.task_id in finished_ids
            task_id = item_above.task_id
            report_order(diagnostics, task_id, index, what, remedy, finished=finished)


def _names_dependencies(line: str) -> bool:
    field = FIELD.fullmatch(line)
    if not field or not field["name"].lower().startswith("depend"):
        return False
    return MENTION.search(field["value"]) is not None


def _report_fences(page: Page, diagnostics: Diagnostics) -> None:
    for index in page.unclosed_fences:
        what = (
            "this code fence is never closed, so it was read as text; "
            "close it with a fence on a line of its own"
        )
        diagnostics.add_note(index, what)
    note_hidden_tasks(diagnostics, page.hidden_items(is_top_item))


def no_tasks_message(page: Page) -> str:
    """The message for a plan without tasks, with the number of hidden ones."""
    count = sum(count for _, _, count in page.hidden_items(is_top_item))
    if not count:
        return "no tasks found"
    lines = count_of(count, "task line")
    return f"no tasks found ({lines} only in code fences or comments)"
