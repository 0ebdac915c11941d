"""beads' `issues.jsonl`: one issue a line, with typed dependencies.

What may run is what `bd ready` lists: open issues that nothing blocks. Issues that are
in progress, hooked, blocked, deferred or pinned wait for a person. Which types block is
beads' own rule, too: `blocks`, `waits-for` (all children of its target) and, through the
parent, whatever blocks the parent; an open parent alone blocks nothing. An epic that
blocks does so until it is closed, which fanin leaves to a person.

Tombstones, epics and records that are not work are not tasks. Newer beads keep their
data in a database and export this file: `bd import` takes the marks over.

`beads_issues` reads the lines, `beads_blockers` derives the dependencies.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from runner.core import json_document
from runner.core.documents import clean
from runner.core.errors import InvalidInput, Problem
from runner.core.json_document import Node
from runner.core.task import Plan, Reference, Task
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.beads_blockers import Blockers
from runner.plan.formats.beads_issues import (
    EXAMPLE,
    STATUS_WORDS,
    Issue,
    nonblank_lines,
    parse_status_word,
    read_issues,
    without_duplicates,
)
from runner.plan.formats.diagnostics import (
    LEFT_OUT,
    MAX_EDGES,
    PENDING,
    SKIPPED,
    Diagnostics,
    StatusWord,
    build_task_or_leave_out,
    changed_file,
    join_sections,
    parse_status_or_leave_out,
    replacement_word,
)
from runner.plan.formats.marked_text import JsonText, NewValue

MAX_NAMED_ISSUES = 5  # a note names no more of them
MAX_ANCESTORS = 5  # of which a prompt tells
FILE_NAMES = ("issues.jsonl", "beads.jsonl", "bd.jsonl")
# What beads keeps its database in.
DATABASE_FOLDERS = ("dolt", "embeddeddolt")


def _now() -> datetime:
    return datetime.now(UTC)


class Beads:
    """The `beads` format; see `runner.plan.formats.base.Source`.

    `now` gives the time by which a deferral has passed.
    """

    name = "beads"
    options: Mapping[str, Sequence[str]] = {}
    leaves_out_records = True

    def __init__(self, now: Callable[[], datetime] = _now) -> None:
        self._now = now

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `.jsonl` file that begins with an issue, or a folder of beads."""
        file = _plan_file(path, tree)
        text = tree.read(file)
        if text is None:
            return _has_database(path, tree)
        if not file.endswith(".jsonl"):
            return False
        if file.endswith("issues.jsonl"):
            return True
        for line in nonblank_lines(text):
            if '"_schema"' in line.text:
                continue
            return all(f'"{key}"' in line.text for key in ("id", "status", "title"))
        return False

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file.

        Raises InvalidInput for unreadable lines, and for a folder without an export.
        """
        file = _plan_file(path, tree)
        text = tree.read(file)
        if text is None:
            raise InvalidInput([_missing_export(path, tree)])
        diagnostics = Diagnostics(path, file)
        ignored: Counter[str] = Counter()
        lines = read_issues(file, text, diagnostics, ignored)
        issues = without_duplicates(lines, diagnostics)
        ignored.update(issue.ignored_as for issue in issues if issue.ignored_as)
        _note_ignored(ignored, diagnostics)
        tasks = _TaskBuilder(diagnostics, issues, self._now()).tasks()
        if not tasks and not diagnostics.problems and not diagnostics.left_out:
            remedy = f"write lines like {EXAMPLE}"
            diagnostics.add_problem(0, "no tasks found", remedy)
        return diagnostics.build_plan(self.name, tasks)

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the `status` words of the marked tasks changed."""
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        file = _plan_file(path, tree)
        return _BeadsMarker(path, file, tree.read(file) or "")


