"""The tasks that prose of a spec-kit plan names, and in which order."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from runner.plan.formats.diagnostics import MAX_EDGES
from runner.plan.formats.spec_kit_items import PlanLines, UnreadLine
from runner.plan.formats.spec_kit_lines import ANY_ID

_MENTION = re.compile(
    rf"(?<![\w-])(?P<first>{ANY_ID})(?![\w])"
    r"(?:\s*(?:-|–|—|\.\.|to|through)\s*(?P<last>T?[0-9]{1,9}[A-Za-z]?)\b)?"
)
_ID_PARTS = re.compile(
    r"T[-_]?(?P<number>[0-9]+)(?:\.(?P<decimal>[0-9]+))?(?P<letter>[A-Za-z]?)"
)
_ARROW = re.compile(r"→|⇒|->|=>")
_RELATION = re.compile(
    r"\b(?P<word>blocks|before|depends? on|after|requires|blocked by|waits? for)\b",
    re.IGNORECASE,
)
# Relations in which the task that is named first comes earlier.
_FORWARD_RELATIONS = frozenset({"blocks", "before"})
_CLAUSE_END = re.compile(r"[;,]|\.\s")
# Between two ids of one list: `T002, T003 and T004`.
_LIST_GLUE = re.compile(r"[\s,&+/*`()]*(?:\b(?:and|or)\b)?[\s,&+/*`()]*", re.IGNORECASE)
_MAX_PREDICATE = 25  # characters between a subject and its relation

_SortKey = tuple[int, int, str]


class Mentions:
    """Finds tasks and unread lines by the ids that a text names."""

    def __init__(self, plan_lines: PlanLines) -> None:
        self._task_ids = {item.task_id for item in plan_lines.items}
        self._unread: dict[str, UnreadLine] = {}
        for line in plan_lines.unread:
            if line.gates:
                for task_id in line.task_ids:
                    self._unread.setdefault(task_id, line)
        keys: list[tuple[_SortKey, str]] = []
        for item in plan_lines.items:
            key = _sort_key(item.task_id)
            if key is not None:
                keys.append((key, item.task_id))
        keys.sort()
        self._keys = [key for key, _ in keys]
        self._sorted_ids = [task_id for _, task_id in keys]

    def read(self, text: str) -> tuple[Sequence[str], Sequence[str], list[UnreadLine]]:
        """The tasks that the text names, ranges expanded; unknown ids; unread lines."""
        task_ids: dict[str, None] = {}
        unknown: dict[str, None] = {}
        unread: list[UnreadLine] = []
        for match in _MENTION.finditer(text):
            first = match["first"]
            last = match["last"]
            if match[0] in self._task_ids:  # an id such as T002-001, which is no range
                task_ids[match[0]] = None
                continue
            if last is not None:
                last = last if last.startswith("T") else f"T{last}"
                task_ids.update(dict.fromkeys(self._range(first, last)))
            for task_id in (first, last):
                if task_id is None:
                    continue
                known = self._known(task_id)
                if known is not None:
                    task_ids[known] = None
                elif task_id in self._unread:
                    unread.append(self._unread[task_id])
                else:
                    unknown[task_id] = None
            if len(task_ids) > MAX_EDGES:
                break
        return list(task_ids), list(unknown), unread

    def _known(self, task_id: str) -> str | None:
        """The task with this id, or the only one with its number: `T14` for T014."""
        if task_id in self._task_ids:
            return task_id
        key = _sort_key(task_id)
        if key is None or task_id in self._unread:
            return None
        start, end = bisect_left(self._keys, key), bisect_right(self._keys, key)
        return self._sorted_ids[start] if end - start == 1 else None

    def _range(self, first: str, last: str) -> Sequence[str]:
        """The ids of the plan from the first to the last, both included."""
        lowest, highest = _sort_key(first), _sort_key(last)
        if lowest is None or highest is None:
            return ()
        start, end = bisect_left(self._keys, lowest), bisect_right(self._keys, highest)
        return self._sorted_ids[start:end]


def _sort_key(task_id: str) -> _SortKey | None:
    """`T049a` comes after T049 and before T050; None for ids such as `US1-T002`."""
    parts = _ID_PARTS.fullmatch(task_id)
    if parts is None:
        return None
    return int(parts["number"]), int(parts["decimal"] or 0), parts["letter"].lower()


def ordered_texts(line: str) -> Iterator[tuple[str, str]]:
    """(earlier, later) texts for each arrow of the line, or else for each relation.

    `T2 after T1, before T3` has two relations, both of T2. In `T1 independent, T2 after
    T1` only T2 has one.
    """
    steps = _ARROW.split(line)
    if len(steps) > 1:
        yield from pairwise(steps)
        return
    relations = list(_RELATION.finditer(line))
    if not relations:
        return
    subject = _last_list(line[: relations[0].start()])
    for number, relation in enumerate(relations):
        end = len(line)
        if number + 1 < len(relations):
            end = relations[number + 1].start()
        text = line[relation.end() : end]
        next_subject = None
        if number + 1 < len(relations):
            text, next_subject = _split_next_subject(text)
        if relation["word"].lower() in _FORWARD_RELATIONS:
            yield subject, text
        else:
            yield text, subject
        subject = next_subject or subject


def _last_list(text: str) -> str:
    """The last list of ids in the text, as text: `T2, T3` of `T1 is free, then T2, T3`."""
    mentions = list(_MENTION.finditer(text))
    if not mentions:
        return ""
    first = mentions[-1]
    for previous, following in pairwise(reversed(mentions)):
        glue = text[following.end() : previous.start()]
        if len(glue) > _MAX_PREDICATE or not _LIST_GLUE.fullmatch(glue):
            break
        first = following
    return text[first.start() : mentions[-1].end()]


def _split_next_subject(text: str) -> tuple[str, str | None]:
    """The text between two relations as the object of the first and the subject of the
    second; None if the second has the subject of the first.
    """
    mentions = list(_MENTION.finditer(text))
    ends = list(_CLAUSE_END.finditer(text))
    if not mentions or not ends:
        return text, None
    clause = ends[-1].end()
    has_object = mentions[0].end() <= clause
    has_subject = mentions[-1].start() >= clause
    if not (has_object and has_subject):
        return text, None
    if len(text) - mentions[-1].end() > _MAX_PREDICATE:
        return text, None
    return text[:clause], text[clause:]
