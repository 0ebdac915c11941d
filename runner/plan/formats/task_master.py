"""Task Master's `tasks.json`: a list of tasks, or several lists under tags.

The format is what real files contain: ids are numbers, decimals or slugs, and status
words drift from those that Task Master documents. A task is the unit of work and its
subtasks are a checklist in the prompt. With `options: {subtasks: tasks}` each subtask is
a task, and its parent is done when all of them are.

The tag is the current one of Task Master, which `.taskmaster/state.json` names.
A record that cannot be read is left out, as is the second of two with one id.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.core import json_document
from runner.core.errors import InvalidInput, Problem
from runner.core.json_document import JsonDocument, Node
from runner.core.task import Plan, Status, Task
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    IN_PROGRESS,
    LEFT_OUT,
    PENDING,
    REVIEW_WORDS,
    SKIPPED,
    Diagnostics,
    StatusWord,
    build_task_or_leave_out,
    changed_file,
    count_of,
    join_sections,
    normalize,
    only_tasks,
    parse_status_or_leave_out,
    replacement_word,
    spelling_remedy,
)
from runner.plan.formats.marked_text import JsonText, NewValue

EXAMPLE = (
    '{"master": {"tasks": [{"id": 1, "title": "What to do", '
    '"status": "pending", "dependencies": []}]}}'
)
DEFAULT_TAG = "master"
STATE_FILE = "state.json"  # of Task Master; names the current tag
# Task Master's `next` picks pending and in-progress tasks only: review, blocked and
# deferred tasks wait for a person.
STATUS_WORDS: Mapping[str, StatusWord] = {
    **dict.fromkeys(["pending", "todo", "to-do", "open", "not-started"], PENDING),
    **dict.fromkeys(["in-progress", "inprogress", "started", "doing"], IN_PROGRESS),
    **dict.fromkeys(["done", "completed", "complete", "closed", "finished"], COMPLETED),
    **dict.fromkeys(
        ["blocked", "deferred", "cancelled", "canceled", "skipped"], SKIPPED
    ),
    **REVIEW_WORDS,
}
# A higher number runs first.
PRIORITIES = {"critical": 2, "high": 1, "medium": 0, "low": -1}


@dataclass
class _Item:
    """A task or subtask. `id` is its id in the whole plan, as in `3.1`.

    `parent` is None for a task; `children` are its subtasks. `is_left_out`: a part of
    it cannot be read.
    """

    id: str
    node: Node
    parent: _Item | None = None
    children: list[_Item] = field(default_factory=list)
    is_left_out: bool = False


class TaskMaster:
    """The `task-master` format; see `runner.plan.formats.base.Source`."""

    name = "task-master"
    leaves_out_records = True
    options: Mapping[str, Sequence[str]] = {
        "tag": (),
        "subtasks": ("checklist", "tasks"),
    }

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a JSON file with lists of tasks, or a folder with a `tasks.json`."""
        file = _plan_file(path, tree)
        if not file.endswith(".json"):
            return False
        text = tree.read(file)
        if text is None:
            return False
        if file.endswith("tasks.json"):
            return True
        try:
            return bool(_task_lists(json_document.load(file, text).root))
        except InvalidInput:
            return False

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan of one tag.

        Raises InvalidInput for a file that is not JSON or has no tasks, and for an
        unclear tag.
        """
        file = _plan_file(path, tree)
        diagnostics = Diagnostics(path, file)
        document = json_document.load(file, tree.read(file) or "")
        items = _read_items(document, tree, options, diagnostics)
        builder = _TaskBuilder(
            document, diagnostics, items, _subtasks_are_tasks(options)
        )
        tasks = builder.tasks()
        if not items and not diagnostics.left_out:
            diagnostics.add_problem(0, "no tasks found", f"write {EXAMPLE}")
        return diagnostics.build_plan(self.name, tasks)

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the `status` words of the marked tasks changed."""
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        file = _plan_file(path, tree)
        diagnostics = Diagnostics(path, file)
        text = tree.read(file) or ""
        document = json_document.load(file, text)
        items = _read_items(document, tree, options, diagnostics)
        # Of two items with one id, the one that is not done counts.
        is_current = not diagnostics.left_out
        with_subtasks = _subtasks_are_tasks(options)
        return _TaskMasterMarker(file, text, items, with_subtasks, is_current)


def _plan_file(path: str, tree: Tree) -> str:
    """The JSON file of the plan: `path`, or the one that Task Master keeps in it."""
    if tree.read(path) is not None:
        return path
    for inside in (f"{path}/tasks/tasks.json", f"{path}/tasks.json"):
        if tree.read(inside) is not None:
            return inside
    return path


def _subtasks_are_tasks(options: Options) -> bool:
    return options.get("subtasks") == "tasks"


