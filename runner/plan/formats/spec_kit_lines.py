"""One line of a spec-kit plan: whether it is a task, or looks like one.

spec-kit asks for `- [ ] T014 [P] [US1] text`, but models and people write the box, the
id and the bullet in many ways. What can be read in one way only is read. Every other
line with a box or an id is a suspect, which must not be lost without a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

TASK_ID = r"T[0-9]{1,9}(?:\.[0-9]{1,4})?[A-Za-z]?"
# The form that spec-kit asks for.
STRICT_ITEM = re.compile(
    r"(?P<indent>[ \t]*)[-*+][ \t]+\[(?P<box>[ xX])\][ \t]+"
    rf"(?:\*\*)?(?P<id>{TASK_ID})(?:\*\*)?:?(?:\*\*)?"
    r"(?P<labels>(?:[ \t]*\[[^\]]{1,40}\](?!\())*)[ \t]+(?P<text>\S.*)"
)
# `T-002`, `US1-T002`, `T003-FULL`; but `T001-T003` and `T001-003` are ranges.
ANY_ID = (
    r"(?:(?!T[0-9])[A-Za-z][A-Za-z0-9]{0,9}[-_.])?[Tt][-_]?[0-9]{1,9}"
    r"(?:\.[0-9]{1,4}){0,3}"
    r"(?:\.?[A-Za-z](?![A-Za-z0-9]))?(?:[-_](?!T[-_]?[0-9])[A-Za-z][A-Za-z0-9]{0,30}){0,3}"
)
# `T008-1` and `T008-08` are parts of T008, but `T001-003` is a range: equally wide,
# unless all of the page are written so; see `has_numbers_of_two`.
_SUB_NUMBER = r"(?<=[0-9]{3})-[0-9]{1,2}(?![0-9])|(?<=[Tt][0-9]{2})-[0-9](?![0-9])"
_ID_BEGINS = r"(?<![\w-])"
_ID_ENDS = r"(?![\w/]|[-–—.][\w])"

_BULLET = r"(?:[-*+•‣◦–—·●▪]|[0-9]{1,4}[.)])"
_TICKS = "xX✓✔✅☑√"
_READABLE = re.compile(
    rf"(?P<indent>[^\S\n]*)(?:{_BULLET}[^\S\n]*)?"
    rf"\[(?P<box>\s{{0,3}}|\s?[{_TICKS}]\ufe0f?\s?)\](?P<rest>[^\S\n]*\S.*)"
)
_LABEL = re.compile(r"\s*\[([^\[\]]{1,40})\](?!\()")
_CODE_OF_LABELS = re.compile(r"`((?:\s*\[[^\[\]]{1,40}\]){1,10})\s*`(?=\s)")
_ID = re.compile(
    rf"(?P<open>[*_`(\[#]{{0,4}})(?P<id>{ANY_ID}(?:{_SUB_NUMBER})?){_ID_ENDS}"
)
_ID_OF_TWO = re.compile(
    rf"(?P<open>[*_`(\[#]{{0,4}})(?P<id>{ANY_ID}(?:-[0-9]{{1,4}})?){_ID_ENDS}"
)
_BOX_AND_TWO = re.compile(
    r"[^\w\[]{0,20}(?:[0-9]{1,4}[.)]\s*)?\[[ xX]?\][*_`\s]{0,6}[Tt](?P<first>[0-9]{2,4})"
    r"-(?P<second>[0-9]{2,4})(?![\w-])"
)
_AFTER_ID = re.compile(r"[*_`)\]:.,;]{0,6}")
_SEPARATED = re.compile(r"\s|[-–—:|]\s|[-–—:|]\S")
# `T002, T003 and T004 …` and `T062-T067 …` are several tasks on one line.
_GLUE = r"[\s*_`]*(?:[-–—,&+/→]|\.\.|and\b|to\b|through\b)[\s*_`\[]*"
_SEVERAL_IDS = re.compile(f"{_GLUE}{ANY_ID}", re.IGNORECASE)
_SEVERAL = re.compile(f"{_GLUE}(?:{ANY_ID}|[0-9])", re.IGNORECASE)

# Anything that may stand before a box: bullets of all kinds, quotes, table pipes.
_BEFORE_BOX = r"(?:[^\w\[［【〔⟦({（｛☐☑☒✅✔✓⬜□🔲❌]|_|[0-9]{1,4}[.)]|[A-Za-z][.)])*"
_BOX = (
    r"(?:\\?[\[［【〔⟦]\s{0,3}(?P<mark>[^\[\]］】〕⟧]{0,4}?)\s{0,3}\\?[\]］】〕⟧](?P<link>\((?=\S))?"
    r"|[({（｛]\s{0,3}(?P<round>[xX✓✔]?)\s{0,3}[)}）｝]"
    r"|(?P<symbol>[☐☑☒✅✔✓⬜□🔲❌])\ufe0f?)"
)
_BOXED = re.compile(_BEFORE_BOX + _BOX)
_BOX_LATER = re.compile(r"\[[ xX~]?\]")
_BULLET_AND_ID = re.compile(
    rf"\s*{_BULLET}\s+(?:[*_`~(]|\[[^\[\]]{{1,10}}\]\s*){{0,6}}{_ID_BEGINS}{ANY_ID}(?!\w)"
)
_FIRST_ID = re.compile(
    rf"(?:[\s*_`~(#|-]|{_BULLET}\s|\[(?=T)|\[[^\[\]]{{1,10}}\](?!\()){{0,12}}"
    rf"(?P<id>{ANY_ID})(?!\w)"
)
_NEXT_ID = re.compile(rf"{_GLUE}(?P<id>{ANY_ID})(?!\w)", re.IGNORECASE)
_LABEL_TEXT = re.compile(r"ID|P|(?:US|P|T)?[0-9]+", re.IGNORECASE)
_OWN_LABEL = re.compile(r"P|US[0-9]+", re.IGNORECASE)
_PARALLEL_LABEL = re.compile(r"\[\s*[Pp]\s*\]")
_HAS_WORD = re.compile(r"\w")
# How far into a line its box and its ids may be.
_HEAD = 80
_MARK_WORDS = frozenset({"wip", "tbd", "n/a", "todo", "done"})
_MAX_LABELS = 10  # before an id


@dataclass(frozen=True)
class TaskLine:
    """A line that was read as a task.

    `strict`: it has the form that spec-kit asks for. `box`: what is between its
    brackets, `box_span` the position of that. `labels`: `P`, `US1` and the like.
    """

    strict: bool
    indent: str
    task_id: str
    box: str
    box_span: tuple[int, int]
    labels: tuple[str, ...]
    text: str

    @property
    def done(self) -> bool:
        return bool(self.box.strip())


@dataclass(frozen=True)
class Suspect:
    """A line that was not read, although it has a box or begins with a task's id.

    `boxed`: it begins with a box. `ticked`: the box says that it is done. `task_ids`:
    the ids at its beginning.
    """

    boxed: bool
    ticked: bool
    parallel: bool
    task_ids: tuple[str, ...]


def has_numbers_of_two(lines: Iterable[str]) -> bool:
    """Whether ids such as `T002-001` are the first task of feature 2, not a range.

    They are if two tasks have the same first number, or one has a lower second number.
    """
    second_numbers: dict[str, str] = {}
    for line in lines:
        match = _BOX_AND_TWO.match(line) if "[" in line else None
        if match is None:
            continue
        first, second = match["first"], match["second"]
        other = second_numbers.setdefault(first, second)
        if other != second or int(second) < int(first):
            return True
    return False


def read_line(line: str, *, numbers_of_two: bool = False) -> TaskLine | None:
    """The task on this line, or None if it cannot be read in one way only.

    `numbers_of_two`: as `has_numbers_of_two` says of its page.
    """
    if "[" not in line:
        return None
    strict = STRICT_ITEM.fullmatch(line)
    if strict and _SEVERAL_IDS.match(strict["text"]):
        return None
    if strict:
        first_labels = _labels(strict["labels"])[0]
        more_labels, text = _labels_as_code(strict["text"].strip())
        return TaskLine(
            strict=True,
            indent=strict["indent"],
            task_id=strict["id"],
            box=strict["box"],
            box_span=strict.span("box"),
            labels=(*first_labels, *more_labels),
            text=text,
        )
    match = _READABLE.fullmatch(line)
    if match is None:
        return None
    id_expression = _ID_OF_TWO if numbers_of_two else _ID
    parts = _split_rest(match["rest"].lstrip(), id_expression)
    if parts is None:
        return None
    task_id, labels, text = parts
    return TaskLine(
        strict=False,
        indent=match["indent"],
        task_id=task_id,
        box=match["box"],
        box_span=match.span("box"),
        labels=labels,
        text=text,
    )


def _split_rest(
    rest: str, id_expression: re.Pattern[str]
) -> tuple[str, tuple[str, ...], str] | None:
    """The id, labels and text after the box; None without exactly one id."""
    labels_before: list[str] = []
    match = id_expression.match(rest)
    while match is None:
        label = _LABEL.match(rest)
        if label is None or len(labels_before) == _MAX_LABELS:
            return None
        labels_before.append(label[1].strip())
        rest = rest[label.end() :].lstrip()
        match = id_expression.match(rest)
    task_id = match["id"]
    after = rest[match.end() :]
    closing = _AFTER_ID.match(after)
    assert closing
    tail = after[closing.end() :]
    if _SEVERAL.match(after) or _SEVERAL.match(tail):
        return None
    if not closing[0] and not _SEPARATED.match(tail):
        return None
    labels, text = _labels(tail)
    more_labels, text = _labels_as_code(text.strip())
    labels += more_labels
    text = text.lstrip("-–—:|").strip()
    if not _HAS_WORD.search(text):
        return None
    if task_id.startswith("t"):
        task_id = f"T{task_id[1:]}"
    return task_id, (*labels_before, *labels), text


def _labels(text: str) -> tuple[list[str], str]:
    """The labels that the text begins with, and what follows them."""
    labels = []
    end = 0
    while match := _LABEL.match(text, end):
        labels.append(match[1].strip())
        end = match.end()
    return labels, text[end:]


def _labels_as_code(text: str) -> tuple[list[str], str]:
    """The labels in backticks that the text begins with, `[P] [US1]`, and what follows.

    The first must be spec-kit's, `P` or `US1`: other brackets are the task's own words.
    """
    code = _CODE_OF_LABELS.match(text)
    if code is None:
        return [], text
    labels = _labels(code[1])[0]
    following = text[code.end() :].strip()
    if not _OWN_LABEL.fullmatch(labels[0]) or not _HAS_WORD.search(following):
        return [], text
    return labels, following


def suspect_line(line: str) -> Suspect | None:
    """The line as a suspect; None if it has neither a box nor an id where one belongs."""
    head = line[:_HEAD]
    parallel = _PARALLEL_LABEL.search(head) is not None
    box = _BOXED.match(head)
    if box:
        task_ids = _leading_ids(head[box.end() :])
        if _is_box(box, has_id=bool(task_ids)):
            return Suspect(True, _is_ticked(box), parallel, task_ids)
    task_ids = _leading_ids(head)
    if task_ids and (_BULLET_AND_ID.match(head) or _BOX_LATER.search(head)):
        return Suspect(False, False, parallel, task_ids)
    return None


def _leading_ids(text: str) -> tuple[str, ...]:
    """The ids that the text begins with: `T002`, `**T002, T003**`, `[P] T002–T005`."""
    match = _FIRST_ID.match(text)
    task_ids = []
    while match:
        task_ids.append(match["id"])
        match = _NEXT_ID.match(text, match.end())
    return tuple(task_ids)


def _is_box(box: re.Match[str], *, has_id: bool) -> bool:
    """Whether a bracket or symbol is a check box; an id behind it makes most of them so."""
    symbol, mark = box["symbol"], box["mark"]
    if symbol:
        return has_id or symbol in "☐☑☒⬜□🔲"
    if mark is None:  # round brackets, which hold nothing or a tick
        return True
    mark = mark.strip()
    if box["link"] and not has_id and mark not in ("", "x", "X"):
        return False
    return _is_mark(mark) or (has_id and not _is_label(mark))


def _is_ticked(box: re.Match[str]) -> bool:
    if box["symbol"]:
        return box["symbol"] in "☑✅✔✓"
    mark = (box["mark"] or box["round"] or "").strip()
    return mark != "" and mark in _TICKS


def _is_mark(mark: str) -> bool:
    """Whether brackets with this content are a box: blank, a symbol, a small letter."""
    if mark in ("", "x", "X") or mark.lower() in _MARK_WORDS:
        return True
    if len(mark) == 1 and mark.islower():
        return True
    return not any(char.isalnum() for char in mark)


def _is_label(mark: str) -> bool:
    """Whether brackets with this content are a label of a task: `P`, `US1`, `12`."""
    return _LABEL_TEXT.fullmatch(mark) is not None
