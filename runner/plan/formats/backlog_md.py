"""Backlog.md's folder: a Markdown file for each task in `tasks/` and `completed/`.

A finished task moves to `completed/`, one that is not wanted to `archive/tasks/`;
`config.yml` names the statuses and the prefix. Backlog.md lists only files that lie
directly in those folders and have the name `PREFIX-*.md`, so fanin reads only these.

Ids are compared as Backlog.md does: ignoring case and leading zeros. If no id matches,
their prefixes are ignored too, because prefixes get renamed (in Backlog.md's own
repository from `task-` to `BACK-`) while the dependencies keep the old one.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeGuard

import yaml

from runner.core import yaml_document
from runner.core.documents import clean
from runner.core.errors import InvalidInput
from runner.core.task import Plan, Reference, Status, Task
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
    count_of,
    join_sections,
    normalize,
    only_tasks,
    parse_status_or_leave_out,
    replacement_word,
)

EXAMPLE = "---\\nid: task-1\\ntitle: What to do\\nstatus: To Do\\n---"
MAX_NAMED_TASKS = 5  # a note names no more of them
DEFAULT_PREFIX = "task"
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
    **REVIEW_WORDS,
}
# A higher number runs first.
PRIORITIES = {"critical": 2, "high": 1, "medium": 0, "low": -1}

_FENCE = re.compile(r"---[ \t]*\r?")
_PREFIX = re.compile(r"[A-Za-z][\w-]*")
# `documentation` may name a document of the backlog by its id.
_DOCUMENT_ID = re.compile(r"doc-0*(?P<number>[0-9]+)\b", re.IGNORECASE)
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


class _Config(NamedTuple):
    """The configuration: the statuses in order, and the prefix of the files."""

    statuses: Sequence[str]
    prefix: str


@dataclass(frozen=True)
class _TaskFile:
    """A task file. `completed`: whether it is in the `completed/` folder; `has_copies`:
    whether other files have its id.
    """

    path: str
    fields: Mapping[str, _Field]
    body: str
    completed: bool
    has_copies: bool = False

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
    leaves_out_records = True

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a folder with Markdown files with front matter in `tasks/`.

        Also if they are in `completed/` only: then nothing is open.
        """
        folders = (f"{path}/tasks/", f"{path}/completed/")
        for file in tree.list(path):
            if not file.startswith(folders) or not file.endswith(".md"):
                continue
            if _front_matter_end(tree.read(file) or "") is not None:
                return True
        return False

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this folder.

        Raises InvalidInput for a configuration that is not valid YAML.
        """
        diagnostics = Diagnostics(path)
        config = _read_config(path, tree, diagnostics)
        words = _status_words(config.statuses)
        files = _read_files(path, tree, config.prefix, words, diagnostics)
        archived_ids = _archived_ids(path, tree, config.prefix)
        builder = _TaskBuilder(path, tree, diagnostics, words, files, archived_ids)
        tasks = builder.tasks()
        if not files and not diagnostics.problems and not diagnostics.left_out:
            name = f"{config.prefix}-1 - What-to-do.md"
            remedy = f"write files such as  {name}  that begin  {EXAMPLE}"
            diagnostics.add_problem(0, "no tasks found", remedy, f"{path}/tasks")
        return diagnostics.build_plan(self.name, tasks)

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The marked tasks' files with the word after `status:` changed.

        No file moves to `completed/`: that is left to Backlog.md.
        """
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        return _FileMarker(path, tree)


# -- The folder --


