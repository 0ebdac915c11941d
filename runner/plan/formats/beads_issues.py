"""The issues of an export of beads, one a line: their status, type and dependencies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from runner.core import json_document
from runner.core.errors import InvalidInput
from runner.core.json_document import JsonDocument, Node, Number
from runner.core.task import Status
from runner.plan.formats.diagnostics import (
    COMPLETED,
    PENDING,
    SKIPPED,
    Diagnostics,
    StatusWord,
    normalize,
)

EXAMPLE = (
    '{"id":"bd-1","title":"What to do","status":"open",'
    '"priority":2,"issue_type":"task"}'
)
MAX_LINES = 100_000
MAX_PROBLEMS = 50  # a file with more is of another kind

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
# `waits-for` any child of its target instead of all of them.
ANY_CHILD = "any-children"


@dataclass
class Issue:
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
            if self.has_flag(flag):
                return flag
        return None

    def has_flag(self, name: str) -> bool:
        member = self.node.get(name)
        return member is not None and member.value is True


class Line(NamedTuple):
    """A line that is not blank. `start`: its offset in the file."""

    line_index: int
    start: int
    text: str


def nonblank_lines(text: str) -> Iterator[Line]:
    for index, match in enumerate(re.finditer(r"[^\n]*\n|[^\n]+", text)):
        if match[0].strip(" \t\r\n\ufeff"):
            yield Line(index, match.start(), match[0].rstrip("\r\n"))


def read_issues(
    path: str, text: str, diagnostics: Diagnostics, ignored: Counter[str]
) -> list[Issue]:
    """The issues of the file, up to the limits.

    Counts the records of other types in `ignored`.
    """
    issues: list[Issue] = []
    foreign_targets: list[tuple[str, str, str]] = []
    for count, line in enumerate(nonblank_lines(text)):
        if count > MAX_LINES:
            what = f"more than {MAX_LINES:,} lines"
            remedy = "let beads compact or archive its old issues"
            diagnostics.add_problem(line.line_index, what, remedy)
            break
        try:
            document = json_document.load(path, line.text, line.line_index)
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
    document: JsonDocument, line: Line, diagnostics: Diagnostics
) -> Issue | None:
    """The issue on this line; None if it is left out, without an id."""
    node = document.root
    remedy = f"write lines like {EXAMPLE}"
    if node.members is None:
        what = f"a line is {node.kind}, not an object"
        diagnostics.leave_out(line.line_index, what, remedy)
        return None
    if node.get("_schema") is not None:
        what = "the header of an export, which is not an issue"
        diagnostics.leave_out(line.line_index, what, "")
        return None
    issue_id = node.text("id").strip()
    if not issue_id:
        diagnostics.leave_out(line.line_index, "an issue has no id", remedy)
        return None
    return Issue(document, line.start, issue_id, parse_status_word(node))


def parse_status_word(node: Node) -> StatusWord:
    """The meaning of the status; unknown words and non-text values are skipped."""
    status = node.get("status")
    if status is None or status.is_null or status.value == "":
        return PENDING
    return STATUS_WORDS.get(normalize(node.text("status")), SKIPPED)


def _read_targets(issue: Issue, diagnostics: Diagnostics) -> list[tuple[str, str, str]]:
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
    issues: Sequence[Issue], foreign_targets: Sequence[tuple[str, str, str]]
) -> None:
    """Give each (issue, type, target) to the issue that it is about."""
    if not foreign_targets:
        return
    issues_by_id = {issue.id: issue for issue in issues}
    for owner_id, dependency_type, target in foreign_targets:
        owner = issues_by_id.get(owner_id)
        if owner is not None:
            owner.targets.setdefault(dependency_type, []).append(target)


def without_duplicates(
    issues: Sequence[Issue], diagnostics: Diagnostics
) -> list[Issue]:
    """One issue of each id: the first that is open, so that nothing starts early."""
    issues_by_id: dict[str, list[Issue]] = {}
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
