"""beads' `issues.jsonl`: one issue a line, with typed dependencies.

What may run is what `bd ready` lists: open issues that nothing blocks. Issues that are
in progress, hooked, blocked, deferred or pinned wait for a person. Which types block is
beads' own rule, too: `blocks`, `waits-for` (all children of its target) and, through the
parent, whatever blocks the parent; an open parent alone blocks nothing. An epic that
blocks does so until it is closed, which fanin leaves to a person.

Tombstones, epics and records that are not work are not tasks. Newer beads keep their
data in a database and export this file: `bd import` takes the marks over.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

from runner.core import json_document
from runner.core.documents import clean
from runner.core.errors import InvalidInput, Problem
from runner.core.json_document import JsonDocument, Node, Number
from runner.core.task import Plan, Reference, Status, Task
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    LEFT_OUT,
    MAX_EDGES,
    PENDING,
    SKIPPED,
    Diagnostics,
    StatusWord,
    build_task_or_leave_out,
    changed_file,
    join_sections,
    normalize,
    parse_status_or_leave_out,
    replacement_word,
)
from runner.plan.formats.marked_text import JsonText, NewValue

EXAMPLE = (
    '{"id":"bd-1","title":"What to do","status":"open",'
    '"priority":2,"issue_type":"task"}'
)
MAX_LINES = 100_000
MAX_PROBLEMS = 50  # a file with more is of another kind
MAX_NAMED_ISSUES = 5  # a note names no more of them
MAX_ANCESTORS = 5  # of which a prompt tells
FILE_NAMES = ("issues.jsonl", "beads.jsonl", "bd.jsonl")
# What beads keeps its database in.
DATABASE_FOLDERS = ("dolt", "embeddeddolt")

# Somebody works on it. Not skipped where fanin's own progress says that it has begun
# the task; see `Progress.record`.
CLAIMED = StatusWord(Status.IN_PROGRESS, skipped=True)

STATUS_WORDS: Mapping[str, StatusWord] = {
    **dict.fromkeys(["open", "todo", "ready", "pending"], PENDING),
    **dict.fromkeys(["in-progress", "hooked", "started"], CLAIMED),
    **dict.fromkeys(["closed", "done", "completed", "resolved"], COMPLETED),
    **dict.fromkeys(
        ["blocked", "deferred", "pinned", "cancelled", "canceled", "wontfix"], SKIPPED
    ),
    # A deleted issue, which stays in the file so that other clones learn of it.
    "tombstone": SKIPPED,
}

# Issue types that are not work for an agent.
RECORD_TYPES = frozenset(
    {
        "message",
        "event",
        "agent",
        "role",
        "rig",
        "merge-request",
        "convoy",
        "gate",
        "molecule",
        "slot",
        "wisp",
        "queue",
    }
)
CONTAINER_TYPES = frozenset({"epic"})

# Dependency types.
BLOCKS = "blocks"
CONDITIONAL = "conditional-blocks"
WAITS_FOR = "waits-for"
PARENT = "parent-child"
SYNONYMS_OF_BLOCKS = frozenset({"", "blocked-by", "depends-on"})
BLOCKING_TYPES = frozenset({BLOCKS, CONDITIONAL, WAITS_FOR, PARENT})
# `waits-for` any child of its target instead of all of them.
ANY_CHILD = "any-children"
# Such a target is in another repository.
EXTERNAL = "external:"
# Words of a `close_reason` by which beads knows a failure.
FAILURE_WORDS = (
    *("failed", "rejected", "wontfix", "won't fix", "cancelled", "canceled"),
    *("abandoned", "blocked", "error", "timeout", "aborted"),
)


@dataclass
class _Issue:
    """One line of the file.

    `start`: the offset of the line in the file. `targets`: the ids that its
    dependencies name, by type. `is_left_out`: a part of it cannot be read.
    `waits_for_any_child`: the targets of `waits-for` that one closed child satisfies.
    """

    document: JsonDocument
    start: int
    id: str
    status_word: StatusWord
    targets: dict[str, list[str]] = field(default_factory=dict)
    waits_for_any_child: set[str] = field(default_factory=set)
    is_left_out: bool = False

    @property
    def line_index(self) -> int:
        return self.document.first_line

    @property
    def node(self) -> Node:
        return self.document.root

    @property
    def issue_type(self) -> str:
        return normalize(self.node.text("issue_type"))

    @property
    def status_text(self) -> str:
        return normalize(self.node.text("status"))

    @property
    def closed(self) -> bool:
        return self.status_word.status is Status.COMPLETED

    @property
    def deleted(self) -> bool:
        return self.status_text == "tombstone"

    @property
    def blocks_others(self) -> bool:
        """Whether others wait for it, as they do in beads: a pinned one is a record."""
        return not (self.closed or self.deleted or self.status_text == "pinned")

    @property
    def ignored_as(self) -> str | None:
        """The kind of an issue that is not a task, else None."""
        if self.deleted:
            return "deleted (tombstone)"
        if self.issue_type in RECORD_TYPES | CONTAINER_TYPES:
            return self.issue_type
        # `wisp` is an older name of `ephemeral`.
        for flag in ("is_template", "ephemeral", "wisp"):
            if _is_true(self.node, flag):
                return flag
        return None


def _is_true(node: Node, name: str) -> bool:
    member = node.get(name)
    return member is not None and member.value is True


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
        for line in _lines(text):
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
        lines = _read_issues(file, text, diagnostics, ignored)
        issues = _without_duplicates(lines, diagnostics)
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
        lines = _read_issues(file, text, diagnostics, Counter())
        issues = _without_duplicates(lines, diagnostics)
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
                issue.status_word = _status_word(issue.node)
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


# -- Reading issues --


@dataclass(frozen=True)
class _Line:
    """A line that is not blank. `start`: its offset in the file."""

    index: int
    start: int
    text: str


def _lines(text: str) -> Iterator[_Line]:
    for index, match in enumerate(re.finditer(r"[^\n]*\n|[^\n]+", text)):
        if match[0].strip(" \t\r\n\ufeff"):
            yield _Line(index, match.start(), match[0].rstrip("\r\n"))


def _read_issues(
    path: str, text: str, diagnostics: Diagnostics, ignored: Counter[str]
) -> list[_Issue]:
    """The issues of the file, up to the limits.

    Counts the records of other types in `ignored`.
    """
    issues: list[_Issue] = []
    foreign_targets: list[tuple[str, str, str]] = []
    for count, line in enumerate(_lines(text)):
        if count > MAX_LINES:
            what = f"more than {MAX_LINES:,} lines"
            remedy = "let beads compact or archive its old issues"
            diagnostics.add_problem(line.index, what, remedy)
            break
        try:
            document = json_document.load(path, line.text, line.index)
        except InvalidInput as error:
            diagnostics.problems += error.problems
            if len(diagnostics.problems) > MAX_PROBLEMS:
                break
            continue
        # Newer exports hold other records, too, and tag every record with `_type`.
        record_type = normalize(document.root.text("_type"))
        if record_type not in ("", "issue"):
            ignored[record_type] += 1
            continue
        issue = _read_issue(document, line, diagnostics)
        if issue is not None:
            foreign_targets += _read_targets(issue, diagnostics)
            issues.append(issue)
    _add_foreign_targets(issues, foreign_targets)
    return issues


def _read_issue(
    document: JsonDocument, line: _Line, diagnostics: Diagnostics
) -> _Issue | None:
    """The issue on this line; None if it is left out, without an id."""
    node = document.root
    remedy = f"write lines like {EXAMPLE}"
    if node.members is None:
        what = f"a line is {node.kind}, not an object"
        diagnostics.leave_out(line.index, what, remedy)
        return None
    if node.get("_schema") is not None:
        what = "the header of an export, which is not an issue"
        diagnostics.leave_out(line.index, what, "")
        return None
    issue_id = node.text("id").strip()
    if not issue_id:
        diagnostics.leave_out(line.index, "an issue has no id", remedy)
        return None
    return _Issue(document, line.start, issue_id, _status_word(node))


def _status_word(node: Node) -> StatusWord:
    """The meaning of the status; unknown words and non-text values are skipped."""
    status = node.get("status")
    if status is None or status.is_null or status.value == "":
        return PENDING
    return STATUS_WORDS.get(normalize(node.text("status")), SKIPPED)


def _read_targets(
    issue: _Issue, diagnostics: Diagnostics
) -> list[tuple[str, str, str]]:
    """Read the ids that the issue's dependencies name, by type.

    Returns (issue, type, target) of the dependencies that another issue has.
    """
    listed = issue.node.get("dependencies")
    if listed is None or listed.is_null:
        return []
    entries = listed.items or []
    all_named = all(_target_id(entry) for entry in entries)
    if listed.items is None or not all_named:
        what = f"{issue.id}: its dependencies cannot be read"
        remedy = 'write  [{"issue_id": …, "depends_on_id": …, "type": "blocks"}]'
        diagnostics.leave_out(issue.line_index, what, remedy, task_id=issue.id)
        issue.is_left_out = True
        return []
    foreign: list[tuple[str, str, str]] = []
    for entry in entries:
        dependency_type = _dependency_type(entry)
        target = _target_id(entry)
        owner_id = entry.text("issue_id").strip() or issue.id
        if owner_id != issue.id:
            foreign.append((owner_id, dependency_type, target))
            continue
        issue.targets.setdefault(dependency_type, []).append(target)
        if dependency_type == WAITS_FOR and ANY_CHILD in _metadata(entry):
            issue.waits_for_any_child.add(target)
    return foreign


def _target_id(entry: Node) -> str:
    """The id that a dependency names; "" if it names none.

    An export has `depends_on_id`, `bd show --json` the issue itself with its `id`, and
    ports of beads and people write the id alone.
    """
    if isinstance(entry.value, str) and not isinstance(entry.value, Number):
        return entry.value.strip()
    return (entry.text("depends_on_id") or entry.text("id")).strip()


def _metadata(entry: Node) -> str:
    """The metadata of a dependency as text; beads writes it as JSON in a string."""
    metadata = entry.get("metadata")
    if metadata is None:
        return ""
    return metadata.text("gate") or entry.text("metadata")


def _dependency_type(entry: Node) -> str:
    """The type of this dependency, by which an unknown one never blocks, as in beads."""
    name = normalize(entry.text("type") or entry.text("dependency_type"))
    if not name and entry.get("depends_on_id") is None:
        # Not written by beads, which always says the type.
        return BLOCKS
    return BLOCKS if name in SYNONYMS_OF_BLOCKS else name


def _add_foreign_targets(
    issues: Sequence[_Issue], foreign_targets: Sequence[tuple[str, str, str]]
) -> None:
    """Give each (issue, type, target) to the issue that it is about."""
    if not foreign_targets:
        return
    issues_by_id = {issue.id: issue for issue in issues}
    for owner_id, dependency_type, target in foreign_targets:
        owner = issues_by_id.get(owner_id)
        if owner is not None:
            owner.targets.setdefault(dependency_type, []).append(target)


def _without_duplicates(
    issues: Sequence[_Issue], diagnostics: Diagnostics
) -> list[_Issue]:
    """One issue of each id: the first that is open, so that nothing starts early."""
    issues_by_id: dict[str, list[_Issue]] = {}
    for issue in issues:
        issues_by_id.setdefault(issue.id, []).append(issue)
    chosen_issues = []
    for same in issues_by_id.values():
        unfinished = [issue for issue in same if not (issue.closed or issue.deleted)]
        chosen = (unfinished or same)[0]
        chosen_issues.append(chosen)
        for issue in same:
            if issue is not chosen:
                chosen_line = chosen.line_index + 1
                what = f"the id {issue.id} is used twice (also on line {chosen_line})"
                remedy = "keep one of the two lines"
                diagnostics.leave_out(issue.line_index, what, remedy)
    return chosen_issues


def _note_ignored(counts: Mapping[str, int], diagnostics: Diagnostics) -> None:
    if counts:
        numbers = [f"{number} {reason}" for reason, number in counts.items()]
        what = f"ignored because they are not tasks: {', '.join(numbers)}"
        diagnostics.add_plan_note(what)


# -- Dependencies --


class _BlockedBy(NamedTuple):
    """The tasks that an issue waits for, and the reason why it cannot run, or None."""

    task_ids: tuple[str, ...]
    reason: str | None


@dataclass
class _Blockers:
    """Answers what an issue waits for, through parents and children."""

    issues: Mapping[str, _Issue]
    _computed: dict[str, _BlockedBy] = field(default_factory=dict)
    _entered: set[str] = field(default_factory=set)

    @cached_property
    def _children(self) -> Mapping[str, Sequence[_Issue]]:
        children: dict[str, list[_Issue]] = {}
        for issue in self.issues.values():
            for parent_id in issue.targets.get(PARENT, ()):
                children.setdefault(parent_id, []).append(issue)
        return children

    def of(self, issue: _Issue) -> tuple[list[str], str | None]:
        """Ids of the tasks that the issue waits for, and what else holds it up.

        The second is the reason why the issue cannot run at all, or None.
        """
        blockers = self._blockers_of(issue)
        # By its parent, an issue may wait for itself.
        task_ids = [task_id for task_id in blockers.task_ids if task_id != issue.id]
        return task_ids, blockers.reason

    def _blockers_of(self, issue: _Issue) -> _BlockedBy:
        """Its own blockers and those of the open issues above it.

        Every issue is computed once, after those above it: plans are deep, too.
        """
        stack = [issue]
        while stack:
            current = stack[-1]
            if current.id in self._computed:
                stack.pop()
                continue
            above = [p for p in self.parents(current) if p.blocks_others]
            missing = [p for p in above if p.id not in self._computed]
            if current.id in self._entered and missing:
                # A circle of parents: each of them is blocked if any is.
                for member in self._with_open_ancestors(current):
                    circle = self._with_open_ancestors(member)
                    self._computed[member.id] = self._combined(circle, [])
                continue
            if missing:
                self._entered.add(current.id)
                stack += missing
                continue
            inherited = [self._computed[parent.id] for parent in above]
            self._computed[current.id] = self._combined([current], inherited)
        return self._computed[issue.id]

    def _combined(
        self, holders: Sequence[_Issue], inherited: Sequence[_BlockedBy]
    ) -> _BlockedBy:
        """The blockers of the holders themselves, and those that were inherited."""
        task_ids: dict[str, None] = {}
        reasons: list[str] = []
        for holder in holders:
            for target_id in self._blocking_targets(holder):
                reason = self._reason_besides_a_task(target_id)
                if reason is None:
                    task_ids[target_id] = None
                elif reason:
                    reasons.append(reason)
            reasons += self._unmet_conditions(holder)
        if not task_ids and not reasons and len(inherited) == 1:
            # Most issues add nothing, and share the object.
            return inherited[0]
        for blockers in inherited:
            task_ids.update(dict.fromkeys(blockers.task_ids))
            reasons += [blockers.reason] if blockers.reason else []
        return _BlockedBy(tuple(task_ids), reasons[0] if reasons else None)

    def parents(self, issue: _Issue) -> list[_Issue]:
        """The issues that it is a child of."""
        ids = issue.targets.get(PARENT, ())
        return [self.issues[parent_id] for parent_id in ids if parent_id in self.issues]

    def _with_open_ancestors(self, issue: _Issue) -> list[_Issue]:
        """The issue and the open issues above it, whose blockers also block it."""
        reached = {issue.id: issue}
        queue = [issue]
        while queue:
            for parent in self.parents(queue.pop()):
                if parent.id not in reached and parent.blocks_others:
                    reached[parent.id] = parent
                    queue.append(parent)
        return list(reached.values())

    def _blocking_targets(self, issue: _Issue) -> Iterator[str]:
        """The targets of the issue's own `blocks` and `waits-for` dependencies."""
        yield from issue.targets.get(BLOCKS, ())
        for target_id in issue.targets.get(WAITS_FOR, ()):
            children = self._children.get(target_id, ())
            is_any = target_id in issue.waits_for_any_child
            if is_any and any(child.closed for child in children):
                continue
            for child in children:
                yield child.id

    def _reason_besides_a_task(self, target_id: str) -> str | None:
        """None if the id is a task's to wait for; "" if there is nothing to wait for.

        Otherwise why no task of the plan can satisfy it.
        """
        if target_id.startswith(EXTERNAL):
            return f"it waits for another project: {target_id}"
        target = self.issues.get(target_id)
        if target is None:
            # It is left out, with the nearest id.
            return None
        # A closed task stays a dependency, so that the graph shows it.
        if not target.blocks_others and (target.ignored_as or not target.closed):
            return ""
        if target.ignored_as is None:
            return None
        reason = f"it waits for {target_id} ({target.ignored_as}), which is open"
        if target.issue_type in CONTAINER_TYPES:
            reason += f"; once it is done:  bd close {target_id}"
        return reason

    def _unmet_conditions(self, issue: _Issue) -> Iterator[str]:
        """The reasons why `conditional-blocks` hold up the issue."""
        for target_id in issue.targets.get(CONDITIONAL, ()):
            target = self.issues.get(target_id)
            if target is None or not target.closed or not _has_failed(target):
                yield f"it only runs if {target_id} fails"


