"""The task items of a spec-kit plan, and the lines that look like one but are not read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from runner.plan.formats.markdown import Page, heading_level, heading_text, indent_of
from runner.plan.formats.spec_kit_lines import (
    Suspect,
    TaskLine,
    has_numbers_of_two,
    read_line,
    suspect_line,
)

_PARALLEL = "P"
_PHASE_HEADING = re.compile(r"phase\b", re.IGNORECASE)
# `Phase 2`, `Phase IV` and `Phase B`, but not `Phase Dependencies`.
_NUMBERED_PHASE = re.compile(r"phase[\s#:-]*(?:[0-9]+|[ivx]+|[a-z])\b", re.IGNORECASE)
# Check boxes below such a heading are criteria, not tasks.
_CRITERIA_HEADING = re.compile(
    r"\b(?:accept\w*|criteria|checklists?|checkpoints?|deliverables?|done"
    r"|exit|gates?|goals?|legend|notes?|outcomes?|prerequisites?|quality|requirements?"
    r"|success|validation|verification)\b",
    re.IGNORECASE,
)
# A line such as `**Acceptance criteria**:` before a list is a heading, too.
_LABEL = re.compile(
    r"[*_]{0,3}(?:[^*_:]{0,30}\b)?(?:acceptance|criteria|checklist|checkpoint"
    r"|deliverables?|definition of done|validation|verification)\b[^*_:]{0,30}"
    r"(?:[*_]{1,3}:?|:[*_]{0,3})\s*",
    re.IGNORECASE,
)
_LIST_ITEM = re.compile(r"\s*(?:[-*+•]|[0-9]{1,4}[.)])\s")
# Lists below such a heading name tasks without being tasks.
_PROSE_HEADING = re.compile(
    r"\b(?:dependenc\w*|examples?|format|legend|mvp|notes?|order|parallel|strategy"
    r"|summary)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Item:
    """A task line. `body`: the lines that are indented below it.

    `box`: what is between the brackets, at `box_span` of the line. `stories`: its
    labels other than `[P]`. `phase`: the number of the part of the file that holds it,
    in file order. `headings`: those above it from the second level down.
    """

    line_index: int
    task_id: str
    box: str
    box_span: tuple[int, int]
    parallel: bool
    stories: tuple[str, ...]
    text: str
    body: tuple[str, ...]
    phase: int
    headings: tuple[str, ...]

    @property
    def done(self) -> bool:
        return bool(self.box.strip())


@dataclass(frozen=True)
class UnreadLine:
    """A line that looks like a task but cannot be read as one.

    `gates`: what comes after it must wait, because the line may be an open task.
    `first_line_index`: the task that has its id already, or None.
    """

    line_index: int
    text: str
    phase: int
    parallel: bool
    task_ids: tuple[str, ...]
    gates: bool
    first_line_index: int | None = None


@dataclass
class PlanLines:
    """The contents of a page, in file order.

    `unread`: lines to report, each by itself. `criteria`: indices of check boxes
    without an id in parts without tasks, and below headings such as `Acceptance`.
    """

    items: list[Item] = field(default_factory=list)
    unread: list[UnreadLine] = field(default_factory=list)
    criteria: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Line:
    """A visible line that is or may be a task, and what is above it."""

    index: int
    content: TaskLine | Suspect
    phase: int
    indent: int
    headings: tuple[str, ...]
    below_label: bool

    @property
    def is_task(self) -> bool:
        return isinstance(self.content, TaskLine)

    @property
    def is_boxed(self) -> bool:
        return isinstance(self.content, TaskLine) or self.content.boxed

    def is_below(self, heading: re.Pattern[str]) -> bool:
        """Whether the nearest heading is of this kind, and not that of a phase."""
        if not self.headings or _PHASE_HEADING.match(self.headings[-1]):
            return False
        return heading.search(self.headings[-1]) is not None

    @property
    def task_ids(self) -> tuple[str, ...]:
        if isinstance(self.content, TaskLine):
            return (self.content.task_id,)
        return self.content.task_ids


def is_top_item(line: str) -> bool:
    """Whether the line is a task item without indentation."""
    item = read_line(line, numbers_of_two=True)
    return item is not None and not item.indent


def find_items(page: Page) -> list[Item]:
    """Every task of the page, in file order."""
    return read_plan_lines(page).items


def read_plan_lines(page: Page) -> PlanLines:
    """Every visible line that is a task or looks like one.

    A phase begins at a heading of the first or second level, or at one that says
    `Phase`. If two lines have the same id, the one in spec-kit's own form counts, else
    the first.
    """
    scanner = _Scanner(has_numbers_of_two(text for _, text in page.visible_lines()))
    lines = list(scanner.candidate_lines(page))
    counting = _counting_lines(lines)
    with_ids = {line.index for line in lines if line.task_ids and line.is_boxed}
    phases_with_tasks = set(scanner.numbered_phases)
    for line in lines:
        # A legend or a summary repeats tasks without being a list of them.
        if (
            line.task_ids
            and line.is_boxed
            and _first_line(line, counting)
            in (
                line,
                None,
            )
        ):
            phases_with_tasks.add(line.phase)
    plan_lines = PlanLines()
    for number, line in enumerate(lines):
        first = _first_line(line, counting)
        following = lines[number + 1] if number + 1 < len(lines) else None
        if first is line and isinstance(line.content, TaskLine):
            body = _body(page, line.index, with_ids)
            plan_lines.items.append(_item(line, line.content, body))
        elif not line.task_ids and _is_criterion(line, following, phases_with_tasks):
            plan_lines.criteria.append(line.index)
        elif _is_worth_reporting(line, first, phases_with_tasks):
            plan_lines.unread.append(_unread_line(page, line, first))
    return plan_lines


def _is_criterion(
    line: _Line, following: _Line | None, phases_with_tasks: set[int]
) -> bool:
    """Whether a check box without an id is something else than a task.

    Either it is not among tasks, or tasks are nested below it, so that it is their
    title.
    """
    if line.phase not in phases_with_tasks:
        return True
    if line.below_label or line.is_below(_CRITERIA_HEADING):
        return True
    if following is None or not following.is_task:
        return False
    is_nested = following.indent > line.indent
    return is_nested and following.headings == line.headings


@dataclass
class _Scanner:
    """Reads the lines of a page one after the other.

    `numbered_phases`: those whose heading says `Phase 2` or the like. `owner_indent`:
    the indentation of the task whose body the next line may belong to. `below_label`:
    the last line of prose was one such as `**Acceptance criteria**:`. `numbers_of_two`:
    as in `spec_kit_lines.read_line`.
    """

    numbers_of_two: bool
    numbered_phases: set[int] = field(default_factory=set)
    phase: int = 0
    headings: dict[int, str] = field(default_factory=dict)  # level → text
    owner_indent: int | None = None
    below_label: bool = False

    def candidate_lines(self, page: Page) -> Iterator[_Line]:
        """The lines that are or may be tasks; check boxes of a task's body are not."""
        for index, line in page.visible_lines():
            title = heading_text(line)
            if title is not None:
                self._enter_heading(heading_level(line), title)
            elif line.strip():
                content = self._read(line)
                if content is not None:
                    indent = indent_of(line)
                    # The heading of the first level is the title of the whole file.
                    headings = tuple(
                        text
                        for level, text in sorted(self.headings.items())
                        if level > 1
                    )
                    yield _Line(
                        index, content, self.phase, indent, headings, self.below_label
                    )

    def _enter_heading(self, level: int, title: str) -> None:
        self.headings = {
            depth: text for depth, text in self.headings.items() if depth < level
        }
        self.headings[level] = title
        if level <= 2 or _PHASE_HEADING.match(title):
            self.phase += 1
        if _NUMBERED_PHASE.match(title):
            self.numbered_phases.add(self.phase)
        self.owner_indent = None
        self.below_label = False

    def _read(self, line: str) -> TaskLine | Suspect | None:
        """The line as a task or suspect; None for prose and for bodies of tasks."""
        indent = indent_of(line)
        if self.owner_indent is not None and indent <= self.owner_indent:
            self.owner_indent = None
        task_line = read_line(line, numbers_of_two=self.numbers_of_two)
        content = task_line or suspect_line(line)
        if content is None:
            if not indent and not _LIST_ITEM.match(line):
                self.below_label = _LABEL.fullmatch(line) is not None
            return None
        if isinstance(content, TaskLine) or (content.boxed and content.task_ids):
            self.owner_indent = indent
            self.below_label = False
        elif self.owner_indent is not None:
            return None
        return content