# -- Reading items --


def _task_lists(root: Node) -> dict[str, Node]:
    """Tag → its list of tasks.

    Files from before Task Master had tags have one list, which counts as the default
    tag.
    """
    tasks = root.get("tasks")
    if tasks is not None and tasks.items is not None:
        return {DEFAULT_TAG: tasks}
    lists = {}
    for tag, node in (root.members or {}).items():
        tasks = node.get("tasks")
        if tasks is not None and tasks.items is not None:
            lists[tag] = tasks
    return lists


def _read_items(
    document: JsonDocument, tree: Tree, options: Options, diagnostics: Diagnostics
) -> list[_Item]:
    """The tasks of the chosen tag, with their subtasks."""
    lists = _task_lists(document.root)
    tag = _chosen_tag(document.path, lists, tree, options)
    _note_ignored_tags(lists, tag, diagnostics)
    items = []
    for node in lists[tag].items or []:
        item = _read_item(document, node, None, diagnostics)
        if item is not None:
            items.append(item)
    return _without_duplicates(document, items, diagnostics)


def _without_duplicates(
    document: JsonDocument, items: Sequence[_Item], diagnostics: Diagnostics
) -> list[_Item]:
    """One item of each id: the first that is not done, so that nothing starts early."""
    items_by_id: dict[str, list[_Item]] = {}
    for item in items:
        items_by_id.setdefault(item.id, []).append(item)
    chosen_items = []
    for same in items_by_id.values():
        unfinished = [item for item in same if not _is_marked_done(item)]
        chosen = (unfinished or same)[0]
        chosen_items.append(chosen)
        chosen_line = document.line_index(chosen.node) + 1
        for item in same:
            if item is not chosen:
                what = f"the id {item.id} is used twice (also on line {chosen_line})"
                line_index = document.line_index(item.node)
                diagnostics.leave_out(line_index, what, "give every task its own id")
    return chosen_items


def _chosen_tag(
    path: str,
    lists: Mapping[str, Node],
    tree: Tree,
    options: Options,
) -> str:
    """The tag to read: of the options, Task Master's current one, the only one, or the
    default one.

    Raises InvalidInput if the file does not have it.
    """
    if not lists:
        remedy = f"write {EXAMPLE}"
        raise InvalidInput([Problem(path, 1, "there is no list of tasks", remedy)])
    tag = options.get("tag") or _current_tag(path, tree)
    if not tag:
        tag = next(iter(lists)) if len(lists) == 1 else DEFAULT_TAG
    if tag in lists:
        return tag
    otherwise = f"choose one with  --option tag=NAME: {', '.join(lists)}"
    remedy = spelling_remedy(tag, lists, otherwise)
    raise InvalidInput([Problem(path, 1, f"there is no tag {tag!r}", remedy)])


def _current_tag(path: str, tree: Tree) -> str | None:
    """The tag that `state.json` in the folder `.taskmaster` names, None for none.

    The file at `path` is in that folder, or beside it if it is older than the folder.
    """
    folder = posixpath.dirname(path)
    if posixpath.basename(folder) == "tasks":
        folder = posixpath.dirname(folder)
    for state_folder in (folder, posixpath.join(folder, ".taskmaster")):
        file = posixpath.join(state_folder, STATE_FILE)
        text = tree.read(file)
        if text is None:
            continue
        try:
            return json_document.load(file, text).root.text("currentTag") or None
        except InvalidInput:
            return None
    return None


def _note_ignored_tags(
    lists: Mapping[str, Node], tag: str, diagnostics: Diagnostics
) -> None:
    ignored = []
    for name, node in lists.items():
        if name != tag:
            ignored.append(f"{name} ({count_of(len(node.items or []), 'task')})")
    if ignored:
        what = f"only the tag {tag} is read; ignored: {', '.join(ignored)}"
        diagnostics.add_plan_note(what)


def _read_item(
    document: JsonDocument, node: Node, parent: _Item | None, diagnostics: Diagnostics
) -> _Item | None:
    """The task at this node with its subtasks; None if it is left out, without an id."""
    line_index = document.line_index(node)
    if node.members is None:
        what = f"a task is {node.kind}, not an object"
        diagnostics.leave_out(line_index, what, f"write {EXAMPLE}")
        return None
    local_id = node.text("id").strip()
    if not local_id:
        diagnostics.leave_out(line_index, "a task has no id", 'write  "id": 1')
        return None
    item = _Item(_full_id(local_id, parent), node, parent)
    for child_node in _subtask_nodes(document, item, diagnostics):
        child = _read_item(document, child_node, item, diagnostics)
        if child is not None:
            item.children.append(child)
    item.children = _without_duplicates(document, item.children, diagnostics)
    return item


