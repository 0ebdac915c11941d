"""Task Master's `tasks.json`: a list of tasks, or several under tags.

The format is what real files hold (ids are numbers, decimals or slugs; a status word
drifts), read beside Task Master's own documentation of the task structure. A whole task
is the unit of work and its subtasks are a checklist in the prompt, or with `options:
{subtasks: tasks}` each subtask is a task and its parent is done when all of them are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.core import json_document
from runner.core.errors import InvalidInput, Problem
from runner.core.json_document import JsonDocument, Node
from runner.core.plurals import pluralize
from runner.core.task import Plan, Status, Task
from runner.core.validation import nearest
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

EXAMPLE = '{"master": {"tasks": [{"id": 1, "title": "What to do", "status": "pending", "dependencies": []}]}}'
DEFAULT_TAG = "master"
# Task Master's `next` picks pending and in-progress tasks only: review, blocked and
# deferred wait for a person.
WORDS: Mapping[str, Word] = {
    **dict.fromkeys(["pending", "todo", "to-do", "open", "not-started"], PENDING),
    **dict.fromkeys(["in-progress", "inprogress", "started", "doing"], IN_PROGRESS),
    **dict.fromkeys(["done", "completed", "complete", "closed", "finished"], COMPLETED),
    **dict.fromkeys(
        ["review", "blocked", "deferred", "cancelled", "canceled", "skipped"], SKIPPED
    ),
}
PRIORITIES = {"critical": 2, "high": 1, "medium": 0, "low": -1}


@dataclass
class _Item:
    """One task or subtask of the file: its id in the whole plan, its node, and its
    parent for a subtask.
    """

    id: str
    node: Node
    parent: _Item | None = None
    children: list[_Item] = field(default_factory=list)


class TaskMaster:
    """The `task-master` format; see `runner.plan.formats.base.Source` for what each
    method promises.
    """

    name = "task-master"
    options: Mapping[str, Sequence[str]] = {
        "tag": (),
        "subtasks": ("checklist", "tasks"),
    }

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `.json` object with lists of tasks, for any `tasks.json`, and for
        a `.taskmaster` folder.
        """
        file = _file(path, tree)
        text = tree.read(file) if file.endswith(".json") else None
        if text is None:
            return False
        if file.endswith("tasks.json"):
            return True
        try:
            return bool(_task_lists(json_document.load(file, text).root))
        except InvalidInput:
            return False

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan of one tag. InvalidInput for every unreadable task, unknown status
        and ambiguous tag.
        """
        file = _file(path, tree)
        talk = Diagnostics(path)
        document = json_document.load(file, tree.read(file) or "")
        items = _items(document, options, talk)
        reader = _Reader(
            document,
            talk,
            file if file != path else None,
            as_tasks=options.get("subtasks") == "tasks",
        )
        tasks = reader.tasks(items)
        if not items and not talk.problems:
            talk.problem(0, "no tasks found", f"write {EXAMPLE}", file)
        return talk.plan(self.name, tasks)

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the `status` words of the named tasks changed; a parent follows
        its subtasks.
        """
        file = _file(path, tree)
        text = tree.read(file) or ""
        document = json_document.load(file, text)
        items = _items(document, options, Diagnostics(path))
        changes: dict[int, tuple[int, str]] = {}
        for item in items:
            if options.get("subtasks") == "tasks" and item.children:
                _mark_family(item, marks, changes)
            elif item.id in marks:
                _mark(item, marks[item.id].status, changes)
        return changed(file, text, json_document.replaced(text, changes))


def _file(path: str, tree: Tree) -> str:
    """The JSON file of the plan: itself, or where Task Master keeps it below its
    folder.
    """
    if tree.read(path) is not None:
        return path
    inside = (f"{path}/tasks/tasks.json", f"{path}/tasks.json")
    return next((file for file in inside if tree.read(file) is not None), path)


def _task_lists(root: Node) -> dict[str, Node]:
    """Tag → its list of tasks. The older form without tags counts as the default one."""
    tasks = root.get("tasks")
    if tasks is not None and tasks.items is not None:
        return {DEFAULT_TAG: tasks}
    found = {tag: node.get("tasks") for tag, node in (root.members or {}).items()}
    return {
        tag: node
        for tag, node in found.items()
        if node is not None and node.items is not None
    }


