"""Backlog.md's folder: a Markdown file for each task in `tasks/` and `completed/`.

A finished task moves to `completed/`; `config.yml` names the statuses. Ids are compared
as Backlog.md does: ignoring case and leading zeros. If no id matches, their prefixes are
ignored too, because prefixes get renamed (in Backlog.md's own repository from `task-` to
`BACK-`) while the dependencies keep the old one.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import yaml

from runner.core import yaml_document
from runner.core.errors import InvalidInput
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
    count_of,
    join_sections,
    normalize,
    only_tasks,
    parse_status,
    replacement_word,
)

EXAMPLE = "---\\nid: task-1\\ntitle: What to do\\nstatus: To Do\\n---"
MAX_NAMED_TASKS = 5  # a note names no more of them
DEFAULT_STATUSES = ("To Do", "In Progress", "Done")  # the last one means completed
# Outranks the folder's own configuration since March 2026 (MrLesk/Backlog.md#563).
ROOT_CONFIG = "backlog.config.yml"
# Words that real files use although no configuration lists them. They outrank a
# configuration that does.
STATUS_WORDS: Mapping[str, StatusWord] = {
    **dict.fromkeys(
        [
            "to-do",
            "todo",
            "open",
            "backlog",
            "pending",
            "ready",
            "not-started",
            "draft",
        ],
        PENDING,
    ),
    **dict.fromkeys(
        ["in-progress", "inprogress", "doing", "started", "wip"], IN_PROGRESS
    ),
    **dict.fromkeys(["done", "completed", "complete", "closed", "finished"], COMPLETED),
    **dict.fromkeys(
        [
            "skipped",
            "won't-do",
            "wont-do",
            "won't-fix",
            "wontfix",
            "cancelled",
            "canceled",
            "deferred",
            "blocked",
            "on-hold",
            "abandoned",
            "rejected",
            "duplicate",
            "archived",
        ],
        SKIPPED,
    ),
}
# A higher number runs first.
PRIORITIES = {"critical": 2, "high": 1, "medium": 0, "low": -1}

_FENCE = re.compile(r"---[ \t]*\r?")
_STATUS_LINE = re.compile(
    r"(?P<key>status[ \t]*:[ \t]*)(?P<quote>[\"']?)(?P<word>[^\"'#\r\n]*?)(?P=quote)"
    r"(?P<rest>[ \t]*(?:#.*)?\r?)"
)
# `assignee: @me` and `- @me` are not valid YAML. Backlog.md quotes such names before it
# parses, so fanin does, too.
_MENTION = re.compile(
    r"^(?P<start>[ \t]*(?:[\w-]+[ \t]*:|-)[ \t]+)(?P<name>@[^\s,\[\]{}#]+)(?P<end>[ \t]*\r?)$"
)
_LISTED_MENTION = re.compile(r"(?P<start>[\[,][ \t]*)(?P<name>@[^\s,\[\]{}]+)")
_ID = re.compile(
    r"(?:(?P<prefix>[A-Za-z][\w-]*?)-)?(?P<numbers>[0-9]+[A-Za-z]?(?:\.[0-9]+[A-Za-z]?)*)"
)
_LEADING_ZEROS = re.compile(r"^0+(?=[0-9])")
_SECTION_MARKER = re.compile(
    r"^[ \t]*<!-- (?:SECTION|AC|DOD|COMMENTS):?[\w:]*(?:BEGIN|END) -->[ \t]*\r?\n?",
    re.MULTILINE,
)
_COMMENTS = re.compile(
    r"^## Comments[ \t]*\r?\n.*?^<!-- COMMENTS:END -->\s*", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class _Field:
    """A member of the front matter; its line is counted from 0 in the file."""

    line_index: int
    node: yaml.Node


@dataclass(frozen=True)
class _TaskFile:
    """A task file. `completed`: whether it is in the `completed/` folder."""

    path: str
    fields: Mapping[str, _Field]
    body: str
    completed: bool

    @property
    def id(self) -> str:
        return self.text("id")

    def line_index(self, name: str) -> int:
        """The line of a field, or the first line if there is no such field."""
        return self.fields[name].line_index if name in self.fields else 0

    def text(self, name: str) -> str:
        """A field's value as it is written: YAML would read the id 4.10 as 4.1."""
        if name not in self.fields:
            return ""
        node = self.fields[name].node
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            return ""
        return str(node.value).strip()


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