def _counting_lines(lines: list[_Line]) -> dict[str, _Line]:
    """Task id → the line that counts as that task."""
    counting: dict[str, _Line] = {}
    for strict in (True, False):
        for line in lines:
            content = line.content
            if isinstance(content, TaskLine) and content.strict is strict:
                counting.setdefault(content.task_id, line)
    return counting


def _first_line(line: _Line, counting: dict[str, _Line]) -> _Line | None:
    """The line that counts as the task that this line names; None if there is none.

    None also if it names several tasks of which one is not read.
    """
    if not line.task_ids:
        return None
    lines = [counting.get(task_id) for task_id in line.task_ids]
    if None in lines:
        return None
    return lines[0]


def _is_worth_reporting(
    line: _Line, first: _Line | None, phases_with_tasks: set[int]
) -> bool:
    """Whether a line that is not a task must be reported by itself.

    Prose may name tasks of the plan, and outside of the parts with tasks any task.
    """
    if line.is_boxed:
        return True
    if line.phase not in phases_with_tasks or line.is_below(_PROSE_HEADING):
        return False
    return first is None


def _unread_line(page: Page, line: _Line, first: _Line | None) -> UnreadLine:
    content = line.content
    if isinstance(content, TaskLine):
        ticked = content.done
        parallel = _PARALLEL in _upper(content.labels)
    else:
        ticked = content.ticked
        parallel = content.parallel
    gates = not ticked and not _repeats(content, first)
    return UnreadLine(
        line_index=line.index,
        text=page.lines[line.index].strip(),
        phase=line.phase,
        parallel=parallel,
        task_ids=line.task_ids,
        gates=gates,
        first_line_index=first.index if first else None,
    )