def _items(document: JsonDocument, options: Options, talk: Diagnostics) -> list[_Item]:
    """The tasks of the chosen tag, with their subtasks."""
    lists = _task_lists(document.root)
    tag = options.get("tag") or (next(iter(lists)) if len(lists) == 1 else DEFAULT_TAG)
    if not lists:
        raise InvalidInput(
            [Problem(document.path, 1, "no list of tasks in it", f"write {EXAMPLE}")]
        )
    if tag not in lists:
        guess = nearest(tag, lists)
        remedy = (
            f"did you mean {guess!r}?"
            if guess
            else f"name one with  options: {{tag: …}}: {', '.join(lists)}"
        )
        raise InvalidInput(
            [Problem(document.path, 1, f"there is no tag {tag!r}", remedy)]
        )
    others = [
        f"{other} ({pluralize(len(lists[other].items or []), 'task')})"
        for other in lists
        if other != tag
    ]
    if others:
        talk.remark(f"the tag {tag} is read; ignored: {', '.join(others)}")
    return [
        item
        for node in lists[tag].items or []
        if (item := _item(document, node, None, talk))
    ]


def _item(
    document: JsonDocument, node: Node, parent: _Item | None, talk: Diagnostics
) -> _Item | None:
    at = document.at(node)
    if node.members is None:
        talk.problem(
            at,
            f"a task is {node.kind}, not an object",
            f"write {EXAMPLE}",
            document.path,
        )
        return None
    local = node.text("id").strip()
    if not local:
        talk.problem(at, "a task has no id", 'write  "id": 1', document.path)
        return None
    item = _Item(_full_id(local, parent), node, parent)
    subtasks = node.get("subtasks")
    if subtasks is not None and not subtasks.is_null and subtasks.items is None:
        talk.problem(
            document.at(subtasks),
            f"{item.id}: its subtasks are {subtasks.kind}",
            "write a list",
            document.path,
        )
    for child in (subtasks.items if subtasks is not None else None) or []:
        if found := _item(document, child, item, talk):
            item.children.append(found)
    return item


def _full_id(local: str, parent: _Item | None) -> str:
    """Task Master's own rule: an id without a dot belongs below its parent. Real files
    also write it in full.
    """
    return (
        local
        if parent is None or local.startswith(f"{parent.id}.")
        else f"{parent.id}.{local}"
    )