class BacklogMd:
    """The `backlog-md` format; see `runner.plan.formats.base.Source`."""

    name = "backlog-md"
    options: Mapping[str, Sequence[str]] = {}

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a folder whose `tasks/` has a Markdown file with front matter."""
        for file in tree.list(path):
            if not file.startswith(f"{path}/tasks/") or not file.endswith(".md"):
                continue
            if _front_matter_end(tree.read(file) or "") is not None:
                return True
        return False

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this folder.

        Raises InvalidInput for unreadable files, ambiguous ids and unknown statuses.
        """
        diagnostics = Diagnostics(path)
        words = _status_words(_read_statuses(path, tree, diagnostics))
        files = _read_files(path, tree, diagnostics)
        files = [file for file in files if _has_id(file, diagnostics)]
        files = _without_duplicates(files, diagnostics)
        ids = _Ids([file.id for file in files])
        tasks = [_task(file, words, ids, diagnostics) for file in files]
        if not files and not diagnostics.problems:
            remedy = f"write files that begin  {EXAMPLE}"
            diagnostics.add_problem(0, "no tasks found", remedy, f"{path}/tasks")
        _note_parents(files, ids, diagnostics)
        return diagnostics.build_plan(self.name, only_tasks(tasks))

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The marked tasks' files with the word after `status:` changed.

        No file moves to `completed/`: that is left to Backlog.md.
        """
        diagnostics = Diagnostics(path)
        statuses = _read_statuses(path, tree, diagnostics)
        words = _status_words(statuses)
        done_word = _done_word(statuses, words)
        changes: dict[str, str] = {}
        for file in _read_files(path, tree, diagnostics):
            if file.id not in marks or file.completed:
                continue
            text = tree.read(file.path) or ""
            status = marks[file.id].status
            new_text = _with_status(text, status, words, done_word, statuses[0])
            changes |= changed_file(file.path, text, new_text)
        return changes


# -- The folder --


def _read_files(path: str, tree: Tree, diagnostics: Diagnostics) -> list[_TaskFile]:
    """The task files in the order of their ids; a note for each other folder."""
    ignored_folders: Counter[str] = Counter()
    files: list[_TaskFile] = []
    for file_path in tree.list(path):
        if not file_path.endswith(".md"):
            continue
        folder = file_path.removeprefix(f"{path}/").split("/")[0]
        if folder not in ("tasks", "completed"):
            ignored_folders[folder] += 1
            continue
        text = tree.read(file_path) or ""
        file = _read_file(file_path, text, folder == "completed", diagnostics)
        if file is not None:
            files.append(file)
    for folder, count in sorted(ignored_folders.items()):
        note = f"{path}/{folder}: ignored, {count_of(count, 'file')}"
        diagnostics.notes.append(note)
    return sorted(files, key=lambda file: (_sort_key(file.id), file.path))


def _read_file(
    path: str, text: str, completed: bool, diagnostics: Diagnostics
) -> _TaskFile | None:
    """The task file; None, after a note or a problem, if it is not one."""
    end = _front_matter_end(text)
    if end is None:
        what = "no front matter, so it is not a task"
        diagnostics.add_note(0, what, path)
        return None
    lines = text.split("\n")
    try:
        fields = _read_fields(path, lines[1:end])
    except InvalidInput as error:
        diagnostics.problems += error.problems
        return None
    return _TaskFile(path, fields, "\n".join(lines[end + 1 :]), completed)


def _front_matter_end(text: str) -> int | None:
    """The index of the line that ends the front matter; None if there is none."""
    lines = text.removeprefix("\ufeff").split("\n")
    if not _FENCE.fullmatch(lines[0]):
        return None
    for index, line in enumerate(lines[1:], 1):
        if _FENCE.fullmatch(line):
            return index
    return None


def _read_fields(path: str, lines: Sequence[str]) -> dict[str, _Field]:
    """The members of the front matter whose lines, without its `---`, these are."""
    quoted_lines = []
    for line in lines:
        line = _MENTION.sub(r'\g<start>"\g<name>"\g<end>', line)
        line = _LISTED_MENTION.sub(r'\g<start>"\g<name>"', line)
        quoted_lines.append(line)
    # An empty line in place of the `---`, so that lines are numbered as in the file.
    root = yaml_document.load(path, "\n".join(["", *quoted_lines])).node
    if not isinstance(root, yaml.MappingNode):
        return {}
    fields = {}
    for key, value in root.value:
        if isinstance(key, yaml.ScalarNode):
            fields[key.value] = _Field(key.start_mark.line, value)
    return fields


def _has_id(file: _TaskFile, diagnostics: Diagnostics) -> bool:
    if file.id:
        return True
    remedy = f"begin it with  {EXAMPLE}"
    diagnostics.add_problem(0, "this task file has no id", remedy, file.path)
    return False


def _without_duplicates(
    files: Sequence[_TaskFile], diagnostics: Diagnostics
) -> list[_TaskFile]:
    """The first file of each id.

    Finished copies are harmless. With an open one it is unclear which of them counts.
    """
    files_by_id: dict[tuple[str, ...], list[_TaskFile]] = {}
    for file in files:
        files_by_id.setdefault(_canonical_id(file.id), []).append(file)
    for first, *copies in files_by_id.values():
        if not copies:
            continue
        if all(file.completed for file in (first, *copies)):
            paths = ", ".join(file.path for file in copies)
            diagnostics.add_note(0, f"{first.id} is also {paths}", first.path)
            continue
        for file in copies:
            what = f"the id {file.id} is used twice (first in {first.path})"
            remedy = "give every task its own id"
            diagnostics.add_problem(file.line_index("id"), what, remedy, file.path)
    return [group[0] for group in files_by_id.values()]


def _note_parents(
    files: Sequence[_TaskFile], ids: _Ids, diagnostics: Diagnostics
) -> None:
    """Note that a parent may start before its subtasks are done, as in Backlog.md."""
    parent_ids = set()
    for file in files:
        written_id = file.text("parent_task_id")
        matches = ids.find(written_id) if written_id else []
        if len(matches) == 1:
            parent_ids.add(matches[0])
    if not parent_ids:
        return
    tasks = count_of(len(parent_ids), "task")
    examples = ", ".join(sorted(parent_ids)[:MAX_NAMED_TASKS])
    what = (
        f"{tasks} with subtasks wait only for those named as dependencies: {examples}"
    )
    diagnostics.add_plan_note(what)


# -- Statuses --


def _read_statuses(path: str, tree: Tree, diagnostics: Diagnostics) -> list[str]:
    """The configured statuses, in order.

    They are in the repository's `backlog.config.yml` if it is about this folder, else
    in the folder's own configuration.
    """
    for file in (ROOT_CONFIG, f"{path}/config.yml", f"{path}/config.yaml"):
        text = tree.read(file)
        if text is None:
            continue
        try:
            data = yaml_document.load(file, text).data
        except InvalidInput as error:
            # Another file's statuses must not stand in for those that cannot be read.
            diagnostics.problems += error.problems
            break
        if not isinstance(data, dict):
            continue
        if file == ROOT_CONFIG and not _applies_to_folder(data, path):
            continue
        statuses = data.get("statuses")
        if _is_list_of_words(statuses):
            return statuses
        if statuses is not None:
            what = "statuses is not a list of words"
            remedy = f"write  statuses: {list(DEFAULT_STATUSES)}"
            diagnostics.add_problem(0, what, remedy, file)
    return list(DEFAULT_STATUSES)


def _is_list_of_words(value: object) -> TypeGuard[list[str]]:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(word, str) and word.strip() for word in value)


def _applies_to_folder(config: Mapping[str, object], path: str) -> bool:
    """Whether the configuration at the repository's root is for the folder `path`."""
    folder = config.get("backlog_directory")
    if isinstance(folder, str) and folder:
        return posixpath.normpath(folder) == path
    return path in ("backlog", ".backlog")