def _subtask_nodes(
    document: JsonDocument, item: _Item, diagnostics: Diagnostics
) -> Sequence[Node]:
    subtasks = item.node.get("subtasks")
    if subtasks is None or subtasks.is_null:
        return []
    if subtasks.items is None:
        what = f"{item.id}: its subtasks are {subtasks.kind}"
        line_index = document.line_index(subtasks)
        diagnostics.leave_out(line_index, what, "write a list", task_id=item.id)
        item.is_left_out = True
        return []
    return subtasks.items


def _full_id(local_id: str, parent: _Item | None) -> str:
    """The id in the whole plan.

    Task Master's own rule: an id without a dot belongs below its parent. Real files
    also write it in full.
    """
    if parent is None or local_id.startswith(f"{parent.id}."):
        return local_id
    return f"{parent.id}.{local_id}"


# -- Building tasks --


@dataclass
class _TaskBuilder:
    """Turns the items of a file into tasks."""

    document: JsonDocument
    diagnostics: Diagnostics
    items: Sequence[_Item]
    subtasks_are_tasks: bool

    def __post_init__(self) -> None:
        self._top_items = {item.id: item for item in self.items}
        self._subtasks: dict[str, _Item] = {}
        for item in self.items:
            for child in item.children:
                self._subtasks[child.id] = child

    def tasks(self) -> list[Task]:
        tasks = [self._task(item) for item in self._units_of_work()]
        return only_tasks(tasks)

    def _units_of_work(self) -> Iterator[_Item]:
        for item in self.items:
            if self.subtasks_are_tasks and item.children:
                yield from item.children
            else:
                yield item

    def _task(self, item: _Item) -> Task | None:
        depends_on = tuple(self._dependencies(item))
        status = self._status_of(item)
        skip_reason = normalize(item.node.text("status"))
        if item.is_left_out and status.status is not Status.COMPLETED:
            status, skip_reason = SKIPPED, LEFT_OUT
        return build_task_or_leave_out(
            self.diagnostics,
            self.document.line_index(item.node),
            task_id=item.id,
            title=_title(item.node),
            status=status,
            skip_reason=skip_reason,
            prompt=_prompt(item),
            depends_on=depends_on,
            priority=self._priority(item),
        )

    def _status_of(self, item: _Item) -> StatusWord:
        """The item's status; an open subtask of a closed task is as its parent."""
        parent_status = PENDING
        if item.parent:
            parent_status = self._own_status(item.parent)
        status = self._own_status(item)
        parent_is_done = parent_status.status is Status.COMPLETED
        if not parent_is_done and not parent_status.skipped:
            return status
        if status.status is not parent_status.status:
            what = f"{item.id} is open, but its parent is not"
            self.diagnostics.add_note(self.document.line_index(item.node), what)
        return status if status.status is Status.COMPLETED else parent_status

    def _own_status(self, item: _Item) -> StatusWord:
        status = item.node.get("status")
        if status is None or status.is_null:
            return PENDING
        word = status.value if isinstance(status.value, str) else status.kind
        line_index = self.document.line_index(status)
        return parse_status_or_leave_out(
            self.diagnostics, line_index, word, STATUS_WORDS, item.id
        )

    def _priority(self, item: _Item) -> int:
        word = normalize(item.node.text("priority"))
        if word and word not in PRIORITIES:
            what = f"{item.id}: the unknown priority {word!r} counts as medium"
            self.diagnostics.add_note(self.document.line_index(item.node), what)
        return PRIORITIES.get(word, 0)

    def _dependencies(self, item: _Item) -> Iterator[str]:
        """Ids of the tasks that the item waits for, for a subtask also its parent's."""
        for node in self._dependency_nodes(item):
            written_id = str(node.value).strip()
            target = self._target(written_id, item.parent)
            if target is None:
                # The graph reports it, with the nearest id.
                yield written_id
            elif not self.subtasks_are_tasks:
                yield self._whole_task(item, written_id, target)
            elif target.children:
                # A task with subtasks is done when all of them are.
                yield from [child.id for child in target.children]
            else:
                yield target.id
        if item.parent:
            yield from self._dependencies(item.parent)

    def _target(self, written_id: str, parent: _Item | None) -> _Item | None:
        """The item that an id means: a sibling first, then a task, then any subtask."""
        if parent is not None:
            sibling = self._subtasks.get(_full_id(written_id, parent))
            if sibling is not None:
                return sibling
        task = self._top_items.get(written_id)
        return task or self._subtasks.get(written_id)

    def _whole_task(self, item: _Item, written_id: str, target: _Item) -> str:
        """The id of the task that holds the target: only whole tasks are waited for."""
        if target.parent is None:
            return target.id
        task_id = target.parent.id
        what = (
            f"{item.id} depends on the subtask {written_id}, "
            f"so it waits for all of {task_id}"
        )
        self.diagnostics.add_note(self.document.line_index(item.node), what)
        return task_id

    def _dependency_nodes(self, item: _Item) -> Sequence[Node]:
        listed = item.node.get("dependencies")
        if listed is None or listed.is_null:
            return []
        nodes = listed.items or []
        not_ids = [node for node in nodes if not isinstance(node.value, str)]
        if listed.items is not None and not not_ids:
            return nodes
        wrong_node = not_ids[0] if not_ids else listed
        what = f"{item.id}: its dependencies are not a list of ids"
        line_index = self.document.line_index(wrong_node)
        self.diagnostics.leave_out(line_index, what, "write [1, 2]", task_id=item.id)
        item.is_left_out = True
        return []


