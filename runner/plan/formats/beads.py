"""beads' `issues.jsonl`: one issue a line, with typed dependencies.

Which types gate is beads' own rule: `blocks`, `waits-for` (all children of its target)
and, through the parent, what blocks it; an open parent alone gates nothing. Tombstones,
epics and records that are not work are no tasks. Newer beads keep the truth in a
database and export this file: `bd import` takes the marks over.
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
    Word,
    changed,
    folded,
    sections,
    status_word,
    target_word,
    task,
)

EXAMPLE = '{"id":"bd-1","title":"What to do","status":"open","priority":2,"issue_type":"task"}'
WORDS: Mapping[str, Word] = {
    **dict.fromkeys(["open", "todo", "ready", "pending"], PENDING),
    **dict.fromkeys(["in-progress", "hooked", "started"], IN_PROGRESS),
    **dict.fromkeys(["closed", "done", "completed", "resolved"], COMPLETED),
    **dict.fromkeys(
        ["deferred", "pinned", "cancelled", "canceled", "wontfix"], SKIPPED
    ),
    "blocked": PENDING,
    "tombstone": SKIPPED,
}
NOT_WORK = frozenset(
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
CONTAINERS = frozenset({"epic"})
GATES = frozenset(
    {
        "blocks",
        "blocked-by",
        "depends-on",
        "conditional-blocks",
        "waits-for",
        "parent-child",
    }
)
# Types that beads lists as never gating.
MAX_LINES = 100_000
LOOSE = frozenset(
    {
        "related",
        "relates-to",
        "discovered-from",
        "tracks",
        "duplicates",
        "supersedes",
        "replies-to",
        "authored-by",
    }
    | {
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
    """One line: its place, its document, and what its dependencies name by type."""

    document: JsonDocument
    start: int  # where the line begins in the file
    id: str
    word: Word
    waits: dict[str, list[str]] = field(default_factory=dict)

    @property
    def at(self) -> int:
        return self.document.first_line

    @property
    def node(self) -> Node:
        return self.document.root

    @property
    def kind(self) -> str:
        return folded(self.node.text("issue_type"))

    @property
    def closed(self) -> bool:
        return self.word.status is Status.COMPLETED

    @property
    def ignored_as(self) -> str | None:
        """What it is, if it is no task."""
        if folded(self.node.text("status")) == "tombstone":
            return "deleted (tombstone)"
        if self.kind in NOT_WORK | CONTAINERS:
            return self.kind
        return next(
            (
                name
                for name in ("is_template", "ephemeral")
                if _is_true(self.node, name)
            ),
            None,
        )


class Beads:
    """The `beads` format; see `runner.plan.formats.base.Source` for what each method
    promises.
    """

    name = "beads"
    options: Mapping[str, Sequence[str]] = {}

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `.jsonl` file whose first line is an issue, and for a folder with
        an `issues.jsonl`.
        """
        file = _file(path, tree)
        text = tree.read(file) if file.endswith(".jsonl") else None
        if text is None:
            return False
        first = next((line for _, _, line in _lines(text)), "")
        return file.endswith("issues.jsonl") or (
            '"id"' in first and '"status"' in first and '"title"' in first
        )

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan of this file. InvalidInput for unreadable lines, doubled ids and
        unknown statuses.
        """
        file = _file(path, tree)
        talk = Diagnostics(path)
        own = file if file != path else None
        found = list(_issues(file, tree.read(file) or "", talk))
        issues = _without_doubles(found, talk, file)
        _report_ignored(issues, talk)
        graph = _Gates({issue.id: issue for issue in issues}, talk, own)
        tasks = [
            _task(issue, graph, talk, own) for issue in issues if not issue.ignored_as
        ]
        if not tasks and not talk.problems:
            talk.problem(0, "no tasks found", f"write lines like {EXAMPLE}", own)
        return talk.plan(self.name, [one for one in tasks if one])

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the `status` word of the named tasks' lines changed."""
        file = _file(path, tree)
        text = tree.read(file) or ""
        changes: dict[int, tuple[int, str]] = {}
        for issue in _issues(file, text, Diagnostics(path)):
            status = issue.node.get("status")
            if (
                issue.id not in marks
                or issue.ignored_as
                or status is None
                or not isinstance(status.value, str)
            ):
                continue
            word = target_word(
                issue.word, marks[issue.id].status, done="closed", todo="open"
            )
            if word is not None:
                changes[issue.start + status.start] = (issue.start + status.end, word)
        return changed(file, text, json_document.replaced(text, changes))


