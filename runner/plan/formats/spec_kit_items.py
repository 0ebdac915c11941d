"""The task items of a spec-kit plan: `- [ ] T014 [P] [US1] text`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runner.plan.formats.markdown import Page, heading_level, heading_text, indent_of

TASK_ID = r"T[0-9]{1,9}(?:\.[0-9]{1,4})?[A-Za-z]?"
ITEM = re.compile(
    r"(?P<indent>[ \t]*)[-*+][ \t]+\[(?P<box>[ xX])\][ \t]+"
    rf"(?:\*\*)?(?P<id>{TASK_ID})(?:\*\*)?:?(?:\*\*)?"
    r"(?P<labels>(?:[ \t]*\[[^\]]{1,40}\](?!\())*)[ \t]+(?P<text>\S.*)"
)
_LABEL = re.compile(r"\[([^\]]*)\]")
_PARALLEL = "P"
_PHASE_HEADING = re.compile(r"phase\b", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """A task line. `body`: the lines that are indented below it.

    `box`: what is between the brackets. `stories`: its labels other than `[P]`.
    `phase`: the number, from 0, of the part of the file that holds it; parts without
    tasks do not count. `headings`: those above it from the second level down.
    """

    line_index: int
    task_id: str
    box: str
    parallel: bool
    stories: tuple[str, ...]
    text: str
    body: tuple[str, ...]
    phase: int
    headings: tuple[str, ...]

    @property
    def done(self) -> bool:
        return self.box != " "


def is_top_item(line: str) -> bool:
    """Whether the line is a task item without indentation."""
    item = ITEM.fullmatch(line)
    return item is not None and not item["indent"]


def find_items(page: Page) -> list[Item]:
    """Every visible task line, in file order.

    A phase begins at a heading of the first or second level, or at one that says
    `Phase`.
    """
    items: list[Item] = []
    headings: dict[int, str] = {}  # level → text
    phase = 0
    phase_has_tasks = False
    for index, line in page.visible_lines():
        title = heading_text(line)
        if title is not None:
            level = heading_level(line)
            headings = _headings_below(headings, level)
            headings[level] = title
            if phase_has_tasks and (level <= 2 or _PHASE_HEADING.match(title)):
                phase += 1
                phase_has_tasks = False
            continue
        match = ITEM.fullmatch(line)
        if match:
            phase_has_tasks = True
            items.append(_item(page, index, match, phase, headings))
    return items


def _headings_below(headings: dict[int, str], level: int) -> dict[int, str]:
    """The headings that a heading of this level does not end."""
    return {depth: text for depth, text in headings.items() if depth < level}


def _item(
    page: Page, index: int, match: re.Match[str], phase: int, headings: dict[int, str]
) -> Item:
    labels = [label.strip() for label in _LABEL.findall(match["labels"])]
    stories = [label for label in labels if label.upper() != _PARALLEL]
    # A heading of the first level is the title of the whole file.
    context = [text for level, text in sorted(headings.items()) if level > 1]
    return Item(
        line_index=index,
        task_id=match["id"],
        box=match["box"],
        parallel=len(stories) < len(labels),
        stories=tuple(stories),
        text=match["text"].strip(),
        body=_body(page, index),
        phase=phase,
        headings=tuple(context),
    )


def _body(page: Page, item_index: int) -> tuple[str, ...]:
    """The lines that are indented deeper than the item and are not tasks themselves."""
    indent = indent_of(page.lines[item_index])
    body = []
    for index in range(item_index + 1, len(page.lines)):
        line = page.lines[index]
        if not line.strip() or indent_of(line) <= indent or ITEM.fullmatch(line):
            break
        body.append(line)
    return tuple(body)