def _status_words(statuses: Sequence[str]) -> dict[str, StatusWord]:
    """What each status word means: the first status is open and the last completed."""
    words = [normalize(status) for status in statuses]
    configured = dict.fromkeys(words, IN_PROGRESS)
    configured[words[0]] = PENDING
    configured[words[-1]] = COMPLETED
    return {**configured, **STATUS_WORDS}


def _done_word(statuses: Sequence[str], words: Mapping[str, StatusWord]) -> str:
    """The last configured status that means completed, else the last one."""
    for status in reversed(statuses):
        if words[normalize(status)].status is Status.COMPLETED:
            return status
    return statuses[-1]


def _with_status(
    text: str,
    status: Status,
    words: Mapping[str, StatusWord],
    done_word: str,
    open_word: str,
) -> str:
    """The file with another word after `status:`, in the same quotes.

    A file without a status stays without one: the progress file records it.
    """
    lines = text.split("\n")
    for index in range(1, _front_matter_end(text) or 0):
        match = _STATUS_LINE.fullmatch(lines[index])
        if not match:
            continue
        current = words.get(normalize(match["word"]), PENDING)
        word = replacement_word(
            current, status, done_word=done_word, open_word=open_word
        )
        if word is not None:
            quote = match["quote"]
            lines[index] = f"{match['key']}{quote}{word}{quote}{match['rest']}"
        break
    return "\n".join(lines)


