"""Check boxes in Markdown: nested, and often numbered.

`- [ ] 2.1 text` is a task below `2.`, whether it is indented or only its number says so.
A task with tasks below it is a group: they are the work, and it is done when they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from runner.plan.formats.diagnostics import (
    MAX_QUOTED,
    Diagnostics,
    UniqueIds,
    line_numbers,
    refuse_number,
)
from runner.plan.formats.markdown import (
    RULE,
    Page,
    heading_level,
    heading_text,
    indent_of,
)

TICKS = "xX✓✔✅☑√"
MAX_SLUG = 48  # characters of an id that is made from a text
MAX_DEPTH = 12  # of nested boxes; deeper ones are details
MAX_HEADING = 300  # characters of a heading, which the prompt of each task below it has
CODE_INDENT = 4  # columns; what is outside of a list and indented so far is code

_BOX = re.compile(
    r"[ \t]*(?:[-*+]|(?P<ordinal>[0-9]{1,9})[.)])[ \t]*"
    r"\[(?P<mark>[^\[\]]{0,3})\](?P<star>\\?\*(?!\*))?(?P<rest>(?![(:\[]).*)"
)
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]")
_TASK_WORD = r"(?:task|step|任务|任務|タスク|작업|tarea|tâche|aufgabe)[ \t#-]{0,3}"
_NUMBER = re.compile(
    r"(?P<open>[*_`~\[(#]{0,4})"
    rf"(?:{_TASK_WORD})?"
    r"(?P<number>(?:T-?)?[0-9]{1,6}(?:\.[0-9]{1,4}){0,5}[a-z]?)(?![0-9A-Za-z])"
    r"(?P<star>\\?\*(?!\*))?"
    r"(?P<close>[.:)\]*_`、．：]{0,6})",
    re.IGNORECASE,
)
_PARALLEL = re.compile(r"^\(P\)[ \t]*|[ \t]*\(P\)$")
_STAR_BEFORE = re.compile(r"[ \t]{0,4}\\?\*[ \t]{0,4}(?=[0-9])(?P<rest>[^*]*)")
_STRUCK = re.compile(r"~~[^~]*~~[.)]?(?:[ \t]*[(（—–-].*)?")
_WORD = re.compile(r"\w")
# `**Acceptance criteria:**` alone on its line, or `Tasks:`.
_LABEL = re.compile(
    r"(?:[*_]{2,3}(?P<bold>[^*_]{1,80})[*_]{2,3}:?|(?P<plain>[^*_.]{1,60}):)"
)


@dataclass(eq=False)
class Box:
    """A line with a check box.

    `mark`: what is between its brackets, `span` the position of that. `number`: as it
    is written, or "". `body`: the lines that belong to it, without those of the boxes
    below it. `headings`: of the part of the file that it is in. `parts`: the line and
    the position of the mark of each box that is a part of this task.
    """

    line_index: int
    indent: int
    mark: str
    span: tuple[int, int]
    number: str
    text: str
    optional: bool = False
    parallel: bool = False
    struck: bool = False
    headings: tuple[str, ...] = ()
    part: int = 0
    task_id: str = ""
    parent: Box | None = None
    children: list[Box] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    parts: list[tuple[int, tuple[int, int]]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.mark.strip() != "" and self.mark.strip() in TICKS

    @property
    def label(self) -> str:
        """The number and the text."""
        return f"{self.number} {self.text}".strip()

    def parents(self) -> Iterator[Box]:
        """The boxes that it is below of, the nearest first."""
        box = self.parent
        while box is not None:
            yield box
            box = box.parent

    def leaves(self) -> Iterator[Box]:
        """The boxes below it that have none below them; itself if it has none."""
        waiting = [self]
        while waiting:
            box = waiting.pop()
            if not box.children:
                yield box
            waiting += reversed(box.children)


@dataclass
class Boxes:
    """The boxes of a page in the order of the file.

    `details` are the lines of boxes that are no tasks: below an ordinary list item.
    `code` are those of boxes that Markdown shows as code because of their indentation.
    """

    all: list[Box]
    details: list[int]
    code: list[int] = field(default_factory=list)

    @property
    def tops(self) -> list[Box]:
        return [box for box in self.all if box.parent is None]


def is_box(line: str) -> bool:
    """Whether the line has a check box at the left margin."""
    return not line.startswith((" ", "\t")) and _match(line) is not None


def _match(line: str) -> re.Match[str] | None:
    if "[" not in line:
        return None
    match = _BOX.fullmatch(line)
    if match is None:
        return None
    mark = match["mark"].strip()
    if len(mark) > 1 and mark.rstrip("\ufe0f") not in TICKS:
        return None
    # `[P]` and `[1]` are labels.
    if mark.isalnum() and not mark.islower() and mark not in TICKS:
        return None
    return match


# Whether a box (the second) that is indented below another one is a task of its own.
IsSubtask = Callable[[Box, Box], bool]


def read_boxes(page: Page, *, bare_integers: bool) -> Boxes:
    """The boxes of the page.

    `bare_integers`: `- [ ] 3 text` has the number 3; otherwise only `3.` and `3)` do,
    because the text may be `3 tests`.
    """
    return _Reader(page, bare_integers).read()


def read_free_boxes(page: Page, is_subtask: IsSubtask | None) -> Boxes:
    """The boxes of a page that no tool has written.

    A line that is only a label, and a list item that is below no box, are headings of
    the boxes below them. `is_subtask`: None if every nested box is a task of its own.
    """
    return _Reader(page, False, is_subtask, free_form=True).read()


@dataclass(frozen=True)
class _Item:
    """An open list item. `box` is None for an ordinary one, which has the `text`."""

    indent: int
    box: Box | None
    text: str = ""


class _Reader:
    def __init__(
        self,
        page: Page,
        bare_integers: bool,
        is_subtask: IsSubtask | None = None,
        *,
        free_form: bool = False,
    ) -> None:
        self._page = page
        self._bare_integers = bare_integers
        self._is_subtask = is_subtask
        self._free_form = free_form
        self._headings: list[tuple[int, str]] = []
        self._label = ""
        self._titles = 0
        self._part = 0
        # From the outermost.
        self._items: list[_Item] = []
        self._boxes: list[Box] = []
        self._details: list[int] = []
        self._code: list[int] = []
        self._latest: dict[str, Box] = {}

    def read(self) -> Boxes:
        visible = {index for index, _ in self._page.visible_lines()}
        after_blank = True
        for index, line in enumerate(self._page.lines):
            if not line.strip():
                after_blank = True
                self._add_to_body(line)
                continue
            if index in visible:
                self._read_line(index, line, after_blank)
            elif self._items and indent_of(line) > self._items[0].indent:
                self._add_to_body(line)
            # What is indented directly below a heading is code, too.
            after_blank = heading_text(line) is not None
        for box in self._boxes:
            while box.body and not box.body[-1].strip():
                box.body.pop()
        return Boxes(self._boxes, self._details, self._code)

    def _add_to_body(self, line: str) -> None:
        for item in reversed(self._items):
            if item.box is not None:
                item.box.body.append(line)
                return

    def _read_line(self, index: int, line: str, after_blank: bool) -> None:
        heading = heading_text(line)
        if heading is not None:
            self._enter_heading(heading_level(line), heading)
            return
        if RULE.fullmatch(line):
            self._items = []
            return
        indent = indent_of(line)
        is_outside = self._free_form and not self._items
        if is_outside and after_blank and indent >= CODE_INDENT:
            if _match(line):
                self._code.append(index)
            return
        if _LIST_ITEM.match(line) or _match(line):
            self._read_item(index, line)
            return
        if self._free_form and not indent:
            label = _LABEL.fullmatch(line.strip())
            if label or is_outside or after_blank:
                self._label = (label["bold"] or label["plain"]) if label else ""
                self._items = []
                return
        # A paragraph goes on without indentation until a blank line.
        if after_blank:
            while self._items and self._items[-1].indent >= indent:
                self._items.pop()
        self._add_to_body(line)

    def _enter_heading(self, level: int, text: str) -> None:
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        self._headings.append((level, text[:MAX_HEADING]))
        self._titles += level == 1
        self._label = ""
        self._part += 1
        self._items = []

    def _read_item(self, index: int, line: str) -> None:
        indent = indent_of(line)
        while self._items and self._items[-1].indent >= indent:
            self._items.pop()
        match = _match(line)
        box = None
        if match is not None and _WORD.search(match["rest"]):
            box = self._box(index, indent, match)
        enclosing = self._items[-1] if self._items else None
        if box is None or self._is_detail(box, enclosing):
            if match is not None:
                self._details.append(index)
                line = self._as_part(index, line, match)
            self._add_to_body(line)
            text = _LIST_ITEM.sub("", line, count=1).strip()
            self._items.append(_Item(indent, None, text[:MAX_HEADING]))
            return
        parent = enclosing.box if enclosing else None
        box.parent = parent or self._parent_by_number(box)
        if box.parent is not None:
            box.parent.children.append(box)
        self._boxes.append(box)
        if box.number:
            self._latest[box.number] = box
        self._items.append(_Item(indent, box))

    def _as_part(self, index: int, line: str, match: re.Match[str]) -> str:
        """The line of a box that is part of a task, as the prompt of the task has it.

        Without its mark: it is ticked with the task, which stays the same task.
        """
        owners = [item.box for item in self._items if item.box is not None]
        if not self._free_form or not owners:
            return line
        start, end = match.span("mark")
        owners[-1].parts.append((index, (start, end)))
        return line[: start - 1] + line[end + 1 :].lstrip()

    def _is_detail(self, box: Box, enclosing: _Item | None) -> bool:
        """Whether the box, directly inside of this item, is a part of another task."""
        if enclosing is None:
            return False
        if len(self._items) >= MAX_DEPTH:
            return True
        if enclosing.box is not None:
            is_subtask = self._is_subtask
            return is_subtask is not None and not is_subtask(enclosing.box, box)
        if not self._free_form:
            return True
        return any(item.box is not None for item in self._items)

    def _parent_by_number(self, box: Box) -> Box | None:
        """The box `2.` before a box `2.1` that is not indented."""
        number = box.number
        while "." in number:
            number = number.rpartition(".")[0]
            parent = self._latest.get(number)
            if parent is not None:
                return parent
        return None

    def _box(self, index: int, indent: int, match: re.Match[str]) -> Box:
        rest = match["rest"]
        optional = match["star"] is not None
        star = _STAR_BEFORE.fullmatch(rest)
        if star:
            optional, rest = True, star["rest"]
        number, text, starred = self._split_number(rest.strip(), match["ordinal"])
        unmarked = _PARALLEL.sub("", text)
        # The first heading of the first level is the title of the file.
        headings = [
            heading
            for level, heading in self._headings
            if level > 1 or (self._free_form and self._titles > 1)
        ]
        if self._label:
            headings.append(self._label)
        headings += [item.text for item in self._items if item.text]
        return Box(
            line_index=index,
            indent=indent,
            mark=match["mark"],
            span=match.span("mark"),
            number=number,
            text=unmarked or text,
            optional=optional or starred,
            parallel=unmarked != text,
            struck=_STRUCK.fullmatch(rest.strip()) is not None,
            headings=tuple(headings),
            part=self._part,
        )

    def _split_number(self, rest: str, ordinal: str | None) -> tuple[str, str, bool]:
        """The number of a task or "", its text, and whether a star follows the number."""
        match = _NUMBER.match(rest)
        if match is None:
            return self._unnumbered(rest, ordinal)
        number, opening, closing = match["number"], match["open"], match["close"]
        after = rest[match.end() :]
        is_integer = number.isdecimal()
        has_word = not rest[len(opening) :].startswith(number)
        if is_integer and not closing and not has_word and not self._bare_integers:
            return self._unnumbered(rest, ordinal)
        if after and not after[0].isspace() and not (closing and after[0].isalpha()):
            return self._unnumbered(rest, ordinal)
        if "**" in opening and "**" not in closing:
            after = after.replace("**", "", 1)
        text = after.strip().lstrip("-–—:|").strip()
        if not _WORD.search(text):
            return self._unnumbered(rest, ordinal)
        return number, text, match["star"] is not None

    def _unnumbered(self, rest: str, ordinal: str | None) -> tuple[str, str, bool]:
        number = ordinal if ordinal and self._bare_integers else ""
        return number or "", rest, False


def name_boxes(boxes: Boxes, diagnostics: Diagnostics) -> None:
    """Give each box its id: its number, else the words of its text.

    The second box with an id gets `-2`: both are work, and in the file they have an
    order. InvalidInput if there are too many.
    """
    refuse_number(diagnostics.plan_path, len(boxes.all))
    ids = UniqueIds(box.number for box in boxes.all)
    for box in boxes.all:
        name = box.number or slug(box.text) or f"line-{box.line_index + 1}"
        box.task_id = ids.next(name)
        if box.number and box.task_id != name:
            what = f"a second task {name}, here called {box.task_id}"
            diagnostics.add_note(box.line_index, what)


def slug(text: str) -> str:
    """An id made of the words of the text; "" if it has none."""
    words = re.findall(r"\w+", text.lower().replace("_", " "))
    return "-".join(words)[:MAX_SLUG].strip("-")


def without_skipped(
    boxes: Boxes, options_text: str, readable: str, diagnostics: Diagnostics
) -> None:
    """Remove the boxes that a person said to skip: those whose mark cannot be read.

    `readable`: the marks that can be, beside a blank and the ticks.
    """
    numbers = line_numbers(options_text)
    kept = []
    for box in boxes.all:
        line_number = box.line_index + 1
        if line_number not in numbers or is_readable(box, readable):
            kept.append(box)
            continue
        numbers.discard(line_number)
        what = f"skipped by --skip-line: `{box.label[:MAX_QUOTED]}`"
        diagnostics.add_note(box.line_index, what)
        _detach(box)
    for number in sorted(numbers):
        what = "--skip-line names this line, but there is no unread task on it"
        diagnostics.add_note(number - 1, what)
    boxes.all = kept


def _detach(box: Box) -> None:
    """Take the box out of the tree; what is below it is then below its parent."""
    if box.parent is not None:
        box.parent.children.remove(box)
        box.parent.children += box.children
    for child in box.children:
        child.parent = box.parent
    box.children = []


def is_readable(box: Box, readable: str) -> bool:
    """Whether the mark says what the state is."""
    mark = box.mark.strip()
    return mark == "" or box.done or mark in readable


def remove(boxes: Boxes, unwanted: Sequence[Box]) -> None:
    """Take these boxes out of the tree; what is below one goes with it."""
    gone = set(map(id, unwanted))
    kept = []
    for box in boxes.all:
        if id(box) in gone or any(id(parent) in gone for parent in box.parents()):
            continue
        kept.append(box)
    for box in boxes.all:
        box.children = [child for child in box.children if id(child) not in gone]
    boxes.all = kept


def leave_out_struck(boxes: Boxes, diagnostics: Diagnostics) -> None:
    """Remove the open boxes whose whole text is struck out, with a note for each."""
    struck = [box for box in boxes.all if box.struck and not box.done]
    remove(boxes, struck)
    for box in struck:
        what = f"struck out, so it is not a task: `{box.label[:MAX_QUOTED]}`"
        diagnostics.add_note(box.line_index, what)
