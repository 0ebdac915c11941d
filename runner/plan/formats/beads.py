"""beads' `issues.jsonl`: one issue a line, with typed dependencies.

Which types block is beads' own rule: `blocks`, `waits-for` (all children of its target)
and, through the parent, whatever blocks the parent; an open parent alone blocks nothing.
Tombstones, epics and records that are not work are not tasks. Newer beads keep their
data in a database and export this file: `bd import` takes the marks over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from runner.core import json_document
from runner.core.errors import InvalidInput
from runner.core.json_document import JsonDocument, Node
from runner.core.task import Plan, Status, Task
from runner.plan.formats.base import Mark, Options, Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    IN_PROGRESS,
    PENDING,
    SKIPPED,
    Diagnostics,
    StatusWord,
    build_task,
    changed_file,
    join_sections,
    normalize,
    only_tasks,
    parse_status,
    replacement_word,
)

EXAMPLE = (
    '{"id":"bd-1","title":"What to do","status":"open",'
    '"priority":2,"issue_type":"task"}'
)
MAX_LINES = 100_000
MAX_PROBLEMS = 50  # a file with more is of another kind
FILE_NAMES = ("issues.jsonl", "beads.jsonl", "bd.jsonl")

STATUS_WORDS: Mapping[str, StatusWord] = {
    **dict.fromkeys(["open", "todo", "ready", "pending"], PENDING),
    **dict.fromkeys(["in-progress", "hooked", "started"], IN_PROGRESS),
    **dict.fromkeys(["closed", "done", "completed", "resolved"], COMPLETED),
    **dict.fromkeys(
        ["deferred", "pinned", "cancelled", "canceled", "wontfix"], SKIPPED
    ),
    # Dependencies decide when a blocked issue may run; see `_reason_to_skip`.
    "blocked": PENDING,
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
SYNONYMS_OF_BLOCKS = frozenset({"blocked-by", "depends-on"})
BLOCKING_TYPES = frozenset({BLOCKS, CONDITIONAL, WAITS_FOR, PARENT})
# Those that beads lists as never blocking.
ASSOCIATION_TYPES = frozenset(
    {
        "related",
        "relates-to",
        "discovered-from",
        "tracks",
        "duplicates",
        "supersedes",
        "replies-to",
        "authored-by",
        "assigned-to",
        "approved-by",
        "attests",
        "until",
        "caused-by",
        "validates",
        "delegated-from",
        "references",
    }
)


@dataclass
class _Issue:
    """One line of the file.

    `start`: the offset of the line in the file. `targets`: the ids that its
    dependencies name, by type.
    """

    document: JsonDocument
    start: int
    id: str
    status_word: StatusWord
    targets: dict[str, list[str]] = field(default_factory=dict)

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
    def ignored_as(self) -> str | None:
        """What the issue is if it is not a task, else None."""
        if self.deleted:
            return "deleted (tombstone)"
        if self.issue_type in RECORD_TYPES | CONTAINER_TYPES:
            return self.issue_type
        for flag in ("is_template", "ephemeral"):
            if _is_true(self.node, flag):
                return flag
        return None


def _is_true(node: Node, name: str) -> bool:
    member = node.get(name)
    return member is not None and member.value is True


class Beads:
    """The `beads` format; see `runner.plan.formats.base.Source`."""

    name = "beads"
    options: Mapping[str, Sequence[str]] = {}

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `.jsonl` file that begins with an issue, or a folder with one."""
        file = _plan_file(path, tree)
        if not file.endswith(".jsonl"):
            return False
        text = tree.read(file)
        if text is None:
            return False
        if file.endswith("issues.jsonl"):
            return True
        for line in _lines(text):
            return all(f'"{key}"' in line.text for key in ("id", "status", "title"))
        return False

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file.

        Raises InvalidInput for unreadable lines, repeated ids and unknown statuses.
        """
        file = _plan_file(path, tree)
        diagnostics = Diagnostics(path, file)
        lines = list(_read_issues(file, tree.read(file) or "", diagnostics))
        issues = _without_duplicates(lines, diagnostics)
        _note_ignored(issues, diagnostics)
        blockers = _Blockers({issue.id: issue for issue in issues})
        work = [issue for issue in issues if not issue.ignored_as]
        tasks = [_task(issue, blockers, diagnostics) for issue in work]
        if not tasks and not diagnostics.problems:
            remedy = f"write lines like {EXAMPLE}"
            diagnostics.add_problem(0, "no tasks found", remedy)
        return diagnostics.build_plan(self.name, only_tasks(tasks))

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the `status` words of the marked tasks changed."""
        file = _plan_file(path, tree)
        text = tree.read(file) or ""
        changes: dict[int, tuple[int, str]] = {}  # start → (end, new word)
        for issue in _read_issues(file, text, Diagnostics(path, file)):
            node = issue.node.get("status")
            if issue.id not in marks or issue.ignored_as:
                continue
            if node is None or not isinstance(node.value, str):
                continue
            status = marks[issue.id].status
            word = replacement_word(
                issue.status_word, status, done_word="closed", open_word="open"
            )
            if word is not None:
                changes[issue.start + node.start] = (issue.start + node.end, word)
        return changed_file(file, text, json_document.replaced(text, changes))