def _read_files(
    path: str,
    tree: Tree,
    prefix: str,
    words: Mapping[str, StatusWord],
    diagnostics: Diagnostics,
) -> list[_TaskFile]:
    """The task files in the order of their ids, one for each id.

    Notes what lies in the folder and is not a task file.
    """
    ignored_folders: Counter[str] = Counter()
    nested: list[str] = []
    unlisted: list[str] = []
    files: list[_TaskFile] = []
    for file_path in tree.list(path):
        if not file_path.endswith(".md"):
            continue
        folder, *below = file_path.removeprefix(f"{path}/").split("/")
        if folder not in ("tasks", "completed"):
            ignored_folders[folder] += 1
        elif len(below) > 1:
            nested.append(file_path)
        elif not below or not below[0].startswith(f"{prefix}-"):
            unlisted.append(file_path)
        else:
            text = tree.read(file_path) or ""
            file = _read_file(file_path, text, folder == "completed", diagnostics)
            if file is not None:
                files.append(file)
    _note_files(path, nested, "in subfolders", diagnostics)
    _note_files(path, unlisted, f"not named {prefix}-*.md", diagnostics)
    for folder, count in sorted(ignored_folders.items()):
        note = f"{path}/{folder}: ignored, {count_of(count, 'file')}"
        diagnostics.notes.append(note)
    files.sort(key=lambda file: (_sort_key(file.id), file.path))
    return _without_duplicates(files, words, diagnostics)


def _note_files(
    path: str, files: Sequence[str], what: str, diagnostics: Diagnostics
) -> None:
    """Note the Markdown files that Backlog.md does not list, and why."""
    if not files:
        return
    names = [file.removeprefix(f"{path}/") for file in files[:MAX_NAMED_TASKS]]
    if len(files) > len(names):
        names.append(f"{len(files) - len(names)} more")
    count = count_of(len(files), "file")
    diagnostics.add_plan_note(
        f"{count} {what}, which Backlog.md does not list: {', '.join(names)}"
    )


def _read_file(
    path: str, text: str, completed: bool, diagnostics: Diagnostics
) -> _TaskFile | None:
    """The task file; None if it is left out."""
    remedy = f"begin it with  {EXAMPLE}"
    end = _front_matter_end(text)
    if end is None:
        what = "no front matter, so it has no id"
        diagnostics.leave_out(0, what, remedy, file=path)
        return None
    lines = text.split("\n")
    try:
        fields = _read_fields(path, lines[1:end])
    except InvalidInput as error:
        if end == len(lines):
            what = "its front matter has no end"
            diagnostics.leave_out(0, what, "end it with  ---", file=path)
        else:
            diagnostics.leave_out_problem(error.problems[0])
        return None
    file = _TaskFile(path, fields, _body(lines, end), completed)
    if not file.id:
        diagnostics.leave_out(0, "this task file has no id", remedy, file=path)
        return None
    return file