# -- Ids --


def _canonical_id(task_id: str) -> tuple[str, ...]:
    """An id as Backlog.md compares it: without case and leading zeros, prefix first."""
    match = _ID.fullmatch(task_id.strip())
    if not match:
        return (task_id.strip().casefold(),)
    prefix = (match["prefix"] or "").casefold()
    numbers = match["numbers"].casefold().split(".")
    return (prefix, *[_LEADING_ZEROS.sub("", number) for number in numbers])


def _sort_key(task_id: str) -> tuple[object, ...]:
    """Sorts ids by their numbers: 4.2 before 4.10."""
    prefix, *numbers = _canonical_id(task_id)
    return (prefix, [(_leading_number(number), number) for number in numbers])


def _leading_number(text: str) -> int:
    match = re.match(r"[0-9]{1,9}", text)
    return int(match[0]) if match else 0


class _Ids:
    """The ids of the plan, searched by how dependencies spell them."""

    def __init__(self, task_ids: Sequence[str]) -> None:
        self._by_id: dict[tuple[str, ...], list[str]] = {}
        self._by_numbers: dict[tuple[str, ...], list[str]] = {}
        for task_id in task_ids:
            key = _canonical_id(task_id)
            self._by_id.setdefault(key, []).append(task_id)
            self._by_numbers.setdefault(_without_prefix(key), []).append(task_id)

    def find(self, written_id: str) -> list[str]:
        """The ids that it may mean: equal ones, else those with equal numbers."""
        key = _canonical_id(written_id)
        if key in self._by_id:
            return self._by_id[key]
        return self._by_numbers.get(_without_prefix(key), [])


def _without_prefix(key: tuple[str, ...]) -> tuple[str, ...]:
    """The numbers of a canonical id, or the id itself if it has none."""
    return key[1:] or key


# -- Tasks --


def _task(
    file: _TaskFile,
    words: Mapping[str, StatusWord],
    ids: _Ids,
    diagnostics: Diagnostics,
) -> Task | None:
    status = _status_of(file, words, diagnostics)
    file_name = posixpath.basename(file.path).removesuffix(".md")
    # What people and Backlog.md wrote for each other is not part of the task.
    body = _SECTION_MARKER.sub("", _COMMENTS.sub("", file.body))
    return build_task(
        diagnostics,
        file.line_index("id"),
        task_id=file.id,
        title=file.text("title") or file_name,
        prompt=join_sections([("", body)]),
        depends_on=_dependencies(file, ids, status, diagnostics),
        priority=PRIORITIES.get(normalize(file.text("priority")), 0),
        status=status,
        file=file.path,
    )


def _status_of(
    file: _TaskFile, words: Mapping[str, StatusWord], diagnostics: Diagnostics
) -> StatusWord:
    """What the file's status means; in `completed/` that does not count."""
    if file.completed:
        return COMPLETED
    word = file.text("status")
    if not word:
        return PENDING
    line_index = file.line_index("status")
    return parse_status(diagnostics, line_index, word, words, file.path)


def _dependencies(
    file: _TaskFile, ids: _Ids, status: StatusWord, diagnostics: Diagnostics
) -> Iterator[str]:
    """The ids of the plan that this file's `dependencies` mean."""
    for node in _dependency_nodes(file, diagnostics):
        written_id = node.value.strip()
        matches = ids.find(written_id)
        if len(matches) == 1:
            yield matches[0]
        elif not matches or status.status is Status.COMPLETED:
            # The registry drops what a finished task names, with a note; what an open
            # task names is reported by the graph, with the nearest id.
            yield written_id
        else:
            meanings = " or ".join(matches)
            what = f"{file.id} depends on {written_id}, which may be {meanings}"
            line_index = node.start_mark.line
            diagnostics.add_problem(line_index, what, "write the whole id", file.path)


def _dependency_nodes(
    file: _TaskFile, diagnostics: Diagnostics
) -> list[yaml.ScalarNode]:
    """The ids in the list; a single id counts as a list of one."""
    field = file.fields.get("dependencies")
    if field is None:
        return []
    node = field.node
    if isinstance(node, yaml.ScalarNode):
        return [node] if file.text("dependencies") else []
    scalars = []
    if isinstance(node, yaml.SequenceNode):
        scalars = [item for item in node.value if isinstance(item, yaml.ScalarNode)]
        if len(scalars) == len(node.value):
            return scalars
    what = f"{file.id}: its dependencies are not a list of ids"
    remedy = "write  [task-1, task-2]"
    diagnostics.add_problem(field.line_index, what, remedy, file.path)
    return scalars