def _repeats(content: TaskLine | Suspect, first: _Line | None) -> bool:
    """Whether the line says nothing that the task with its id does not say.

    Another task in spec-kit's own form does: somebody gave two tasks the same id.
    """
    if first is None:
        return False
    if not isinstance(content, TaskLine) or not content.strict:
        return True
    assert isinstance(first.content, TaskLine)
    return content.text == first.content.text


def _upper(labels: tuple[str, ...]) -> list[str]:
    return [label.upper() for label in labels]


def _item(line: _Line, content: TaskLine, body: tuple[str, ...]) -> Item:
    stories = [label for label in content.labels if label.upper() != _PARALLEL]
    return Item(
        line_index=line.index,
        task_id=content.task_id,
        box=content.box,
        box_span=content.box_span,
        parallel=len(stories) < len(content.labels),
        stories=tuple(stories),
        text=content.text,
        body=body,
        phase=line.phase,
        headings=line.headings,
    )


def _body(page: Page, item_index: int, with_ids: set[int]) -> tuple[str, ...]:
    """The lines that are indented deeper than the item and are not tasks themselves."""
    indent = indent_of(page.lines[item_index])
    body: list[str] = []
    blank: list[str] = []
    for index in range(item_index + 1, len(page.lines)):
        line = page.lines[index]
        if not line.strip():
            blank.append(line)
            continue
        if indent_of(line) <= indent or index in with_ids:
            break
        body += [*blank, line]
        blank = []
    return tuple(body)