class _BeadsMarker:
    """The `Marker` of an export of issues."""

    def __init__(self, path: str, file: str, text: str) -> None:
        self._file, self._text = file, JsonText(text)
        diagnostics = Diagnostics(path, file)
        lines = read_issues(file, text, diagnostics, Counter())
        issues = without_duplicates(lines, diagnostics)
        self._issues = {issue.id: issue for issue in issues}
        # Of two issues with one id, the one that is open counts.
        self.is_current = len(issues) == len(lines)

    def write(self, marks: Mapping[str, Mark]) -> Mapping[str, str]:
        """The file with the `status` words of the marked tasks changed."""
        changes: list[NewValue] = []
        for task_id, mark in marks.items():
            issue = self._issues.get(task_id)
            if issue is None or issue.ignored_as:
                continue
            node = issue.node.get("status")
            if node is None or not isinstance(node.value, str):
                continue
            word = replacement_word(
                issue.status_word, mark.status, done_word="closed", open_word="open"
            )
            if word is not None:
                changes.append(NewValue(node, word, issue.start))
        before = self._text.text
        self._text.set_values(changes)
        for task_id in marks:
            if task_id in self._issues:
                issue = self._issues[task_id]
                issue.status_word = parse_status_word(issue.node)
        return changed_file(self._file, before, self._text.text)


# -- The folder --


def _plan_file(path: str, tree: Tree) -> str:
    """The file of the plan: `path`, or the one that beads keeps in that folder."""
    if tree.read(path) is not None:
        return path
    for name in (_export_name(path, tree), *FILE_NAMES):
        inside = f"{path}/{name}"
        if name and tree.read(inside) is not None:
            return inside
    return path


def _export_name(path: str, tree: Tree) -> str:
    """The name of the export that `metadata.json` in the folder gives; "" for none."""
    file = f"{path}/metadata.json"
    text = tree.read(file)
    if text is None:
        return ""
    try:
        name = json_document.load(file, text).root.text("jsonl_export")
    except InvalidInput:
        return ""
    return posixpath.basename(name)


def _has_database(path: str, tree: Tree) -> bool:
    """Whether this is a folder of beads, which then has no export."""
    files = [file.removeprefix(f"{path}/") for file in tree.list(path)]
    if not files:
        return False
    if posixpath.basename(path) == ".beads":
        return True
    return any(
        name == "beads.db" or name.split("/")[0] in DATABASE_FOLDERS for name in files
    )


def _missing_export(path: str, tree: Tree) -> Problem:
    name = _export_name(path, tree) or FILE_NAMES[0]
    what = "there is no export of the issues, only a database of beads"
    remedy = f"write and commit it:  bd export -o {path}/{name}"
    return Problem(path, None, what, remedy)


def _note_ignored(counts: Mapping[str, int], diagnostics: Diagnostics) -> None:
    if counts:
        numbers = [f"{number} {reason}" for reason, number in counts.items()]
        what = f"ignored because they are not tasks: {', '.join(numbers)}"
        diagnostics.add_plan_note(what)


# -- Tasks --