def _plan_file(path: str, tree: Tree) -> str:
    """The file of the plan: `path`, or the one that beads keeps in that folder."""
    if tree.read(path) is not None:
        return path
    for name in FILE_NAMES:
        inside = f"{path}/{name}"
        if tree.read(inside) is not None:
            return inside
    return path


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


def _read_issues(path: str, text: str, diagnostics: Diagnostics) -> Iterator[_Issue]:
    """The issues of the file, up to the limits."""
    for count, line in enumerate(_lines(text)):
        if count > MAX_LINES:
            what = f"more than {MAX_LINES:,} lines"
            remedy = "let beads compact or archive its old issues"
            diagnostics.add_problem(line.index, what, remedy)
            return
        try:
            document = json_document.load(path, line.text, line.index)
        except InvalidInput as error:
            diagnostics.problems += error.problems
            if len(diagnostics.problems) > MAX_PROBLEMS:
                return
            continue
        issue = _read_issue(document, line, diagnostics)
        if issue is not None:
            yield issue


def _read_issue(
    document: JsonDocument, line: _Line, diagnostics: Diagnostics
) -> _Issue | None:
    node = document.root
    remedy = f"write lines like {EXAMPLE}"
    if node.members is None:
        what = f"a line is {node.kind}, not an object"
        diagnostics.add_problem(line.index, what, remedy)
        return None
    # Newer exports hold other records, too, and tag every record with `_type`.
    if normalize(node.text("_type")) not in ("", "issue"):
        return None
    issue_id = node.text("id").strip()
    if not issue_id:
        diagnostics.add_problem(line.index, "an issue has no id", remedy)
        return None
    word = node.text("status")
    status_word = PENDING
    if word:
        status_word = parse_status(diagnostics, line.index, word, STATUS_WORDS)
    issue = _Issue(document, line.start, issue_id, status_word)
    issue.targets = _read_targets(issue, diagnostics)
    return issue


def _read_targets(issue: _Issue, diagnostics: Diagnostics) -> dict[str, list[str]]:
    """The ids that the issue's dependencies name, by type."""
    listed = issue.node.get("dependencies")
    if listed is None or listed.is_null:
        return {}
    entries = listed.items or []
    all_named = all(entry.text("depends_on_id") for entry in entries)
    if listed.items is None or not all_named:
        what = f"{issue.id}: its dependencies cannot be read"
        remedy = 'write  [{"issue_id": …, "depends_on_id": …, "type": "blocks"}]'
        diagnostics.add_problem(issue.line_index, what, remedy)
        return {}
    targets: dict[str, list[str]] = {}
    for entry in entries:
        dependency_type = _dependency_type(issue, entry, diagnostics)
        owner_id = entry.text("issue_id")
        if owner_id not in ("", issue.id):
            what = f"{issue.id} holds a dependency of {owner_id}"
            remedy = f"move it to the line of {owner_id}"
            diagnostics.add_problem(issue.line_index, what, remedy)
        target = entry.text("depends_on_id").strip()
        targets.setdefault(dependency_type, []).append(target)
    return targets


def _dependency_type(issue: _Issue, entry: Node, diagnostics: Diagnostics) -> str:
    """The type of this dependency; an unknown one counts as `blocks`.

    To wait for too much is safe; to start too early is not.
    """
    name = normalize(entry.text("type"))
    if name in BLOCKING_TYPES | ASSOCIATION_TYPES:
        return name
    if name and name not in SYNONYMS_OF_BLOCKS:
        what = f"{issue.id}: the unknown dependency type {name!r} counts as blocks"
        diagnostics.add_note(issue.line_index, what)
    return BLOCKS


def _without_duplicates(
    issues: Sequence[_Issue], diagnostics: Diagnostics
) -> list[_Issue]:
    first_issues: dict[str, _Issue] = {}
    for issue in issues:
        first = first_issues.setdefault(issue.id, issue)
        if first is not issue:
            first_line = first.line_index + 1
            what = f"the id {issue.id} is used twice (first on line {first_line})"
            diagnostics.add_problem(issue.line_index, what, "keep one of the two lines")
    return list(first_issues.values())


