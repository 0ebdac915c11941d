"""Backlog.md's folder: a Markdown file for each task in `tasks/` and `completed/`.

A finished task moves to `completed/`, one that is not wanted to `archive/tasks/`;
`config.yml` names the statuses and the prefix. Backlog.md lists only files that lie
directly in those folders and have the name `PREFIX-*.md`, so fanin reads only these.

`backlog_md_files` reads the files, `backlog_md_config` the configuration, and
`backlog_md_ids` compares ids.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import yaml

from runner.core.documents import clean
from runner.core.task import Plan, Reference, Status, Task
from runner.plan.formats.backlog_md_config import done_word, read_config, status_words
from runner.plan.formats.backlog_md_files import (
    EXAMPLE,
    TaskFile,
    front_matter_end,
    read_archived_ids,
    read_file,
    read_files,
)
from runner.plan.formats.backlog_md_ids import Ids
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    LEFT_OUT,
    PENDING,
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

MAX_NAMED_TASKS = 5  # a note names no more of them
# A higher number runs first.
PRIORITIES = {"critical": 2, "high": 1, "medium": 0, "low": -1}

# `documentation` may name a document of the backlog by its id.
_DOCUMENT_ID = re.compile(r"doc-0*(?P<number>[0-9]+)\b", re.IGNORECASE)
_STATUS_LINE = re.compile(
    r"(?P<key>status[ \t]*:[ \t]*)(?P<quote>[\"']?)(?P<word>[^\"'#\r\n]*?)(?P=quote)"
    r"(?P<rest>[ \t]*(?:#.*)?\r?)"
)
_SECTION_MARKER = re.compile(
    r"^[ \t]*<!-- (?:SECTION|AC|DOD|COMMENTS):?[\w:]*(?:BEGIN|END) -->[ \t]*\r?\n?",
    re.MULTILINE,
)
_COMMENTS = re.compile(
    r"^## Comments[ \t]*\r?\n.*?^<!-- COMMENTS:END -->\s*", re.MULTILINE | re.DOTALL
)


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
            if front_matter_end(tree.read(file) or "") is not None:
                return True
        return False

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this folder.

        Raises InvalidInput for a configuration that is not valid YAML.
        """
        diagnostics = Diagnostics(path)
        config = read_config(path, tree, diagnostics)
        words = status_words(config.statuses)
        files = read_files(path, tree, config.prefix, words, diagnostics)
        archived_ids = read_archived_ids(path, tree, config.prefix)
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


class _FileMarker:
    """The `Marker` of a folder of task files."""

    def __init__(self, path: str, tree: Tree) -> None:
        self.is_current = True
        diagnostics = Diagnostics(path)
        config = read_config(path, tree, diagnostics)
        self._words = status_words(config.statuses)
        self._done_word = done_word(config.statuses, self._words)
        self._open_word = config.statuses[0]
        files = read_files(path, tree, config.prefix, self._words, diagnostics)
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
            after = read_file(file.path, new_text, False, Diagnostics(file.path))
            if file.has_copies or after is None or after.id != task_id:
                self.is_current = False
        return changes

    def _with_status(self, text: str, status: Status) -> str:
        """The file with another word after `status:`, in the same quotes.

        A file without a status stays without one: the progress file records it.
        """
        lines = text.split("\n")
        for index in range(1, front_matter_end(text) or 0):
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


# -- Tasks --


class _TaskBuilder:
    """Turns the task files of a folder into tasks."""

    def __init__(
        self,
        path: str,
        tree: Tree,
        diagnostics: Diagnostics,
        words: Mapping[str, StatusWord],
        files: Sequence[TaskFile],
        archived_ids: Ids,
    ) -> None:
        self._path = path
        self._tree = tree
        self._diagnostics = diagnostics
        self._words = words
        self._files = files
        self._ids = Ids([file.id for file in files])
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

    def _task(self, file: TaskFile) -> Task | None:
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

    def _status_of(self, file: TaskFile) -> StatusWord:
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

    def _dependencies(self, file: TaskFile, status: StatusWord) -> list[str] | None:
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
        self, file: TaskFile, line_index: int, what: str, remedy: str
    ) -> None:
        self._diagnostics.leave_out(
            line_index, what, remedy, task_id=file.id, file=file.path
        )

    def _context(self, file: TaskFile) -> Iterator[Reference]:
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


def _dependency_nodes(file: TaskFile) -> list[yaml.ScalarNode] | None:
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


def _words_of(file: TaskFile, name: str) -> list[str]:
    """The texts in a list of the front matter; [] for anything else."""
    field = file.fields.get(name)
    if field is None or not isinstance(field.node, yaml.SequenceNode):
        return []
    items = field.node.value
    words = [item.value for item in items if isinstance(item, yaml.ScalarNode)]
    return [word.strip() for word in words if word.strip()]