def _file(path: str, tree: Tree) -> str:
    """The file of the plan: itself, or the one beads keeps in its folder under one of
    its names.
    """
    if tree.read(path) is not None:
        return path
    names = ("issues.jsonl", "beads.jsonl", "bd.jsonl")
    return next(
        (file for name in names if tree.read(file := f"{path}/{name}") is not None),
        path,
    )


def _lines(text: str) -> Iterator[tuple[int, int, str]]:
    """Number from 0, start and text of every line that says something."""
    for number, match in enumerate(re.finditer(r"[^\n]*\n|[^\n]+", text)):
        if match[0].strip(" \t\r\n\ufeff"):
            yield number, match.start(), match[0].rstrip("\r\n")


def _issues(path: str, text: str, talk: Diagnostics) -> Iterator[_Issue]:
    """The issues of the file; newer exports tag other records with `_type`."""
    for count, (number, start, line) in enumerate(_lines(text)):
        if count > MAX_LINES:
            talk.problem(
                number,
                f"more than {MAX_LINES:,} lines",
                "let beads compact or archive its old issues",
                path,
            )
            return
        try:
            document = json_document.load(path, line, number)
        except InvalidInput as error:
            talk.problems += error.problems
            if len(talk.problems) > 50:  # it is another kind of file
                return
            continue
        node = document.root
        if node.members is None:
            talk.problem(
                number,
                f"a line is {node.kind}, not an object",
                f"write lines like {EXAMPLE}",
                path,
            )
            continue
        if folded(node.text("_type")) not in ("", "issue"):
            continue
        issue_id = node.text("id").strip()
        if not issue_id:
            talk.problem(
                number, "an issue has no id", f"write lines like {EXAMPLE}", path
            )
            continue
        status = node.text("status")
        word = status_word(talk, number, status, WORDS, path) if status else PENDING
        issue = _Issue(document, start, issue_id, word)
        issue.waits = _dependencies(issue, talk, path)
        yield issue


def _dependencies(issue: _Issue, talk: Diagnostics, path: str) -> dict[str, list[str]]:
    """What the issue depends on, by type. An unknown type gates as `blocks` does:
    waiting is the safe side.
    """
    found: dict[str, list[str]] = {}
    listed = issue.node.get("dependencies")
    if listed is None or listed.is_null:
        return found
    if listed.items is None or any(
        not entry.text("depends_on_id") for entry in listed.items
    ):
        remedy = 'write  [{"issue_id": …, "depends_on_id": …, "type": "blocks"}]'
        talk.problem(
            issue.at, f"{issue.id}: its dependencies cannot be read", remedy, path
        )
        return found
    for entry in listed.items:
        kind = folded(entry.text("type")) or "blocks"
        if kind not in GATES | LOOSE:
            talk.note(
                issue.at,
                f"{issue.id}: the dependency type {kind!r} counts as blocks",
                path,
            )
            kind = "blocks"
        if entry.text("issue_id") not in ("", issue.id):
            talk.problem(
                issue.at,
                f"{issue.id} holds a dependency of {entry.text('issue_id')}",
                "move it there",
                path,
            )
        kind = "blocks" if kind in ("blocked-by", "depends-on") else kind
        found.setdefault(kind, []).append(entry.text("depends_on_id").strip())
    return found


def _without_doubles(
    issues: Sequence[_Issue], talk: Diagnostics, path: str
) -> list[_Issue]:
    first: dict[str, _Issue] = {}
    for issue in issues:
        if issue.id in first:
            what = f"the id {issue.id} is used a second time (first on line {first[issue.id].at + 1})"
            talk.problem(issue.at, what, "keep one of the two lines", path)
        first.setdefault(issue.id, issue)
    return list(first.values())