def _title(node: Node) -> str:
    """The title, or the first line of the description."""
    title = node.text("title").strip()
    if title:
        return title
    lines = node.text("description").strip().splitlines()
    return lines[0] if lines else ""


def _prompt(item: _Item) -> str:
    node = item.node
    sections: list[tuple[str, str]] = [
        ("", node.text("description")),
        ("Details", node.text("details")),
        ("Test strategy", node.text("testStrategy")),
        ("Subtasks", "\n".join(_checklist(item.children))),
    ]
    if item.parent:
        title = item.parent.node.text("title")
        sections.append(("", f"Part of {item.parent.id}: {title}"))
    return join_sections(sections)


def _checklist(items: Iterable[_Item], depth: int = 0) -> Iterator[str]:
    """The lines of a checklist of these subtasks; deeper ones are indented."""
    indent = "  " * depth
    for item in items:
        title = item.node.text("title").strip()
        description = item.node.text("description").strip()
        text = ": ".join(part for part in (title, description) if part)
        box = "x" if _is_marked_done(item) else " "
        yield f"{indent}- [{box}] {item.id} {text}"
        for line in item.node.text("details").strip().splitlines():
            yield f"{indent}  {line}"
        yield from _checklist(item.children, depth + 1)


def _status_word(item: _Item) -> StatusWord:
    """The meaning of the item's own word, without a problem for an unknown one."""
    return STATUS_WORDS.get(normalize(item.node.text("status")), PENDING)


def _is_marked_done(item: _Item) -> bool:
    return _status_word(item).status is Status.COMPLETED


# -- Writing marks --


class _TaskMasterMarker:
    """The `Marker` of a file of Task Master."""

    def __init__(
        self,
        file: str,
        text: str,
        items: Sequence[_Item],
        with_subtasks: bool,
        is_current: bool,
    ) -> None:
        self.is_current = is_current
        self._file, self._text = file, JsonText(text)
        # Task id → the items that it marks, and those whose subtask it is.
        self._items: dict[str, list[_Item]] = {}
        self._parents: dict[str, list[_Item]] = {}
        for item in items:
            if with_subtasks and item.children:
                for child in item.children:
                    self._parents.setdefault(child.id, []).append(item)
            else:
                self._items.setdefault(item.id, []).append(item)

    def write(self, marks: Mapping[str, Mark]) -> Mapping[str, str]:
        """The file with the `status` words of the marked tasks changed."""
        changes: list[NewValue] = []
        parents: dict[int, _Item] = {}
        for task_id, mark in marks.items():
            for item in self._items.get(task_id, ()):
                changes += _status_change(item, mark.status)
            parents |= {id(item): item for item in self._parents.get(task_id, ())}
        for parent in parents.values():
            changes += _subtask_changes(parent, marks)
        before = self._text.text
        self._text.set_values(changes)
        return changed_file(self._file, before, self._text.text)


def _status_change(item: _Item, status: Status) -> Iterator[NewValue]:
    """The edit of the item's status word, if it must change.

    An item without a status word does not get one: the progress file has its status.
    """
    node = item.node.get("status")
    if node is None or not isinstance(node.value, str):
        return
    current = _status_word(item)
    word = replacement_word(current, status, done_word="done", open_word="pending")
    if word is not None:
        yield NewValue(node, word)


def _subtask_changes(parent: _Item, marks: Mapping[str, Mark]) -> Iterator[NewValue]:
    """Mark the subtasks and then their parent: done when all of them are, else open."""
    for child in parent.children:
        if child.id in marks:
            yield from _status_change(child, marks[child.id].status)
    all_done = all(_is_done(child, marks) for child in parent.children)
    yield from _status_change(parent, Status.COMPLETED if all_done else Status.PENDING)


def _is_done(item: _Item, marks: Mapping[str, Mark]) -> bool:
    if item.id in marks:
        return marks[item.id].status is Status.COMPLETED
    return _is_marked_done(item)