class _TaskBuilder:
    """Turns the issues of a file into tasks. `now`: when a deferral has passed."""

    def __init__(
        self, diagnostics: Diagnostics, issues: Sequence[Issue], now: datetime
    ) -> None:
        self._diagnostics = diagnostics
        self._issues = issues
        self._now = now
        self._blockers = Blockers({issue.id: issue for issue in issues})
        self._skipped: dict[str, list[Issue]] = {}  # reason → issues
        self._references: dict[str, Reference] = {}  # id → what its children are told

    def tasks(self) -> list[Task]:
        """The tasks in the order of the file, and a note for each reason to skip some."""
        work = [issue for issue in self._issues if not issue.ignored_as]
        tasks: list[Task] = []
        edges = 0
        for issue in work:
            task = self._task(issue)
            if task is None:
                continue
            tasks.append(task)
            edges += len(task.depends_on)
            if edges > MAX_EDGES:
                # The plan is refused, and more would only take memory.
                break
        for reason, issues in self._skipped.items():
            names = [issue.id for issue in issues[:MAX_NAMED_ISSUES]]
            if len(issues) > len(names):
                names.append(f"{len(issues) - len(names)} more")
            verb = "is" if len(issues) == 1 else "are"
            what = f"{', '.join(names)} {verb} skipped: {reason}"
            self._diagnostics.add_note(issues[0].line_index, what)
        return tasks

    def _task(self, issue: Issue) -> Task | None:
        node = issue.node
        depends_on, blocked_reason = self._blockers.of(issue)
        status, skip_reason = issue.status_word, ""
        if not issue.closed:
            status, skip_reason = self._status_and_reason(issue, blocked_reason)
        sections = [
            ("", node.text("description")),
            ("Design", node.text("design")),
            ("Acceptance criteria", node.text("acceptance_criteria")),
            ("Notes", node.text("notes")),
        ]
        return build_task_or_leave_out(
            self._diagnostics,
            issue.line_index,
            task_id=issue.id,
            title=node.text("title"),
            prompt=join_sections(sections),
            depends_on=depends_on,
            priority=_priority(node),
            estimate=_estimate(node),
            status=status,
            skip_reason=skip_reason,
            context=tuple(self._context(issue)),
        )

    def _status_and_reason(
        self, issue: Issue, blocked_reason: str | None
    ) -> tuple[StatusWord, str]:
        """The status of an issue that is not closed, and why it is skipped, or ""."""
        if issue.is_left_out:
            return SKIPPED, LEFT_OUT
        status = self._parsed_status(issue)
        if status is SKIPPED and issue.status_text not in STATUS_WORDS:
            return SKIPPED, LEFT_OUT
        reason = blocked_reason or self._reason_to_wait(issue)
        if reason:
            status = SKIPPED
        elif status.skipped:
            reason = f"its status is {issue.status_text.replace('-', '_')}"
        if not reason:
            return status, ""
        self._skipped.setdefault(reason, []).append(issue)
        return status, reason

    def _parsed_status(self, issue: Issue) -> StatusWord:
        """The meaning of the status; an unknown one leaves the issue out."""
        node = issue.node.get("status")
        if node is None or node.is_null or node.value == "":
            return PENDING
        word = node.value if isinstance(node.value, str) else node.kind
        return parse_status_or_leave_out(
            self._diagnostics, issue.line_index, word, STATUS_WORDS, issue.id
        )

    def _reason_to_wait(self, issue: Issue) -> str | None:
        """Return why a person has put the issue off, or None."""
        if issue.has_flag("pinned"):
            return "it is pinned"
        for holder in (issue, *self._blockers.parents(issue)):
            defer_until = holder.node.text("defer_until")
            if defer_until and not self._has_passed(defer_until):
                subject = "it" if holder is issue else f"its parent {holder.id}"
                return f"{subject} is deferred until {defer_until}"
        return None

    def _has_passed(self, text: str) -> bool:
        """Whether the time has passed; one that cannot be read has not."""
        try:
            time = datetime.fromisoformat(text.strip())
        except ValueError:
            return False
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        return time <= self._now

    def _context(self, issue: Issue) -> Iterator[Reference]:
        """The texts of the issues above it, the nearest first."""
        reached = {issue.id}
        queue = self._blockers.parents(issue)
        while queue and len(reached) <= MAX_ANCESTORS:
            parent = queue.pop(0)
            if parent.id in reached or parent.deleted:
                continue
            reached.add(parent.id)
            queue += self._blockers.parents(parent)
            yield self._reference(parent)

    def _reference(self, issue: Issue) -> Reference:
        if issue.id not in self._references:
            node = issue.node
            sections = [
                ("", node.text("description")),
                ("Design", node.text("design")),
                ("Acceptance criteria", node.text("acceptance_criteria")),
            ]
            kind = issue.issue_type or "issue"
            name = f"{kind} {issue.id}: {node.text('title')}"
            text = clean(join_sections(sections))
            self._references[issue.id] = Reference(clean(name), text)
        return self._references[issue.id]


def _priority(node: Node) -> int:
    """fanin's priority, where higher is more urgent; in beads 0 is the most urgent."""
    text = node.text("priority")
    if re.fullmatch(r"[0-9]", text):
        return 2 - int(text)
    return 0


def _estimate(node: Node) -> float | None:
    """The estimate in seconds."""
    minutes = node.text("estimated_minutes")
    if re.fullmatch(r"[1-9][0-9]{0,5}", minutes):
        return float(minutes) * 60
    return None