def _has_failed(issue: _Issue) -> bool:
    reason = issue.node.text("close_reason").casefold()
    return any(word in reason for word in FAILURE_WORDS)


# -- Tasks --


class _TaskBuilder:
    """Turns the issues of a file into tasks. `now`: when a deferral has passed."""

    def __init__(
        self, diagnostics: Diagnostics, issues: Sequence[_Issue], now: datetime
    ) -> None:
        self._diagnostics = diagnostics
        self._issues = issues
        self._now = now
        self._blockers = _Blockers({issue.id: issue for issue in issues})
        self._skipped: dict[str, list[_Issue]] = {}  # reason → issues
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

    def _task(self, issue: _Issue) -> Task | None:
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
        self, issue: _Issue, blocked_reason: str | None
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

    def _parsed_status(self, issue: _Issue) -> StatusWord:
        """The meaning of the status; an unknown one leaves the issue out."""
        node = issue.node.get("status")
        if node is None or node.is_null or node.value == "":
            return PENDING
        word = node.value if isinstance(node.value, str) else node.kind
        return parse_status_or_leave_out(
            self._diagnostics, issue.line_index, word, STATUS_WORDS, issue.id
        )

    def _reason_to_wait(self, issue: _Issue) -> str | None:
        """Return why a person has put the issue off, or None."""
        if _is_true(issue.node, "pinned"):
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

    def _context(self, issue: _Issue) -> Iterator[Reference]:
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

    def _reference(self, issue: _Issue) -> Reference:
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
