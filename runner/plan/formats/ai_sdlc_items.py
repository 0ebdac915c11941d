"""The task items of an ai-sdlc plan: `- [ ] **T1**: title` and the lines under each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runner.core.task import Status
from runner.plan.formats.markdown import Page, heading_text, indent_of

EXAMPLE = "`- [ ] **T1**: what to do`"

_BULLET = r"(?P<indent>[ \t]*)[-*+][ \t]+"
# Nine digits: int() refuses very long numbers, and no plan has a billion tasks.
ITEM = re.compile(
    _BULLET
    + r"\[(?P<box>[ xX])\][ \t]+\*\*(?P<id>[Tt][0-9]{1,9})\*\*:[ \t]*(?P<title>\S.*?)\s*"
)
FIELD = re.compile(
    r"(?P<indent>[ \t]*)(?:[-*+][ \t]+)?[*_]{0,2}"
    r"(?P<name>files?|dependenc(?:y|ies)|depends(?: on)?)[*_]{0,2}"
    r"[ \t]*:[*_]{0,2}(?P<value>.*)",
    re.IGNORECASE,
)
_NESTED_BULLET = re.compile(r"[ \t]*[-*+][ \t]+")
_STARTS_WITH_ID = re.compile(r"T[0-9]", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """A task item. `body`: the indices of the lines that are indented under it.

    `heading`: the nearest heading above it, or "". `parent_id`: the task whose body it
    is written in, or None.
    """

    line_index: int
    task_id: str
    done: bool
    title: str
    heading: str
    body: range
    parent_id: str | None


@dataclass(frozen=True)
class Field:
    """A `Files` or `Dependencies` field of a task; `name` is in lower case."""

    line_index: int
    name: str
    value: str

    @property
    def is_files(self) -> bool:
        return self.name.startswith("file")

    @property
    def is_dependencies(self) -> bool:
        return self.name.startswith("depend")


def is_top_item(line: str) -> bool:
    """Whether the line is a task item without indentation."""
    item = ITEM.fullmatch(line)
    return item is not None and not item["indent"]


def find_items(page: Page) -> list[Item]:
    """Every visible task item in file order, under whatever heading.

    S-0044 asks for a separate heading above the tasks, but no real plan has it.
    """
    items: list[Item] = []
    heading = ""
    for index, line in page.visible_lines():
        title = heading_text(line)
        if title is not None:
            heading = title
            continue
        match = ITEM.fullmatch(line)
        if match is None:
            continue
        parent_id = None
        if items and index in items[-1].body:
            parent_id = items[-1].task_id
        item = Item(
            line_index=index,
            task_id=match["id"].upper(),
            done=match["box"] != " ",
            title=match["title"],
            heading=heading,
            body=_body(page, index),
            parent_id=parent_id,
        )
        items.append(item)
    return items


def _body(page: Page, item_index: int) -> range:
    """The lines below the item up to the first one that is not indented deeper.

    A fence that begins indented belongs to the item as a whole.
    """
    indent = indent_of(page.lines[item_index])
    end = item_index + 1
    while end < len(page.lines):
        line = page.lines[end]
        if line.strip() and indent_of(line) <= indent:
            break
        end = page.hidden_regions.get(end, end) + 1
    return range(item_index + 1, end)


def with_box(line: str, status: Status) -> str:
    """The item's line with its box ticked if completed; an `[X]` stays as it is."""
    item = ITEM.fullmatch(line)
    assert item
    done = status is Status.COMPLETED
    if done == (item["box"] != " "):
        return line
    box = "x" if done else " "
    return line[: item.start("box")] + box + line[item.end("box") :]


def split_body(page: Page, item: Item) -> tuple[list[Field], list[int]]:
    """The item's fields, and the indices of its other lines."""
    hidden = _hidden_lines(page, item.body)
    fields: list[Field] = []
    other_lines: list[int] = []
    index = item.body.start
    while index < item.body.stop:
        match = None
        if index not in hidden:
            match = FIELD.fullmatch(page.lines[index])
        if match is None:
            other_lines.append(index)
            index += 1
            continue
        value, end = _field_value(page, match, range(index + 1, item.body.stop), hidden)
        fields.append(Field(index, match["name"].lower(), value))
        index = end
    return fields, other_lines


def _hidden_lines(page: Page, body: range) -> set[int]:
    hidden: set[int] = set()
    for index in body:
        if index in page.hidden_regions:
            hidden.update(range(index, page.hidden_regions[index] + 1))
    return hidden


def _field_value(
    page: Page, field: re.Match[str], following: range, hidden: set[int]
) -> tuple[str, int]:
    """The value with its continuation lines, and the index after the last of them."""
    value = " ".join(field["value"].split())
    end = following.start
    while end < following.stop and end not in hidden:
        continuation = _continuation(page.lines[end], field, value)
        if not continuation:
            break
        value = f"{value} {continuation}".strip()
        end += 1
    return value.lstrip(", "), end


def _continuation(line: str, field: re.Match[str], value: str) -> str:
    """The text that this line adds to the field above it; "" if it adds none.

    A field continues on a wrapped line and, where it is a list, on a nested item. A
    dependency on a second line that was taken for prose would let the task start too
    early.
    """
    if not line.strip() or indent_of(line) <= indent_of(field[0]):
        return ""
    if FIELD.fullmatch(line) or ITEM.fullmatch(line):
        return ""
    bullet = _NESTED_BULLET.match(line)
    if not bullet:
        return line.strip()
    text = line[bullet.end() :].strip()
    field_is_list = not value or value.startswith(", ")
    if text and (field_is_list or _STARTS_WITH_ID.match(text)):
        return f", {text}"
    return ""


def build_prompt(heading: str, lines: Sequence[str]) -> str:
    """The heading as context, then the lines without the indentation of the first."""
    body = list(lines)
    while body and not body[0].strip():
        body.pop(0)
    depth = 0
    if body:
        depth = len(body[0]) - len(body[0].lstrip())
    # At most `depth` blanks go, so a line of code that is set further out stays whole.
    indentation = re.compile(rf"^[ \t]{{0,{depth}}}")
    dedented = [indentation.sub("", line).rstrip() for line in body]
    text = "\n".join(dedented).rstrip()
    return "\n\n".join(part for part in (heading, text) if part)