@dataclass
class _Reader:
    """Turns items into tasks; `file` is the task's own path where the plan is a folder."""

    document: JsonDocument
    talk: Diagnostics
    file: str | None
    as_tasks: bool

    def tasks(self, items: Sequence[_Item]) -> list[Task]:
        top = {item.id: item for item in items}
        inner = {child.id: child for item in items for child in item.children}
        found: list[Task | None] = []
        for item in items:
            if self.as_tasks and item.children:
                found += [
                    self._task(child, self._waits_for(child, top, inner))
                    for child in item.children
                ]
            else:
                found.append(self._task(item, self._waits_for(item, top, inner)))
        return [one for one in found if one]

    def _task(self, item: _Item, depends_on: Iterator[str]) -> Task | None:
        node, at = item.node, self.document.at(item.node)
        word, description = self._word(item), node.text("description")
        details = [
            ("Details", node.text("details")),
            ("Test strategy", node.text("testStrategy")),
        ]
        parent = item.parent
        context = (
            f"Part of {parent.id}: {parent.node.text('title')}" if parent else None
        )
        prompt = sections(
            [("", description), *details, ("Subtasks", _checklist(item)), ("", context)]
        )
        title = node.text("title").strip() or next(
            iter(description.strip().splitlines()), ""
        )
        return task(
            self.talk,
            at,
            self.file,
            id=item.id,
            title=title,
            prompt=prompt,
            depends_on=tuple(dict.fromkeys(depends_on)),
            priority=self._priority(item),
            source_status=word.status,
            skipped=word.skipped,
        )

    def _word(self, item: _Item) -> Word:
        """What the task's status says; a subtask of a finished or given-up task is as
        its parent.
        """
        own = self._status(item.node)
        above = self._status(item.parent.node) if item.parent else PENDING
        if above.skipped or above.status is Status.COMPLETED:
            if own.status is not above.status:
                self.talk.note(
                    self.document.at(item.node),
                    f"{item.id} is open, but its parent is not",
                    self.file,
                )
            return own if own.status is Status.COMPLETED else above
        return own

    def _status(self, node: Node) -> Word:
        status = node.get("status")
        if status is None or status.is_null:
            return PENDING
        word = status.value if isinstance(status.value, str) else status.kind
        return status_word(
            self.talk, self.document.at(status), word, WORDS, self.document.path
        )

    def _priority(self, item: _Item) -> int:
        word = folded(item.node.text("priority"))
        if word and word not in PRIORITIES:
            self.talk.note(
                self.document.at(item.node),
                f"{item.id}: the priority {word!r} counts as medium",
                self.file,
            )
        return PRIORITIES.get(word, 0)

    def _waits_for(
        self, item: _Item, top: Mapping[str, _Item], inner: Mapping[str, _Item]
    ) -> Iterator[str]:
        """Ids of the plan that the item waits for; for a subtask also what its parent
        waits for.
        """
        for node in self._dependencies(item):
            dep = str(node.value).strip()
            sibling = inner.get(_full_id(dep, item.parent)) if item.parent else None
            target = sibling or top.get(dep) or inner.get(dep)
            if target is None:
                yield dep  # unknown: the graph names it with its nearest
            elif self.as_tasks:
                yield from [child.id for child in target.children] or [target.id]
            else:
                yield self._whole(item, dep, target)
        if item.parent:
            yield from self._waits_for(item.parent, top, inner)

    def _whole(self, item: _Item, dep: str, target: _Item) -> str:
        """A dependency on a subtask is one on its task, where the task is the unit of
        work.
        """
        if target.parent is None:
            return target.id
        at = self.document.at(item.node)
        self.talk.note(
            at,
            f"{item.id} needs the subtask {dep}, and so waits for all of {target.parent.id}",
            self.file,
        )
        return target.parent.id

    def _dependencies(self, item: _Item) -> list[Node]:
        found = item.node.get("dependencies")
        if found is None or found.is_null:
            return []
        wrong = [node for node in found.items or [] if not isinstance(node.value, str)]
        if found.items is None or wrong:
            at = self.document.at(wrong[0] if wrong else found)
            self.talk.problem(
                at,
                f"{item.id}: its dependencies are no list of ids",
                "write [1, 2]",
                self.document.path,
            )
            return []
        return found.items


def _checklist(item: _Item, depth: int = 0) -> str:
    """The subtasks as the agent reads them; deeper ones are indented."""
    lines = []
    for child in item.children:
        done = (
            WORDS.get(folded(child.node.text("status")), PENDING).status
            is Status.COMPLETED
        )
        told = [
            child.node.text(name).strip()
            for name in ("title", "description", "details")
        ]
        text = ": ".join(part for part in told[:2] if part)
        indent = "  " * depth
        lines.append(f"{indent}- [{'x' if done else ' '}] {child.id} {text}")
        lines += [f"{indent}  {line}" for line in told[2].splitlines()]
        lines += [below for below in [_checklist(child, depth + 1)] if below]
    return "\n".join(lines)


def _mark(item: _Item, wanted: Status, changes: dict[int, tuple[int, str]]) -> None:
    """Notes the change of the item's status word; where it has none the progress file
    is the only record.
    """
    status = item.node.get("status")
    if status is None or not isinstance(status.value, str):
        return
    current = WORDS.get(folded(status.value), PENDING)
    word = target_word(current, wanted, done="done", todo="pending")
    if word is not None:
        changes[status.start] = (status.end, word)


def _mark_family(
    parent: _Item, marks: Mapping[str, Mark], changes: dict[int, tuple[int, str]]
) -> None:
    """Marks subtasks that are tasks, and their parent: done when they all are, and open
    again when one is.
    """
    touched = [child for child in parent.children if child.id in marks]
    for child in touched:
        _mark(child, marks[child.id].status, changes)
    if touched:
        done = all(_is_done(child, marks) for child in parent.children)
        _mark(parent, Status.COMPLETED if done else Status.PENDING, changes)


def _is_done(item: _Item, marks: Mapping[str, Mark]) -> bool:
    if item.id in marks:
        return marks[item.id].status is Status.COMPLETED
    return (
        WORDS.get(folded(item.node.text("status")), PENDING).status is Status.COMPLETED
    )