def _report_ignored(issues: Sequence[_Issue], talk: Diagnostics) -> None:
    ignored = Counter(reason for issue in issues if (reason := issue.ignored_as))
    if ignored:
        talk.remark(
            "ignored, as they are no tasks: "
            + ", ".join(f"{n} {reason}" for reason, n in ignored.items())
        )


def _is_true(node: Node, name: str) -> bool:
    found = node.get(name)
    return found is not None and found.value is True


@dataclass
class _Gates:
    """What an open issue waits for, with containers and children followed."""

    issues: Mapping[str, _Issue]
    talk: Diagnostics
    path: str | None

    @cached_property
    def children(self) -> Mapping[str, Sequence[_Issue]]:
        found: dict[str, list[_Issue]] = {}
        for issue in self.issues.values():
            for parent in issue.waits.get("parent-child", ()):
                found.setdefault(parent, []).append(issue)
        return found

    def of(self, issue: _Issue) -> tuple[list[str], str | None]:
        """Ids of tasks the issue waits for, and why it cannot run at all, if something
        else holds it up.
        """
        ids: list[str] = []
        obstacle = None
        for holder in self._line(issue):
            for target in holder.waits.get("blocks", ()):
                more, why = self._work(target, holder)
                ids += more
                obstacle = obstacle or why
            for target in holder.waits.get("waits-for", ()):
                for child in self.children.get(target, ()):
                    more, why = self._work(child.id, holder)
                    ids += more
                    obstacle = obstacle or why
            for target in holder.waits.get("conditional-blocks", ()):
                obstacle = obstacle or f"it is meant for the case that {target} fails"
        return [one for one in dict.fromkeys(ids) if one != issue.id], obstacle

    def _line(self, issue: _Issue) -> list[_Issue]:
        """The issue and everything above it: a blocked parent blocks its children.
        Finished ones block nobody.
        """
        found, queue = {issue.id: issue}, [issue]
        while queue:
            for parent in queue.pop().waits.get("parent-child", ()):
                above = self.issues.get(parent)
                if above and above.id not in found and not above.closed:
                    found[above.id] = above
                    queue.append(above)
        return list(found.values())

    def _work(self, target: str, holder: _Issue) -> tuple[list[str], str | None]:
        """The tasks that `target` stands for. An epic is its children; a deleted issue
        gates nothing, as in beads.
        """
        issue = self.issues.get(target)
        if issue is None:
            return [target], None  # unknown: the graph names it with its nearest
        if not issue.ignored_as:
            return [target], None
        if issue.closed or issue.ignored_as.startswith("deleted"):
            return [], None
        below, seen, queue = list[str](), {target}, [target]
        while queue:
            for child in self.children.get(queue.pop(), ()):
                if child.id not in seen:
                    seen.add(child.id)
                    queue.append(child.id)
                    below += [] if child.ignored_as else [child.id]
        kind = issue.ignored_as
        return (
            below,
            None
            if below and issue.kind in CONTAINERS
            else f"it waits for {target} ({kind}), which is open",
        )


def _task(
    issue: _Issue, gates: _Gates, talk: Diagnostics, path: str | None
) -> Task | None:
    node = issue.node
    depends_on, obstacle = gates.of(issue)
    word = issue.word
    if folded(node.text("status")) == "blocked" and not depends_on:
        obstacle = obstacle or "its status is blocked and nothing it waits for is named"
    if node.text("defer_until"):
        obstacle = obstacle or f"it is put off until {node.text('defer_until')}"
    if obstacle and not issue.closed:
        talk.note(issue.at, f"{issue.id} is skipped: {obstacle}", path)
        word = SKIPPED
    minutes = node.text("estimated_minutes")
    return task(
        talk,
        issue.at,
        path,
        id=issue.id,
        title=node.text("title"),
        prompt=sections(
            [
                ("", node.text("description")),
                ("Design", node.text("design")),
                ("Acceptance criteria", node.text("acceptance_criteria")),
                ("Notes", node.text("notes")),
            ]
        ),
        depends_on=tuple(depends_on),
        priority=2 - int(found)
        if re.fullmatch(r"[0-9]", found := node.text("priority"))
        else 0,
        estimate=float(minutes) * 60
        if re.fullmatch(r"[1-9][0-9]{0,5}", minutes)
        else None,
        source_status=word.status,
        skipped=word.skipped,
    )