def _note_ignored(issues: Sequence[_Issue], diagnostics: Diagnostics) -> None:
    counts = Counter(issue.ignored_as for issue in issues if issue.ignored_as)
    if counts:
        numbers = [f"{number} {reason}" for reason, number in counts.items()]
        what = f"ignored because they are not tasks: {', '.join(numbers)}"
        diagnostics.add_plan_note(what)


# -- Dependencies --


@dataclass
class _Blockers:
    """Answers what an issue waits for, through parents and children."""

    issues: Mapping[str, _Issue]

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
        task_ids: dict[str, None] = {}
        reasons: list[str] = []
        for holder in self._with_open_ancestors(issue):
            for target_id in self._blocking_targets(holder):
                blocking_ids, reason = self._tasks_behind(target_id)
                task_ids.update(dict.fromkeys(blocking_ids))
                reasons += [reason] if reason else []
            conditions = holder.targets.get(CONDITIONAL, ())
            reasons += [
                f"it only runs if {target_id} fails" for target_id in conditions
            ]
        task_ids.pop(issue.id, None)
        return list(task_ids), reasons[0] if reasons else None

    def _with_open_ancestors(self, issue: _Issue) -> list[_Issue]:
        """The issue and the open issues above it, whose blockers also block it."""
        reached = {issue.id: issue}
        queue = [issue]
        while queue:
            for parent_id in queue.pop().targets.get(PARENT, ()):
                parent = self.issues.get(parent_id)
                if parent is None or parent.id in reached or parent.closed:
                    continue
                reached[parent.id] = parent
                queue.append(parent)
        return list(reached.values())

    def _blocking_targets(self, issue: _Issue) -> Iterator[str]:
        """What the issue's own `blocks` and `waits-for` dependencies name."""
        yield from issue.targets.get(BLOCKS, ())
        for target_id in issue.targets.get(WAITS_FOR, ()):
            for child in self._children.get(target_id, ()):
                yield child.id

    def _tasks_behind(self, target_id: str) -> tuple[list[str], str | None]:
        """The tasks that an id stands for, and why they are not enough, or None.

        An epic stands for the tasks below it. A deleted issue blocks nothing, as in
        beads.
        """
        target = self.issues.get(target_id)
        # The graph reports an id that is not in the plan, with the nearest one.
        if target is None or not target.ignored_as:
            return [target_id], None
        if target.closed or target.deleted:
            return [], None
        task_ids = self._tasks_below(target_id)
        if task_ids and target.issue_type in CONTAINER_TYPES:
            return task_ids, None
        reason = f"it waits for {target_id} ({target.ignored_as}), which is open"
        return task_ids, reason

    def _tasks_below(self, parent_id: str) -> list[str]:
        """Ids of all tasks among the children, their children and so on."""
        task_ids: list[str] = []
        reached = {parent_id}
        queue = [parent_id]
        while queue:
            for child in self._children.get(queue.pop(), ()):
                if child.id in reached:
                    continue
                reached.add(child.id)
                queue.append(child.id)
                if not child.ignored_as:
                    task_ids.append(child.id)
        return task_ids


# -- Tasks --


def _task(issue: _Issue, blockers: _Blockers, diagnostics: Diagnostics) -> Task | None:
    node = issue.node
    depends_on, reason = blockers.of(issue)
    reason = _reason_to_skip(issue, depends_on, reason)
    status = issue.status_word
    if reason and not issue.closed:
        diagnostics.add_note(issue.line_index, f"{issue.id} is skipped: {reason}")
        status = SKIPPED
    sections = [
        ("", node.text("description")),
        ("Design", node.text("design")),
        ("Acceptance criteria", node.text("acceptance_criteria")),
        ("Notes", node.text("notes")),
    ]
    return build_task(
        diagnostics,
        issue.line_index,
        task_id=issue.id,
        title=node.text("title"),
        prompt=join_sections(sections),
        depends_on=depends_on,
        priority=_priority(node),
        estimate=_estimate(node),
        status=status,
    )


def _reason_to_skip(
    issue: _Issue, depends_on: Sequence[str], blocked_reason: str | None
) -> str | None:
    """Why the issue cannot run in this plan, or None."""
    if blocked_reason:
        return blocked_reason
    if issue.status_text == "blocked" and not depends_on:
        return "its status is blocked, but no open dependency says why"
    defer_until = issue.node.text("defer_until")
    if defer_until:
        return f"it is deferred until {defer_until}"
    return None


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