def _front_matter_end(text: str) -> int | None:
    """The index of the line that ends the front matter; None if there is none.

    As in Backlog.md, text may follow on that line, and the end of the file is one, too.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    if not _FENCE.fullmatch(lines[0]):
        return None
    for index, line in enumerate(lines[1:], 1):
        if line.startswith("---"):
            return index
    return len(lines)


def _body(lines: Sequence[str], end: int) -> str:
    """The text after the front matter, which ends on that line."""
    if end == len(lines):
        return ""
    return "\n".join([lines[end].lstrip("-"), *lines[end + 1 :]])


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


def _without_duplicates(
    files: Sequence[_TaskFile],
    words: Mapping[str, StatusWord],
    diagnostics: Diagnostics,
) -> list[_TaskFile]:
    """One file of each id: the first that is not finished, so that nothing starts early.

    Finished copies are harmless.
    """
    files_by_id: dict[tuple[str, ...], list[_TaskFile]] = {}
    for file in files:
        files_by_id.setdefault(_canonical_id(file.id), []).append(file)
    chosen_files = []
    for same in files_by_id.values():
        unfinished = [file for file in same if not _is_finished(file, words)]
        chosen = (unfinished or same)[0]
        copies = [file for file in same if file is not chosen]
        chosen_files.append(replace(chosen, has_copies=bool(copies)))
        if copies and not unfinished:
            paths = ", ".join(file.path for file in copies)
            diagnostics.add_note(
                0,
                f"{chosen.id} is also in {paths}; only this file is read",
                chosen.path,
            )
            continue
        for file in copies:
            what = f"the id {file.id} is used twice (also in {chosen.path})"
            line_index = file.line_index("id")
            remedy = "give every task its own id"
            diagnostics.leave_out(line_index, what, remedy, file=file.path)
    return chosen_files


def _is_finished(file: _TaskFile, words: Mapping[str, StatusWord]) -> bool:
    word = words.get(normalize(file.text("status")), PENDING)
    return file.completed or word.status is Status.COMPLETED


def _archived_ids(path: str, tree: Tree, prefix: str) -> _Ids:
    """The ids of the files in `archive/tasks/`; unreadable ones are not tasks."""
    folder = f"{path}/archive/tasks"
    task_ids: list[str] = []
    for file_path in tree.list(folder):
        name = file_path.removeprefix(f"{folder}/")
        if "/" in name or not name.startswith(f"{prefix}-"):
            continue
        if not name.endswith(".md"):
            continue
        text = tree.read(file_path) or ""
        file = _read_file(file_path, text, False, Diagnostics(path))
        if file is not None:
            task_ids.append(file.id)
    return _Ids(task_ids)


# -- Statuses --


def _read_config(path: str, tree: Tree, diagnostics: Diagnostics) -> _Config:
    """The configured statuses and prefix.

    They are in the repository's `backlog.config.yml` if it is about this folder, else
    in the folder's own configuration.
    """
    statuses: Sequence[str] | None = None
    prefix: str | None = None
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
        statuses = statuses or _configured_statuses(data, file, diagnostics)
        prefix = prefix or _configured_prefix(data)
    return _Config(statuses or DEFAULT_STATUSES, prefix or DEFAULT_PREFIX)


def _configured_statuses(
    config: Mapping[str, object], file: str, diagnostics: Diagnostics
) -> Sequence[str] | None:
    statuses = config.get("statuses")
    if _is_list_of_words(statuses):
        return statuses
    if statuses is not None:
        what = "statuses is not a list of words"
        remedy = f"write  statuses: {list(DEFAULT_STATUSES)}"
        diagnostics.add_problem(0, what, remedy, file)
    return None


def _configured_prefix(config: Mapping[str, object]) -> str | None:
    """The prefix as file names have it, which is in lower case."""
    prefix = config.get("task_prefix")
    if isinstance(prefix, str) and _PREFIX.fullmatch(prefix.strip()):
        return prefix.strip().lower()
    return None


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
    """The meaning of each status word: the first status is open, the last completed.

    Behind the last one may stand columns of what is not wanted. Work that is done but
    not in the last column waits for a person, as for Backlog.md it is not finished.
    """
    words = [normalize(status) for status in statuses]
    wanted = [word for word in words if not STATUS_WORDS.get(word, PENDING).skipped]
    last_word = (wanted or words)[-1]
    meanings = dict.fromkeys(words, IN_PROGRESS)
    meanings[words[0]] = PENDING
    meanings |= STATUS_WORDS
    for word in words:
        if meanings[word].status is Status.COMPLETED:
            meanings[word] = SKIPPED
    meanings[last_word] = COMPLETED
    return meanings


def _done_word(statuses: Sequence[str], words: Mapping[str, StatusWord]) -> str:
    """The last configured status that means completed, else the last one."""
    for status in reversed(statuses):
        if words[normalize(status)].status is Status.COMPLETED:
            return status
    return statuses[-1]


class _FileMarker:
    """The `Marker` of a folder of task files."""

    def __init__(self, path: str, tree: Tree) -> None:
        self.is_current = True
        diagnostics = Diagnostics(path)
        config = _read_config(path, tree, diagnostics)
        self._words = _status_words(config.statuses)
        self._done_word = _done_word(config.statuses, self._words)
        self._open_word = config.statuses[0]
        files = _read_files(path, tree, config.prefix, self._words, diagnostics)
        self._files = {file.id: file for file in files if not file.completed}
        self._texts = {
            file.path: tree.read(file.path) or "" for file in self._files.values()
        }

    def write(self, marks: Mapping[str, Mark]) -> Mapping[str, str]:
        """The files of the marked tasks that get another word after `status:`."""
        changes: dict[str, str] = {}
        for task_id, mark in marks.items():
            file = self._files.get(task_id)
            if file is None:
                continue
            text = self._texts[file.path]
            new_text = self._with_status(text, mark.status)
            if new_text == text:
                continue
            self._texts[file.path] = changes[file.path] = new_text
            # Which of several files with one id is read depends on which are finished,
            # and no word of a configuration need be one that YAML reads as it is.
            after = _read_file(file.path, new_text, False, Diagnostics(file.path))
            if file.has_copies or after is None or after.id != task_id:
                self.is_current = False
        return changes

    def _with_status(self, text: str, status: Status) -> str:
        """The file with another word after `status:`, in the same quotes.

        A file without a status stays without one: the progress file records it.
        """
        lines = text.split("\n")
        for index in range(1, _front_matter_end(text) or 0):
            match = _STATUS_LINE.fullmatch(lines[index])
            if not match:
                continue
            current = self._words.get(normalize(match["word"]), PENDING)
            word = replacement_word(
                current, status, done_word=self._done_word, open_word=self._open_word
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
        """The ids that `written_id` may mean: equal ones, else equal numbers."""
        key = _canonical_id(written_id)
        if key in self._by_id:
            return self._by_id[key]
        return self._by_numbers.get(_without_prefix(key), [])


def _without_prefix(key: tuple[str, ...]) -> tuple[str, ...]:
    """The numbers of a canonical id, or the id itself if it has none."""
    return key[1:] or key


# -- Tasks --


class _TaskBuilder:
    """Turns the task files of a folder into tasks."""

    def __init__(
        self,
        path: str,
        tree: Tree,
        diagnostics: Diagnostics,
        words: Mapping[str, StatusWord],
        files: Sequence[_TaskFile],
        archived_ids: _Ids,
    ) -> None:
        self._path = path
        self._tree = tree
        self._diagnostics = diagnostics
        self._words = words
        self._files = files
        self._ids = _Ids([file.id for file in files])
        self._archived_ids = archived_ids
        self._satisfied: list[str] = []  # ids of archived tasks that others depend on

    def tasks(self) -> list[Task]:
        """The tasks in the order of their ids."""
        tasks = only_tasks(self._task(file) for file in self._files)
        if self._satisfied:
            names = list(dict.fromkeys(self._satisfied))[:MAX_NAMED_TASKS]
            count = count_of(len(self._satisfied), "dependency", "dependencies")
            what = f"{count} on archived tasks, which count as done"
            self._diagnostics.add_plan_note(f"{what}: {', '.join(names)}")
        self._note_parents()
        return tasks

    def _task(self, file: _TaskFile) -> Task | None:
        status = self._status_of(file)
        dependencies = self._dependencies(file, status)
        skip_reason = normalize(file.text("status"))
        if dependencies is None and status.status is not Status.COMPLETED:
            status, skip_reason = SKIPPED, LEFT_OUT
        file_name = posixpath.basename(file.path).removesuffix(".md")
        # What people and Backlog.md wrote for each other is not part of the task.
        body = _SECTION_MARKER.sub("", _COMMENTS.sub("", file.body))
        return build_task_or_leave_out(
            self._diagnostics,
            file.line_index("id"),
            task_id=file.id,
            title=file.text("title") or file_name,
            prompt=join_sections([("", body)]),
            depends_on=dependencies or (),
            priority=PRIORITIES.get(normalize(file.text("priority")), 0),
            status=status,
            skip_reason=skip_reason,
            file=file.path,
            context=tuple(self._context(file)),
        )

    def _status_of(self, file: _TaskFile) -> StatusWord:
        """The meaning of the file's status, which does not count in `completed/`."""
        if file.completed:
            return COMPLETED
        word = file.text("status")
        if not word:
            return PENDING
        return parse_status_or_leave_out(
            self._diagnostics,
            file.line_index("status"),
            word,
            self._words,
            file.id,
            file.path,
        )

    def _dependencies(self, file: _TaskFile, status: StatusWord) -> list[str] | None:
        """The ids of the plan that this file's `dependencies` mean.

        None if the task is left out because they cannot be read.
        """
        nodes = _dependency_nodes(file)
        if nodes is None:
            what = f"{file.id}: its dependencies are not a list of ids"
            line_index = file.line_index("dependencies")
            self._leave_out(file, line_index, what, "write  [task-1, task-2]")
            return None
        dependencies: list[str] = []
        for node in nodes:
            written_id = node.value.strip()
            matches = self._ids.find(written_id)
            if len(matches) == 1:
                dependencies += matches
            elif not matches and self._archived_ids.find(written_id):
                self._satisfied.append(written_id)
            elif not matches or status.status is Status.COMPLETED:
                # The registry drops what a finished task names, with a note; an open
                # task is left out, with the nearest id.
                dependencies.append(written_id)
            else:
                meanings = " or ".join(matches)
                what = f"{file.id} depends on {written_id}, which may be {meanings}"
                self._leave_out(file, node.start_mark.line, what, "write the whole id")
                return None
        return dependencies

    def _leave_out(
        self, file: _TaskFile, line_index: int, what: str, remedy: str
    ) -> None:
        self._diagnostics.leave_out(
            line_index, what, remedy, task_id=file.id, file=file.path
        )

    def _context(self, file: _TaskFile) -> Iterator[Reference]:
        """The documents that the task names, then its other references."""
        for field in ("documentation", "references"):
            for name in _words_of(file, field):
                if "://" in name:
                    yield Reference(clean(name), "")
                elif path := self._document_path(name):
                    yield Reference(path)

    def _document_path(self, name: str) -> str | None:
        """The path in the repository of a document, None if the name leaves it."""
        path = posixpath.normpath(name)
        if path.startswith(("/", "..")):
            return None
        match = _DOCUMENT_ID.fullmatch(name)
        if match is None:
            return path
        return self._documents.get(match["number"], path)

    @cached_property
    def _documents(self) -> Mapping[str, str]:
        """The number of each document in `docs/`, without zeros → its path."""
        documents: dict[str, str] = {}
        for path in self._tree.list(f"{self._path}/docs"):
            match = _DOCUMENT_ID.match(posixpath.basename(path))
            if match is not None:
                documents.setdefault(match["number"], path)
        return documents

    def _note_parents(self) -> None:
        """Note that a parent may start before its subtasks, as in Backlog.md."""
        parent_ids = set()
        for file in self._files:
            written_id = file.text("parent_task_id")
            matches = self._ids.find(written_id) if written_id else []
            if len(matches) == 1:
                parent_ids.add(matches[0])
        if not parent_ids:
            return
        tasks = count_of(len(parent_ids), "task")
        examples = ", ".join(sorted(parent_ids)[:MAX_NAMED_TASKS])
        what = f"{tasks} with subtasks wait only for those named as dependencies"
        self._diagnostics.add_plan_note(f"{what}: {examples}")


def _dependency_nodes(file: _TaskFile) -> list[yaml.ScalarNode] | None:
    """The ids in the list; a single id counts as a list of one. None if unreadable."""
    field = file.fields.get("dependencies")
    if field is None:
        return []
    node = field.node
    if isinstance(node, yaml.ScalarNode):
        return [node] if file.text("dependencies") else []
    if not isinstance(node, yaml.SequenceNode):
        return None
    scalars = [item for item in node.value if isinstance(item, yaml.ScalarNode)]
    return scalars if len(scalars) == len(node.value) else None


def _words_of(file: _TaskFile, name: str) -> list[str]:
    """The texts in a list of the front matter; [] for anything else."""
    field = file.fields.get(name)
    if field is None or not isinstance(field.node, yaml.SequenceNode):
        return []
    items = field.node.value
    words = [item.value for item in items if isinstance(item, yaml.ScalarNode)]
    return [word.strip() for word in words if word.strip()]
